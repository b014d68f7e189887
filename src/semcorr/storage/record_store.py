"""A folder of records: lines of JSON that several processes append to, each to a file of its own.

Files are only ever appended to, and a line that a kill cut short is ignored, so nothing has to be repaired.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from semcorr.errors import RunError

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part ``number`` of ``count``, from 1."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise RunError(f"Expected a shard as i/n with 1 <= i <= n, got {self.number}/{self.count}.")

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """This part of them: every ``count``-th."""
        return items[self.number - 1 :: self.count]


@contextlib.contextmanager
def locked(folder: Path, shard: Shard) -> Iterator[None]:
    """Keep a second process from doing the same pairs at the same time. A killed process lets go by itself.

    Shards of one division do not share pairs; those of another, and the whole, do.

    Raises:
        RunError: another process is at them.
    """
    with contextlib.ExitStack() as held:
        _lock(folder, f".{shard}.lock", held)
        for other in sorted(folder.glob(".*-of-*.lock")):
            if not other.name.endswith(f"-of-{shard.count}.lock"):
                with contextlib.ExitStack() as looked_at:
                    _lock(folder, other.name, looked_at)
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
    """A file that no process has written to yet; it is made here, so that no other takes it."""
    with writing(folder):
        for number in itertools.count():
            path = folder / "records" / f"{shard}.{number}.jsonl"
            with contextlib.suppress(FileExistsError):
                path.touch(exist_ok=False)
                return path
    raise AssertionError("unreachable")


def settle(path: Path) -> None:
    """Wait until all lines of a record file are on the disk: a power cut does not lose them.

    Raises:
        RunError: the disk is full, or broken.
    """
    with writing(path), path.open("rb+") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk, missing rights and the like into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror or error}. What is finished is kept; when there is room (or "
            "with another -o), the same command continues."
        ) from error
