"""A table of key-point average precision, for which heat maps of runs are computed again."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from semcorr.errors import RunError
from semcorr.evaluation.metrics.kap import Samples, average_precision, samples
from semcorr.evaluation.metrics.pck import mean_intervals
from semcorr.evaluation.metrics.protocol import target_scales, threshold_sizes
from semcorr.evaluation.report.columns import percent
from semcorr.evaluation.report.groups import Group, Member, ReportOptions, group_runs
from semcorr.evaluation.report.tables import Column, Report, Row, Table, Value
from semcorr.evaluation.runs.records import PairRecord, Run
from semcorr.progress import Progress

Maps = Callable[[PairRecord], Float[np.ndarray, "points height width"] | None]
"""The heat maps of a pair's common points and then of those that the source shows alone; None where there are none."""


def kap_report(
    runs: Sequence[Run], options: ReportOptions, maps_of: Callable[[Run], Maps], *, progress: Progress | None = None
) -> Report:
    """The KAP of each run: the mean over pairs with its 95 % bootstrap interval, the mean over categories, and of all.

    That of a category, and of all, is of the samples of its pairs together; the publication's code averages categories.
    All samples of a pair that failed are as wrong as they can be. Guesses have no heat maps, and no row.

    Args:
        runs: The runs.
        options: Alphas, rule and frame.
        maps_of: Loads what makes the heat maps of a run: ``HeatmapsOf(run).with_unmatched`` of
            :class:`semcorr.evaluation.runs.recompute.HeatmapsOf`.
        progress: Called as ``("heat maps", pairs done, pairs in all)``.

    Raises:
        SettingsError, RunError: As :func:`semcorr.evaluation.report.build.build_report`; or a pair's images cannot be
            read any more.
    """
    tables = []
    for group in group_runs(runs, options):
        members = [one for one in group.members if not one.is_baseline]
        rows = [_row(one, group, options, maps_of(one.run), progress) for one in members]
        if rows:
            tables.append(_table(group, options, rows))
    return Report(tables=tuple(tables))


def _table(group: Group, options: ReportOptions, rows: Sequence[Row]) -> Table:
    columns = []
    for alpha in options.alphas:
        key = f"kap@{alpha:g}"
        columns += [
            Column(key=f"{key} per image", heading=f"KAP@{alpha:g} per image", kind="percent"),
            Column(key=f"{key} per image 95%", heading="95 %", kind="interval"),
            Column(key=f"{key} per category", heading=f"KAP@{alpha:g} per category", kind="percent"),
            Column(key=f"{key} all points", heading=f"KAP@{alpha:g} all points", kind="percent"),
        ]
    return Table(
        title=f"{group.title}: key-point average precision in %, {group.protocol}, with 95 % bootstrap intervals over "
        "pairs",
        by="kap",
        dataset=group.dataset,
        protocol=str(group.protocol),
        columns=tuple(columns),
        rows=tuple(rows),
    )


def _row(member: Member, group: Group, options: ReportOptions, maps: Maps, progress: Progress | None) -> Row:
    records = member.scores.records
    scales, sizes = target_scales(records, group.protocol), threshold_sizes(records, group.protocol)
    pairs: dict[str, list[Samples]] = {}
    for number, (record, failed) in enumerate(zip(records, member.scores.failed, strict=True)):
        further = len(record.source_unmatched)
        truth = np.concatenate([record.truth, np.full((further, 2), np.nan)])
        own = pairs.setdefault(record.category, [])
        if failed:
            shown = np.where(np.isnan(truth[:, :1]), np.nan, 0.0)
            own.append((shown.repeat(len(options.alphas), 1), np.ones((len(truth), len(options.alphas)))))
        elif len(truth):
            heatmaps = maps(record)
            if heatmaps is None:
                raise RunError(f"Expected the images of pair {record.pair} where the run read them. Put them back.")
            own.append(samples(heatmaps, truth, record.target_size, scales[number], sizes[number], options.alphas))
        if progress:
            progress("heat maps", number + 1, len(records))
    return Row(name=member.name, values=_values(pairs, len(options.alphas)))


def _values(pairs: Mapping[str, Sequence[Samples]], alphas: int) -> tuple[Value, ...]:
    each = [_precision(one, alphas) for of_category in pairs.values() for one in of_category]
    means, ends = mean_intervals(np.array(each, dtype=np.float64).reshape(-1, alphas))
    categories = np.array([_precision(_together(own), alphas) for own in pairs.values() if own]).reshape(-1, alphas)
    every = _precision(_together([one for own in pairs.values() for one in own]), alphas)
    values: list[Value] = []
    for alpha in range(alphas):
        known = categories[~np.isnan(categories[:, alpha]), alpha]
        low, high = map(percent, ends[alpha])
        interval = None if low is None or high is None else (low, high)
        values += [percent(means[alpha]), interval, percent(known.mean() if len(known) else np.nan)]
        values.append(percent(every[alpha]))
    return tuple(values)


def _together(pairs: Sequence[Samples]) -> Samples:
    plus, minus = zip(*pairs, strict=True) if pairs else ((np.zeros((0, 0)),), (np.zeros((0, 0)),))
    return np.concatenate(plus), np.concatenate(minus)


def _precision(of: Samples, alphas: int) -> list[float]:
    plus, minus = of
    return [average_precision(plus[:, alpha], minus[:, alpha]) if plus.size else np.nan for alpha in range(alphas)]
