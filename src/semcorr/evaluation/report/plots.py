"""Figures of a report: PCK curves, bars by category, and the best, worst and random pairs."""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semcorr.errors import RunError
from semcorr.evaluation.metrics import pck
from semcorr.evaluation.metrics.scores import Scores, by_category, macro
from semcorr.evaluation.report.groups import Group, Member, ReportOptions, group_runs
from semcorr.evaluation.report.pair_figures import Heatmap, pair_figure
from semcorr.evaluation.runs.records import Run
from semcorr.storage.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for the colour-blind, without the yellow that white paper swallows.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_GREYS = ("#4d4d4d", "#6e6e6e", "#8c8c8c", "#a6a6a6")
_DASHES = ("--", ":", "-.", (0, (1, 3)))
_STEPS = 400
_MOST_CATEGORIES = 40
_AVERAGES = ("per image", "per point")


def write_plots(
    runs: Sequence[Run],
    folder: Path,
    options: ReportOptions | None = None,
    *,
    heatmaps: Callable[[Run], Heatmap] | None = None,
) -> list[Path]:
    """Draw all figures of the runs into ``folder``.

    For each data set ``curves.png`` and, if it has several categories, ``categories.png``; for each run that is no
    baseline ``pairs-NAME.png``. Images are read from the folder that the run's settings name; one that cannot be read
    becomes a grey tile.

    Args:
        runs: The runs.
        folder: The folder to write to; it is made.
        options: As for a report.
        heatmaps: Gives, for a run, the heat maps to show under its pairs' points.

    Returns:
        The paths of the files.

    Raises:
        SettingsError, RunError: As :func:`semcorr.evaluation.report.build.build_report`, or the folder cannot be
            written.
    """
    options = options or ReportOptions()
    groups = group_runs(runs, options)
    written = []
    try:
        for group in groups:
            suffix = f"-{_slug(group.dataset)}" if len(groups) > 1 else ""
            for name, figure in (("curves", curves(group, options)), ("categories", categories(group, options))):
                if figure is not None:
                    # Without matplotlib's version in the file, the same figures give the same bytes for longer.
                    stream = io.BytesIO()
                    figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
                    written.append(write_atomically(folder / f"{name}{suffix}.png", stream.getvalue()))
            for member in group.members:
                if member.is_baseline:
                    continue
                pairs = pair_figure(member, options.alphas[-1], heatmaps(member.run) if heatmaps else None)
                if pairs is not None:
                    stream = io.BytesIO()
                    pairs.save(stream, format="PNG")
                    written.append(write_atomically(folder / f"pairs-{_slug(member.name)}.png", stream.getvalue()))
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror or error}. Name another folder.") from error
    return written


def curves(group: Group, options: ReportOptions) -> "Figure":
    """PCK against alpha from 0 to ``options.highest``, per image and per point."""
    alphas = np.linspace(0, options.highest, _STEPS + 1)
    figure, (left, right) = _panels(10, 5.2, f"{group.title}\n{group.protocol}")
    for member, style in zip(group.members, _styles(group.members), strict=True):
        averages = member.scores.averages(alphas.tolist())
        left.plot(alphas, 100 * averages.per_image, label=member.name, **style)
        right.plot(alphas, 100 * averages.per_point, **style)
    for axes, averaging in zip((left, right), _AVERAGES, strict=True):
        axes.set(xlim=(0, options.highest), ylim=(0, 101), xlabel="alpha")
        axes.set_title(averaging, fontsize=10)
        axes.locator_params(axis="x", nbins=5)
        for alpha in options.alphas:
            axes.axvline(alpha, color="#cccccc", linewidth=0.8, zorder=0)
    left.set_ylabel("PCK, %")
    _legend(figure, left)
    return figure


def categories(group: Group, options: ReportOptions) -> "Figure | None":
    """PCK at the last alpha of every category, and their mean; None if there are fewer than two categories.

    If there are very many categories, those with the most points.
    """
    alpha = options.alphas[-1]
    tables = [_by_category(member.scores, alpha) for member in group.members]
    sizes: dict[str, int] = {}
    for table in tables:
        sizes = {name: points for name, (points, *_) in table.items()} | sizes
    if len(sizes) < 2:
        return None
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:_MOST_CATEGORIES]
    cut = f", the {len(largest)} largest of {len(sizes)} categories" if len(largest) < len(sizes) else ""
    labels = ["mean", *sorted(largest, reverse=True)]
    for table, member in zip(tables, group.members, strict=True):
        mean = macro(member.scores, [alpha])
        table["mean"] = (0, float(mean.per_image[0]), float(mean.per_point[0]))
    height = 1.9 + len(labels) * (0.16 + 0.1 * len(tables))
    figure, panels = _panels(10, height, f"{group.title}\nPCK@{alpha:g} in %, {group.protocol}{cut}")
    for column, (axes, averaging) in enumerate(zip(panels, _AVERAGES, strict=True), start=1):
        _bars(axes, group.members, [{name: row[column] for name, row in table.items()} for table in tables], labels)
        axes.set_title(averaging, fontsize=10)
    panels[0].set_yticks(range(len(labels)), labels)
    panels[1].set_yticks(range(len(labels)), [""] * len(labels))
    _legend(figure, panels[0])
    return figure


def _bars(axes: "Axes", members: Sequence[Member], tables: Sequence[dict[str, float]], labels: Sequence[str]) -> None:
    """A bar per run and label; the first run on top of each group, as in the legend."""
    thick = 0.8 / len(members)
    for number, (member, table, style) in enumerate(zip(members, tables, _styles(members, bars=True), strict=True)):
        heights = np.arange(len(labels)) + 0.4 - (number + 0.5) * thick
        values = [100 * table.get(label, np.nan) for label in labels]
        axes.barh(heights, values, thick * 0.92, label=member.name, **style)
    axes.set(xlim=(0, 100), ylim=(-0.5, len(labels) - 0.5))
    axes.axhline(0.5, color="#999999", linewidth=0.8)
    axes.grid(visible=False, axis="y")


def _by_category(scores: Scores, alpha: float) -> dict[str, tuple[int, float, float]]:
    table = {}
    for name, mask in by_category(scores).items():
        averages: pck.Averages = scores.averages([alpha], mask)
        table[name] = (int(mask.sum()), float(averages.per_image[0]), float(averages.per_point[0]))
    return table


def _panels(width: float, height: float, title: str) -> "tuple[Figure, tuple[Axes, Axes]]":
    """A figure with two panels, drawn by Agg without matplotlib's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # Late: importing it takes its time.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(1, 2)
    for axes in panels:
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
    return figure, (panels[0], panels[1])


def _legend(figure: "Figure", axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    longest = max(len(label) for label in labels)
    columns = max(1, min(len(labels), 120 // (longest + 8)))
    columns = math.ceil(len(labels) / math.ceil(len(labels) / columns))  # Rows of equal length, if possible.
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)


def _styles(members: Sequence[Member], *, bars: bool = False) -> Iterator[dict[str, Any]]:
    """A colour for each run; baselines are grey, so that they step back."""
    runs = baselines = 0
    for member in members:
        if member.is_baseline:
            style: dict[str, Any] = {"color": _GREYS[baselines % len(_GREYS)]}
            yield style if bars else {**style, "linestyle": _DASHES[baselines % len(_DASHES)], "linewidth": 1.4}
            baselines += 1
        else:
            yield {"color": _COLOURS[runs % len(_COLOURS)]} | ({} if bars else {"linewidth": 2.0})
            runs += 1


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
