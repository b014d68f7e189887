"""The folder of a transfer under way: what it depends on, and one line a finished target.

A kill at any moment leaves it readable: files are only ever appended to, every start writes to a new one, and a line
that was cut short is ignored.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from semcorr.errors import TransferError
from semcorr.keypoints.predictions import TransferRecord
from semcorr.settings import current_names
from semcorr.storage.files import write_atomically
from semcorr.storage.record_store import Shard, locked, new_record_file, settle, writing
from semcorr.transfer.targets import Target

_LINES_BETWEEN_SETTLING = 50


class Journal:
    """Finished targets on disk. In memory is only where each one's line is.

    Args:
        folder: Made if it is not there.
        identity: All that results depend on; a folder of another is refused.
        shard: The part of the targets that this process does; others may do theirs in the same folder.

    Raises:
        TransferError: the folder is another transfer's.
        RunError: it cannot be written, or another process is at it (on :meth:`open`).
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], shard: Shard | None = None) -> None:
        self.folder, self._shard = folder, shard or Shard()
        key = _key(identity)
        header = folder / "transfer.json"
        with writing(folder):
            (folder / "records").mkdir(parents=True, exist_ok=True)
            (folder / "supports").mkdir(exist_ok=True)
            if not header.exists():
                write_atomically(header, json.dumps({"key": key, "identity": identity}, indent=1).encode())
        try:
            found = _key(current_names(json.loads(header.read_text(encoding="utf-8"))["identity"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise TransferError(
                f"{str(header)!r} is broken ({error}). Delete {str(folder)!r} to begin anew."
            ) from error
        if found != key:
            raise TransferError(
                f"{str(folder)!r} holds a transfer from other annotations or with other settings, begun and not "
                "finished. Finish it with its own, name another -o, or delete that folder."
            )
        self._lines: dict[str, tuple[Path, int]] = {}
        self._remarks: dict[str, tuple[str, ...]] = {}
        self._doubtful: dict[str, tuple[str, ...]] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator["Journal"]:
        """Keep other processes out, and read what is there."""
        with locked(self.folder, self._shard):
            self._file = new_record_file(self.folder, self._shard)
            self._unsettled = 0
            for path in sorted((self.folder / "records").glob("*.jsonl")):
                self._read(path)
            yield self

    def done(self, target: Target) -> bool:
        """Whether a target is finished. One that could not be read is tried again."""
        return target.file in self._lines

    def remarks(self, targets: Sequence[Target]) -> Mapping[str, tuple[str, ...]]:
        """Of the finished ones of ``targets`` that have remarks, by file."""
        return {target.file: self._remarks[target.file] for target in targets if target.file in self._remarks}

    def doubtful(self, targets: Sequence[Target]) -> Mapping[str, tuple[str, ...]]:
        """Of the finished ones of ``targets`` whose category is doubtful, the categories in question, by file."""
        return {target.file: self._doubtful[target.file] for target in targets if target.file in self._doubtful}

    def add(self, record: TransferRecord) -> None:
        """Add a finished target: the system has it then, and the disk every now and then.

        Raises:
            RunError: the disk is full.
        """
        with writing(self._file), self._file.open("ab") as file:
            start = file.seek(0, os.SEEK_END)
            file.write(record.to_json().encode() + b"\n")
        self._keep(record, self._file, start)
        self._unsettled += 1
        if self._unsettled >= _LINES_BETWEEN_SETTLING:
            settle(self._file)
            self._unsettled = 0

    def records(self, targets: Sequence[Target]) -> Iterator[TransferRecord]:
        """The finished ones of ``targets``, in their order, one after the other."""
        for target in targets:
            if target.file in self._lines:
                path, start = self._lines[target.file]
                with path.open("rb") as file:
                    file.seek(start)
                    yield TransferRecord.from_json(file.readline().decode())

    def remove(self) -> None:
        """Delete the folder: everything is in the result."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _keep(self, record: TransferRecord, path: Path, start: int) -> None:
        if record.error is None and record.file not in self._lines:
            self._lines[record.file] = (path, start)
            if record.remarks:
                self._remarks[record.file] = record.remarks
            if record.doubtful:
                self._doubtful[record.file] = record.doubtful

    def _read(self, path: Path) -> None:
        with path.open("rb") as file:
            start = 0
            for line in file:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self._keep(TransferRecord.from_json(line.decode()), path, start)
                start += len(line)


def _key(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
