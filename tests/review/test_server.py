"""The review over HTTP, with the real server behind its guard: what it answers, and attacks on it."""

import json
import socket
from pathlib import Path
from typing import Any

import PIL.Image

from deadline import DEADLINE
from review.files import Client


def raw(client: Client, request: bytes) -> bytes:
    """The whole response to bytes that are sent as they are."""
    host, port = client.host.split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection:
        connection.sendall(request)
        while part := connection.recv(65536):
            received += part
    return received


def test_a_list_a_page_and_an_image(client: Client, predictions: Path, tmp_path: Path) -> None:
    status, about, headers = client.ask("/api/about")
    assert (status, about["objects"]) == (200, 5)
    points = [[10.5, 12.5], [60.5, 40.5], [30.5, 50.5]]
    source = {"file": "1.png", "image": 0, "size": [80, 60], "points": points, "votes": [0.75, 0.5, None]}
    assert client.ask("/api/sources?number=0")[1] == {"recorded": True, "sources": [source]}
    assert client.ask("/api/sources?number=1")[1]["sources"] == [{**source, "votes": None}]  # a file of before
    assert client.ask("/api/sources?number=5")[0] == client.ask("/api/sources")[0] == 404
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert client.ask("/api/list?order=confident")[1]["numbers"] == [4, 3, 2, 1, 0]
    one = client.object(2)
    assert (one["file"], one["size"], one["box"], one["score"]) == ("4.png", [80, 60], None, 0.55)
    assert one["state"]["points"] == [[20.5, 15.5, 2, "predicted"], [50.5, 30.5, 2, "predicted"], None]
    assert one["predicted"] == [[20.5, 15.5, 0.55], [50.5, 30.5, 0.55], None]
    status, jpeg, headers = client.ask(f"/api/image/{about['content']}/3/240")
    (tmp_path / "small.jpg").write_bytes(jpeg)
    with PIL.Image.open(tmp_path / "small.jpg") as image:
        assert (status, headers["content-type"], image.size) == (200, "image/jpeg", (80, 60))
    for path in (f"{about['content']}/6/240", f"{about['content']}/3/241", "0123456789abcdef/3/240"):
        assert client.ask(f"/api/image/{path}")[0] == 404


def test_two_clients_lose_nothing(client: Client) -> None:
    other = Client(client.host, "the-key")
    first = client.object(0)
    assert client.change(0, 0, decision="accepted")[0] == 200
    # The second works on what it saw before: it is refused, and sees the first one's.
    status, answer = other.change(0, first["revision"], decision="rejected")
    assert (status, "in another window" in answer["error"]) == (409, True)
    changes = other.ask("/api/changes?since=0")[1]
    assert [(one["number"], one["state"]["decision"]) for one in changes["objects"]] == [(0, "accepted")]
    assert (changes["revision"], changes["counts"]) == (1, {"accepted": 1, "open": 4})
    status, answer = other.change(0, answer["revision"], decision="rejected")
    assert (status, answer["objects"][0]["state"]["decision"]) == (200, "rejected")
    assert client.object(0)["state"]["decision"] == "rejected"


def test_objects_change_together_or_not_at_all(client: Client) -> None:
    assert client.object(0)["beside"] == [0]
    states = [{**client.object(number)["state"], "decision": "accepted"} for number in (0, 1)]
    both = [{"number": number, "base": 0, "state": state} for number, state in enumerate(states)]
    assert client.change(1, 0, decision="rejected")[0] == 200
    status, answer, _ = client.ask("/api/objects", both)
    assert (status, answer["number"], client.object(0)["state"]["decision"]) == (409, 1, "open")
    both[1]["base"] = 1
    status, answer, _ = client.ask("/api/objects", both)
    assert (status, [one["revision"] for one in answer["objects"]]) == (200, [2, 2])
    assert answer["counts"] == {"accepted": 2, "open": 3}


def test_no_image_is_read_before_it_is_asked_for(client: Client, predictions: Path) -> None:
    """Nor is one needed: what is missing is said where it is shown."""
    for path in (predictions.parent / "images").iterdir():
        path.unlink()
    assert client.ask("/api/list")[1]["numbers"] == [0, 1, 2, 3, 4]
    assert client.object(0)["size"] == [80, 60]
    content = client.ask("/api/about")[1]["content"]
    status, message, _ = client.ask(f"/api/image/{content}/1/240")
    assert (status, b"There is no file" in message) == (404, True)
    assert client.change(0, 0, decision="accepted")[0] == 200


def test_write_says_which_file(client: Client, predictions: Path) -> None:
    client.change(0, 0, decision="accepted")
    output = predictions.with_name("found.corrected.json")
    assert client.ask("/api/write", {})[:2] == (200, {"files": [str(output)]})
    output.write_text("changed by somebody", encoding="utf-8")
    status, answer, _ = client.ask("/api/write", {})
    assert (status, "did not write it" in answer["error"]) == (422, True)
    assert output.read_text(encoding="utf-8") == "changed by somebody"


POINTS: list[Any] = [None, None, None]


UNFITTING: list[Any] = [
    b"",
    b"{",
    b"\xff",
    b"[" * 50_000,
    {"base": 0},
    {"base": -1, "state": {"category": "cat", "decision": "open", "points": POINTS}},
    {"base": 0, "state": {"category": "cat", "decision": "perhaps", "points": POINTS}},
    {"base": 0, "state": {"category": "cat", "decision": "open", "points": POINTS, "path": "/etc/passwd"}},
    {"base": 0, "state": {"category": "cat", "decision": "open", "points": [[1, 2, 3, "placed"], None, None]}},
    {"base": 0, "state": {"category": "cat", "decision": "open", "points": [[1, 2, 2, "somebody"], None, None]}},
    b'[{"number": 0, "base": 0, "state": {"category": "cat", "decision":"open", "points": [[NaN, 1, 2, "placed"]]}}]',
    b'[{"number": 0, "base": 0, "state": {"category": "cat", "decision":"open", "points": [[1e999, 1, 2, "placed"]]}}]',
    b"{}",
    b"[]",
    b"[%s]" % b",".join([b"{}"] * 1001),
    {"base": 0, "state": {"category": "<img src=x>", "decision": "open", "points": POINTS}},
]


def test_changes_that_do_not_fit_are_refused(client: Client) -> None:
    for body in UNFITTING:
        sent = body if isinstance(body, bytes) else [{"number": 0, **body}]
        status, answer, _ = client.ask("/api/objects", sent)
        assert status in (400, 422), body
        assert answer["error"]
    assert client.ask("/api/changes?since=0")[1]["revision"] == 0


def test_objects_that_there_are_not(client: Client) -> None:
    body = {"base": 0, "state": {"category": "cat", "decision": "open", "points": POINTS}}
    for number in (9, 10**30, -1, "x", "0/../1", None):
        assert client.ask("/api/objects", [{"number": number, **body}])[0] in (400, 422), number
    for path in ("0", "x", "0/../1", "%2e%2e"):
        assert client.ask(f"/api/objects/{path}", [{"number": 0, **body}])[0] == 404, path


PATHS = [
    "/api/image/{content}/../../{secret}/240",
    "/api/image/{content}/..%2f..{secret}/240",
    "/assets/../../../../../../..{secret}",
    "/assets/%2e%2e/%2e%2e/%2e%2e{secret}",
    "/assets/..%2f..%2f..{secret}",
    "/assets/%252e%252e{secret}",
    "/assets/{secret}",
    "/assets/a%00",
    "/assets/index.html",
    "/assets/other.js",
    "/docs",
    "/openapi.json",
    "/found.json",
]


def test_no_path_leads_to_a_file(client: Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret of ours")
    content, cookie = client.ask("/api/about")[1]["content"], client.headers["cookie"]
    for path in PATHS:
        asked = path.format(secret=secret, content=content)
        request = f"GET {asked} HTTP/1.1\r\nHost: {client.host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        response = raw(client, request.encode())
        assert response.split(b" ")[1] == b"404", path
        assert b"a secret of ours" not in response


def test_it_answers_only_who_has_the_key(client: Client) -> None:
    body = [{"number": 0, "base": 0, "state": {"category": "cat", "decision": "rejected", "points": POINTS}}]
    for cookie in ("", "semcorr=the-key", client.headers["cookie"][:-1], "semcorr-1=the-key", "a=\x01;=", "x" * 5000):
        for path, sent in (("/", None), ("/api/about", None), ("/api/objects", body), ("/?key=the-ke", None)):
            assert client.ask(path, sent, cookie=cookie)[0] == 403
    # Nor does the key help in another address.
    assert client.ask("/api/about?key=the-key", cookie="")[0] == 403
    status, _, headers = client.ask("/?key=the-key", cookie="")
    assert (status, headers["location"]) == (303, "/")
    assert "HttpOnly" in headers["set-cookie"]
    assert "samesite=strict" in headers["set-cookie"].lower()
    assert client.ask("/")[0] == 200
    assert client.object(0)["state"]["decision"] == "open"


def test_other_pages_and_names_are_refused(client: Client) -> None:
    body = [{"number": 0, "base": 0, "state": {"category": "cat", "decision": "rejected", "points": POINTS}}]
    for origin in ("http://evil.example", "null", "http://localhost:1", f"http://{client.host}.evil.example"):
        assert client.ask("/api/objects", body, origin=origin)[0] == 403
        assert client.ask("/api/write", {}, origin=origin)[0] == 403
    assert client.ask("/api/objects", body, host="evil.example")[0] == 421
    assert client.ask("/", host="evil.example")[0] == 421
    assert client.ask("/api/about", method="DELETE")[0] == 404
    assert client.object(0)["state"]["decision"] == "open"
    assert client.ask("/api/objects", body, origin=f"http://{client.host}")[0] == 200


HEADS = [
    "POST /api/write HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    "POST /api/write HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n",
    "POST /api/write HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2000000\r\n",
    "POST /api/write HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n",
    "GET / HTTP/1.1\r\nHost: evil.example\r\n",
    "GET / HTTP/1.1\r\nHost: evil.example\r\nHost: {host}\r\n",
]


def test_false_lengths_hosts_and_origins_are_refused(client: Client, predictions: Path) -> None:
    end = f"Cookie: {client.headers['cookie']}\r\nConnection: close\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
    for head in HEADS:
        request = head.format(host=client.host) + end
        assert raw(client, request.encode()).split(b" ")[1] in (b"400", b"403", b"411", b"413", b"421"), head
    assert not predictions.with_name("found.corrected.json").exists()


def test_names_stay_text(tmp_path: Path, client: Client) -> None:
    """Scripts of the page alone run: nothing in line, and no markup is made of answers."""
    status, page, headers = client.ask("/")
    assert status == 200
    assert b"<script>" not in page
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    for name in ("main", "cards", "drawing", "sources"):
        text = client.ask(f"/assets/{name}.js")[1]
        assert b"innerHTML" not in text
        assert b"eval(" not in text
    assert json.dumps(client.ask("/api/about")[1])
