"""Each user's own workspace, under a secret key that the server makes and the browser keeps: it outlives a reload.

``gr.State`` does not: it belongs to one load of the page.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from semcorr.app.history import History
from semcorr.app.limits import Limits
from semcorr.app.server.jobs import Busy, Job, JobQueue
from semcorr.app.server.served_files import ServedFiles, SessionFiles
from semcorr.app.workspace import Workspace
from semcorr.imaging.image import Image

_GRACE = 6.0
"""Seconds after its page was closed until a job is cancelled: a reload takes less."""

_MAX_REMOVED = 1000
"""Remembered pages whose workspace was removed, so that they get a message and not an empty workspace."""

_WARN_FROM = 0.8
"""The fraction of a limit from which on the page warns."""


class Session:
    """The state of one browser's workspace, shared by all its pages."""

    def __init__(self, files: ServedFiles, key: str, history_bytes: float = 500e6) -> None:
        self.key = key
        self.history = History(history_bytes)
        self.files = SessionFiles(files)
        self.lock = threading.RLock()
        self.job: Job | None = None
        self.finding: str | None = None
        """Method and preset with which the job finds matches; None for other work."""
        self.methods: dict[bool, tuple[str, str | None]] = {}
        """Method and preset of the last run, on images and on an example's."""
        self.pending: Any = None
        """The step that waits for the user's confirmation."""
        self.example: Workspace | None = None
        """The example as it was loaded: replacing it needs no confirmation."""
        self.saved: Workspace | None = None
        """The workspace that was exported last."""
        self.words_image: Image | None = None
        self.words_example = False
        """Whether that image is an example's."""
        self.inspected: Any = None
        self.kept = False
        """Whether the browser has the key, and can come back with it."""
        self.revision = 0
        self._pages: dict[str, int] = {}
        self._listed: dict[str, bool] = {}
        self._left = time.monotonic()

    @property
    def work(self) -> Workspace:
        """The present workspace."""
        return self.history.now

    def do(self, name: str, work: Workspace) -> None:
        """Take a step, which can be undone, to another state of the workspace."""
        with self.lock:
            self.revision += work is not self.work
            self.history.do(name, work)

    def go(self, *, back: bool) -> str | None:
        """Undo (or redo) a step and return its name; None where there is none."""
        with self.lock:
            name = self.history.undo() if back else self.history.redo()
            self.revision += name is not None
            return name

    @property
    def empty(self) -> bool:
        """Whether nothing was done in it."""
        return self.history.undoable is None and self.history.redoable is None and self.words_image is None

    @property
    def unsaved(self) -> bool:
        """Whether it has corrections or acceptances that were not exported."""
        return bool(self.work.decisions) and self.work is not self.saved

    # --- pages ---

    def enter(self, page: str) -> None:
        """Note that a page shows this session."""
        self._pages[page] = -1

    def leave(self, page: str) -> None:
        """Note that a page was closed."""
        self._pages.pop(page, None)
        self._listed.pop(page, None)
        self._left = time.monotonic()

    @property
    def pages(self) -> tuple[str, ...]:
        """The open pages that show it."""
        return tuple(self._pages)

    def shows(self, page: str) -> None:
        """Note that a page shows the present workspace."""
        self._pages[page] = self.revision

    def lists(self, page: str) -> bool:
        """Note that a page lists the methods for the present images; whether it listed others before."""
        before, self._listed[page] = self._listed.get(page), self.work.example
        return before != self.work.example

    def is_behind(self, page: str) -> bool:
        """Whether another page changed the workspace since this one showed it."""
        return self._pages.get(page, -1) not in (-1, self.revision)

    def idle_seconds(self) -> float:
        """Seconds since the last page was closed; 0 while one is open."""
        return 0.0 if self._pages else time.monotonic() - self._left

    @property
    def busy(self) -> bool:
        """Whether a job is waiting or running."""
        return self.job is not None and not self.job.finished

    # --- work ---

    @property
    def held_bytes(self) -> int:
        """Bytes of the images and maps in memory, those of earlier states included."""
        own = 0 if self.words_image is None else self.words_image.pixels.nbytes
        return own + self.history.bytes + self.files.bytes

    def start(self, queue: JobQueue, work: Callable[[Job], Any], finding: str | None = None) -> Job:
        """Add a job of this user to the queue; it is cancelled when no page has shown the session for a while.

        Raises:
            Busy: The user has a job there already, or the queue is full.
        """
        with self.lock:
            if self.busy:
                raise Busy("Your last job is not finished. Wait for it, or press Cancel.")
            self.job = queue.submit(work, lambda: self.idle_seconds() > _GRACE)
            self.finding = finding
            return self.job

    def cancel(self) -> None:
        """Cancel this user's job."""
        with self.lock:
            if self.job is not None:
                self.job.cancel()

    def close(self) -> None:
        """Cancel the job and remove the files."""
        self.cancel()
        self.files.clear()


class Sessions:
    """The sessions of all browsers, and which page shows which.

    A page is known by its session hash, a random name that Gradio's script makes up when the page is loaded. A session
    is known by its key, which only the server makes: whoever sends another key gets a new session with a new key.
    """

    def __init__(self, files: ServedFiles, limits: Limits) -> None:
        self._files, self._limits = files, limits
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._shown: dict[str, Session] = {}
        self._removed: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, page: str | None) -> Session:
        """The session that a page shows; a new page gets a new session.

        Raises:
            Busy: There is no page, its session was removed to make room, or there is no room.
        """
        if not page:
            raise Busy("The page has lost its session. Reload it.")
        with self._lock:
            if page in self._removed:
                raise Busy(
                    f"Your workspace was removed to make room: this server keeps {self._limits.sessions} of them and "
                    f"{self._limits.held_megabytes:g} MB. Reload the page to begin a new one."
                )
            if page not in self._shown:
                self._enter(page, self._new())
            session = self._shown[page]
            self._open.move_to_end(session.key)
            return session

    def open(self, page: str, key: str | None) -> tuple[Session, bool]:
        """Open the session of a page that was loaded.

        Args:
            page: The page.
            key: The key that its browser has kept; None for none yet.

        Returns:
            The session, and whether the key is its own. If not, the session has a new key for the browser to keep.
        """
        with self._lock:
            self._forget_old()
            known = None if key is None else self._open.get(key)
            self._removed.pop(page, None)
            before = self._shown.get(page)
            # A key is given to one page only: a page's name alone must not lead to the key of its session.
            session = known or (before if before is not None and not before.kept else self._new())
            if before is not session:
                self._leave(page)
                self._enter(page, session)
            session.kept = True
            self._open.move_to_end(session.key)
            return session, known is not None

    def drop(self, page: str | None) -> None:
        """Close a page; its session stays for a while if the browser can come back to it."""
        with self._lock:
            self._removed.pop(page or "", None)
            self._leave(page or "")

    def check_room(self, session: Session) -> None:
        """Check that there is memory left for more images and maps; sessions without a page are removed first.

        Raises:
            Busy: There is none.
        """
        limit = self._limits.held_megabytes * 1e6
        with self._lock:
            closed = [one for one in self._open.values() if not one.pages and not one.busy and one is not session]
            while closed and self._held() > limit:
                self._remove(closed.pop(0))
            held = self._held()
        if held > limit:
            own = session.held_bytes
            raise Busy(
                f"The page holds {held / 1e6:.0f} MB of images and maps, {own / 1e6:.0f} of them yours, and takes no "
                "more for now. Close pages that you do not need, or try again in a while."
            )

    def warning(self) -> str:
        """A warning that workspaces may soon be removed; empty while there is room."""
        with self._lock:
            full = max(len(self._open) / self._limits.sessions, self._held() / (self._limits.held_megabytes * 1e6))
        if full < _WARN_FROM:
            return ""
        return (
            "This server is nearly full: once its page is closed, a workspace may be removed to make room. Export what "
            "you want to keep."
        )

    def __len__(self) -> int:
        return len(self._open)

    def _held(self) -> int:
        return sum(one.held_bytes for one in self._open.values())

    def _new(self) -> Session:
        self._forget_old()
        while len(self._open) >= self._limits.sessions:
            self._remove(self._least_needed())
        session = Session(self._files, secrets.token_urlsafe(32), self._limits.history_megabytes * 1e6)
        self._open[session.key] = session
        return session

    def _least_needed(self) -> Session:
        """The session to remove: an empty one before one without a page before the one that was idle longest."""
        idle = [one for one in self._open.values() if not one.busy]
        if not idle:
            raise Busy("Everybody here has work under way. Try again in a while.")
        return min(idle, key=lambda one: (not one.empty, bool(one.pages)))

    def _forget_old(self) -> None:
        for session in [one for one in self._open.values() if one.idle_seconds() > self._limits.hours * 3600]:
            self._remove(session)

    def _enter(self, page: str, session: Session) -> None:
        self._shown[page] = session
        session.enter(page)

    def _leave(self, page: str) -> None:
        session = self._shown.pop(page, None)
        if session is None:
            return
        session.leave(page)
        if not session.pages and (session.empty or not session.kept):
            self._remove(session)

    def _remove(self, session: Session) -> None:
        self._open.pop(session.key, None)
        for page in session.pages:
            self._shown.pop(page, None)
            self._removed[page] = None
        while len(self._removed) > _MAX_REMOVED:
            self._removed.popitem(last=False)
        session.close()
