"""Works: each person's own workspace, under a secret key that the server makes and the browser keeps."""

import contextlib
import dataclasses
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from semcorr.app.history import History
from semcorr.app.limits import Limits
from semcorr.app.server.jobs import Busy, Job, JobQueue
from semcorr.app.server.kept_format import Content
from semcorr.app.server.kept_works import BrokenWork, KeptWork, KeptWorks
from semcorr.app.server.served_files import ServedFiles, SessionFiles
from semcorr.app.workspace import Workspace
from semcorr.errors import SemcorrError
from semcorr.imaging.image import Image

_PATIENCE = 120.0
"""Seconds after the last request of a work until its job is cancelled."""
_MOST_EMPTY = 10_000
"""Works without content in memory, which are stored nowhere else."""
_NOTHING = Content(revision=0, work=Workspace())


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
        self.exported = content.work if content.exported else None
        """The workspace that was exported last."""
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
        """Take a step, which can be undone, to another state of the workspace; it is on the disk after that.

        Raises:
            Gone: The work was deleted meanwhile.
            NotKept: It cannot be written; nothing has changed.
        """
        with self.lock:
            if work is not self.work:
                self._keep(revision=self.revision + 1, work=work)
                self.history.do(name, work)
                self._count(by_person)

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

    def _count(self, by_person: bool) -> None:
        self.revision += 1
        if by_person:
            self._step = self.revision

    def set_export(self, work: Workspace) -> None:
        """Note that a state of the workspace was exported.

        Raises:
            Gone: As :meth:`do`.
            NotKept: The same.
        """
        with self.lock:
            self._keep(revision=self.revision + 1, exported=work is self.work)
            self.exported = work
            self._count(by_person=False)

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
            exported=work is self.exported,
            words_image=self.words_image,
            words_example=self.words_example,
            words_prompt=self.words_prompt,
        )
        self.kept.write(dataclasses.replace(now, **changed), self.history.states)

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
    """The works by their keys, which only the server makes. Memory is a cache of the disk.

    Args:
        files: The files for the browser.
        limits: What is refused, and how much is held in memory.
        kept: The works on the disk.
    """

    def __init__(self, files: ServedFiles, limits: Limits, kept: KeptWorks) -> None:
        self._files, self._limits, self._kept = files, limits, kept
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._lock, self._reading = threading.RLock(), threading.Lock()

    def new(self) -> str:
        """Make an empty work; return its key, of 256 random bits. Its first step puts it on the disk."""
        key = secrets.token_urlsafe(32)
        with self._lock:
            self._open[key] = self._made(key, self._kept.of(key), _NOTHING)
            self._make_room()
        return key

    def empty(self) -> Session:
        """An empty work that nobody can come back to."""
        return self._made("", self._kept.of(""), _NOTHING)

    @contextlib.contextmanager
    def using(self, key: str) -> Iterator[Session]:
        """The work of a key; it stays in memory until the end of the ``with`` block.

        Raises:
            Gone: There is no such work, or it cannot be read.
        """
        session = self._taken(key) or self._read(key)
        session.kept.touch()
        try:
            yield session
        finally:
            with self._lock:
                session.users -= 1

    def _taken(self, key: str) -> Session | None:
        """The work of a key if it is in memory, from now on in use."""
        with self._lock:
            session = self._open.get(key)
            if session is None:
                return None
            if session.kept.changed_elsewhere and not session.busy and not session.users:
                del self._open[key]  # another process wrote it, or it was deleted
                session.close()
                return None
            self._open.move_to_end(key)
            session.users += 1
            session.asked()
            return session

    def _read(self, key: str) -> Session:
        """Read a work from the disk; it is in use from now on."""
        with self._reading:
            if (session := self._taken(key)) is not None:
                return session
            kept = self._kept.of(key)
            try:
                content = kept.read() if key else None
            except BrokenWork as error:
                raise Gone(str(error)) from error
            if content is None:
                raise Gone("This work is no longer on this server: it was deleted, or not used for too long.")
            with self._lock:
                session = self._open[key] = self._made(key, kept, content)
                session.users += 1
                self._make_room()
                return session

    def delete(self, session: Session) -> None:
        """Forget a work, on the disk and in memory.

        Raises:
            NotKept: It cannot be deleted from the disk.
        """
        with session.lock:
            session.kept.delete()
            session.deleted = True
            session.close()
        with self._lock:
            self._open.pop(session.key, None)

    def sweep(self) -> None:
        """Delete the works that nobody used for as long as they are kept."""
        self._kept.sweep(self._limits.hours)

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

    def _made(self, key: str, kept: KeptWork, content: Content) -> Session:
        return Session(key, self._files, kept, content, self._limits.history_megabytes * 1e6)

    def _held(self) -> int:
        return sum(one.held_bytes for one in self._open.values())

    def _make_room(self) -> None:
        """Drop the works that were used least recently from memory until the limits are kept."""
        idle = [one for one in self._open.values() if not one.users and not one.busy]
        for session in [one for one in idle if one.empty][:-_MOST_EMPTY]:
            self._drop(session)
        filled = [one for one in idle if not one.empty]
        count = sum(not one.empty for one in self._open.values())
        for number, session in enumerate(filled):
            full = count - number > self._limits.sessions or self._held() > self._limits.held_megabytes * 1e6
            if not full:
                break
            self._drop(session)

    def _drop(self, session: Session) -> None:
        del self._open[session.key]
        session.close()
