"""The guard of the page for two images: besides the rest, it bounds what is sent."""

import re
from collections.abc import Collection, Iterable

from starlette.responses import Response
from starlette.routing import Route

from semcorr.app.limits import Limits
from semcorr.app.server.http_guard import SECONDS, Access, Answer, Arriving, Asgi, HttpGuard, Scope, refused

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy: the browser loads nothing that is not from this server."""

UPLOADS = frozenset({"/api/work/source", "/api/work/target", "/api/words/image"})
"""The paths that files are sent to."""


def access_to(routes: Iterable[Route], command: str) -> Access:
    """Which requests are passed on: those that a route answers, with nothing but plain letters for what varies."""
    paths: dict[str, list[str]] = {"GET": [], "POST": []}
    for route in routes:
        for method in paths.keys() & (route.methods or set()):
            paths[method].append(re.sub(r"\\\{\w+\\\}", r"[\\w.-]+", re.escape(route.path)))
    read, write = (re.compile("|".join(paths[method]), re.ASCII) for method in ("GET", "POST"))
    return Access(read=read, write=write, policy=POLICY, command=command)


class PageGuard(HttpGuard):
    """ASGI middleware.

    Args:
        app: What is guarded.
        access: Which requests are passed on.
        limits: What is refused.
        host: As in :class:`semcorr.app.server.http_guard.HttpGuard`.
        names: The same.
        seconds: The same.
    """

    def __init__(
        self,
        app: Asgi,
        access: Access,
        limits: Limits,
        host: str,
        names: Collection[str] = (),
        seconds: float = SECONDS,
    ) -> None:
        super().__init__(app, access, host, names, seconds)
        self._limits, self._arriving = limits, 0

    async def _forward(self, scope: Scope, path: str, arriving: Arriving, answer: Answer) -> None:
        """Pass on a POST request; the files of all users that are being sent or wait to be read are bounded."""
        length = arriving.length if path in UPLOADS else 0
        if length and self._arriving + length > self._limits.waiting_megabytes * 1e6:
            busy = refused("Too many images wait to be read. Try again in a few minutes.", 503)
            await busy(scope, arriving, answer)
            return
        self._arriving += length
        try:
            await super()._forward(scope, path, arriving, answer)
        finally:
            self._arriving -= length

    def _exceeds(self, path: str, length: int) -> Response | None:
        if path in UPLOADS and length > self._limits.bytes:
            text = f"The file is larger than what is accepted here: {self._limits.megabytes:g} MB for each image."
            return refused(text, 413)
        return None if path in UPLOADS else super()._exceeds(path, length)
