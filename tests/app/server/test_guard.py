"""Requests that the guard passes on to Gradio, and those that it refuses."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason='Gradio is not installed: pip install "semcorr[app]"')

from semcorr.app.limits import Limits
from semcorr.app.server.guard import Guard
from semcorr.app.server.served_files import ServedFile, ServedFiles

JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"


class Gradio:
    """Stands in for Gradio's server: reads and keeps every body that reaches it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})


@pytest.fixture
def gradio() -> Gradio:
    return Gradio()


def ask(
    guard: Guard,
    path: str,
    method: str = "GET",
    pieces: Sequence[bytes] = (b"",),
    waits: float = 0,
    **headers: str,
) -> tuple[int, bytes, dict[str, str]]:
    """Send a request in pieces; return status, body and headers of the answer."""
    given = {"host": "localhost:7860", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if method == "POST":
        given.setdefault("content-length", str(sum(map(len, pieces))))
    scope = {
        "type": "http",
        "path": path,
        "method": method,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    left, answers = list(pieces), []

    async def receive() -> dict[str, Any]:
        if waits:
            await asyncio.sleep(waits)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(guard(scope, receive, send))
    answer_headers = {name.decode(): value.decode() for name, value in answers[0]["headers"]}
    return answers[0]["status"], b"".join(one.get("body", b"") for one in answers[1:]), answer_headers


def guard_of(gradio: Gradio, folder: Path, host: str = "127.0.0.1", **options: Any) -> Guard:
    return Guard(gradio, ServedFiles(), options.pop("limits", Limits()), host, folder, **options)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/file=/etc/passwd",
        "/gradio_api/proxy=http://example.org",
        "/assets/../../etc/passwd",
        "/assets/..\\..\\etc",
        "/assets/%2e%2e/etc/passwd",
        "/assets//etc/passwd",
        "/assets/a\0",
        "/gradio_api/component_server",
        "/gradio_api/stream/a/b/c",
        "/monitoring",
        "/openapi.json",
        "/semcorr/nobody-guesses-this",
    ],
)
def test_paths_that_the_page_does_not_need_are_404(gradio: Gradio, tmp_path: Path, path: str) -> None:
    assert ask(guard_of(gradio, tmp_path), path)[0] == 404
    assert gradio.bodies == []


@pytest.mark.parametrize(
    ("host", "names", "asked", "status"),
    [
        ("127.0.0.1", (), "localhost:7860", 200),
        ("127.0.0.1", (), "[::1]:7860", 200),
        ("127.0.0.1", (), "evil.example:7860", 421),
        ("127.0.0.1", (), "10.0.0.7", 421),
        ("127.0.0.1", (), "", 421),
        ("0.0.0.0", (), "10.0.0.7:7860", 200),  # noqa: S104  # requests to it are tested
        ("0.0.0.0", (), "[fd00::1]:80", 200),  # noqa: S104
        ("0.0.0.0", (), "evil.example", 421),  # noqa: S104
        ("0.0.0.0", ("lab.example",), "Lab.Example", 200),  # noqa: S104
        ("127.0.0.1", ("lab.example",), "lab.example", 200),
    ],
)
def test_it_answers_to_its_own_names_only(
    gradio: Gradio, tmp_path: Path, host: str, names: tuple[str, ...], asked: str, status: int
) -> None:
    assert ask(guard_of(gradio, tmp_path, host, names=names), "/config", host=asked)[0] == status


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:7861", "http://localhost"])
def test_requests_of_another_page_are_refused(gradio: Gradio, tmp_path: Path, origin: str) -> None:
    assert ask(guard_of(gradio, tmp_path), JOIN, "POST", [b"{}"], origin=origin)[0] == 403
    assert gradio.bodies == []


def test_a_request_reaches_gradio_unchanged(gradio: Gradio, tmp_path: Path) -> None:
    own = {"path": str(tmp_path / "ab" / "image.png"), "url": "http://localhost:7860/x", "size": 3}
    body = json.dumps({"data": [[own]], "fn_index": 1}).encode()
    status, said, headers = ask(
        guard_of(gradio, tmp_path), JOIN, "POST", [body[:9], body[9:]], origin="http://localhost:7860"
    )
    assert (status, said, gradio.bodies) == (200, b"fine", [body])
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "http://example.org/a.png",
        "https://example.org/a.png",
        "file:///etc/passwd",
        "relative.png",
        "{folder}/../private.png",
        "{folder}-beside/a.png",
        "{folder}/link/a.png",
        "a\0b",
    ],
)
def test_only_uploaded_files_can_be_named(gradio: Gradio, tmp_path: Path, path: str) -> None:
    """Gradio would fetch an address, and say where the server keeps its files."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    deep = {"data": [1, [{"a": {"path": path.format(folder=folder)}}]]}
    status, said, _ = ask(guard_of(gradio, folder), JOIN, "POST", [json.dumps(deep).encode()])
    assert (status, gradio.bodies) == (400, [])
    assert str(tmp_path).encode() not in said


@pytest.mark.parametrize("body", [b"[" * 100_000, b"{", b"\xff", b'{"a": 1} x'])
def test_invalid_json_is_refused(gradio: Gradio, tmp_path: Path, body: bytes) -> None:
    assert ask(guard_of(gradio, tmp_path), JOIN, "POST", [body])[0] == 400
    assert gradio.bodies == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_length": "x"}, 411),
        ({"content_length": ""}, 411),
        ({"content_length": "²"}, 411),
        ({"content_length": "-1"}, 411),
        ({"content_length": "1" * 5000}, 411),
        ({"content_length": "2", "transfer_encoding": "chunked"}, 411),
        ({"content_length": "1000001"}, 413),
    ],
)
def test_an_invalid_or_too_large_length_is_refused(
    gradio: Gradio, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    assert ask(guard_of(gradio, tmp_path), JOIN, "POST", [b"{}"], **headers)[0] == status
    assert gradio.bodies == []


@pytest.mark.parametrize("path", [JOIN, UPLOAD])
def test_a_body_longer_than_announced_is_cut_off(gradio: Gradio, tmp_path: Path, path: str) -> None:
    assert ask(guard_of(gradio, tmp_path), path, "POST", [b"1", b"2", b"3"], content_length="2")[0] == 408
    assert gradio.bodies == []


@pytest.mark.parametrize("path", [JOIN, UPLOAD])
def test_a_slow_request_is_ended(gradio: Gradio, tmp_path: Path, path: str) -> None:
    guard = guard_of(gradio, tmp_path, seconds=0.2)
    assert ask(guard, path, "POST", [b"1"] * 1000, waits=0.05)[0] == 408
    assert gradio.bodies == []


def test_unread_uploads_do_not_fill_the_disk(gradio: Gradio, tmp_path: Path) -> None:
    guard = guard_of(gradio, tmp_path, limits=Limits(waiting_megabytes=0.001))
    assert ask(guard, UPLOAD, "POST", [b"x" * 600])[0] == 200
    (tmp_path / "one").write_bytes(b"x" * 600)
    assert ask(guard, UPLOAD, "POST", [b"x" * 600])[0] == 503
    (tmp_path / "one").unlink()
    assert ask(guard, UPLOAD, "POST", [b"x" * 600])[0] == 200


def test_served_files_cannot_run_as_scripts(gradio: Gradio, tmp_path: Path) -> None:
    files = ServedFiles()
    token = files.add(ServedFile(data=b"<script>", media_type="application/octet-stream", filename="a.html"))
    guard = Guard(gradio, files, Limits(), "127.0.0.1", tmp_path)
    status, body, headers = ask(guard, f"/semcorr/{token}")
    assert (status, body) == (200, b"<script>")
    assert headers["content-disposition"] == 'attachment; filename="a.html"'
    assert headers["x-content-type-options"] == "nosniff"
