"""How long SPair-71k's test pairs would take each preset, worked out from what ``benchmarks.speed`` measured.

``python -m benchmarks.speed --model full-size --json speed.json``, then ``python -m benchmarks.spair_hours speed.json``

This is the run that the paper's 45.4 (PCK@0.1, its Table 1) stands for. ``semcorr plan spair`` tells the same of a
preset and a model at hand; this command tells it of the published procedure as it stands as well.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.command import main, new_app
from benchmarks.method_cost import STAGES, Stage
from semcorr.cli import console
from semcorr.datasets.registry import BENCHMARKS
from semcorr.errors import SemcorrError, SettingsError
from semcorr.evaluation.runs.plan import fewest_images

_NEEDED = "expected what python -m benchmarks.speed --json writes, with two numbers of points"

Seconds = Mapping[str, Mapping[Stage, Mapping[int, float]]]
"""By method, stage and number of points in one call."""

app = new_app("spair_hours", "How long SPair-71k's test pairs would take, from measured speed.")


@app.default
def hours(file: Path, /, *, points: int = 8) -> int:
    """How long SPair-71k's test pairs would take, from measured speed.

    Args:
        file: What benchmarks.speed wrote by --json, for at least two numbers of points.
        points: How many points an image and a pair have: an assumption.
    """
    if points < 1:
        raise SettingsError(f"--points: expected at least 1, got {points}.")
    measured = read(file)
    pairs = BENCHMARKS["spair"].known["test", ""].by_category
    table = Table(
        title=f"{sum(pairs.values()):,} pairs of {fewest_images(pairs)} sources, {points} points each",
        title_justify="left",
    )
    for heading in ("", "hours to describe", "hours to locate", "days together"):
        table.add_column(heading, justify="right" if heading else "left")
    for method, describing, locating in expected(measured, pairs, points):
        table.add_row(method, f"{describing:,.1f}", f"{locating:,.1f}", f"{(describing + locating) / 24:,.1f}")
    console.show(table)
    return 0


def expected(measured: Seconds, pairs: Mapping[str, int], points: int) -> Iterator[tuple[str, float, float]]:
    """Each method's name, its hours to describe every source once, and its hours to locate every pair."""
    for method, stages in measured.items():
        describing, locating = (_seconds(stages[stage], points) for stage in STAGES)
        yield method, fewest_images(pairs) * describing / 3600, sum(pairs.values()) * locating / 3600


def _seconds(calls: Mapping[int, float], points: int) -> float:
    """One call with ``points`` points: what a call takes in any case, and every point as much again."""
    fewest, most = min(calls), max(calls)
    slope = (calls[most] - calls[fewest]) / (most - fewest)
    return calls[fewest] + slope * (points - fewest)


def read(file: Path) -> Seconds:
    """The median seconds of all repeats.

    Raises:
        SemcorrError: the file cannot be read or is none of ``benchmarks.speed``, or holds one number of points only.
    """
    try:
        repeats: list[list[dict[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))["repeats"]
        measured: dict[str, dict[Stage, dict[int, list[float]]]] = {}
        for one in (call for calls in repeats for call in calls):
            stages = measured.setdefault(one["method"], {stage: {} for stage in STAGES})
            stages[one["stage"]].setdefault(one["points"], []).append(float(one["cost"]["seconds"]))
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise SemcorrError(f"{file}: {_NEEDED} ({type(error).__name__}: {error}).") from error
    if not measured or any(len(calls) < 2 for stages in measured.values() for calls in stages.values()):
        raise SemcorrError(f"{file}: {_NEEDED}.")
    return {
        method: {
            stage: {count: float(np.median(values)) for count, values in calls.items()}
            for stage, calls in stages.items()
        }
        for method, stages in measured.items()
    }


if __name__ == "__main__":
    sys.exit(main(app))
