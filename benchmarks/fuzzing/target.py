"""What the fuzzer needs to know of a reader."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fuzzing import mutate

MEGAPIXELS = 2.0
"""The limit for images here: the size that a header may declare decides how much memory reading takes."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader.

    Attributes:
        name: what tables call it.
        seeds: makes valid files.
        mutate: changes one of them.
        file: where the file lies in the target's folder.
        read: reads the file, or the folder around it.
        prepare: puts into the folder what else the reader needs.
        weight: its part of all inputs; slow readers have less.
        whole: whether the reader takes the files as they are; else they are beginnings of what it takes.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    mutate: mutate.Mutation
    file: str
    read: Callable[[Path], object]
    prepare: Callable[[Path], None] | None = None
    weight: float = 1.0
    whole: bool = True
