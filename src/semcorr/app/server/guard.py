"""The guard before Gradio: it answers only what the page needs, and refuses requests of other web pages.

Gradio's server can do more than this page needs: read files, fetch addresses, edit its own source. Whatever is not
listed here gets the answer 404.
"""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from starlette.responses import PlainTextResponse, Response

from semcorr.app.limits import Limits, sweep, waiting_bytes
from semcorr.app.server.http_guard import (
    MAX_BYTES,
    SECONDS,
    Access,
    Answer,
    Arriving,
    Asgi,
    HttpGuard,
    Receive,
    Scope,
)
from semcorr.app.server.served_files import PREFIX, ServedFiles

_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/(?:assets|static)/[\w./-]+"
    r"|/gradio_api/(?:theme\.css|info/?|startup-events|app_id/?|queue/data|upload_progress|heartbeat/\w+)"
)
_STREAM = re.compile(r"/gradio_api/(?:queue/data|upload_progress|heartbeat/\w+)")
_STREAMS_PER_SESSION = 4
_WRITE = re.compile(r"/gradio_api/(?:queue/join|upload|cancel|reset/?)")

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    # Gradio compiles its templates in the browser.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""The content security policy: the browser loads nothing that is not from this server."""

_ACCESS = Access(read=_READ, write=_WRITE, policy=POLICY, command="semcorr app")


class Guard(HttpGuard):
    """ASGI middleware.

    Args:
        app: Gradio's.
        files: Images and files to serve.
        limits: What is refused.
        host: As in :class:`semcorr.app.server.http_guard.HttpGuard`.
        folder: The folder of uploaded files: a request may name these and no others.
        names: As in :class:`semcorr.app.server.http_guard.HttpGuard`.
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
        seconds: float = SECONDS,
    ) -> None:
        super().__init__(app, _ACCESS, host, names, seconds)
        self._files, self._limits, self._folder = files, limits, folder.resolve()
        self._streams = 0

    def _own_answer(self, path: str, method: str) -> Response | None:
        return self._file(path.removeprefix(PREFIX)) if path.startswith(PREFIX) and method in ("GET", "HEAD") else None

    async def _get(self, scope: Scope, path: str, receive: Receive, answer: Answer) -> None:
        """Pass on a request; those whose response stays open, as each page has two of, are limited in number."""
        if not _STREAM.fullmatch(path):
            await self._app(scope, receive, answer)
            return
        if self._streams >= _STREAMS_PER_SESSION * self._limits.sessions:
            busy = PlainTextResponse("Too many pages are open here. Try again in a while.", 503)
            await busy(scope, receive, answer)
            return
        self._streams += 1
        try:
            await self._app(scope, receive, answer)
        finally:
            self._streams -= 1

    async def _forward(self, scope: Scope, path: str, arriving: Arriving, answer: Answer) -> None:
        """Pass on a POST request; all but uploads are read first, for the files that they name."""
        if not path.endswith("/upload") and not self._names_own_files(await arriving.read()):
            text = "Expected images that were sent to this page, got something else. Reload it."
            await PlainTextResponse(text, 400)(scope, arriving, answer)
            return
        await self._app(scope, arriving, answer)

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

    def _exceeds(self, path: str, length: int) -> Response | None:
        # The form around the files takes a little more.
        limit = (self._limits.bytes * self._limits.targets if path.endswith("/upload") else 0) + MAX_BYTES
        if length > limit:
            text = f"File size exceeds what is accepted here: {self._limits.megabytes:g} MB for each image."
            return PlainTextResponse(text, 413)
        if path.endswith("/upload"):
            sweep(self._folder)
            if waiting_bytes(self._folder) + length > self._limits.waiting_megabytes * 1e6:
                return PlainTextResponse("Too many images wait to be read. Try again in a few minutes.", 503)
        return None


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
