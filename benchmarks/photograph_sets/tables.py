"""Tables of the figures, in the form that ``semcorr report`` has, so that pages take single ones of them."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from benchmarks.photograph_sets.configurations import MAIN
from benchmarks.photograph_sets.figures import ALPHAS, HEADLINE, Figures
from benchmarks.photograph_sets.objects import FACES, MOUSE
from benchmarks.photograph_sets.pairs import NAME, PROTOCOL
from benchmarks.photograph_sets.times import SUPPORTS, Seconds
from semcorr.evaluation.report.columns import percent
from semcorr.evaluation.report.tables import Column, Row, Table, Value

RULES = {
    NAME: f"{PROTOCOL}",
    MOUSE: "largest distance between the frame's points",
    FACES: "longer side of the face's box",
}
"""What alpha is a fraction of, by set."""

Group = tuple[str, Callable[[Figures], bool]]
"""The heading of a column, and which figures it shows."""

_HALVES = ("development", "held-out", "all")


def tables_of(figures: Sequence[Figures], seconds: Sequence[Seconds]) -> list[Table]:
    """Return all tables that there are figures for: the overview, each set, times, confidence."""
    tables = [
        _overview(figures),
        *(_half(figures, half) for half in _HALVES),
        _supports(figures, MOUSE, spread=False),
        _supports(figures, MOUSE, spread=True),
        _mouse_halves(figures),
        _supports(figures, FACES, spread=False),
        _times(seconds),
        _confidence(figures),
    ]
    return [table for table in tables if table.rows]


def _overview(figures: Sequence[Figures]) -> Table:
    groups: list[Group] = [
        *((f"{NAME}, {half}", _of(NAME, half=half)) for half in _HALVES),
        ("mouse, 5 annotated", _of(MOUSE, 5)),
        ("faces, 1 annotated", _of(FACES, 1)),
    ]
    return _table(
        f"Photographs: right points in % at {ALPHAS[HEADLINE]:g}, with 95 % intervals",
        "overview",
        "; ".join(f"{name}: {rule}" for name, rule in RULES.items()),
        figures,
        groups,
        (HEADLINE,),
    )


def _half(figures: Sequence[Figures], half: str) -> Table:
    return _table(
        f"{NAME}, {half}: right points in %, with 95 % intervals over the images of each sub-class",
        half,
        RULES[NAME],
        figures,
        [("", _of(NAME, half=half))],
        range(len(ALPHAS)),
    )


def _supports(figures: Sequence[Figures], images: str, *, spread: bool) -> Table:
    counts = sorted({one.supports for one in figures if one.images == images})
    how = "spread evenly" if spread else "drawn, with 95 % intervals of the mean over draws"
    return _table(
        f"{images}: right points in % at {ALPHAS[HEADLINE]:g} by the number of annotated objects, {how}",
        "spread" if spread else "drawn",
        RULES[images],
        figures,
        [(f"{count} annotated", _of(images, count, spread)) for count in counts],
        (HEADLINE,),
        intervals=not spread,
    )


def _mouse_halves(figures: Sequence[Figures]) -> Table:
    return _table(
        f"{MOUSE}, by half, 5 annotated: right points in % at {ALPHAS[HEADLINE]:g}",
        "half",
        RULES[MOUSE],
        [one for one in figures if one.configuration in _with_halves(figures)],
        [(half, _of(MOUSE, 5, half=half)) for half in _HALVES],
        (HEADLINE,),
    )


def _with_halves(figures: Iterable[Figures]) -> set[str]:
    return {one.configuration for one in figures if one.images == MOUSE and one.half != "all"}


def _of(images: str, supports: int = 1, spread: bool = False, half: str = "all") -> Callable[[Figures], bool]:
    """Return what says whether figures are these."""
    return lambda one: (one.images, one.supports, one.spread, one.half) == (images, supports, spread, half)


def _table(
    title: str,
    by: str,
    protocol: str,
    figures: Sequence[Figures],
    groups: Sequence[Group],
    alphas: Iterable[int],
    *,
    intervals: bool = True,
) -> Table:
    """A row for each configuration that has any of the figures, a column for each group and alpha."""
    chosen = list(alphas)
    columns: list[Column] = []
    for heading, _ in groups:
        for alpha in chosen:
            name = " ".join(part for part in (heading, f"@{ALPHAS[alpha]:g}" if len(chosen) > 1 else "") if part)
            columns.append(Column(key=name, heading=name, kind="percent"))
            if intervals:
                columns.append(Column(key=f"{name} 95%", heading="95 %", kind="interval"))
    rows = []
    for configuration in dict.fromkeys(one.configuration for one in figures):
        own = [one for one in figures if one.configuration == configuration]
        values: list[Value] = []
        for _, belongs in groups:
            values += _values(next((one for one in own if belongs(one)), None), chosen, intervals=intervals)
        if any(value is not None for value in values):
            rows.append(Row(name=configuration, values=tuple(values)))
    return Table(title=title, by=by, dataset="photographs", protocol=protocol, columns=tuple(columns), rows=tuple(rows))


def _values(one: Figures | None, alphas: Sequence[int], *, intervals: bool) -> Iterator[Value]:
    for alpha in alphas:
        interval = None if one is None else one.intervals[alpha]
        yield None if one is None else round(one.pck[alpha], 6)
        if intervals:
            yield None if interval is None else (round(interval[0], 6), round(interval[1], 6))


def _times(seconds: Sequence[Seconds]) -> Table:
    headings = (
        "describe, median",
        *("locate, median", "locate, 90 %"),
        *(f"transfer from {SUPPORTS}, median", f"transfer from {SUPPORTS}, 90 %"),
    )
    rows = [Row(name=one.configuration, values=(one.describe, *one.locate, *one.transfer)) for one in seconds]
    columns = tuple(Column(key=heading, heading=heading, kind="seconds") for heading in headings)
    title = "Seconds for an image, the network in memory"
    return Table(title=title, by="time", dataset="photographs", protocol="", columns=columns, rows=tuple(rows))


def _confidence(figures: Sequence[Figures]) -> Table:
    columns = (
        Column(key="points", heading="points", kind="count"),
        Column(key="calibrated", heading="calibrated, %", kind="percent"),
        Column(key="calibration error", heading="calibration error", kind="fraction"),
        Column(key="right", heading="right, %", kind="percent"),
        Column(key="more confident half", heading="of the more confident half, %", kind="percent"),
        Column(key="ROC area", heading="ROC area", kind="fraction"),
    )
    rows = []
    for one in figures:
        sure = one.confidence
        if one.configuration != MAIN or one.spread or sure is None:
            continue
        name = f"{one.images}, {one.half}" if one.images == NAME else f"{one.images}, {one.supports} annotated"
        if one.images != NAME and one.half != "all":
            name += f", {one.half}"
        area = None if math.isnan(sure.area) else round(sure.area, 6)
        figures_of_it = (percent(sure.calibrated), round(sure.error, 6), percent(sure.right), percent(sure.half), area)
        rows.append(Row(name=name, values=(sure.points, *figures_of_it)))
    title = f"Confidence of {MAIN!r}: right within {ALPHAS[HEADLINE]:g}"
    return Table(title=title, by="confidence", dataset="photographs", protocol="", columns=columns, rows=tuple(rows))
