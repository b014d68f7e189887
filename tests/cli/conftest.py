"""Fixtures of the command's tests: small images, quick settings, and ways to run the command."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.cli import main

QUICK = [
    *("--set", "rounds=1", "--set", "steps=2", "--set", "locate_crops=4", "--set", "resolution=128"),
    *("--device", "cpu"),
]


@dataclass(frozen=True)
class Ran:
    """Result of a run of the command."""

    status: int
    out: str
    err: str


@pytest.fixture
def semcorr(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command in this process."""

    def run(*argv: object) -> Ran:
        status = main([str(word) for word in argv])
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run


# As `python -m semcorr`, but listening to Ctrl-C: a test run in the background inherits that it is ignored.
START = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('semcorr', run_name='__main__', alter_sys=True)"
)


@pytest.fixture
def semcorr_process() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the command as a process of its own; whatever becomes of the test, it ends with it."""
    with ExitStack() as started:

        def start(*argv: object, **options: object) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-c", START, *map(str, argv)]
            process = started.enter_context(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
            )
            started.callback(process.kill)
            return process

        yield start


@pytest.fixture
def quick(tiny_sd: Path) -> list[str]:
    """A tiny model and settings with which a run takes a second."""
    return ["--method", "prompt", "--model", str(tiny_sd), *QUICK]


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Four small images of different sizes, smooth so that they are not all noise."""
    rng = np.random.default_rng(3)
    paths = []
    for number, size in enumerate([(96, 64), (64, 80), (72, 72), (90, 60)]):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        path = tmp_path / f"image-{number}.png"
        PIL.Image.fromarray(coarse).resize(size, PIL.Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths
