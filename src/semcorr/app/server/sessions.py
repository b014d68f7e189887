"""Works: each person's own workspace, under a secret key that the server makes and the browser keeps."""

import contextlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator

from semcorr.app.limits import Limits
from semcorr.app.server.jobs import Busy
from semcorr.app.server.kept_format import Content
from semcorr.app.server.kept_works import BrokenWork, KeptWork, KeptWorks
from semcorr.app.server.served_files import ServedFiles
from semcorr.app.server.session import Gone, Session
from semcorr.app.workspace import Workspace

_MOST_EMPTY = 10_000
"""Works without content in memory, which are stored nowhere else."""
_NOTHING = Content(revision=0, work=Workspace())


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
