"""The columns of a report that hold one figure per run.

To add a column, write a module with a :class:`RunColumn` and add it to ``ERROR_COLUMNS`` or ``CONFIDENCE_COLUMNS``: one
file and one line. It then stands in every format of ``semcorr report``, ``eval`` and ``ablate``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from semcorr.evaluation.metrics import confidence as metrics
from semcorr.evaluation.metrics.pck import is_correct
from semcorr.evaluation.metrics.scores import Scores, Summary, summarise
from semcorr.evaluation.report.comparability import is_calibrated
from semcorr.evaluation.report.groups import Member, ReportOptions
from semcorr.evaluation.report.tables import Column, Kind, Value
from semcorr.evaluation.runs.records import PairRecord

CORRECT = 0.1
"""The alpha at which confidence is compared with correctness."""


@dataclass(frozen=True, eq=False)
class RunFigures:
    """One run of a report and what its figures are computed from, each computed when first asked for."""

    member: Member
    options: ReportOptions

    @property
    def scores(self) -> Scores:
        """Every point's error."""
        return self.member.scores

    @cached_property
    def summary(self) -> Summary:
        """The figures of all pairs."""
        return summarise(self.scores, self.options.alphas, highest=self.options.highest)

    @cached_property
    def confidence(self) -> Float[np.ndarray, " points"]:
        """Every point's confidence."""
        return self.scores.confidence()

    @cached_property
    def correct(self) -> Bool[np.ndarray, " points"]:
        """Which points are correct at ``CORRECT``."""
        return is_correct(self.scores.errors, CORRECT)

    @cached_property
    def confident_half(self) -> float:
        """The fraction of correct points in the more confident half."""
        return metrics.confident_half(self.confidence, self.correct)


@dataclass(frozen=True)
class RunColumn:
    """A column with one figure per run.

    Attributes:
        key: The name in CSV and JSON; ``{highest}`` stands for the largest alpha of the area under the PCK curve.
        kind: How values are printed, see :class:`semcorr.evaluation.report.tables.Column`.
        value: Computes a run's figure; None where there is none.
        heading: The heading, if it is not the key.
        timing: Whether it holds seconds, which are shown on request only.
    """

    key: str
    kind: Kind
    value: Callable[[RunFigures], Value]
    heading: str = ""
    timing: bool = False

    def column(self, options: ReportOptions) -> Column:
        """The column of a table."""
        key = self.key.format(highest=f"{options.highest:g}")
        return Column(key=key, heading=self.heading or key, kind=self.kind)


def shown(columns: Sequence[RunColumn], options: ReportOptions) -> list[RunColumn]:
    """The columns that a report with these options has."""
    return [column for column in columns if options.times or not column.timing]


def percent(fraction: float) -> float | None:
    """A fraction in percent; None for NaN, since without points there is no figure."""
    # Fewer digits than sums in another order could change.
    return None if np.isnan(fraction) else round(100 * float(fraction), 6)


def _fraction(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _seconds_to_describe(run: RunFigures) -> float | None:
    """Seconds per point: a point of a source is described once for all of its pairs."""
    located = _located(run.scores)
    points = {(r.source, r.category, tuple(point)) for r in located for point in r.source_points.tolist()}
    seconds = sum(record.describe_seconds for record in run.scores.records)
    return seconds / len(points) if seconds else None


def _seconds_to_locate(run: RunFigures) -> float | None:
    """Seconds per pair: the points of a pair are located together."""
    located = _located(run.scores)
    seconds = sum(record.locate_seconds for record in located)
    return seconds / len(located) if seconds else None


def _located(scores: Scores) -> list[PairRecord]:
    return [r for r, failed in zip(scores.records, scores.failed, strict=True) if not failed and len(r.truth)]


ERROR_COLUMNS: tuple[RunColumn, ...] = (
    RunColumn("mean error", "fraction", lambda run: _fraction(run.summary.mean_error)),
    RunColumn("median error", "fraction", lambda run: _fraction(run.summary.median_error)),
    RunColumn("auc@{highest} per image", "percent", lambda run: percent(run.summary.area_per_image), "area per image"),
    RunColumn("auc@{highest} per point", "percent", lambda run: percent(run.summary.area_per_point), "area per point"),
    RunColumn("pairs", "count", lambda run: run.summary.pairs),
    RunColumn("points", "count", lambda run: run.summary.points),
    RunColumn("pairs without points", "count", lambda run: run.summary.empty),
    RunColumn("failed pairs", "count", lambda run: run.summary.failed),
    RunColumn("s to describe a point", "seconds", _seconds_to_describe, timing=True),
    RunColumn("s to locate a pair", "seconds", _seconds_to_locate, timing=True),
)
"""Of the table of errors and counts."""

CONFIDENCE_COLUMNS: tuple[RunColumn, ...] = (
    RunColumn(
        "calibration error",
        "fraction",
        lambda run: _fraction(metrics.calibration_error(run.confidence, run.correct)),
    ),
    RunColumn("calibrated", "text", lambda run: "yes" if is_calibrated(run.member.run) else "no"),
    RunColumn(
        "risk-coverage area",
        "fraction",
        lambda run: _fraction(metrics.risk_coverage_area(run.confidence, run.correct)),
    ),
    RunColumn("pck all", "percent", lambda run: percent(float(run.correct.mean())), f"PCK@{CORRECT:g}, all points"),
    RunColumn("pck confident half", "percent", lambda run: percent(run.confident_half), "the more confident half"),
    RunColumn(
        "gain of confident half",
        "gain",
        lambda run: percent(run.confident_half - float(run.correct.mean())),
        "gain",
    ),
)
"""Of the table of confidence, for runs of methods that have one."""
