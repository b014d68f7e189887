"""What guards a server of this machine against other web pages and broken requests, whatever it serves.

Starlette's own middleware does not do: its check of host names cannot accept all numeric addresses, and its check of
origins only withholds the response, after the request has had its effect.
"""

import asyncio
import contextlib
import ipaddress
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.responses import JSONResponse, Response

from semcorr.app.server.address import LOOPBACK

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BYTES = 1_000_000
"""Bytes of a request that uploads nothing."""
SECONDS = 300.0
"""Seconds for a request to arrive: a connection that sends a byte now and then is closed."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Which requests are passed on; every other one gets the answer 404.

    Attributes:
        read: Paths of GET and HEAD requests.
        write: Paths of POST requests.
        policy: The content security policy.
        command: The command that serves, for messages.
        key: What a browser must show, in the address of the first page and in a cookie after that; None for nothing.
    """

    read: re.Pattern[str]
    write: re.Pattern[str]
    policy: str
    command: str
    key: str | None = None

    def __contains__(self, request: tuple[str, str]) -> bool:
        path, method = request
        # The server has decoded the path once: what a second decoding would change has a second meaning.
        if unquote(path) != path or ".." in path or "\\" in path or "\0" in path or "//" in path:
            return False
        if method in ("GET", "HEAD"):
            return self.read.fullmatch(path) is not None
        return method == "POST" and self.write.fullmatch(path) is not None


class HttpGuard:
    """ASGI middleware.

    Args:
        app: What is guarded.
        access: Which requests are passed on.
        host: The address that the server listens to. Requests to another host name are refused, so that a foreign page
            cannot reach the server through a name of its own (DNS rebinding): on a loopback address only localhost is
            accepted, else any numeric address and the machine's own name.
        names: Further host names to accept, such as a proxy's.
        seconds: Seconds for a request to arrive.
    """

    def __init__(
        self, app: Asgi, access: Access, host: str, names: Collection[str] = (), seconds: float = SECONDS
    ) -> None:
        self._app, self._access, self._seconds = app, access, seconds
        self._local = host in LOOPBACK
        own = () if self._local else (socket.gethostname(), socket.getfqdn(), host)
        self._names = frozenset(name.lower() for name in (*LOOPBACK, *own, *names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        answer = Answer(send, self._access.policy)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path, method = str(scope["path"]), str(scope["method"])
        response = self._refusal(scope, path, method, headers)
        if response is not None:
            await response(scope, receive, answer)
        elif method == "POST":
            await self._post(scope, path, Arriving(receive, int(headers["content-length"]), self._seconds), answer)
        else:
            await self._app(scope, receive, answer)

    def _refusal(self, scope: Scope, path: str, method: str, headers: dict[str, str]) -> Response | None:
        """The answer to a request that is not passed on."""
        if not self._is_own_name(_host(headers.get("host", ""))):
            text = f"This page does not answer to that name. See --name of {self._access.command}."
            return refused(text, 421)
        if (path, method) not in self._access:
            return refused("There is nothing here.", 404)
        if method == "POST" and _foreign(headers):
            return refused("Only this page itself may ask for this.", 403)
        if self._access.key is not None and not _shows(self._access.key, scope, path, headers):
            text = f"Open the whole address that {self._access.command} printed when it was started last."
            return refused(text, 403)
        return self._too_large(path, headers) if method == "POST" else None

    async def _post(self, scope: Scope, path: str, arriving: "Arriving", answer: "Answer") -> None:
        try:
            await self._forward(scope, path, arriving, answer)
        except TooSlow:
            if not answer.begun:
                late = refused("That took too long, or was more than announced. Try again.", 408)
                await late(scope, arriving, answer)

    async def _forward(self, scope: Scope, path: str, arriving: "Arriving", answer: "Answer") -> None:  # noqa: ARG002
        """Pass on a POST request, whose body is read first."""
        await arriving.read()
        await self._app(scope, arriving, answer)

    def _is_own_name(self, name: str) -> bool:
        return name.lower() in self._names or (not self._local and _is_address(name))

    def _too_large(self, path: str, headers: dict[str, str]) -> Response | None:
        """The refusal of a request that is too large, or does not say how large it is."""
        length = headers.get("content-length", "")
        # Where there are both, the server goes by the other one, and the length may be a lie.
        if not (length.isascii() and length.isdigit()) or len(length) > 12 or "transfer-encoding" in headers:
            return refused("Expected the length of the request.", 411)
        return self._exceeds(path, int(length))

    def _exceeds(self, path: str, length: int) -> Response | None:  # noqa: ARG002
        """The refusal of a request of so many bytes."""
        return refused("The request is too large.", 413) if length > MAX_BYTES else None


class TooSlow(Exception):  # noqa: N818  # not an error of ours
    """A request did not arrive in time, or is longer than announced."""


class Arriving:
    """A request's body as it arrives, for so many seconds and no more bytes than announced; it can be read ahead."""

    def __init__(self, receive: Receive, length: int, seconds: float) -> None:
        self._receive, self.length, self._left, self._end = receive, length, length, time.monotonic() + seconds
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
            raise TooSlow from error
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise TooSlow
        self._more = message["type"] == "http.request" and bool(message.get("more_body"))
        return message

    async def read(self) -> bytes:
        """The whole body; it is received once more by whoever is called next."""
        pieces = []
        while self._more:
            pieces.append((await self()).get("body", b""))
        self._read = b"".join(pieces)
        return self._read


class Answer:
    """ASGI's ``send`` with the guard's headers; it knows whether the response has begun."""

    def __init__(self, send: Send, policy: str) -> None:
        self._send, self.begun = send, False
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        self.begun = True
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *self._headers]
        await self._send(message)


def cookie_name(host: str) -> str:
    """The name of the key's cookie; browsers send cookies to all ports of a host, so that the port is in it."""
    port = host.rpartition(":")[2]
    return f"semcorr-{port if port.isascii() and port.isdigit() else 80}"


def _shows(key: str, scope: Scope, path: str, headers: dict[str, str]) -> bool:
    """Whether a request has the key: in a cookie, or in the address of the first page."""
    shown = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("key", []) if path == "/" else []
    with contextlib.suppress(CookieError):
        cookies = SimpleCookie(headers.get("cookie", ""))
        shown += [cookie.value for name, cookie in cookies.items() if name == cookie_name(headers.get("host", ""))]
    return any(secrets.compare_digest(one.encode(), key.encode()) for one in shown)


def _is_address(name: str) -> bool:
    """Whether a host name is a numeric address, which no name server can redirect."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _foreign(headers: dict[str, str]) -> bool:
    """Whether another web page, open in the same browser, sent the request."""
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _host(header: str) -> str:
    """The host name without the port."""
    return header.rsplit("]", 1)[0] + "]" if header.startswith("[") else header.rsplit(":", 1)[0]


def refused(text: str, status: int) -> Response:
    """The answer to a request that is refused, in the form of all other answers."""
    return JSONResponse({"error": text}, status)
