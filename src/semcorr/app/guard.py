"""What stands before Gradio: only what the page needs is answered, and nothing from elsewhere is let in.

Gradio's server can do more than this page wants of it: read files, fetch addresses, edit its own source. Whatever is
not in the list here does not exist.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from semcorr.app.limits import Limits
from semcorr.app.shelf import PREFIX, Shelf

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/(?:assets|static)/[\w./-]+"
    r"|/gradio_api/(?:theme\.css|info/?|startup-events|app_id/?|queue/data|upload_progress|heartbeat/\w+)"
)
_WRITE = re.compile(r"/gradio_api/(?:queue/join|upload|cancel|reset/?)")
_SMALL = 1_000_000
"""Bytes of a request that is no picture."""

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
        shelf: pictures and files to serve.
        limits: what is refused.
        host: what the server listens to; on this machine alone, requests by any other name are refused, so that a
            page from elsewhere cannot reach it through a name of its own.
    """

    def __init__(self, app: Asgi, shelf: Shelf, limits: Limits, host: str) -> None:
        self._app, self._shelf, self._limits = app, shelf, limits
        self._names = _LOOPBACK if host in _LOOPBACK else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or hand on one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path, method = str(scope["path"]), str(scope["method"])
        if self._names is not None and _host(headers.get("host", "")) not in self._names:
            await _answer(send, 421, "This page answers on this machine only, by the name localhost.")
        elif path.startswith(PREFIX) and method in ("GET", "HEAD"):
            await self._serve(path.removeprefix(PREFIX), method, send)
        elif not _allowed(path, method):
            await _answer(send, 404, "There is nothing here.")
        elif method == "POST" and _foreign(headers):
            await _answer(send, 403, "Only this page itself may ask for this.")
        elif method == "POST" and (refusal := self._too_large(path, headers)):
            await _answer(send, *refusal)
        else:
            await self._app(scope, receive, _with_headers(send))

    async def _serve(self, token: str, method: str, send: Send) -> None:
        item = self._shelf.get(token)
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
        if not length.isdigit():
            return 411, "Say how long the request is."
        # A form around the files takes a little more.
        most = (self._limits.bytes * self._limits.targets if path.endswith("/upload") else 0) + _SMALL
        if int(length) > most:
            return 413, f"File size exceeds what is taken here: {self._limits.megabytes:g} MB for each picture."
        return None


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
