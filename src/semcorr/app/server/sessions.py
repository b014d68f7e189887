"""Works: each person's own workspace, under a secret key that the server makes and the browser keeps."""

import contextlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from semcorr.app.history import History
from semcorr.app.limits import Limits
from semcorr.app.server.jobs import Busy, Job, JobQueue
from semcorr.app.server.served_files import ServedFiles, SessionFiles
from semcorr.app.workspace import Workspace
from semcorr.errors import SemcorrError
from semcorr.imaging.image import Image

_PATIENCE = 120.0
"""Seconds after the last request of a work until its job is cancelled."""
_MOST_EMPTY = 10_000
"""Works without content in memory, which are stored nowhere else."""


class Gone(SemcorrError):  # noqa: N818
    """There is no work with this key, or no longer."""


class Stale(SemcorrError):  # noqa: N818
    """The work has changed since the page asked for it.

    Args:
        session: The work.
    """

    def __init__(self, session: "Session") -> None:
        super().__init__("This work was changed on another page. Here is its present state: repeat the step.")
        self.session = session


class Session:
    """A work in memory, shared by all its pages."""

    def __init__(self, files: ServedFiles, key: str, history_bytes: float = 500e6) -> None:
        self.key = key
        self.history = History(history_bytes)
        self.files = SessionFiles(files)
        self.lock = threading.RLock()
        self.revision = 0
        self.methods: dict[bool, tuple[str, str | None]] = {}
        """Method and preset of the last run, on images and on an example's."""
        self.example: Workspace | None = None
        """The example as it was loaded: replacing it needs no confirmation."""
        self.exported: Workspace | None = None
        """The workspace that was exported last."""
        self.words_image: Image | None = None
        self.words_example = False
        """Whether that image is an example's."""
        self.words_prompt = ""
        self.words_maps: Any = None
        self.inspected: Any = None
        self.job: Job | None = None
        self.job_kind = ""
        self.job_number = 0
        self._said: Callable[[Any], str] = lambda _: ""
        self._step = 0
        """The revision that a person made last; a run that ended after that is no reason to refuse a step."""
        self._asked = time.monotonic()
        self.users = 0
        self.deleted = False

    @property
    def work(self) -> Workspace:
        """The present workspace."""
        return self.history.now

    # --- steps ---

    def check_base(self, base: int, *, exact: bool = False) -> None:
        """Check that a page has seen all that persons did, or with ``exact`` all that runs did, too.

        Raises:
            Stale: It has not.
        """
        if not (self.revision if exact else self._step) <= base <= self.revision:
            raise Stale(self)

    def do(self, name: str, work: Workspace, *, by_person: bool = True) -> None:
        """Take a step, which can be undone, to another state of the workspace.

        Raises:
            Gone: The work was deleted meanwhile.
        """
        with self.lock:
            if work is not self.work:
                self._count(by_person)
                self.history.do(name, work)

    def go(self, *, back: bool) -> str | None:
        """Undo (or redo) a step and return its name; None where there is none."""
        with self.lock:
            name = self.history.undo() if back else self.history.redo()
            if name is not None:
                self._count(by_person=True)
            return name

    def _count(self, by_person: bool) -> None:
        if self.deleted:
            raise Gone("This work was deleted.")
        self.revision += 1
        if by_person:
            self._step = self.revision

    def set_export(self, work: Workspace) -> None:
        """Note that a state of the workspace was exported."""
        with self.lock:
            self.exported = work
            self._count(by_person=False)

    def set_words(self, image: Image | None, *, example: bool, prompt: str | None = None) -> None:
        """Set image and, unless it is None, prompt of the tab *Words*."""
        with self.lock:
            self.words_image, self.words_example, self.words_maps = image, example, None
            self.words_prompt = self.words_prompt if prompt is None else prompt

    @property
    def empty(self) -> bool:
        """Whether nothing was done in it."""
        return self.revision == 0 and self.words_image is None

    @property
    def unsaved(self) -> bool:
        """Whether it has corrections or acceptances that were not exported."""
        return bool(self.work.decisions) and self.work is not self.exported

    # --- the job ---

    @property
    def busy(self) -> bool:
        """Whether a job is waiting or running."""
        return self.job is not None and not self.job.finished

    def start(
        self, queue: JobQueue, kind: str, work: Callable[[Job], Any], message: Callable[[Any], str] = lambda _: ""
    ) -> None:
        """Add a job of this work to the queue; it is cancelled when no page has asked for the work for a while.

        Args:
            queue: The queue.
            kind: What it does, for the page: "find", "words" or "maps".
            work: The work; its result is given to ``message``.
            message: What the page says when it is done.

        Raises:
            Busy: The work has a job there already, or the queue is full.
        """
        with self.lock:
            if self.busy:
                raise Busy("Your last job is not finished. Wait for it, or press Cancel.")
            self.job = queue.submit(work, lambda: time.monotonic() - self._asked > _PATIENCE)
            self.job_kind, self._said = kind, message
            self.job_number += 1

    @property
    def job_message(self) -> str:
        """What the page says when the job is done."""
        return "" if self.job is None else self._said(self.job.result)

    def cancel(self) -> None:
        """Cancel this work's job."""
        with self.lock:
            if self.job is not None:
                self.job.cancel()

    # --- memory ---

    def asked(self) -> None:
        """Note that a page asked for this work."""
        self._asked = time.monotonic()

    @property
    def held_bytes(self) -> int:
        """Bytes of the images and maps in memory, those of earlier states included."""
        own = 0 if self.words_image is None else self.words_image.pixels.nbytes
        return own + self.history.bytes + self.files.bytes

    def close(self) -> None:
        """Cancel the job and serve no file any longer."""
        self.cancel()
        self.files.clear()


class Sessions:
    """The works by their keys, which only the server makes."""

    def __init__(self, files: ServedFiles, limits: Limits) -> None:
        self._files, self._limits = files, limits
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.RLock()

    def new(self) -> str:
        """Make an empty work; return its key, of 256 random bits."""
        with self._lock:
            session = self._made(secrets.token_urlsafe(32))
            self._make_room()
            return session.key

    def empty(self) -> Session:
        """An empty work that nobody can come back to."""
        return Session(self._files, "")

    @contextlib.contextmanager
    def using(self, key: str) -> Iterator[Session]:
        """The work of a key; it stays in memory until the end of the ``with`` block.

        Raises:
            Gone: There is no such work.
        """
        with self._lock:
            session = self._open.get(key)
            if session is None:
                raise Gone("There is no work with this key on this server any more.")
            self._open.move_to_end(key)
            session.users += 1
            session.asked()
        try:
            yield session
        finally:
            with self._lock:
                session.users -= 1

    def delete(self, session: Session) -> None:
        """Forget a work."""
        with session.lock, self._lock:
            session.deleted = True
            self._open.pop(session.key, None)
            session.close()

    def check_room(self, session: Session) -> None:
        """Check that there is memory left for more images and maps; works that nobody uses leave it first.

        Raises:
            Busy: There is none.
        """
        with self._lock:
            self._make_room()
            held = self._held()
        if held > self._limits.held_megabytes * 1e6:
            raise Busy(
                f"The page holds {held / 1e6:.0f} MB of images and maps, {session.held_bytes / 1e6:.0f} of them yours, "
                "and takes no more for now. Try again in a while."
            )

    def __len__(self) -> int:
        return len(self._open)

    def _made(self, key: str) -> Session:
        session = self._open[key] = Session(self._files, key, self._limits.history_megabytes * 1e6)
        return session

    def _held(self) -> int:
        return sum(one.held_bytes for one in self._open.values())

    def _make_room(self) -> None:
        """Drop the works that were used least recently from memory until the limits are kept."""
        idle = [one for one in self._open.values() if not one.users and not one.busy]
        for session in [one for one in idle if one.empty][:-_MOST_EMPTY]:
            del self._open[session.key]
