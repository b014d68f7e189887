"""What all answers of the page share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from starlette.requests import Request
from starlette.routing import Route

from semcorr.app.limits import Limits
from semcorr.app.matchers import LoadedMatchers
from semcorr.app.server.answers import Handle, answered
from semcorr.app.server.jobs import Busy, JobQueue
from semcorr.app.server.kept_works import NotKept
from semcorr.app.server.served_files import ServedFiles
from semcorr.app.server.session import Gone, Session, Stale
from semcorr.app.server.sessions import Sessions
from semcorr.app.view import work_view
from semcorr.errors import SemcorrError

KEY_HEADER = "semcorr-work"
"""The header that names a work; a page of another origin cannot send it."""

_DECODERS = 2
"""Images that are read at a time: that takes several times the memory of the result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AppState:
    """What all answers of the page share.

    Attributes:
        matchers: Loads matchers.
        limits: What is refused.
        runs: The folder whose runs the page may show.
        files: Images and files for the browser.
        sessions: The works.
        queue: The heavy work of all users.
        kept: Where and how long works are kept, in a sentence.
    """

    matchers: LoadedMatchers
    limits: Limits
    runs: Path
    files: ServedFiles
    sessions: Sessions
    queue: JobQueue = field(default_factory=JobQueue)
    kept: str = ""
    decoding: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_DECODERS))

    def route(self, path: str, handle: Handle, *, post: bool = False) -> Route:
        """A route for everybody."""
        return Route(path, answered(handle, self._refusal), methods=["POST" if post else "GET"])

    def work_route(
        self,
        path: str,
        handle: Callable[[Session, Request, bytes], Any],
        *,
        post: bool = False,
        upload: bool = False,
        anyone: bool = False,
    ) -> Route:
        """A route for the work that a request names by its key.

        Args:
            path: The path, below ``/api``.
            handle: Gets the work, the request and its body; returns a response, or what becomes JSON.
            post: Whether it is for POST requests, else for GET.
            upload: Whether an image is sent: few are read at a time. Its path must be in
                :data:`semcorr.app.server.page_guard.UPLOADS`.
            anyone: Whether a request without a key is answered for the empty work.
        """

        def handled(request: Request, body: bytes) -> Any:
            if anyone and KEY_HEADER not in request.headers:
                return handle(self.sessions.empty(), request, body)
            with self.sessions.using(request.headers.get(KEY_HEADER, "")) as session:
                return handle(session, request, body)

        answer = answered(handled, self._refusal, self.decoding if upload else None)
        return Route(path, answer, methods=["POST" if post or upload else "GET"])

    def view(self, session: Session) -> dict[str, Any]:
        """A work as the page gets it."""
        return work_view(session, self.matchers, self.queue)

    def _refusal(self, error: SemcorrError) -> tuple[int, dict[str, Any]]:
        """The status of an error, and what the answer says besides its message."""
        if isinstance(error, Gone):
            return 404, {"gone": True}
        if isinstance(error, Stale):
            return 409, {"work": self.view(error.session)}
        if isinstance(error, NotKept):
            return 507, {}
        return 503 if isinstance(error, Busy) else 422, {}
