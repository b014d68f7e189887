"""Each user's own table, by the secret that the browser's page made up; gone when the page is closed."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from semcorr.app.jobs import Busy, Job, JobQueue
from semcorr.app.limits import Limits
from semcorr.app.shelf import OwnShelf, Shelf
from semcorr.app.workspace import Workspace
from semcorr.images import Image


class Session:
    """What the server remembers of one open page."""

    def __init__(self, shelf: Shelf) -> None:
        self.work = Workspace()
        self.shelf = OwnShelf(shelf)
        self.lock = threading.RLock()
        self.job: Job | None = None
        self.words_image: Image | None = None
        self.inspected: Any = None

    @property
    def held_bytes(self) -> int:
        """Bytes of the pictures and maps that are kept for this page."""
        images = {id(one): one.pixels.nbytes for one in (self.work.source, *self.work.targets, self.words_image) if one}
        maps = 0
        for found in self.work.result.found if self.work.result else ():
            maps += found.matches.heatmaps.nbytes + (0 if found.layers is None else found.layers.nbytes)
        return sum(images.values()) + maps + self.shelf.bytes

    def start(self, queue: JobQueue, work: Callable[[Job], Any]) -> Job:
        """Put work of this user into the queue.

        Raises:
            Busy: the user has work there already, or the queue is full.
        """
        with self.lock:
            if self.job is not None and not self.job.finished:
                raise Busy("Your last job is not finished. Wait for it, or press Cancel.")
            self.job = queue.submit(work)
            return self.job

    def cancel(self) -> None:
        """Stop this user's work."""
        with self.lock:
            if self.job is not None:
                self.job.cancel()

    def close(self) -> None:
        """Forget everything."""
        self.cancel()
        self.shelf.clear()


class Sessions:
    """All open pages."""

    def __init__(self, shelf: Shelf, limits: Limits) -> None:
        self._shelf, self._limits = shelf, limits
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: str | None) -> Session:
        """The session of a page, made when it is new."""
        if not key:
            raise Busy("The page has lost its session. Reload it.")
        with self._lock:
            if key not in self._open:
                while len(self._open) >= self._limits.sessions:
                    self._open.pop(self._idle()).close()
                self._open[key] = Session(self._shelf)
            self._open.move_to_end(key)
            return self._open[key]

    def _idle(self) -> str:
        """The one that was idle longest; whose work is under way is not idle."""
        for key, session in self._open.items():
            if session.job is None or session.job.finished:
                return key
        raise Busy("Everybody here has work under way. Try again in a while.")

    def check_room(self, session: Session) -> None:
        """Insist that all users' pictures and maps leave room for more.

        Raises:
            Busy: they do not.
        """
        with self._lock:
            held = sum(one.held_bytes for one in self._open.values())
        if held > self._limits.held_megabytes * 1e6:
            own = session.held_bytes
            raise Busy(
                f"The page holds {held / 1e6:.0f} MB of pictures and maps, {own / 1e6:.0f} of them yours, and takes no "
                "more for now. Close pages that you do not need, or try again in a while."
            )

    def drop(self, key: str | None) -> None:
        """Forget a page that was closed."""
        with self._lock:
            session = self._open.pop(key or "", None)
        if session is not None:
            session.close()

    def __len__(self) -> int:
        return len(self._open)
