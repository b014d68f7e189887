"""The journal of a review: a line for every change, on the disk before the change counts.

It is a folder beside the reviewed file, in the layout of :mod:`semcorr.storage.record_store`.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from semcorr.errors import ReviewError, RunError
from semcorr.review.objects import Prediction, State
from semcorr.storage import record_store
from semcorr.storage.record_store import Shard

_SHARD = Shard()


class Change(BaseModel):
    """An object's state from now on, and what a program predicted where that is new."""

    model_config = ConfigDict(frozen=True)

    number: int
    state: State
    prediction: Prediction | None = None


class Entry(BaseModel):
    """A line: changes that count together, or the SHA-256 of each file that corrections were written to.

    ``again`` says that they are what objects were predicted again as, or what they were before.
    """

    model_config = ConfigDict(frozen=True)

    revision: int
    changes: tuple[Change, ...] = ()
    written: frozenset[str] | None = None
    again: Literal["predicted", "undone"] | None = None


class _Header(BaseModel):
    """What ``review.json`` holds: which content is reviewed."""

    file: str
    content: str


def content_hash(paths: Sequence[Path]) -> str:
    """The SHA-256 of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Journal:
    """The lines of a review, for one process at a time.

    Args:
        path: The reviewed file; the journal is the folder ``NAME.review`` beside it.
        content: The SHA-256 of what is reviewed.

    Raises:
        ReviewError: The folder is a review of another content.
        RunError: It cannot be read or written.
    """

    def __init__(self, path: Path, content: str) -> None:
        self.folder = path.with_name(f"{path.name}.review")
        header = self.folder / "review.json"
        record_store.open_store(header, {"file": path.name, "content": content})
        stored = record_store.read_header(header, _Header, f"Move {str(self.folder)!r} away to begin anew.")
        if stored.content != content:
            raise ReviewError(
                f"{str(self.folder)!r} holds corrections of another content of {path.name!r}, which was written anew "
                "since. Review the file that they belong to under its own name, or move that folder away to begin anew."
            )
        self._file: Path | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[list[Entry]]:
        """Keep other processes out, and read what is there, in the order in which it was written.

        Raises:
            ReviewError: Another process is reviewing the file.
            RunError: It cannot be read.
        """
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(record_store.locked(self.folder, _SHARD))
            except RunError as error:
                raise ReviewError(
                    f"The file is being reviewed by another process ({self.folder}). Open that one's page, or end it."
                ) from error
            entries = []
            for _, _, line in record_store.read_lines(self.folder):
                # A line that a kill cut short was never answered.
                with contextlib.suppress(ValueError):
                    entries.append(Entry.model_validate_json(line))
            yield sorted(entries, key=lambda entry: entry.revision)

    def add(self, entry: Entry) -> None:
        """Write a line; it is on the disk when this returns.

        Raises:
            RunError: The disk is full, or the folder is gone.
        """
        file, known = self._file or record_store.new_record_file(self.folder, _SHARD), self._file is not None
        self._file = None  # after a failure, what follows half a line goes into another file
        record_store.append(file, entry.model_dump_json(exclude_none=True))
        record_store.settle(file)
        if not known:
            record_store.settle_names(file.parent)
        self._file = file
