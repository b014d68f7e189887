"""A work in memory: its workspace with undo and redo, its job and its files. Every step is on the disk first."""

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

from semcorr.app.history import History
from semcorr.app.server.jobs import Busy, Job, JobQueue
from semcorr.app.server.kept_format import Content
from semcorr.app.server.kept_works import KeptWork
from semcorr.app.server.served_files import ServedFiles, SessionFiles
from semcorr.app.workspace import Workspace
from semcorr.errors import SemcorrError
from semcorr.imaging.image import Image

_PATIENCE = 120.0
"""Seconds after the last request of a work until its job is cancelled."""


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

    def __init__(self, key: str, files: ServedFiles, kept: KeptWork, content: Content, history_bytes: float) -> None:
        self.key, self.kept = key, kept
        self.history = History(history_bytes, content.work)
        self.files = SessionFiles(files)
        self.lock = threading.RLock()
        self.revision = content.revision
        self.methods = dict(content.methods)
        """Method and preset of the last run, on images and on an example's."""
        self.example = content.work if content.unchanged_example else None
        """The example as it was loaded: replacing it needs no confirmation."""
        self.words_image = content.words_image
        self.words_example = content.words_example
        """Whether that image is an example's."""
        self.words_prompt = content.words_prompt
        self.words_maps: Any = None
        self.inspected: Any = None
        self.job: Job | None = None
        self.job_kind = ""
        self.job_number = 0
        self._said: Callable[[Any], str] = lambda _: ""
        self._step = content.revision
        """The revision that a person made last: a run that ended after that is no reason to refuse a step."""
        self._asked = time.monotonic()
        self.users = 0
        self.deleted = False

    @property
    def work(self) -> Workspace:
        """The present workspace."""
        return self.history.now

    # --- steps ---

    def check_base(self, base: int, *, exact: bool = False) -> None:
        """Check that a page has seen all that persons did, or with ``exact`` all that an undo could take back.

        Raises:
            Stale: It has not.
        """
        if not (self.revision if exact else self._step) <= base <= self.revision:
            raise Stale(self)

    def do(self, name: str, work: Workspace, *, by_person: bool = True) -> None:
        """Take a step, which can be undone, to another state of the workspace; it is on the disk after that.

        Raises:
            Gone: The work was deleted meanwhile.
            NotKept: It cannot be written; nothing has changed.
        """
        with self.lock:
            if work is not self.work:
                self._keep(revision=self.revision + 1, work=work)
                self.history.do(name, work)
                self._count(by_person=by_person)

    def do_example(self, work: Workspace) -> None:
        """Load an example, likewise."""
        with self.lock:
            self._keep(revision=self.revision + 1, work=work, unchanged_example=True)
            self.history.do("example loaded", work)
            self.example = work
            self._count(by_person=True)

    def go(self, *, back: bool) -> str | None:
        """Undo (or redo) a step, likewise, and return its name; None where there is none."""
        with self.lock:
            work = self.history.next(back=back)
            if work is None:
                return None
            self._keep(revision=self.revision + 1, work=work)
            self._count(by_person=True)
            return self.history.undo() if back else self.history.redo()

    def _count(self, *, by_person: bool) -> None:
        self.revision += 1
        if by_person:
            self._step = self.revision

    def set_words(self, image: Image | None, *, example: bool, prompt: str | None = None) -> None:
        """Set image and, unless it is None, prompt of the tab *Words*.

        Raises:
            Gone: As :meth:`do`.
            NotKept: The same.
        """
        with self.lock:
            prompt = self.words_prompt if prompt is None else prompt
            self._keep(words_image=image, words_example=example, words_prompt=prompt)
            self.words_image, self.words_example, self.words_prompt = image, example, prompt
            self.words_maps = None

    def _keep(self, **changed: Any) -> None:
        """Write this work to the disk with some of it changed."""
        if self.deleted:
            raise Gone("This work was deleted.")
        work = changed.get("work", self.work)
        now = Content(
            revision=self.revision,
            work=work,
            methods=self.methods,
            unchanged_example=work is self.example,
            words_image=self.words_image,
            words_example=self.words_example,
            words_prompt=self.words_prompt,
        )
        self.kept.write(dataclasses.replace(now, **changed), self.history.states)

    @property
    def empty(self) -> bool:
        """Whether nothing was done in it."""
        return self.revision == 0 and self.words_image is None

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
