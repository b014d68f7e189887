"""Requests that the guard passes on, and those that it refuses."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("starlette", reason='The extra is not installed: pip install "semcorr[app]"')

from starlette.routing import Route

from semcorr.app.limits import Limits
from semcorr.app.server.page_guard import UPLOADS, PageGuard, access_to

STEP, UPLOAD = "/api/work/add-point", "/api/work/source"


class Server:
    """Stands behind the guard: reads and keeps every body that reaches it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await asyncio.sleep(0.1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})


@pytest.fixture
def server() -> Server:
    return Server()


def guard_of(server: Server, host: str = "127.0.0.1", **options: Any) -> PageGuard:
    def none(_: Any) -> None:
        pass

    read = ["/", "/assets/{name}", "/files/{token}", "/api/work"]
    routes = [Route(path, none, methods=["GET"]) for path in read]
    routes += [Route(path, none, methods=["POST"]) for path in (STEP, *UPLOADS)]
    return PageGuard(server, access_to(routes, "semcorr app"), options.pop("limits", Limits()), host, **options)


async def asked(
    guard: PageGuard,
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

    await guard(scope, receive, send)
    answer_headers = {name.decode(): value.decode() for name, value in answers[0]["headers"]}
    return answers[0]["status"], b"".join(one.get("body", b"") for one in answers[1:]), answer_headers


def ask(*arguments: Any, **headers: Any) -> tuple[int, bytes, dict[str, str]]:
    return asyncio.run(asked(*arguments, **headers))


@pytest.mark.parametrize(
    "path",
    [
        "/file=/etc/passwd",
        "/proxy=http://example.org",
        "/assets",
        "/assets/",
        "/assets/../../etc/passwd",
        "/assets/..",
        "/assets/a/b",
        "/assets/..\\..\\etc",
        "/assets/%2e%2e/etc/passwd",
        "/assets//etc/passwd",
        "/assets/a\0",
        "/assets/a\n",
        "/assets/é",
        "/files/",
        "/openapi.json",
        "/docs",
        "/api",
        "/api/work/",
        "/api/workx",
        STEP,  # a GET request
    ],
)
def test_paths_that_the_page_does_not_need_are_404(server: Server, path: str) -> None:
    status, said, _ = ask(guard_of(server), path)
    assert (status, json.loads(said)) == (404, {"error": "There is nothing here."})
    assert server.bodies == []


@pytest.mark.parametrize(("path", "method"), [("/api/work", "POST"), (STEP, "PUT"), (STEP, "DELETE"), ("/", "OPTIONS")])
def test_other_methods_are_404(server: Server, path: str, method: str) -> None:
    assert ask(guard_of(server), path, method)[0] == 404
    assert server.bodies == []


@pytest.mark.parametrize("path", ["/", "/assets/main.js", "/files/-aB_9", "/api/work"])
def test_paths_of_routes_are_passed_on(server: Server, path: str) -> None:
    assert [ask(guard_of(server), path, method)[0] for method in ("GET", "HEAD")] == [200, 200]


@pytest.mark.parametrize(
    ("host", "names", "named", "status"),
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
    server: Server, host: str, names: tuple[str, ...], named: str, status: int
) -> None:
    assert ask(guard_of(server, host, names=names), "/", host=named)[0] == status


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:7861", "http://localhost"])
@pytest.mark.parametrize("path", [STEP, UPLOAD])
def test_requests_of_another_page_are_refused(server: Server, path: str, origin: str) -> None:
    assert ask(guard_of(server), path, "POST", [b"{}"], origin=origin)[0] == 403
    assert server.bodies == []


@pytest.mark.parametrize("path", [STEP, UPLOAD])
def test_a_request_is_passed_on_unchanged(server: Server, path: str) -> None:
    body = b'{"base": 1}'
    status, said, headers = ask(guard_of(server), path, "POST", [body[:5], body[5:]], origin="http://localhost:7860")
    assert (status, said, server.bodies) == (200, b"fine", [body])
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (STEP, {"content_length": "x"}, 411),
        (STEP, {"content_length": ""}, 411),
        (STEP, {"content_length": "²"}, 411),
        (STEP, {"content_length": "-1"}, 411),
        (STEP, {"content_length": "1" * 5000}, 411),
        (STEP, {"content_length": "2", "transfer_encoding": "chunked"}, 411),
        (STEP, {"content_length": "1000001"}, 413),
        (UPLOAD, {"content_length": "2", "transfer_encoding": "chunked"}, 411),
        (UPLOAD, {"content_length": "60000001"}, 413),
    ],
)
def test_an_invalid_or_too_large_length_is_refused(
    server: Server, path: str, headers: dict[str, str], status: int
) -> None:
    assert ask(guard_of(server), path, "POST", [b"{}"], **headers)[0] == status
    assert server.bodies == []


@pytest.mark.parametrize("path", [STEP, UPLOAD])
def test_a_body_longer_than_announced_is_cut_off(server: Server, path: str) -> None:
    assert ask(guard_of(server), path, "POST", [b"1", b"2", b"3"], content_length="2")[0] == 408
    assert server.bodies == []


@pytest.mark.parametrize("path", [STEP, UPLOAD])
def test_a_slow_request_is_ended(server: Server, path: str) -> None:
    assert ask(guard_of(server, seconds=0.2), path, "POST", [b"1"] * 1000, waits=0.05)[0] == 408
    assert server.bodies == []


def test_images_that_arrive_at_once_are_bounded_together(server: Server) -> None:
    guard = guard_of(server, limits=Limits(megabytes=0.001, waiting_megabytes=0.003))

    async def flood() -> list[int]:
        sent = [asked(guard, UPLOAD, "POST", [b"x" * 500] * 2, waits=0.01) for _ in range(20)]
        return [status for status, _, _ in await asyncio.gather(*sent)]

    statuses = asyncio.run(flood())
    assert (statuses.count(200), statuses.count(503)) == (3, 17)
    # And when those are done, also where one was too slow, others are taken again.
    assert ask(guard_of(server, seconds=0.01), UPLOAD, "POST", [b"1"] * 100, waits=0.05)[0] == 408
    statuses = asyncio.run(flood())
    assert statuses.count(200) == 3
