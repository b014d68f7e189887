"""Runs side by side: which tables a report has, and their values."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
from jaxtyping import Bool, Float

from semcorr.errors import SettingsError, suggest
from semcorr.evaluation.metrics import confidence as confidence_metrics
from semcorr.evaluation.metrics import pck
from semcorr.evaluation.metrics.alike import geometry_aware, nearest_only
from semcorr.evaluation.metrics.scores import (
    Alternative,
    Scores,
    alternative,
    alternatives,
    by_category,
    by_flag,
    by_point,
    flags,
    macro,
    score,
)
from semcorr.evaluation.report.columns import (
    CONFIDENCE_COLUMNS,
    CORRECT,
    ERROR_COLUMNS,
    RunColumn,
    RunFigures,
    percent,
    shown,
)
from semcorr.evaluation.report.comparability import (
    notes_of,
    notes_of_quoted,
    warnings_of,
    warnings_of_quoted,
)
from semcorr.evaluation.report.groups import Group, Member, ReportOptions, group_runs
from semcorr.evaluation.report.published import Averaging, Published, quoted
from semcorr.evaluation.report.tables import Column, Report, Row, Table, Value
from semcorr.evaluation.runs.records import Run

WITHIN_A_RUN: dict[str, Alternative] = {"layer": "layers", "rounds": "rounds", "crops": "crops"}
"""Groupings by alternative predictions that a run's records hold."""
_GROUPINGS = ("overall", "geo", "pck-dagger", "category", "difficulty", "point", "sets", *WITHIN_A_RUN)
_ALPHAS_PER_TABLE = 2
"""More do not fit beside each other on a terminal."""
_AVERAGES: tuple[Averaging, ...] = get_args(Averaging)
_INTERVALS = "95 % bootstrap intervals over pairs"


def build_report(runs: Sequence[Run], options: ReportOptions | None = None) -> Report:
    """Score all runs and build the tables: runs of one data set, split and setting stand side by side.

    The same records give the same report, whatever their order. Pairs that failed count as wrong, see
    :func:`semcorr.evaluation.metrics.scores.score`.

    Args:
        runs: Finished or unfinished runs.
        options: Which tables, under which protocol.

    Raises:
        SettingsError: No runs, an unknown grouping, rule, frame or baseline, or a rule that needs boxes and the data
            set has none.
        RunError: A record is broken.
    """
    options = options or ReportOptions()
    groups = group_runs(runs, options)
    _check(groups, options)
    tables: list[Table] = []
    warnings: list[str] = []
    notes: list[str] = []
    if len(groups) > 1:
        names = "; ".join(group.dataset for group in groups)
        warnings.append(f"The runs are of different data sets, whose figures are not comparable: {names}.")
    for group in groups:
        compared = ([one.name for one in group.members], [one.run for one in group.members])
        warnings += warnings_of(*compared, [one.scores for one in group.members])
        notes += notes_of(*compared, group.protocol)
        every: list[Published] = []
        for by in dict.fromkeys(options.by):
            figures = _published(group, options, by)
            every += figures
            match by:
                case "overall":
                    tables += _overall(group, options, figures)
                case "geo" | "pck-dagger":
                    tables += _alike(group, options, by, figures)
                    warnings += _without_unmatched(group) if by == "geo" else []
                case _:
                    tables += _breakdown(group, options, by)
        warnings += warnings_of_quoted(every, group.protocol, len(group.members[0].run.records), group.dataset)
        notes += notes_of_quoted(every)
    return Report(tables=tuple(tables), warnings=tuple(dict.fromkeys(warnings)), notes=tuple(dict.fromkeys(notes)))


def ranked(runs: Sequence[Run], options: ReportOptions) -> list[Run]:
    """Return runs of one data set, the best by PCK per point at the largest alpha first.

    Args:
        runs: The runs.
        options: The protocol and the alphas.

    Raises:
        SettingsError, RunError: As :func:`build_report`.
    """
    members = [one for group in group_runs(runs, options) for one in group.members]
    alpha = max(options.alphas)
    return [one.run for one in sorted(members, key=lambda one: -one.scores.averages([alpha]).per_point[0])]


def check_groupings(by: Sequence[str], flag_names: Iterable[str]) -> None:
    """Check that every name is a grouping: one that all data sets have, or one of the flags.

    Raises:
        SettingsError: One is not.
    """
    known = list(dict.fromkeys([*_GROUPINGS, *flag_names]))
    for name in by:
        if name not in known:
            raise SettingsError(f"Unknown grouping {name!r}.{suggest(name, known)} Known: {', '.join(known)}.")


def _check(groups: Sequence[Group], options: ReportOptions) -> None:
    check_groupings(options.by, (flag for group in groups for one in group.members for flag in flags(one.scores)))
    names = [one.name for group in groups for one in group.members]
    if options.baseline is not None and options.baseline not in names:
        raise SettingsError(
            f"There is no run {options.baseline!r} to compare with.{suggest(options.baseline, names)} "
            f"There are: {', '.join(names)}."
        )


# --- overall ----------------------------------------------------------------------------------------------------------


def _overall(group: Group, options: ReportOptions, figures: Sequence[Published]) -> list[Table]:
    runs = [RunFigures(one, options) for one in group.members]
    reference = next((one for one in group.members if one.name == options.baseline), None)
    tables = []
    for chosen in _chunks(options.alphas):
        alphas = [options.alphas[index] for index in chosen]
        rows = [_row(run.member, _pck_values(run.summary.averages, run.summary.intervals, chosen)) for run in runs]
        title = f"PCK in %, {group.protocol}, with {_INTERVALS}"
        tables.append(_table(group, title, _pck_columns(alphas, "pck"), [*rows, *_quoted_rows(figures, alphas)]))
        if reference is not None and options.details:
            rows = [_row(one, _lead(one, reference, alphas)) for one in group.members]
            title = f"lead over {reference.name} in PCK, in points of %, {group.protocol}"
            tables.append(_table(group, title, _pck_columns(alphas, "lead"), rows))
    if not options.details:
        return tables
    title = (
        f"errors of predicted points as fractions of the threshold's size, area under the PCK curve for alpha up to "
        f"{options.highest:g} in %, {group.protocol}"
    )
    tables.append(_run_table(group, title, ERROR_COLUMNS, runs, options))
    with_confidence = [run for run in runs if not run.member.is_baseline and len(run.scores.errors)]
    if with_confidence:
        title = (
            f"confidence, a point being right within {CORRECT:g}, {group.protocol}; calibration error in "
            f"{confidence_metrics.BINS} bins, area under the risk-coverage curve (0 is best)"
        )
        tables.append(_run_table(group, title, CONFIDENCE_COLUMNS, with_confidence, options))
    return tables


def _alike(group: Group, options: ReportOptions, by: str, figures: Sequence[Published]) -> list[Table]:
    """Tables of PCK that counts key-points which look alike: of these alone ("geo"), or PCK† ("pck-dagger")."""
    mark, what = ("", "PCK of geometry-aware points in %") if by == "geo" else ("†", "PCK† in %")
    counted = []
    for one in group.members:
        if by == "geo":
            counts = one.scores.counts(options.alphas, geometry_aware(one.scores, group.name))
        else:
            counts = nearest_only(one.scores).counts(options.alphas)
        counted.append((one, counts, pck.averages(counts), pck.intervals(counts)))
    points = Column(key="points", heading="points", kind="count")
    tables = []
    for chosen in _chunks(options.alphas):
        alphas = [options.alphas[index] for index in chosen]
        rows = [
            _row(one, (int(counts.total.sum()), *_pck_values(averages, intervals, chosen)))
            for one, counts, averages, intervals in counted
        ]
        quoted_rows = [replace(row, values=(None, *row.values)) for row in _quoted_rows(figures, alphas)]
        columns = [points, *_pck_columns(alphas, "pck", mark)]
        title = f"{what}, {group.protocol}, with {_INTERVALS}"
        tables.append(_table(group, title, columns, [*rows, *quoted_rows], by))
    return tables


def _without_unmatched(group: Group) -> list[str]:
    """A warning for each run of which no record says what the target shows besides the common key-points."""
    return [
        f"{one.name}: no record holds a key-point that only the target shows, so its geometry-aware points are those "
        "among the common ones. Earlier versions did not record them; they come from annotations of images."
        for one in group.members
        if not any(record.target_unmatched for record in one.scores.records)
    ]


def _chunks(alphas: Sequence[float]) -> list[range]:
    """The indices of the alphas of each table."""
    starts = range(0, len(alphas), _ALPHAS_PER_TABLE)
    return [range(start, min(start + _ALPHAS_PER_TABLE, len(alphas))) for start in starts]


def _run_table(
    group: Group, title: str, columns: Sequence[RunColumn], runs: Sequence[RunFigures], options: ReportOptions
) -> Table:
    """A table with one row per run, of columns that are defined in :mod:`semcorr.evaluation.report.columns`."""
    columns = shown(columns, options)
    rows = [_row(run.member, tuple(column.value(run) for column in columns)) for run in runs]
    return _table(group, title, [column.column(options) for column in columns], rows)


def _row(member: Member, values: tuple[Value, ...]) -> Row:
    return Row(name=member.name, values=values, competes=not member.is_baseline)


def _table(group: Group, title: str, columns: Sequence[Column], rows: Sequence[Row], by: str = "overall") -> Table:
    return Table(
        title=f"{group.title}: {title}",
        by=by,
        dataset=group.dataset,
        protocol=str(group.protocol),
        columns=tuple(columns),
        rows=tuple(rows),
    )


def _pck_columns(alphas: Sequence[float], what: str, mark: str = "") -> list[Column]:
    columns = []
    for alpha in alphas:
        for averaging in _AVERAGES:
            key = f"{what}@{alpha:g} {averaging}"
            heading = f"PCK{mark}@{alpha:g} {averaging}"
            columns.append(Column(key=key, heading=heading, kind="percent" if what == "pck" else "gain"))
            columns.append(Column(key=f"{key} 95%", heading="95 %", kind="interval"))
    return columns


def _pck_values(averages: pck.Averages, intervals: pck.Intervals, chosen: Collection[int]) -> tuple[Value, ...]:
    values: list[Value] = []
    for index in chosen:
        for mean, ends in ((averages.per_image, intervals.per_image), (averages.per_point, intervals.per_point)):
            values += [percent(mean[index]), _interval(ends[index])]
    return tuple(values)


def _lead(one: Member, reference: Member, alphas: Sequence[float]) -> tuple[Value, ...]:
    """The gain over a reference on the pairs that both have, with the same pairs drawn for both."""
    rows = {record.pair: row for row, record in enumerate(reference.scores.records)}
    common = [(row, rows[r.pair]) for row, r in enumerate(one.scores.records) if r.pair in rows]
    mine, theirs = np.array(common, dtype=np.int64).reshape(-1, 2).T
    first, second = (
        pck.Counts(right=counts.right[chosen], total=counts.total[chosen])
        for counts, chosen in ((one.scores.counts(alphas), mine), (reference.scores.counts(alphas), theirs))
    )
    a, b = pck.averages(first), pck.averages(second)
    gain = pck.Averages(per_image=a.per_image - b.per_image, per_point=a.per_point - b.per_point)
    return _pck_values(gain, pck.intervals(first, second), range(len(alphas)))


def _published(group: Group, options: ReportOptions, by: str) -> list[Published]:
    """The published figures for which a table has a column."""
    figures = quoted(group.name, group.setting, by) if options.quote else ()
    return [figure for figure in figures if any(np.isclose(figure.alpha, alpha) for alpha in options.alphas)]


def _quoted_rows(figures: Sequence[Published], alphas: Sequence[float]) -> list[Row]:
    rows: dict[str, list[Value]] = {}
    for index, alpha in enumerate(alphas):
        for figure in figures:
            if np.isclose(figure.alpha, alpha):
                values = rows.setdefault(figure.label, [None] * (4 * len(alphas)))
                values[4 * index + 2 * _AVERAGES.index(figure.averaging)] = figure.value
    order = dict.fromkeys(figure.label for figure in figures)
    return [Row(name=label, values=tuple(rows[label]), quoted=True) for label in order if label in rows]


# --- breakdowns -------------------------------------------------------------------------------------------------------


def _breakdown(group: Group, options: ReportOptions, by: str) -> list[Table]:
    """One table per alpha and average: groups of points below each other, runs side by side."""
    runs = [_averages_by(one.scores, options, by) for one in group.members]
    totals: dict[str, int] = {}
    for averages in reversed(runs):
        totals |= {label: points for label, (points, _) in averages.items()}
    labels = list(dict.fromkeys(label for averages in runs for label in averages))
    # The rows that all runs have stand last, also where one run has groups that another has not.
    labels.sort(key=lambda label: label in _LAST)
    tables = []
    for index, alpha in enumerate(options.alphas):
        for averaging in _AVERAGES:
            columns = [
                Column(
                    key=f"{one.name} pck@{alpha:g} {averaging}",
                    heading=one.name,
                    kind="percent",
                    competes=not one.is_baseline,
                )
                for one in group.members
            ]
            rows = [
                Row(name=label, values=(totals[label], *(_cell(run, label, averaging, index) for run in runs)))
                for label in labels
            ]
            title = f"PCK@{alpha:g} in %, {averaging}, {group.protocol}, by {by}"
            points = Column(key="points", heading="points", kind="count")
            tables.append(_table(group, title, [points, *columns], rows, by))
    return tables


_LAST = ("mean of the categories", "all points", "the run's own")
_Averages = dict[str, tuple[int, pck.Averages]]


def _averages_by(scores: Scores, options: ReportOptions, by: str) -> _Averages:
    """Every group's number of points and both averages, by the group's label."""
    points = len(scores.errors)
    own = scores.averages(options.alphas)
    if by in WITHIN_A_RUN:
        kind = WITHIN_A_RUN[by]
        groups = {}
        for name in alternatives(scores.records, kind):
            other = score(scores.records, scores.protocol, alternative(kind, name))
            groups[name] = (points, other.averages(options.alphas))
        return {**groups, "the run's own": (points, own)}
    masks = _masks(scores, options, by)
    groups = {label: (int(mask.sum()), scores.averages(options.alphas, mask)) for label, mask in masks.items()}
    if by == "category":
        groups["mean of the categories"] = (points, macro(scores, options.alphas))
    return {**groups, "all points": (points, own)}


def _masks(scores: Scores, options: ReportOptions, by: str) -> dict[str, Bool[np.ndarray, " points"]]:
    if by == "category":
        # A category whose pairs have no points is shown, without figures.
        masks, none = by_category(scores), np.zeros(len(scores.errors), dtype=bool)
        return {name: masks.get(name, none) for name in sorted({record.category for record in scores.records})}
    if by == "point":
        return by_point(scores)
    if by == "sets":
        return by_point(scores, options.point_sets)
    chosen = flags(scores) if by == "difficulty" else [by]
    return {f"{flag} {value}": mask for flag in chosen for value, mask in by_flag(scores, flag).items()}


def _cell(groups: _Averages, label: str, averaging: Averaging, index: int) -> Value:
    if label not in groups or not groups[label][0]:
        return None
    averages = groups[label][1]
    return percent((averages.per_image if averaging == "per image" else averages.per_point)[index])


def _interval(ends: Float[np.ndarray, " 2"]) -> tuple[float, float] | None:
    low, high = map(percent, ends)
    return None if low is None or high is None else (low, high)
