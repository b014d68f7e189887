"""Attacks on the running page. Tests of the guard alone are in ``test_guard``."""

import http.client
import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from app.serving import Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(serve: Callable[..., Page]) -> Page:
    pytest.importorskip("gradio", reason='Gradio is not installed: pip install "semcorr[app]"')
    return serve()


def send(page: Page, request: bytes, wait: float = 20) -> bytes:
    """Send bytes as they are, and return the whole response."""
    host, port = page.url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        connection.sendall(request)
        while part := connection.recv(65536):
            received += part
    return received


def ask(page: Page, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def upload(page: Page, name: str, data: bytes) -> tuple[int, bytes]:
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    body = head + data + b"\r\n--x--\r\n"
    return ask(page, "POST", "/gradio_api/upload", body, content_type="multipart/form-data; boundary=x")


def png() -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("RGB", (60, 40), "red").save(stream, format="PNG")
    return stream.getvalue()


def functions(page: Page, trigger: str) -> list[int]:
    """The numbers of the page's functions for a kind of event."""
    dependencies = json.loads(ask(page, "GET", "/config")[1])["dependencies"]
    return [one["id"] for one in dependencies if any(target[1] == trigger for target in one["targets"])]


def call(page: Page, function: int, data: list[Any], session: str, event: Any = None) -> tuple[int, str]:
    """Call a function of the page, as the browser does, and wait for its result."""
    asked = {"data": data, "fn_index": function, "session_hash": session, "event_data": event}
    status, response = ask(
        page, "POST", "/gradio_api/queue/join", json.dumps(asked).encode(), content_type="application/json"
    )
    if status != 200:
        return status, response.decode()
    connection = http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", f"/gradio_api/queue/data?session_hash={session}")
        answer = connection.getresponse()
        while line := answer.readline():
            if b"process_completed" in line:
                return 200, line.decode()
        return 200, ""
    finally:
        connection.close()


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """Another server, which the page must not ask, and the requests that it got."""
    asked: list[str] = []

    class Remember(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Remember)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/a.png", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file={secret}",
        "/file={secret}",
        "/gradio_api/file%3d{secret}",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/assets/../../../../../../..{secret}",
        "/assets/%2e%2e/%2e%2e/%2e%2e{secret}",
        "/assets/..%2f..%2f..{secret}",
        "/static/%252e%252e{secret}",
        "/assets/{secret}",
        "/assets/a%00",
        "/gradio_api/download?path={secret}",
    ],
)
def test_no_path_leads_to_a_file(page: Page, tmp_path: Path, path: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret of ours")
    asked = path.format(secret=secret)
    host = page.url.removeprefix("http://")
    response = send(page, f"GET {asked} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert response.split(b" ")[1] == b"404"
    assert b"a secret of ours" not in response


def test_other_files_and_addresses_are_not_fetched(
    page: Page, tmp_path: Path, elsewhere: tuple[str, list[str]]
) -> None:
    address, asked = elsewhere
    (tmp_path / "secret.png").write_bytes(png())
    for path in (str(tmp_path / "secret.png"), "/etc/passwd", address, "file:///etc/passwd"):
        for further in ({}, {"url": address}, {"is_stream": True}):
            named = {"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}, **further}
            for function in functions(page, "upload"):
                status, response = call(page, function, [named], "somebody")
                assert status == 400
                assert str(page.folder) not in response
    assert asked == []
    assert (tmp_path / "secret.png").exists()


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/evil.png", "..\\\\..\\\\evil.png", "evil.svg", "evil.html", "a\0b.png"]
)
def test_uploads_stay_in_the_pages_own_folder(page: Page, name: str) -> None:
    around = {path for path in page.folder.parent.rglob("*") if not path.is_relative_to(page.folder)}
    status, response = upload(page, name, png())
    if status == 200:
        (path,) = json.loads(response)
        assert Path(path).is_relative_to(page.folder)
        # And it cannot be fetched from there: nothing is served from disk.
        assert ask(page, "GET", f"/gradio_api/file={path}".replace("\0", "%00").replace(" ", "%20"))[0] == 404
    assert {path for path in page.folder.parent.rglob("*") if not path.is_relative_to(page.folder)} == around


def test_an_image_belongs_to_its_sender_and_names_stay_text(page: Page) -> None:
    (path,) = json.loads(upload(page, "<img src=x onerror=alert(1)>.png", png())[1])
    source = functions(page, "upload")[0]
    named = {"path": path, "orig_name": "<script>.png", "meta": {"_type": "gradio.FileData"}}
    status, response = call(page, source, [named], "alice")
    assert (
        status,
        "60 × 40" in json.loads(response.removeprefix("data: "))["output"]["data"][0]["panels"][0]["title"],
    ) == (200, True)
    assert "<img" not in response
    # It was read and removed: nobody else has it by its name.
    assert not Path(path).exists()
    status, response = call(page, source, [named], "bob")
    assert "sent just now" in response


def test_no_workspace_opens_without_its_key(page: Page) -> None:
    (opening,) = functions(page, "open")
    config = json.loads(ask(page, "GET", "/config")[1])
    button = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "example-animal")
    example = next(one["id"] for one in config["dependencies"] if [button, "click"] in one["targets"])

    def opened(session: str, event: Any) -> tuple[str, str]:
        status, response = call(page, opening, [], session, event)
        assert status == 200
        return re.findall(r'"key": ?"([^"]+)"', response)[-1:][0] if '"key"' in response else "", response

    key, _ = opened("dave", {"key": None, "held": False})
    assert len(key) >= 40
    call(page, example, [], "dave")
    assert "animal-source.png" in opened("dave-reloaded", {"key": key, "held": True})[1]
    chosen = "A" * 43
    wrong: list[Any] = [chosen, key[:-1], key.swapcase(), None, [key], {"key": key}, 7, "x" * 100_000]
    for number, attempt in enumerate(wrong):
        given, response = opened(f"mallory-{number}", {"key": attempt, "held": True})
        assert "animal-source.png" not in response
        assert given not in (key, chosen)
    # Nor by the name of the page, which stands in addresses.
    given, response = opened("dave-reloaded", {"key": None, "held": True})
    assert key not in response
    assert given != key


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n",
        b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\nHost: {host}\r\n",
    ],
)
def test_false_lengths_hosts_and_origins_are_refused(page: Page, request_: bytes) -> None:
    host = page.url.removeprefix("http://").encode()
    response = send(page, request_.replace(b"{host}", host) + b"Connection: close\r\n\r\n" + b"2\r\n{}\r\n0\r\n\r\n")
    assert response.split(b" ")[1] in (b"400", b"403", b"411", b"421")


def test_the_server_survives_nonsense(page: Page) -> None:
    """Senseless events, broken forms and many open responses: the next user is served."""
    add_point = functions(page, "mark")[0]
    for event in ({"x": "nan", "y": 1}, {"x": "1" * 5000, "y": 1}, {"x": [1], "y": {}}, {}, None, "s", [1]):
        call(page, add_point, [], "somebody", event)
    for function in (-1, 10**9, "x", None, 1.5):
        asked = {"data": [], "fn_index": function, "session_hash": "somebody"}
        assert ask(page, "POST", "/gradio_api/queue/join", json.dumps(asked).encode())[0] >= 400
    for body in (b"--x\r\n\r\n", b"garbage"):
        assert ask(page, "POST", "/gradio_api/upload", body, content_type="multipart/form-data; boundary=x")[0] >= 400
    host = page.url.removeprefix("http://")
    open_ = []
    try:
        for number in range(60):
            connection = socket.create_connection((host.split(":")[0], int(host.split(":")[1])), timeout=20)
            path = f"/gradio_api/queue/data?session_hash=h{number}"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            open_.append(connection)
        assert ask(page, "GET", "/config")[0] == 200
    finally:
        for connection in open_:
            connection.close()
    assert ask(page, "GET", "/")[0] == 200
    assert page.process.poll() is None
