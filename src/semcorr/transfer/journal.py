"""The store of a transfer under way (:mod:`semcorr.storage.record_store`): what it depends on, one line per target."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from semcorr.errors import TransferError
from semcorr.keypoints.predictions import TransferRecord
from semcorr.settings import current_names
from semcorr.storage import record_store
from semcorr.storage.record_store import Shard
from semcorr.transfer.targets import Target

_LINES_BETWEEN_SETTLING = 50


class _Header(BaseModel):
    """What ``transfer.json`` holds: all that results depend on, and its hash."""

    key: str
    identity: dict[str, Any] = {}


@runtime_checkable
class Record(Protocol):
    """A finished target: its name in the output, the error if it failed, and itself as a line of JSON."""

    @property
    def file(self) -> str:
        """Its name in the output."""

    @property
    def error(self) -> str | None:
        """The message if it failed."""

    def to_json(self) -> str:
        """One line, which the class's ``from_json`` reads; that raises a ValueError for a line cut short."""


class Journal:
    """Finished targets on disk. In memory is only where each one's line is.

    Args:
        folder: Made if it is not there.
        identity: All that results depend on; a folder of another identity is refused.
        shard: The shard of the targets that this process does; others may do theirs in the same folder.

    Raises:
        TransferError: The folder is another transfer's.
        RunError: It cannot be read or written, or another process is working in it (on :meth:`open`).
    """

    record_type: ClassVar[Any] = TransferRecord
    """The class of its :class:`Record` entries."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], shard: Shard | None = None) -> None:
        self.folder, self._shard = folder, shard or Shard()
        header, current = folder / "transfer.json", json.loads(json.dumps(identity))  # as it will be read again
        record_store.open_store(header, {"key": record_store.settings_hash(current), "identity": current})
        stored = record_store.read_header(header, _Header, f"Delete {str(folder)!r} to begin anew.")
        differences = record_store.differences(current_names(stored.identity), current)
        if differences:
            chosen = " What is 'auto' depends on the machine: name --method, --model and --dtype."
            raise TransferError(
                f"{str(folder)!r} holds a transfer from other annotations or with other settings, begun and not "
                f"finished ({differences}). Finish it with its own, name another -o, or delete that folder."
                + (chosen if "matcher." in differences else "")
            )
        self._lines: dict[str, tuple[Path, int]] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator["Journal"]:
        """Keep other processes out, and read what is there."""
        with record_store.locked(self.folder, self._shard):
            self._file = record_store.new_record_file(self.folder, self._shard)
            self._unsettled = 0
            for path, start, line in record_store.read_lines(self.folder):
                with contextlib.suppress(ValueError):
                    self._keep(self.record_type.from_json(line), path, start)
            yield self

    def done(self, target: Target) -> bool:
        """Whether a target is finished. One that failed is tried again."""
        return target.file in self._lines

    def add(self, record: Record) -> None:
        """Add a finished target. The operating system has it then, and the disk after some more lines.

        Raises:
            RunError: The disk is full.
        """
        self._keep(record, self._file, record_store.append(self._file, record.to_json()))
        self._unsettled += 1
        if self._unsettled >= _LINES_BETWEEN_SETTLING:
            record_store.settle(self._file)
            self._unsettled = 0

    def records(self, targets: Sequence[Target]) -> Iterator[Any]:
        """The finished ones of ``targets``, in their order, read one after the other."""
        for target in targets:
            if target.file in self._lines:
                yield self.record_type.from_json(record_store.read_line(*self._lines[target.file]))

    def remove(self) -> None:
        """Delete the folder: everything is in the result."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _keep(self, record: Record, path: Path, start: int) -> None:
        if record.error is None:
            self._lines.setdefault(record.file, (path, start))
