"""What stands before Gradio: only what the page needs is answered, and nothing from elsewhere is let in.

Gradio's server can do more than this page wants of it: read files, fetch addresses, edit its own source. Whatever is
not in the list here does not exist.
"""

import asyncio
import ipaddress
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from semcorr.app.server.limits import Limits, sweep, waiting_bytes
from semcorr.app.server.served_files import PREFIX, ServedFiles

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/(?:assets|static)/[\w./-]+"
    r"|/gradio_api/(?:theme\.css|info/?|startup-events|app_id/?|queue/data|upload_progress|heartbeat/\w+)"
)
_STREAM = re.compile(r"/gradio_api/(?:queue/data|upload_progress|heartbeat/\w+)")
_STREAMS_EACH = 4
_WRITE = re.compile(r"/gradio_api/(?:queue/join|upload|cancel|reset/?)")
_SMALL = 1_000_000
"""Bytes of a request that is no picture."""
_SECONDS = 300.0
"""For a request to arrive: whoever sends a byte now and then lets go."""

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    # Gradio compiles its templates in the browser.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""What the browser is told never to fetch: anything that is not from this very server."""

_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


class Guard:
    """ASGI middleware.

    Args:
        app: Gradio's.
        files: pictures and files to serve.
        limits: what is refused.
        host: what the server listens to. Requests by another name are refused, so that a page from elsewhere cannot
            reach it through a name of its own (DNS rebinding): on this machine alone there is localhost, else any
            address in numbers and the machine's own name.
        folder: where files that are sent lie: a request may name these and no others.
        names: further names to answer by, such as a proxy's.
        seconds: for a request to arrive.
    """

    def __init__(
        self,
        app: Asgi,
        files: ServedFiles,
        limits: Limits,
        host: str,
        folder: Path,
        names: Collection[str] = (),
        seconds: float = _SECONDS,
    ) -> None:
        self._app, self._files, self._limits, self._folder, self._seconds = (
            app,
            files,
            limits,
            folder.resolve(),
            seconds,
        )
        self._streams = 0
        self._alone = host in _LOOPBACK
        own = () if self._alone else (socket.gethostname(), socket.getfqdn(), host)
        self._names = frozenset(name.lower() for name in (*_LOOPBACK, *own, *names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or hand on one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path, method = str(scope["path"]), str(scope["method"])
        if not self._by_our_name(_host(headers.get("host", ""))):
            await _answer(send, 421, "This page does not answer by that name. See --name of semcorr app.")
        elif path.startswith(PREFIX) and method in ("GET", "HEAD"):
            await self._serve(path.removeprefix(PREFIX), method, send)
        elif not _allowed(path, method):
            await _answer(send, 404, "There is nothing here.")
        elif method == "POST" and _foreign(headers):
            await _answer(send, 403, "Only this page itself may ask for this.")
        elif method == "POST" and (refusal := self._too_large(path, headers)):
            await _answer(send, *refusal)
        elif _STREAM.fullmatch(path):
            await self._stream(scope, receive, send)
        elif method == "POST":
            await self._hand_on(scope, path, int(headers["content-length"]), receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An answer that stays open, as each page has two of: only so many."""
        if self._streams >= _STREAMS_EACH * self._limits.sessions:
            await _answer(send, 503, "Too many pages are open here. Try again in a while.")
            return
        self._streams += 1
        try:
            await self._app(scope, receive, _with_headers(send))
        finally:
            self._streams -= 1

    def _by_our_name(self, name: str) -> bool:
        return name.lower() in self._names or (not self._alone and _is_address(name))

    async def _hand_on(self, scope: Scope, path: str, length: int, receive: Receive, send: Send) -> None:
        """Let Gradio have what is sent, as it comes; what it is asked to do is read first."""
        arriving, answer = _Arriving(receive, length, self._seconds), _Answer(send)
        try:
            if path.endswith("/upload"):
                await self._app(scope, arriving, _with_headers(answer))
                return
            body = await arriving.whole()
        except _TooSlow:
            if not answer.begun:
                await _answer(send, 408, "That took too long, or was more than announced. Try again.")
            return
        if not self._ours(body):
            await _answer(send, 400, "Expected pictures that were sent to this page, got something else. Reload it.")
            return
        await self._app(scope, _again(body, receive), _with_headers(send))

    def _ours(self, body: bytes) -> bool:
        """Whether it is JSON, and every file that it names was sent here: Gradio would fetch an address."""
        try:
            named = list(_paths(json.loads(body))) if body else []
            return all(Path(path).resolve().is_relative_to(self._folder) for path in named)
        except (ValueError, RecursionError, OSError):
            return False

    async def _serve(self, token: str, method: str, send: Send) -> None:
        item = self._files.get(token)
        if item is None:
            await _answer(send, 404, "This picture or file is gone. Reload the page.")
            return
        headers = [
            (b"content-type", item.media_type.encode()),
            (b"content-length", str(len(item.data)).encode()),
            (b"cache-control", b"private, max-age=3600"),
            *_HEADERS,
        ]
        if item.filename is not None:
            headers.append((b"content-disposition", f'attachment; filename="{item.filename}"'.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": item.data if method == "GET" else b""})

    def _too_large(self, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        length = headers.get("content-length", "")
        # With both, the length would be a lie that nobody looks at.
        if not (length.isascii() and length.isdigit()) or len(length) > 12 or "transfer-encoding" in headers:
            return 411, "Say how long the request is."
        # A form around the files takes a little more.
        most = (self._limits.bytes * self._limits.targets if path.endswith("/upload") else 0) + _SMALL
        if int(length) > most:
            return 413, f"File size exceeds what is taken here: {self._limits.megabytes:g} MB for each picture."
        if path.endswith("/upload"):
            sweep(self._folder)
            if waiting_bytes(self._folder) + int(length) > self._limits.waiting_megabytes * 1e6:
                return 503, "Too many pictures wait to be read. Try again in a few minutes."
        return None


class _TooSlow(Exception):  # noqa: N818  # not an error of ours
    """A request did not arrive in time."""


class _Arriving:
    """What is sent, no more of it than was announced and not for longer than a while."""

    def __init__(self, receive: Receive, length: int, seconds: float) -> None:
        self._receive, self._left, self._end = receive, length, time.monotonic() + seconds
        self._more = True

    async def __call__(self) -> Message:
        """The next piece."""
        if not self._more:
            return await self._receive()  # that the browser has gone
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._end - time.monotonic()))
        except TimeoutError as error:
            raise _TooSlow from error
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _TooSlow
        self._more = message["type"] == "http.request" and bool(message.get("more_body"))
        return message

    async def whole(self) -> bytes:
        """All pieces."""
        pieces = [(await self()).get("body", b"")]
        while self._more:
            pieces.append((await self()).get("body", b""))
        return b"".join(pieces)


class _Answer:
    """Hands an answer on, and knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


def _again(body: bytes, receive: Receive) -> Receive:
    """Something that was received, to be received once more."""
    given = False

    async def once_more() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once_more


def _paths(document: Any) -> Iterator[str]:
    """Every file that a request names, however deep."""
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if value.get("path"):
                yield str(value["path"])
            left += value.values()
        elif isinstance(value, list):
            left += value


def _is_address(name: str) -> bool:
    """Whether it is an address in numbers, which nobody can give another meaning."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _allowed(path: str, method: str) -> bool:
    plain = unquote(path)  # once more than the server did: no second meaning
    if plain != path or ".." in path or "\\" in path or "\0" in path or "//" in path:
        return False
    if method in ("GET", "HEAD"):
        return _READ.fullmatch(path) is not None
    return method == "POST" and _WRITE.fullmatch(path) is not None


def _foreign(headers: dict[str, str]) -> bool:
    """Whether a page from elsewhere asks, in a browser that has both open."""
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _host(header: str) -> str:
    """The name without the port."""
    return header.rsplit("]", 1)[0] + "]" if header.startswith("[") else header.rsplit(":", 1)[0]


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await send(message)

    return wrapped


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
