"""How many points move where a processor, the threads or the batch round in another way.

``python -m benchmarks.processor_agreement [--methods dift attention-dift prompt:fast] [--targets 3] [--json FILE]``

The same pairs of the toy benchmark are matched in processes of their own: on this processor as it is, once more, with
two threads, one row at a time, and with the instructions that older processors have. Points are compared with the first
run's.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import Parameter
from jaxtyping import Float
from rich.table import Table
from safetensors.numpy import load_file, save_file

from benchmarks.command import main, new_app, save_json
from semcorr.cli import console
from semcorr.datasets import toy_world
from semcorr.errors import RunError, SettingsError
from semcorr.matchers.load import load_matcher
from semcorr.matchers.registry import find_method
from semcorr.matchers.spec import MatcherSpec

ROOT = Path(__file__).parents[1]

app = new_app(
    "processor_agreement", "How many points move where a processor, the threads or the batch round in another way."
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to compute the same: environment, threads, and whether embeddings run one at a time."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    one_row: bool = False


SETTINGS = (
    Setting(name="as it is"),
    Setting(name="the same again"),
    Setting(name="2 threads", threads=2),
    Setting(name="one row at a time", one_row=True),
    Setting(
        name="AVX2",
        environment={"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    ),
    Setting(
        name="SSE4",
        environment={
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        },
    ),
)
"""The first is what the others are compared with."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How far one setting's points are from the first setting's.

    Attributes:
        method: the method's name, and its preset if one was chosen.
        setting: the setting's name.
        points: how many were compared.
        equal: how many are the same to the last bit.
        moved: how many lie more than a cell apart, across or down.
        largest: the largest distance, the larger of across and down, in cells.
    """

    method: str
    setting: str
    points: int
    equal: int
    moved: int
    largest: float


@app.default
def processors(
    *,
    methods: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (
        "dift",
        "attention-dift",
        "prompt:fast",
    ),
    model: str = "toy",
    targets: int = 3,
    cells: int = 16,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """How many points move where a processor, the threads or the batch round in another way.

    Args:
        methods: Names of methods; a colon and the name of a preset may follow.
        model: What is matched with.
        targets: Images that each category's first source image of the toy benchmark is matched with.
        cells: Cells along an image's side: the finest map that is read has so many.
        json_file: A file that the table is written to as well.
    """
    if targets < 1 or cells < 1:
        raise SettingsError(f"Expected at least 1 target and 1 cell, got {targets} and {cells}.")
    for method in methods:
        find_method(method.partition(":")[0])
    moves: list[Moved] = []
    with tempfile.TemporaryDirectory(prefix="semcorr-") as folder, console.TerminalProgress() as progress:
        for method in methods:
            first, *others = (one for one in SETTINGS if has_rows(method) or not one.one_row)
            progress(method, 0, 1 + len(others))
            baseline = run(first, method, model, targets, Path(folder))
            for number, setting in enumerate(others, start=1):
                progress(method, number, 1 + len(others))
                other = run(setting, method, model, targets, Path(folder))
                moves.append(compared(method, setting.name, baseline, other, cells))
    console.show(table(moves))
    if json_file is not None:
        save_json({"cells": cells, "torch": torch.__version__, "moves": [asdict(one) for one in moves]}, json_file)
    return 0


def has_rows(method: str) -> bool:
    """Whether a method, with its preset or without, optimizes embeddings: those on features alone do not."""
    return MatcherSpec(method=method.partition(":")[0]).capabilities().optimizes


def run(setting: Setting, method: str, model: str, targets: int, folder: Path) -> Float[np.ndarray, "points 2"]:
    """Match all pairs in a process of a setting's own; points in sides of their image.

    Raises:
        RunError: the process failed.
    """
    file = folder / "points.safetensors"
    file.unlink(missing_ok=True)
    threads = str(setting.threads)
    words = [method, model, str(targets), str(folder / "toy"), threads, str(int(setting.one_row)), str(file)]
    program = "import sys; from benchmarks.processor_agreement import write_points; write_points(*sys.argv[1:])"
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **setting.environment}
    ended = subprocess.run(  # noqa: S603  # this program, with words of its own
        [sys.executable, "-c", program, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["without a word"])[-1]
        raise RunError(f"{method} with {setting.name!r} ended with status {ended.returncode}: {last}")
    points: Float[np.ndarray, "points 2"] = load_file(file)["points"]
    return points


def write_points(method: str, model: str, targets: str, folder: str, threads: str, one_row: str, file: str) -> None:
    """Match all pairs and write the points, in sides of their image; all words are a command line's."""
    torch.set_num_threads(int(threads))
    name, _, preset = method.partition(":")
    options: dict[str, Any] = {"preset": preset} if preset else {}
    if int(one_row):
        options["memory_budget"] = 1
    matcher = load_matcher(name, model, device="cpu", dtype="float32", **options)
    points = []
    for pair in toy_world.load(Path(folder), sources=1, targets=int(targets)).pairs:
        query = matcher.describe(pair.source.path, pair.source.points)
        matches = matcher.locate(query, pair.target.path)
        points.append(matches.points / matches.image_size)
    save_file({"points": np.concatenate(points)}, file)


def compared(
    method: str, setting: str, first: Float[np.ndarray, "points 2"], other: Float[np.ndarray, "points 2"], cells: int
) -> Moved:
    """How far points, in sides of their image, are from the first run's."""
    apart = np.abs(other - first).max(axis=1) * cells
    return Moved(
        method=method,
        setting=setting,
        points=len(apart),
        equal=int((apart == 0).sum()),
        moved=int((apart > 1).sum()),
        largest=float(apart.max()),
    )


def table(moves: Sequence[Moved]) -> Table:
    """The moves, for a terminal."""
    made = Table(title="Against this processor as it is, with one thread")
    for heading in ("method", "computed with"):
        made.add_column(heading)
    for heading in ("points", "the same to the last bit", "moved by more than a cell", "largest move, cells"):
        made.add_column(heading, justify="right")
    for one in moves:
        share = f"{one.moved} ({100 * one.moved / one.points:.1f} %)"
        made.add_row(one.method, one.setting, f"{one.points:,}", f"{one.equal:,}", share, f"{one.largest:.2f}")
    return made


if __name__ == "__main__":
    sys.exit(main(app))
