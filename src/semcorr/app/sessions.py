"""Each user's own table, by the secret that the browser's page made up; gone when the page is closed."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from semcorr.app.jobs import Busy, Job, JobQueue
from semcorr.app.limits import Limits
from semcorr.app.shelf import OwnShelf, Shelf
from semcorr.app.workspace import Workspace
from semcorr.images import Image
from semcorr.words import WordMaps


class Session:
    """What the server remembers of one open page."""

    def __init__(self, shelf: Shelf) -> None:
        self.work = Workspace()
        self.shelf = OwnShelf(shelf)
        self.lock = threading.RLock()
        self.job: Job | None = None
        self.words: tuple[Image, WordMaps] | None = None
        self.words_image: Image | None = None
        self.inspected: Any = None
        self.used = time.monotonic()

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
                    self._open.popitem(last=False)[1].close()
                self._open[key] = Session(self._shelf)
            self._open.move_to_end(key)
            return self._open[key]

    def drop(self, key: str | None) -> None:
        """Forget a page that was closed."""
        with self._lock:
            session = self._open.pop(key or "", None)
        if session is not None:
            session.close()

    def __len__(self) -> int:
        return len(self._open)
