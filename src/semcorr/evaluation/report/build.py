"""Runs side by side: which tables there are, and what stands in them."""

from collections.abc import Collection, Iterable, Sequence
from typing import get_args

import numpy as np
from jaxtyping import Float

from semcorr.errors import SettingsError, suggest
from semcorr.evaluation.baselines import BASELINES
from semcorr.evaluation.metrics import confidence as trust
from semcorr.evaluation.metrics import pck
from semcorr.evaluation.metrics.scores import (
    Alternative,
    Scores,
    Summary,
    alternative,
    alternatives,
    by_category,
    by_flag,
    by_point,
    flags,
    macro,
    score,
    summarise,
)
from semcorr.evaluation.report.comparability import (
    is_calibrated,
    note_of_quoted,
    notes_of,
    warnings_of,
    warnings_of_quoted,
)
from semcorr.evaluation.report.groups import Group, Member, Wanted, measure
from semcorr.evaluation.report.published import Averaging, Published, quoted
from semcorr.evaluation.report.tables import Column, Report, Row, Sheet, Value
from semcorr.evaluation.runs.records import Run

WITHIN_A_RUN: dict[str, Alternative] = {"layer": "layers", "rounds": "rounds", "crops": "crops"}
"""Groupings by what a run holds besides its result."""
_KNOWN = ("overall", "category", "difficulty", "point", "sets", *WITHIN_A_RUN)
_RIGHT = 0.1
"""What confidence is calibrated to: a point is right within this part of the threshold's size."""
_ALPHAS_A_SHEET = 2
"""More do not fit beside each other on a terminal."""
_AVERAGES: tuple[Averaging, ...] = get_args(Averaging)


def build_report(runs: Sequence[Run], wanted: Wanted | None = None) -> Report:
    """Score all runs and make the tables: those of one data set, split and setting stand side by side.

    The same records give the same report, whatever their order. See :func:`semcorr.evaluation.metrics.scores.score` for
    what becomes of failed pairs.

    Raises:
        SettingsError: no runs, an unknown grouping, rule, frame or baseline, or a rule that needs boxes there are not.
        RunError: a record is broken.
    """
    wanted = wanted or Wanted()
    groups = measure(runs, wanted)
    _check(groups, wanted)
    sheets: list[Sheet] = []
    warnings: list[str] = []
    notes: list[str] = []
    if len(groups) > 1:
        told = "; ".join(group.dataset for group in groups)
        warnings.append(f"The runs are of different data sets, whose figures are not comparable: {told}.")
    for group in groups:
        parts = ([one.name for one in group.members], [one.run for one in group.members])
        warnings += warnings_of(*parts, [one.scores for one in group.members])
        notes += notes_of(*parts, group.protocol)
        figures = _figures(group, wanted) if "overall" in wanted.by else []
        warnings += warnings_of_quoted(figures, group.protocol, len(group.members[0].run.records), group.dataset)
        notes += note_of_quoted(figures)
        for by in dict.fromkeys(wanted.by):
            sheets += _overall(group, wanted, figures) if by == "overall" else _groups(group, wanted, by)
    return Report(sheets=tuple(sheets), warnings=tuple(dict.fromkeys(warnings)), notes=tuple(dict.fromkeys(notes)))


def check_groupings(by: Sequence[str], found: Iterable[str]) -> None:
    """See that every name is a grouping: one that all data sets have, or one of the flags that were ``found``.

    Raises:
        SettingsError: one is not.
    """
    known = list(dict.fromkeys([*_KNOWN, *found]))
    for name in by:
        if name not in known:
            raise SettingsError(f"Unknown grouping {name!r}.{suggest(name, known)} Known: {', '.join(known)}.")


def _check(groups: Sequence[Group], wanted: Wanted) -> None:
    check_groupings(wanted.by, (flag for group in groups for one in group.members for flag in flags(one.scores)))
    names = [one.name for group in groups for one in group.members]
    if wanted.baseline is not None and wanted.baseline not in names:
        raise SettingsError(
            f"There is no run {wanted.baseline!r} to compare with.{suggest(wanted.baseline, names)} "
            f"There are: {', '.join(names)}."
        )


# --- overall ----------------------------------------------------------------------------------------------------------


def _overall(group: Group, wanted: Wanted, figures: Sequence[Published]) -> list[Sheet]:
    summaries = [summarise(one.scores, wanted.alphas, highest=wanted.highest) for one in group.members]
    sheets = []
    for start in range(0, len(wanted.alphas), _ALPHAS_A_SHEET):
        places = range(start, min(start + _ALPHAS_A_SHEET, len(wanted.alphas)))
        alphas = [wanted.alphas[place] for place in places]
        rows = [
            Row(name=one.name, values=_pck_values(summary.averages, summary.intervals, places))
            for one, summary in zip(group.members, summaries, strict=True)
        ]
        title = f"{group.title}: PCK in %, {group.protocol}, with 95 % bootstrap intervals over pairs"
        sheets.append(_sheet(group, title, _pck_columns(alphas, "pck"), [*rows, *_quoted_rows(figures, alphas)]))
        reference = next((one for one in group.members if one.name == wanted.baseline), None)
        if reference is not None:
            rows = [Row(name=one.name, values=_lead(one, reference, alphas)) for one in group.members]
            title = f"{group.title}: lead over {reference.name} in PCK, in points of %, {group.protocol}"
            sheets.append(_sheet(group, title, _pck_columns(alphas, "lead"), rows))
    rows = [
        Row(name=one.name, values=_other_values(one, summary, wanted.times))
        for one, summary in zip(group.members, summaries, strict=True)
    ]
    title = (
        f"{group.title}: errors of found points as parts of the threshold's size, area under the PCK curve for alpha "
        f"up to {wanted.highest:g} in %, {group.protocol}"
    )
    return [*sheets, _sheet(group, title, _other_columns(wanted), rows), *_trust(group)]


def _trust(group: Group) -> list[Sheet]:
    """How far confidence can be trusted, of the runs that have one."""
    rows = []
    for one in group.members:
        if str(one.run.settings.get("method", {}).get("name")) in BASELINES or not len(one.scores.errors):
            continue
        confidence, right = one.scores.confidence(), pck.is_correct(one.scores.errors, _RIGHT)
        half, all_ = trust.confident_half(confidence, right), float(right.mean())
        rows.append(
            Row(
                name=one.name,
                values=(
                    round(trust.calibration_error(confidence, right), 6),
                    "yes" if is_calibrated(one.run) else "no",
                    round(trust.risk_coverage_area(confidence, right), 6),
                    _percent(all_),
                    _percent(half),
                    _percent(half - all_),
                ),
            )
        )
    title = (
        f"{group.title}: confidence, a point being right within {_RIGHT:g}, {group.protocol}; calibration error in "
        f"{trust.BINS} bins, area under the risk-coverage curve (0 is best)"
    )
    columns = (
        Column(key="calibration error", heading="calibration error", kind="fraction"),
        Column(key="calibrated", heading="calibrated", kind="text"),
        Column(key="risk-coverage area", heading="risk-coverage area", kind="fraction"),
        Column(key="pck all", heading=f"PCK@{_RIGHT:g}, all points", kind="percent"),
        Column(key="pck confident half", heading="the more confident half", kind="percent"),
        Column(key="gain of confident half", heading="gain", kind="gain"),
    )
    return [_sheet(group, title, columns, rows)] if rows else []


def _sheet(group: Group, title: str, columns: Sequence[Column], rows: Sequence[Row], by: str = "overall") -> Sheet:
    return Sheet(
        title=title,
        by=by,
        dataset=group.dataset,
        protocol=str(group.protocol),
        columns=tuple(columns),
        rows=tuple(rows),
    )


def _pck_columns(alphas: Sequence[float], what: str) -> list[Column]:
    columns = []
    for alpha in alphas:
        for averaging in _AVERAGES:
            key = f"{what}@{alpha:g} {averaging}"
            heading = f"PCK@{alpha:g} {averaging}"
            columns.append(Column(key=key, heading=heading, kind="percent" if what == "pck" else "gain"))
            columns.append(Column(key=f"{key} 95%", heading="95 %", kind="interval"))
    return columns


def _pck_values(averages: pck.Averages, intervals: pck.Intervals, places: Collection[int]) -> tuple[Value, ...]:
    values: list[Value] = []
    for place in places:
        for mean, ends in ((averages.per_image, intervals.per_image), (averages.per_point, intervals.per_point)):
            values += [_percent(mean[place]), _percents(ends[place])]
    return tuple(values)


def _lead(one: Member, reference: Member, alphas: Sequence[float]) -> tuple[Value, ...]:
    """The gain over a reference on the pairs that both have, the same ones drawn for both."""
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


def _other_columns(wanted: Wanted) -> list[Column]:
    columns = [
        Column(key="mean error", heading="mean error", kind="fraction"),
        Column(key="median error", heading="median error", kind="fraction"),
        Column(key=f"auc@{wanted.highest:g} per image", heading="area per image", kind="percent"),
        Column(key=f"auc@{wanted.highest:g} per point", heading="area per point", kind="percent"),
        *(Column(key=k, heading=k, kind="count") for k in ("pairs", "points", "pairs without points", "failed pairs")),
    ]
    if wanted.times:
        words = ("s to describe a point", "s to locate a pair")
        columns += [Column(key=key, heading=key, kind="seconds") for key in words]
    return columns


def _other_values(one: Member, summary: Summary, times: bool) -> tuple[Value, ...]:
    return (
        None if summary.mean_error is None else round(summary.mean_error, 6),
        None if summary.median_error is None else round(summary.median_error, 6),
        _percent(summary.area_per_image),
        _percent(summary.area_per_point),
        summary.pairs,
        summary.points,
        summary.empty,
        summary.failed,
        *(_seconds(one.scores) if times else ()),
    )


def _seconds(scores: Scores) -> tuple[float | None, float | None]:
    """A point of a source is described once for all of its pairs; a pair's points are located together."""
    done = [r for r, failed in zip(scores.records, scores.failed, strict=True) if not failed and len(r.truth)]
    described = {(r.source, r.category, tuple(point)) for r in done for point in r.source_points.tolist()}
    seconds = sum(r.describe_seconds for r in scores.records), sum(r.locate_seconds for r in done)
    return (seconds[0] / len(described) if seconds[0] else None, seconds[1] / len(done) if seconds[1] else None)


def _figures(group: Group, wanted: Wanted) -> list[Published]:
    """The quoted figures that have a column."""
    figures = quoted(group.name, group.setting) if wanted.quote else ()
    return [figure for figure in figures if any(np.isclose(figure.alpha, alpha) for alpha in wanted.alphas)]


def _quoted_rows(figures: Sequence[Published], alphas: Sequence[float]) -> list[Row]:
    rows: dict[str, list[Value]] = {}
    for place, alpha in enumerate(alphas):
        for figure in figures:
            if np.isclose(figure.alpha, alpha):
                values = rows.setdefault(figure.label, [None] * (4 * len(alphas)))
                values[4 * place + 2 * _AVERAGES.index(figure.averaging)] = figure.value
    order = dict.fromkeys(figure.label for figure in figures)
    return [Row(name=label, values=tuple(rows[label]), quoted=True) for label in order if label in rows]


# --- groups -----------------------------------------------------------------------------------------------------------


def _groups(group: Group, wanted: Wanted, by: str) -> list[Sheet]:
    """One sheet an alpha and average: groups below each other, runs side by side."""
    tables = [_averages_by(one.scores, wanted, by) for one in group.members]
    totals: dict[str, int] = {}
    for table in reversed(tables):
        totals |= {label: points for label, (points, _) in table.items()}
    labels = list(dict.fromkeys(label for table in tables for label in table))
    # What all runs have stands last, also where one run has groups that another has not.
    labels.sort(key=lambda label: label in _LAST)
    sheets = []
    for place, alpha in enumerate(wanted.alphas):
        for averaging in _AVERAGES:
            columns = [
                Column(key=f"{one.name} pck@{alpha:g} {averaging}", heading=one.name, kind="percent")
                for one in group.members
            ]
            rows = [
                Row(name=label, values=(totals[label], *(_cell(table, label, averaging, place) for table in tables)))
                for label in labels
            ]
            title = f"{group.title}: PCK@{alpha:g} in %, {averaging}, {group.protocol}, by {by}"
            points = Column(key="points", heading="points", kind="count")
            sheets.append(_sheet(group, title, [points, *columns], rows, by))
    return sheets


_LAST = ("mean of the categories", "all points", "the run's own")
_Table = dict[str, tuple[int, pck.Averages]]


def _averages_by(scores: Scores, wanted: Wanted, by: str) -> _Table:
    """For every group its number of points and both averages."""
    points = len(scores.errors)
    own = scores.averages(wanted.alphas)
    if by in WITHIN_A_RUN:
        kind = WITHIN_A_RUN[by]
        table = {}
        for name in alternatives(scores.records, kind):
            other = score(scores.records, scores.protocol, alternative(kind, name))
            table[name] = (points, other.averages(wanted.alphas))
        return {**table, "the run's own": (points, own)}
    masks = _masks(scores, wanted, by)
    table = {label: (int(mask.sum()), scores.averages(wanted.alphas, mask)) for label, mask in masks.items()}
    if by == "category":
        table["mean of the categories"] = (points, macro(scores, wanted.alphas))
    return {**table, "all points": (points, own)}


def _masks(scores: Scores, wanted: Wanted, by: str) -> dict[str, np.ndarray]:
    if by == "category":
        # A category whose pairs have no points is shown, without figures.
        masks, none = by_category(scores), np.zeros(len(scores.errors), dtype=bool)
        return {name: masks.get(name, none) for name in sorted({record.category for record in scores.records})}
    if by == "point":
        return by_point(scores)
    if by == "sets":
        return by_point(scores, wanted.point_sets)
    chosen = flags(scores) if by == "difficulty" else [by]
    return {f"{flag} {value}": mask for flag in chosen for value, mask in by_flag(scores, flag).items()}


def _cell(table: _Table, label: str, averaging: Averaging, place: int) -> Value:
    if label not in table or not table[label][0]:
        return None
    averages = table[label][1]
    return _percent((averages.per_image if averaging == "per image" else averages.per_point)[place])


def _percent(fraction: float) -> float | None:
    """None of NaN: what has no points has no figure."""
    # Fewer digits than sums in another order could change.
    return None if np.isnan(fraction) else round(100 * float(fraction), 6)


def _percents(ends: Float[np.ndarray, " 2"]) -> tuple[float, float] | None:
    low, high = map(_percent, ends)
    return None if low is None or high is None else (low, high)
