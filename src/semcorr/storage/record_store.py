"""A store of records: lines of JSON that several processes append to, each to a file of its own.

::

    <name>.json              the header: what the records belong to, such as settings; written once
    records/1-of-1.0.jsonl   lines of shard 1 of 1, written by one process; every start opens a new file
    .1-of-1.lock             held by the process that works on the shard

Files are only ever appended to, and a line that a kill cut short is ignored, so nothing has to be repaired. Shards may
write into one folder, or into folders of their own that are merged by copying ``records``.
"""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from semcorr.errors import RunError
from semcorr.storage.files import write_atomically

Item = TypeVar("Item")
Header = TypeVar("Header", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Shard ``number`` of ``count``, counted from 1."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise RunError(f"Expected a shard as i/n with 1 <= i <= n, got {self.number}/{self.count}.")

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """The shard's items: every ``count``-th."""
        return items[self.number - 1 :: self.count]


def open_store(path: Path, header: Mapping[str, Any]) -> None:
    """Make a store's folders, and write its header if there is none yet.

    Args:
        path: The header's file; the store is its folder.
        header: What the records belong to.

    Raises:
        RunError: The folder cannot be written.
    """
    with writing(path.parent):
        (path.parent / "records").mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_atomically(path, (json.dumps(header, indent=2) + "\n").encode())


def read_header(path: Path, model: type[Header], advice: str) -> Header:
    """Read a store's header; validators find its path in their context.

    Raises:
        RunError: It cannot be read, or is not what ``model`` describes; the message ends with ``advice``.
    """
    try:
        return model.model_validate_json(path.read_bytes(), context={"path": path})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"{path} is broken ({where}{': ' if where else ''}{first['msg']}). {advice}") from error
    except OSError as error:
        raise RunError(f"{path} is broken ({error.strerror or error}). {advice}") from error


def settings_hash(settings: Mapping[str, Any]) -> str:
    """The SHA-256 of settings as JSON, whatever the order of their names."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def differences(
    first: Mapping[str, Any], second: Mapping[str, Any], *, ignore: Container[str] = (), prefix: str = ""
) -> str:
    """Say what differs between settings, as ``name: 'value' there, 'value' here; ...``; empty if nothing does.

    Args:
        first: Settings "there", as JSON holds them.
        second: Settings "here".
        ignore: Dotted names, such as ``dataset.root``, that may differ.
        prefix: What dotted names begin with.
    """
    texts: list[str] = []
    for key in sorted({*first, *second}):
        there, here, name = first.get(key, _ABSENT), second.get(key, _ABSENT), f"{prefix}{key}"
        if name in ignore:
            continue
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            texts.append(differences(there, here, ignore=ignore, prefix=f"{name}."))
        elif there != here:
            texts.append(f"{name}: {there!r} there, {here!r} here")
    return "; ".join(filter(None, texts))


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()


@contextlib.contextmanager
def locked(folder: Path, shard: Shard) -> Iterator[None]:
    """Keep a second process from doing the same work at the same time. A killed process releases its lock.

    Shards of one division share no work; those of another division, and the whole, do.

    Raises:
        RunError: Another process is working on it.
    """
    with contextlib.ExitStack() as held:
        _lock(folder, f".{shard}.lock", held)
        for other in sorted(folder.glob(".*-of-*.lock")):
            if not other.name.endswith(f"-of-{shard.count}.lock"):
                with contextlib.ExitStack() as briefly:
                    _lock(folder, other.name, briefly)
        yield


def _lock(folder: Path, name: str, held: contextlib.ExitStack) -> None:
    with writing(folder):
        try:
            held.enter_context(FileLock(folder / name).acquire(timeout=0))
        except Timeout as error:
            number, _, count = name.strip(".").removesuffix(".lock").partition("-of-")
            part = "" if count == "1" else f" shard {number}/{count} of"
            raise RunError(
                f"Another process is working on{part} {folder}. Wait for it, stop it, or use --shard i/n on both, with "
                "the same n."
            ) from error


def new_record_file(folder: Path, shard: Shard) -> Path:
    """Make a record file that no other process writes to."""
    with writing(folder):
        for number in itertools.count():
            path = folder / "records" / f"{shard}.{number}.jsonl"
            with contextlib.suppress(FileExistsError):
                path.touch(exist_ok=False)
                return path
    raise AssertionError("unreachable")


def append(path: Path, line: str) -> int:
    """Add a line to a record file; return the byte that it begins at.

    The operating system has the line then: a process that is killed does not lose it, a power cut may
    (:func:`settle`).

    Raises:
        RunError: The disk is full, or the file cannot be written.
    """
    with writing(path), path.open("ab") as file:
        start = file.seek(0, os.SEEK_END)
        file.write(line.encode() + b"\n")
    return start


def read_lines(folder: Path) -> Iterator[tuple[Path, int, bytes]]:
    """All lines of a store: the file, the byte that the line begins at, and the line, perhaps cut short by a kill."""
    for path in sorted((folder / "records").glob("*.jsonl")):
        start = 0
        with path.open("rb") as file:
            for line in file:
                yield path, start, line
                start += len(line)


def read_line(path: Path, start: int) -> bytes:
    """The line of a record file that begins at a byte, as :func:`append` and :func:`read_lines` give it."""
    with path.open("rb") as file:
        file.seek(start)
        return file.readline()


def copy_records(sources: Sequence[Path], folder: Path) -> None:
    """Copy the record files of several stores into another one, under names that do not collide.

    Raises:
        RunError: The folder cannot be written.
    """
    with writing(folder):
        for number, source in enumerate(sources):
            for path in sorted((source / "records").glob("*.jsonl")):
                shutil.copyfile(path, folder / "records" / f"{number}.{path.name}")


def settle(path: Path) -> None:
    """Wait until all lines of a record file are on the disk, so that a power cut does not lose them.

    Raises:
        RunError: The disk is full, or broken.
    """
    with writing(path), path.open("rb+") as file:
        os.fsync(file.fileno())


def settle_names(folder: Path) -> None:
    """Wait until the names of a folder's files are on the disk, where the system can: new files are not without.

    Raises:
        RunError: The disk is full, or broken.
    """
    if os.name != "posix":
        return
    with writing(folder):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk, missing permissions and the like into an error that says what to do.

    Raises:
        RunError: In place of any ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror or error}. What is finished is kept; when there is room (or "
            "with another -o), the same command continues."
        ) from error
