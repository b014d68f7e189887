"""Each user's own workspace, by a secret that the server made and the browser keeps: it outlives a reload."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from semcorr.app.history import History
from semcorr.app.server.jobs import Busy, Job, JobQueue
from semcorr.app.server.limits import Limits
from semcorr.app.server.served_files import ServedFiles, SessionFiles
from semcorr.app.workspace import Workspace
from semcorr.imaging.image import Image

_GRACE = 6.0
"""Seconds after which work is cancelled whose page was closed: a page that is loaded again is back sooner."""

_REMEMBERED = 1000
"""Pages whose workspace made room for others, so that they are not served an empty one in silence."""

_NEARLY = 0.8
"""From this part of a limit on, the page warns."""


class Session:
    """What the server remembers of one browser."""

    def __init__(self, files: ServedFiles, key: str, history_bytes: float = 500e6) -> None:
        self.key = key
        self.history = History(history_bytes)
        self.files = SessionFiles(files)
        self.lock = threading.RLock()
        self.job: Job | None = None
        self.finding: str | None = None
        """What the job finds matches with; None where it does something else."""
        self.method: tuple[str, str | None] | None = None
        """Method and preset of the last run."""
        self.pending: Any = None
        """What waits for the user's yes."""
        self.example: Workspace | None = None
        """The example as it was loaded: nothing is lost with it."""
        self.saved: Workspace | None = None
        """The workspace that was exported last."""
        self.words_image: Image | None = None
        self.inspected: Any = None
        self.kept = False
        """Whether the browser knows the key, and can come back with it."""
        self.revision = 0
        self._pages: dict[str, int] = {}
        self._left = time.monotonic()

    @property
    def work(self) -> Workspace:
        """The workspace as it is now."""
        return self.history.now

    def do(self, words: str, work: Workspace) -> None:
        """Take a step, which can be undone; ``words`` say what it was."""
        with self.lock:
            self.revision += work is not self.work
            self.history.do(words, work)

    def go(self, *, back: bool) -> str | None:
        """Undo (or redo) a step and return what it was; None where there is none."""
        with self.lock:
            words = self.history.undo() if back else self.history.redo()
            self.revision += words is not None
            return words

    @property
    def empty(self) -> bool:
        """Whether nothing would be lost with it."""
        return self.history.undoable is None and self.history.redoable is None and self.words_image is None

    @property
    def unsaved(self) -> bool:
        """Whether there are corrections or acceptances that were not exported."""
        return bool(self.work.decisions) and self.work is not self.saved

    # --- pages ---

    def enter(self, page: str) -> None:
        """A page shows this session."""
        self._pages[page] = -1

    def leave(self, page: str) -> None:
        """A page was closed."""
        self._pages.pop(page, None)
        self._left = time.monotonic()

    @property
    def pages(self) -> tuple[str, ...]:
        """The open pages that show it."""
        return tuple(self._pages)

    def shows(self, page: str) -> None:
        """A page shows the workspace as it is now."""
        self._pages[page] = self.revision

    def is_behind(self, page: str) -> bool:
        """Whether a page shows the workspace as it was before another page changed it."""
        return self._pages.get(page, -1) not in (-1, self.revision)

    def idle_seconds(self) -> float:
        """How long no page has shown it; 0 while one does."""
        return 0.0 if self._pages else time.monotonic() - self._left

    @property
    def busy(self) -> bool:
        """Whether work is under way."""
        return self.job is not None and not self.job.finished

    # --- work ---

    @property
    def held_bytes(self) -> int:
        """Bytes of the images and maps that are kept for this browser, in all states that an undo leads to."""
        own = 0 if self.words_image is None else self.words_image.pixels.nbytes
        return own + self.history.bytes + self.files.bytes

    def start(self, queue: JobQueue, work: Callable[[Job], Any], finding: str | None = None) -> Job:
        """Put work of this user into the queue; it is cancelled when no page has shown the session for a while.

        Raises:
            Busy: The user has work there already, or the queue is full.
        """
        with self.lock:
            if self.busy:
                raise Busy("Your last job is not finished. Wait for it, or press Cancel.")
            self.job = queue.submit(work, lambda: self.idle_seconds() > _GRACE)
            self.finding = finding
            return self.job

    def cancel(self) -> None:
        """Stop this user's work."""
        with self.lock:
            if self.job is not None:
                self.job.cancel()

    def close(self) -> None:
        """Forget everything."""
        self.cancel()
        self.files.clear()


class Sessions:
    """All browsers' sessions, and which page shows which.

    A page is known by the random name that Gradio's page makes up for itself, a session by its key, which only the
    server makes: who presents a key that it did not make gets a new session under another.
    """

    def __init__(self, files: ServedFiles, limits: Limits) -> None:
        self._files, self._limits = files, limits
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._shown: dict[str, Session] = {}
        self._removed: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, page: str | None) -> Session:
        """The session that a page shows, made when the page is new.

        Raises:
            Busy: There is no page, its session made room for others, or there is no room.
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
        """A page was loaded in a browser that keeps this key (None: none yet).

        Returns:
            The session, and whether it is the key's. Another has a new key, which the browser is to keep.
        """
        with self._lock:
            self._forget_old()
            known = None if key is None else self._open.get(key)
            self._removed.pop(page, None)
            before = self._shown.get(page)
            # A key that was handed out is not handed out again to who knows but a page's name.
            session = known or (before if before is not None and not before.kept else self._new())
            if before is not session:
                self._leave(page)
                self._enter(page, session)
            session.kept = True
            self._open.move_to_end(session.key)
            return session, known is not None

    def drop(self, page: str | None) -> None:
        """A page was closed; its session stays for a while if the browser can come back to it."""
        with self._lock:
            self._removed.pop(page or "", None)
            self._leave(page or "")

    def check_room(self, session: Session) -> None:
        """Insist that all users' images and maps leave room for more; those that no page shows make room first.

        Raises:
            Busy: They do not.
        """
        most = self._limits.held_megabytes * 1e6
        with self._lock:
            closed = [one for one in self._open.values() if not one.pages and not one.busy and one is not session]
            while closed and self._held() > most:
                self._remove(closed.pop(0))
            held = self._held()
        if held > most:
            own = session.held_bytes
            raise Busy(
                f"The page holds {held / 1e6:.0f} MB of images and maps, {own / 1e6:.0f} of them yours, and takes no "
                "more for now. Close pages that you do not need, or try again in a while."
            )

    def warning(self) -> str:
        """That workspaces may soon be removed, in a sentence; empty where there is room."""
        with self._lock:
            full = max(len(self._open) / self._limits.sessions, self._held() / (self._limits.held_megabytes * 1e6))
        if full < _NEARLY:
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
            self._remove(self._least())
        session = Session(self._files, secrets.token_urlsafe(32), self._limits.history_megabytes * 1e6)
        self._open[session.key] = session
        return session

    def _least(self) -> Session:
        """Who makes room: first who has nothing to lose, then who has no page open, then who was idle longest."""
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
        while len(self._removed) > _REMEMBERED:
            self._removed.popitem(last=False)
        session.close()
