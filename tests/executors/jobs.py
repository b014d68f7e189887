"""A job for tests, in a module of its own, so that worker processes can import it."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from semcorr.errors import RunError
from semcorr.progress import Progress


@dataclass(frozen=True)
class Squares:
    """Squares numbers, and notes in a file of its own where it started; some numbers are dear, one is bad."""

    folder: Path
    seconds: float = 0.0

    def start(self) -> Callable[[int, Progress | None], Iterator[int]]:
        (self.folder / f"started-{os.getpid()}").touch()

        def do(unit: int, progress: Progress | None) -> Iterator[int]:
            if unit < 0:
                raise RunError(f"{unit} is bad.")
            time.sleep(self.seconds)
            yield unit**2
            yield -(unit**2)

        return do
