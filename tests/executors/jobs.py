"""Jobs for tests, in a module of their own, so that worker processes can import it."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from semcorr.errors import RunError
from semcorr.progress import Progress


@dataclass(frozen=True)
class Squares:
    """Squares numbers, and notes in a file of its own where it started, with threads and GPU; one number is bad."""

    folder: Path
    seconds: float = 0.0

    def start(self) -> Callable[[int, Progress | None], Iterator[int]]:
        text = f"{os.getpid()} {torch.get_num_threads()} {os.environ.get('CUDA_VISIBLE_DEVICES')}"
        (self.folder / f"started-{uuid.uuid4().hex}").write_text(text)

        def do(unit: int, progress: Progress | None) -> Iterator[int]:
            if unit < 0:
                raise RunError(f"{unit} is bad.")
            time.sleep(self.seconds)
            yield unit**2
            yield -(unit**2)

        return do


@dataclass(frozen=True)
class Deadly:
    """Its worker dies as it does the unit 3."""

    def start(self) -> Callable[[int, Progress | None], Iterator[int]]:
        def do(unit: int, progress: Progress | None) -> Iterator[int]:
            if unit == 3:
                os._exit(1)
            yield unit

        return do


@dataclass(frozen=True)
class Unloadable:
    """Cannot start, and says why."""

    def start(self) -> Callable[[int, Progress | None], Iterator[int]]:
        raise RunError("There is no such model.")
