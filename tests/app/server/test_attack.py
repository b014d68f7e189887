"""Attacks on the running page. Tests of the guard alone are in ``test_guard``."""

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import PIL.Image
import psutil
import pytest

from app.serving import Client, Page
from app.test_images import packed
from deadline import DEADLINE

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def page(serve: Callable[..., Page]) -> Page:
    pytest.importorskip("uvicorn", reason='The extra is not installed: pip install "semcorr[app]"')
    return serve("--max-megabytes", 1)


@pytest.fixture
def client(page: Page) -> Client:
    return Client(page.host)


def send(page: Page, request: bytes) -> bytes:
    """Send bytes as they are, and return the whole response."""
    host, port = page.host.split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection:
        connection.sendall(request.replace(b"{host}", page.host.encode()))
        while part := connection.recv(65536):
            received += part
    return received


def png(width: int = 60, height: int = 40) -> bytes:
    return packed(PIL.Image.new("RGB", (width, height), "red"))


@pytest.mark.parametrize(
    "path",
    [
        "{secret}",
        "/file={secret}",
        "/files{secret}",
        "/files/{secret}",
        "/files/..{secret}",
        "/assets{secret}",
        "/assets/../../../../../../..{secret}",
        "/assets/%2e%2e/%2e%2e/%2e%2e{secret}",
        "/assets/..%2f..%2f..{secret}",
        "/assets/%252e%252e{secret}",
        "/assets/..",
        "/assets/a%00",
        "/assets/%c3%a9",
        "/assets/index.html",
        "/assets/__init__.py",
        "/api/proxy=http://127.0.0.1/",
        "/api/work/heat/..{secret}",
        "/works",
    ],
)
def test_no_path_leads_to_a_file(page: Page, tmp_path: Path, path: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret of ours")
    (page.works / "link.txt").unlink(missing_ok=True)
    (page.works / "link.txt").symlink_to(secret)
    for leads_to in (secret, page.works / "link.txt", PROJECT / "pyproject.toml", "/etc/passwd", "/../link.txt"):
        asked = path.format(secret=leads_to)
        response = send(page, f"GET {asked} HTTP/1.1\r\nHost: {{host}}\r\nConnection: close\r\n\r\n".encode())
        assert response.split(b" ")[1] in (b"404", b"400")
        for text in (b"a secret of ours", b"root:", b"[project]"):
            assert text not in response


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/evil.png", "..\\..\\evil.png", "evil.svg", "evil.html", "a\0b.png", "é" * 500, ""]
)
def test_names_lead_nowhere(page: Page, name: str) -> None:
    visitor = page.visitor()

    def files() -> set[Path]:
        return {path for root in (page.works, page.temporary) for path in root.rglob("*") if path.is_file()}

    before = files()
    status, answer = visitor.send("source", quote(name, safe=""), png())
    assert status == 200
    assert "/" not in answer["source"]["name"]
    new = files() - before
    assert {path.suffix for path in new} == {".json", ".png"}
    assert all(path.is_relative_to(page.works) for path in new)
    for path in new:
        assert path.stem not in name


def test_names_stay_text(page: Page) -> None:
    visitor = page.visitor()
    name = "<img src=x onerror=alert(1)>.png"
    status, answer = visitor.send("source", quote(name), png())
    assert (status, answer["source"]["name"], answer["source"]["size"]) == (200, name, [60, 40])
    visitor.step("add-point", x=1, y=1)
    visitor.step("name-point", point=visitor.shown["points"][0]["id"], name="<script>alert(1)</script>")
    # As JSON, which no browser runs; and the page is always the same.
    response = send(
        page,
        f"GET /api/work HTTP/1.1\r\nHost: {{host}}\r\nsemcorr-work: {visitor.key}\r\n".encode()
        + b"Connection: close\r\n\r\n",
    )
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert b"nosniff" in head
    assert json.loads(body)["points"][0]["name"] == "<script>alert(1)</script>"
    assert b"alert(1)" not in visitor.ask("/")[1]


def test_no_work_opens_without_its_key(page: Page) -> None:
    visitor = page.visitor()
    assert len(visitor.key) >= 40
    visitor.step("example", category="animal")
    address = visitor.shown["source"]["address"]
    assert len(address.removeprefix("files/")) >= 24
    client = Client(page.host)
    wrong = ["A" * 43, visitor.key[:-1], visitor.key.swapcase(), "", "null", "x" * 10_000, f'"{visitor.key}"', "../x"]
    for key in wrong:
        status, answer = client.ask("/api/work", semcorr_work=key)
        assert status in (400, 404, 431)
        assert b"animal-source" not in json.dumps(answer).encode() if isinstance(answer, dict) else answer
        assert client.ask("/api/work/delete", {"sure": True}, semcorr_work=key)[0] in (400, 404, 431)
    # Without the header, as another web page in the browser would send it, there is the empty work and no other.
    for path in ("/api/work", f"/api/work?key={visitor.key}", f"/api/work?semcorr-work={visitor.key}"):
        assert client.ask(path)[1]["source"] is None
    assert client.ask("/api/work", cookie=f"semcorr-work={visitor.key}")[1]["source"] is None
    for path, body in (("/api/work/undo", {"base": 1}), ("/api/work/export", {}), ("/api/job", None)):
        assert client.ask(path, body)[0] == 404
    # A key that somebody proposes makes no work, and the answer to a new one is no old key.
    assert client.ask("/api/new", {"key": "A" * 43})[1]["key"] not in ("A" * 43, visitor.key)
    assert client.ask("/api/work", semcorr_work="A" * 43)[0] == 404
    visitor.reload()
    assert visitor.shown["source"]["name"] == "animal-source.png"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /api/new HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"POST /api/new HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n",
        b"POST /api/new HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n",
        b"POST /api/new HTTP/1.1\r\nHost: {host}\r\nOrigin: null\r\nContent-Length: 2\r\n",
        b"POST /api/work/source HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n",
        b"POST /api/work/source HTTP/1.1\r\nHost: {host}\r\nContent-Length: 500000000\r\n",
        b"POST /api/new HTTP/1.1\r\nHost: {host}\r\nContent-Length: 50000000\r\n",
        b"POST /api/new HTTP/1.1\r\nHost: {host}\r\nContent-Length: -2\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example:80\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\nHost: {host}\r\n",
        b"GET /api/work HTTP/1.1\r\n",
    ],
)
def test_false_lengths_hosts_and_origins_are_refused(page: Page, request_: bytes) -> None:
    response = send(page, request_ + b"Connection: close\r\n\r\n" + b"2\r\n{}\r\n0\r\n\r\n")
    assert response.split(b" ")[1] in (b"400", b"403", b"411", b"413", b"421")


def test_other_pages_are_not_let_in_by_the_browser(page: Page) -> None:
    """No answer allows another origin to read it, nor to send the header with the key."""
    for method, more in (("GET", ""), ("OPTIONS", "Access-Control-Request-Headers: semcorr-work\r\n")):
        head = f"{method} /api/work HTTP/1.1\r\nHost: {{host}}\r\nOrigin: http://evil.example\r\n{more}"
        response = send(page, f"{head}Connection: close\r\n\r\n".encode()).lower()
        assert b"access-control" not in response
        assert b"cross-origin-resource-policy: same-origin" in response


NONSENSE: list[Any] = [
    {"x": "nan", "y": 1},
    {"x": 1e400, "y": 1},
    {"x": "1" * 5000, "y": 1},
    {"x": [1], "y": {}},
    {"x": 1, "y": 2, "more": 3},
    {},
    None,
    "s",
    [1],
    7,
]


def test_the_server_survives_nonsense(page: Page) -> None:
    """Senseless requests and many open connections: the next visitor is served."""
    visitor = page.visitor()
    visitor.step("example", category="animal")
    before = visitor.shown
    for path in ("add-point", "move-point", "correct", "accept", "name-points", "undo", "example", "remove-target"):
        for number, body in enumerate(NONSENSE):
            fields = {"base": before["revision"], **body} if isinstance(body, dict) else body
            if path in ("accept", "undo") and fields == {"base": before["revision"]}:
                continue
            status = visitor.ask(f"/api/work/{path}", json.dumps(fields).encode())[0]
            assert status in (400, 422), (path, number)
        for raw in (b"[" * 100_000, b"{", b"\xff", b'{"a": 1} x', b'{"base": NaN}', b""):
            assert visitor.ask(f"/api/work/{path}", raw)[0] == 400, (path, raw[:20])
    for base in (-1, 10**30, 0.5, "x", None):
        status = visitor.ask("/api/work/clear-points", {"base": base, "sure": True})[0]
        assert status in (400, 409), base
    for method, preset in (("os", None), ("prompt", "x" * 10_000), ("a:b", None), ("dift", "paper")):
        assert visitor.ask("/api/find", {"base": 1, "method": method, "preset": preset})[0] == 422
    for query in ("", "base=x&name=a", "base=1&sure=maybe", "base=1&more=1"):
        assert visitor.ask(f"/api/work/target?{query}", png())[0] == 400
    for query in ("target=x&point=all", "target=1&point=1", "target=²&point=all", f"target={'9' * 5000}", ""):
        assert visitor.ask(f"/api/work/heat?{quote(query, safe='=&')}")[0] == 404
    assert visitor.ask("/api/work?since=x")[0] == 200
    assert visitor.reload() == {name: value for name, value in before.items() if name != "message"}
    open_ = []
    try:
        host, port = page.host.split(":")
        for _ in range(60):
            connection = socket.create_connection((host, int(port)), timeout=DEADLINE)
            connection.sendall(f"POST /api/new HTTP/1.1\r\nHost: {page.host}\r\nContent-Length: 9\r\n\r\n{{".encode())
            open_.append(connection)
        assert visitor.ask("/api/about")[0] == 200
    finally:
        for connection in open_:
            connection.close()
    assert visitor.ask("/")[0] == 200
    assert page.process.poll() is None


def test_steps_on_the_same_state_are_taken_once(page: Page) -> None:
    visitor = page.visitor()
    visitor.step("example", category="face")
    base = visitor.shown["revision"]
    with ThreadPoolExecutor(8) as pool:
        asked = [{"base": base, "x": number + 0.5, "y": 3.5} for number in range(8)]
        answers = list(pool.map(lambda body: visitor.ask("/api/work/add-point", body), asked))
    assert sorted(status for status, _ in answers) == [200, *[409] * 7]
    for status, answer in answers:
        shown = answer["work"] if status == 409 else answer
        assert len(shown["points"]) == 5
        assert shown["revision"] == base + 1


def test_too_large_and_broken_images_are_refused_and_nothing_stays(page: Page) -> None:
    visitor = page.visitor()
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8)
    assert len(packed(PIL.Image.fromarray(noise))) > 1_000_000
    for name, data, status, error in (
        ("noise.png", packed(PIL.Image.fromarray(noise)), 413, "1 MB"),
        ("text.png", b"not an image at all", 422, "'text.png' is not an image file"),
        ("notes.txt", b"notes", 422, "not an image file"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0", 422, "Most Compatible"),
        ("cut.png", png()[:60], 422, "broken"),
        # 16,000 by 16,000 pixels in 250,000 bytes, or only a header that says so.
        ("bomb.png", packed(PIL.Image.new("1", (16_000, 16_000))), 422, "16000 x 16000"),
        ("header.png", png()[:16] + b"\0\1\0\0\0\1\0\0" + png()[24:], 422, ""),
    ):
        got, answer = visitor.send("source", name, data)
        assert (got, error in answer["error"]) == (status, True), (name, answer)
        assert str(page.works) not in answer["error"]
    assert visitor.reload()["source"] is None
    assert not list(page.temporary.rglob("*.png"))


def test_many_large_images_at_once_stay_within_a_bound_of_memory(serve: Callable[..., Page]) -> None:
    """Six visitors send images of 64 megapixels, which take 256 MB decoded, at the same time."""
    page = serve()
    data = packed(PIL.Image.new("RGB", (8_000, 8_000), "red"))
    process, most, stop = psutil.Process(page.process.pid), [0], threading.Event()
    visitors = [page.visitor() for _ in range(7)]
    visitors[0].step("example", category="face")  # loads what any visit needs
    before = process.memory_info().rss

    def watch() -> None:
        while not stop.wait(0.02):
            most[0] = max(most[0], process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(6) as pool:
            sent = [pool.submit(visitor.send, "target", "large.png", data) for visitor in visitors[1:]]
            assert visitors[0].ask("/api/work")[0] == 200
            assert sum(one.done() for one in sent) < len(sent) / 2  # others are served meanwhile
            answers = [one.result() for one in sent]
    finally:
        stop.set()
        watcher.join()
    assert {status for status, _ in answers} == {200}
    assert {tuple(answer["targets"][0]["held"]) for _, answer in answers} == {(5000, 5000)}
    # One is decoded and scaled at a time: 256 MB, half as much again in between, the result of 75 MB and its copies.
    # Beside it there are six results.
    assert most[0] < 2.4e9
