"""What all functions of the page share."""

from dataclasses import dataclass, field
from pathlib import Path

from semcorr.app.limits import Limits
from semcorr.app.matchers import LoadedMatchers
from semcorr.app.server.jobs import JobQueue
from semcorr.app.server.served_files import ServedFiles
from semcorr.app.server.sessions import Sessions


@dataclass(frozen=True, kw_only=True, eq=False)
class AppState:
    """What all functions of the page share.

    Attributes:
        matchers: Loads matchers.
        limits: What is refused.
        folder: The page's own temporary folder, where uploaded files lie until they are read.
        runs: The folder whose runs the page may show.
        files: Images and files for the browser.
        sessions: The open pages.
        queue: The heavy work of all users.
    """

    matchers: LoadedMatchers
    limits: Limits
    folder: Path
    runs: Path
    files: ServedFiles
    sessions: Sessions
    queue: JobQueue = field(default_factory=JobQueue)
