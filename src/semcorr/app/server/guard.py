"""The guard before Gradio: it answers only what the page needs, and refuses requests of other web pages.

Gradio's server can do more than this page needs: read files, fetch addresses, edit its own source. Whatever is not
listed here gets the answer 404. Starlette's own middleware does not do: its check of host names cannot accept all
numeric addresses, and its check of origins only withholds the response, after the request has had its effect.
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

from starlette.responses import PlainTextResponse, Response

from semcorr.app.limits import Limits, sweep, waiting_bytes
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
_STREAMS_PER_SESSION = 4
_WRITE = re.compile(r"/gradio_api/(?:queue/join|upload|cancel|reset/?)")
_MAX_BYTES = 1_000_000
"""Bytes of a request that uploads no image."""
_SECONDS = 300.0
"""Seconds for a request to arrive: a connection that sends a byte now and then is closed."""

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    # Gradio compiles its templates in the browser.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""The content security policy: the browser loads nothing that is not from this server."""

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
        files: Images and files to serve.
        limits: What is refused.
        host: The address that the server listens to. Requests to another host name are refused, so that a foreign page
            cannot reach the server through a name of its own (DNS rebinding): on a loopback address only localhost is
            accepted, else any numeric address and the machine's own name.
        folder: The folder of uploaded files: a request may name these and no others.
        names: Further host names to accept, such as a proxy's.
        seconds: Seconds for a request to arrive.
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
        self._app, self._files, self._limits = app, files, limits
        self._folder, self._seconds = folder.resolve(), seconds
        self._streams = 0
        self._local = host in _LOOPBACK
        own = () if self._local else (socket.gethostname(), socket.getfqdn(), host)
        self._names = frozenset(name.lower() for name in (*_LOOPBACK, *own, *names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path, method = str(scope["path"]), str(scope["method"])
        response: Response | None = None
        if not self._is_own_name(_host(headers.get("host", ""))):
            response = PlainTextResponse("This page does not answer to that name. See --name of semcorr app.", 421)
        elif path.startswith(PREFIX) and method in ("GET", "HEAD"):
            response = self._file(path.removeprefix(PREFIX))
        elif not _allowed(path, method):
            response = PlainTextResponse("There is nothing here.", 404)
        elif method == "POST" and _foreign(headers):
            response = PlainTextResponse("Only this page itself may ask for this.", 403)
        elif method == "POST":
            response = self._too_large(path, headers)
        if response is not None:
            await response(scope, receive, answer)
        elif _STREAM.fullmatch(path):
            await self._stream(scope, receive, answer)
        elif method == "POST":
            await self._pass_on(scope, path, _Arriving(receive, int(headers["content-length"]), self._seconds), answer)
        else:
            await self._app(scope, receive, answer)

    async def _stream(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Pass on a request whose response stays open, as each page has two of; their number is limited."""
        if self._streams >= _STREAMS_PER_SESSION * self._limits.sessions:
            busy = PlainTextResponse("Too many pages are open here. Try again in a while.", 503)
            await busy(scope, receive, answer)
            return
        self._streams += 1
        try:
            await self._app(scope, receive, answer)
        finally:
            self._streams -= 1

    async def _pass_on(self, scope: Scope, path: str, arriving: "_Arriving", answer: "_Answer") -> None:
        """Pass on a POST request; all but uploads are read first, for the files that they name."""
        try:
            if not path.endswith("/upload") and not self._names_own_files(await arriving.read()):
                text = "Expected images that were sent to this page, got something else. Reload it."
                await PlainTextResponse(text, 400)(scope, arriving, answer)
                return
            await self._app(scope, arriving, answer)
        except _TooSlow:
            if not answer.begun:
                late = PlainTextResponse("That took too long, or was more than announced. Try again.", 408)
                await late(scope, arriving, answer)

    def _is_own_name(self, name: str) -> bool:
        return name.lower() in self._names or (not self._local and _is_address(name))

    def _names_own_files(self, body: bytes) -> bool:
        """Whether the body is JSON, and every file that it names was sent here: Gradio would fetch an address."""
        try:
            paths = list(_paths(json.loads(body))) if body else []
            return all(Path(path).resolve().is_relative_to(self._folder) for path in paths)
        except (ValueError, RecursionError, OSError):
            return False

    def _file(self, token: str) -> Response:
        file = self._files.get(token)
        if file is None:
            return PlainTextResponse("This image or file is gone. Reload the page.", 404)
        headers = {"cache-control": "private, max-age=3600"}
        if file.filename is not None:
            headers["content-disposition"] = f'attachment; filename="{file.filename}"'
        return Response(file.data, media_type=file.media_type, headers=headers)

    def _too_large(self, path: str, headers: dict[str, str]) -> Response | None:
        """The refusal of a request that is too large, or does not say how large it is."""
        length = headers.get("content-length", "")
        # Where there are both, the server goes by the other one, and the length may be a lie.
        if not (length.isascii() and length.isdigit()) or len(length) > 12 or "transfer-encoding" in headers:
            return PlainTextResponse("Expected the length of the request.", 411)
        # The form around the files takes a little more.
        limit = (self._limits.bytes * self._limits.targets if path.endswith("/upload") else 0) + _MAX_BYTES
        if int(length) > limit:
            text = f"File size exceeds what is accepted here: {self._limits.megabytes:g} MB for each image."
            return PlainTextResponse(text, 413)
        if path.endswith("/upload"):
            sweep(self._folder)
            if waiting_bytes(self._folder) + int(length) > self._limits.waiting_megabytes * 1e6:
                return PlainTextResponse("Too many images wait to be read. Try again in a few minutes.", 503)
        return None


class _TooSlow(Exception):  # noqa: N818  # not an error of ours
    """A request did not arrive in time, or is longer than announced."""


class _Arriving:
    """A request's body as it arrives, for so many seconds and no more bytes than announced; it can be read ahead."""

    def __init__(self, receive: Receive, length: int, seconds: float) -> None:
        self._receive, self._left, self._end = receive, length, time.monotonic() + seconds
        self._more = True
        self._read: bytes | None = None

    async def __call__(self) -> Message:
        """The next message, as ASGI's ``receive``."""
        if self._read is not None:
            body, self._read = self._read, None
            return {"type": "http.request", "body": body, "more_body": False}
        if not self._more:
            return await self._receive()  # the browser's disconnection
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._end - time.monotonic()))
        except TimeoutError as error:
            raise _TooSlow from error
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _TooSlow
        self._more = message["type"] == "http.request" and bool(message.get("more_body"))
        return message

    async def read(self) -> bytes:
        """The whole body; it is received once more by whoever is called next."""
        pieces = []
        while self._more:
            pieces.append((await self()).get("body", b""))
        self._read = b"".join(pieces)
        return self._read


class _Answer:
    """ASGI's ``send`` with the guard's headers; it knows whether the response has begun."""

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await self._send(message)


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
    """Whether a host name is a numeric address, which no name server can redirect."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _allowed(path: str, method: str) -> bool:
    # The server has decoded the path once: what a second decoding would change has a second meaning.
    if unquote(path) != path or ".." in path or "\\" in path or "\0" in path or "//" in path:
        return False
    if method in ("GET", "HEAD"):
        return _READ.fullmatch(path) is not None
    return method == "POST" and _WRITE.fullmatch(path) is not None


def _foreign(headers: dict[str, str]) -> bool:
    """Whether another web page, open in the same browser, sent the request."""
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _host(header: str) -> str:
    """The host name without the port."""
    return header.rsplit("]", 1)[0] + "]" if header.startswith("[") else header.rsplit(":", 1)[0]
