"""How far two runs of the same pairs predict the same points, such as one in float32 and one in bfloat16.

``python -m benchmarks.accuracy_and_time --presets fast --dtype bfloat16 -o runs/bfloat16``, then
``python -m benchmarks.run_agreement runs/frontier/fast runs/bfloat16/fast --cells 16``
"""

import sys
from pathlib import Path

import numpy as np

from benchmarks.command import main, new_app
from semcorr.cli import console
from semcorr.errors import RunError, SettingsError
from semcorr.evaluation.runs.folder import read_run
from semcorr.evaluation.runs.records import PairRecord, Run

app = new_app("run_agreement", "How far two runs predict the same points.")


@app.default
def agreement(one: Path, other: Path, /, *, cells: int) -> int:
    """How far two runs predict the same points.

    Args:
        one: Folder of a run.
        other: Folder of another run of the same pairs, or of some of them.
        cells: Map cells along an image's side: the finest map that is read has so many.
    """
    if cells < 1:
        raise SettingsError(f"--cells: expected at least 1, got {cells}.")
    apart = distances(read_run(one), read_run(other)) * cells
    console.say(
        f"{len(apart):,} points: {100 * np.mean(apart <= 1):.1f} % within one map cell, 1/{cells} of a side, of each "
        f"other; {100 * np.mean(apart == 0):.1f} % the same point"
    )
    return 0


def distances(one: Run, other: Run) -> np.ndarray:
    """For every point that both runs predicted, the larger of its distances across and down, in sides of the image.

    Raises:
        RunError: they have no pair in common, or a pair has other points.
    """
    records = {record.index: record for record in one.records if not record.error}
    both = [(records[record.index], record) for record in other.records if not record.error and record.index in records]
    if not both:
        raise RunError(f"{one.folder} and {other.folder} have no finished pair in common.")
    return np.concatenate([_apart(a, b) for a, b in both])


def _apart(a: PairRecord, b: PairRecord) -> np.ndarray:
    same = (a.pair, a.names, a.target_size) == (b.pair, b.names, b.target_size)
    if not same or not np.array_equal(a.source_points, b.source_points):
        raise RunError(f"The runs are not of the same pairs: {a.pair} in one, {b.pair} with other points in the other.")
    steps: np.ndarray = np.abs(a.predicted - b.predicted) / a.target_size
    return steps.max(axis=1)


if __name__ == "__main__":
    sys.exit(main(app))
