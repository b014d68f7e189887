"""Pictures of a report: PCK curves, bars by category, and sheets of the best, worst and random pairs."""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import Float, Int

from semcorr.errors import ImageError, RunError
from semcorr.evaluation.baselines import BASELINES
from semcorr.evaluation.metrics import pck
from semcorr.evaluation.metrics.scores import Scores, by_category, macro
from semcorr.evaluation.report.groups import Group, Member, Wanted, measure
from semcorr.evaluation.runs.records import PairRecord, Run
from semcorr.imaging.image import Image, load_image
from semcorr.storage.files import write_atomically
from semcorr.visualization import matches as draw
from semcorr.visualization.style import FAINT, INK, PAPER, font_of, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Heatmap = Callable[[PairRecord, int], np.ndarray | None]
"""The map (height, width) over the target of one of a pair's points; None where there is none."""

# Okabe and Ito's colours, which stay apart for the colour-blind, without the yellow that white paper swallows.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_GREYS = ("#4d4d4d", "#6e6e6e", "#8c8c8c", "#a6a6a6")
_DASHES = ("--", ":", "-.", (0, (1, 3)))
_STEPS = 400
_MOST_CATEGORIES = 40
_EACH = 3
_TILE = 240


def write_plots(
    runs: Sequence[Run],
    folder: Path,
    wanted: Wanted | None = None,
    *,
    heatmaps: Callable[[Run], Heatmap] | None = None,
) -> list[Path]:
    """Draw all pictures of the runs into ``folder`` and return their paths.

    For each data set ``curves.png`` and, where it has several categories, ``categories.png``; for each run that is no
    baseline ``pairs-NAME.png``. Pictures are looked for below the folder that the run's settings name; one that cannot
    be read becomes a grey tile. ``heatmaps`` gives, for a run, the maps to show under its pairs' points.

    Raises:
        SettingsError, RunError: as :func:`semcorr.evaluation.report.build.build_report`, or the folder cannot be
            written.
    """
    wanted = wanted or Wanted()
    groups = measure(runs, wanted)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for group in groups:
            of = f"-{_slug(group.dataset)}" if len(groups) > 1 else ""
            for name, figure in (("curves", curves(group, wanted)), ("categories", categories(group, wanted))):
                if figure is not None:
                    written.append(folder / f"{name}{of}.png")
                    # No version of matplotlib in the file: the same figures give the same bytes for longer.
                    stream = io.BytesIO()
                    figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
                    write_atomically(written[-1], stream.getvalue())
            for member in group.members:
                if _is_baseline(member):
                    continue
                heatmap = heatmaps(member.run) if heatmaps else None
                sheet = pair_sheet(member, wanted.alphas[-1], heatmap)
                if sheet is not None:
                    written.append(folder / f"pairs-{_slug(member.name)}.png")
                    stream = io.BytesIO()
                    sheet.save(stream, format="PNG")
                    write_atomically(written[-1], stream.getvalue())
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror or error}. Name another folder.") from error
    return written


# --- curves and bars --------------------------------------------------------------------------------------------------


def curves(group: Group, wanted: Wanted) -> "Figure":
    """PCK against alpha from 0 to ``wanted.highest``, per image and per point."""
    alphas = np.linspace(0, wanted.highest, _STEPS + 1)
    figure, (left, right) = _panels(10, 5.2, f"{group.title}\n{group.protocol}")
    for member, style in zip(group.members, _styles(group.members), strict=True):
        averages = member.scores.averages(alphas.tolist())
        left.plot(alphas, 100 * averages.per_image, label=member.name, **style)
        right.plot(alphas, 100 * averages.per_point, **style)
    for axes, averaging in ((left, "per image"), (right, "per point")):
        axes.set(xlim=(0, wanted.highest), ylim=(0, 101), xlabel="alpha")
        axes.set_title(averaging, fontsize=10)
        axes.locator_params(axis="x", nbins=5)
        for alpha in wanted.alphas:
            axes.axvline(alpha, color="#cccccc", linewidth=0.8, zorder=0)
    left.set_ylabel("PCK, %")
    _legend(figure, left)
    return figure


def categories(group: Group, wanted: Wanted) -> "Figure | None":
    """PCK at the last alpha of every category, and their mean; None where there are fewer than two categories.

    Of very many categories, those with the most points.
    """
    alpha = wanted.alphas[-1]
    tables = [_by_category(member.scores, alpha) for member in group.members]
    sizes: dict[str, int] = {}
    for table in tables:
        sizes = {name: points for name, (points, *_) in table.items()} | sizes
    if len(sizes) < 2:
        return None
    most = sorted(sizes, key=lambda name: (-sizes[name], name))[:_MOST_CATEGORIES]
    cut = f", the {len(most)} largest of {len(sizes)} categories" if len(most) < len(sizes) else ""
    labels = ["mean", *sorted(most, reverse=True)]
    for table, member in zip(tables, group.members, strict=True):
        mean = macro(member.scores, [alpha])
        table["mean"] = (0, float(mean.per_image[0]), float(mean.per_point[0]))
    height = 1.9 + len(labels) * (0.16 + 0.1 * len(tables))
    figure, panels = _panels(10, height, f"{group.title}\nPCK@{alpha:g} in %, {group.protocol}{cut}")
    thick = 0.8 / len(tables)
    for number, (member, table, style) in enumerate(
        zip(group.members, tables, _styles(group.members, bars=True), strict=True)
    ):
        # The first run on top of each group, as in the legend.
        places = np.arange(len(labels)) + 0.4 - (number + 0.5) * thick
        for axes, column in zip(panels, (1, 2), strict=True):
            values = [100 * table[label][column] if label in table else np.nan for label in labels]
            axes.barh(places, values, thick * 0.92, label=member.name, **style)
    for axes, averaging in zip(panels, ("per image", "per point"), strict=True):
        axes.set(xlim=(0, 100), ylim=(-0.5, len(labels) - 0.5))
        axes.set_title(averaging, fontsize=10)
        axes.axhline(0.5, color="#999999", linewidth=0.8)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(labels)), labels)
    panels[1].set_yticks(range(len(labels)), [""] * len(labels))
    _legend(figure, panels[0])
    return figure


def _by_category(scores: Scores, alpha: float) -> dict[str, tuple[int, float, float]]:
    found = {}
    for name, mask in by_category(scores).items():
        averages: pck.Averages = scores.averages([alpha], mask)
        found[name] = (int(mask.sum()), float(averages.per_image[0]), float(averages.per_point[0]))
    return found


def _panels(width: float, height: float, title: str) -> "tuple[Figure, tuple[Axes, Axes]]":
    """A figure with two panels, drawn by Agg; nothing of matplotlib's global state is touched."""
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
    columns = math.ceil(len(labels) / math.ceil(len(labels) / columns))  # Rows of one length, as far as they go.
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)


def _styles(members: Sequence[Member], *, bars: bool = False) -> Iterator[dict[str, Any]]:
    """A colour for each run; baselines are grey, so that they step back."""
    runs = baselines = 0
    for member in members:
        if _is_baseline(member):
            style: dict[str, Any] = {"color": _GREYS[baselines % len(_GREYS)]}
            yield style if bars else {**style, "linestyle": _DASHES[baselines % len(_DASHES)], "linewidth": 1.4}
            baselines += 1
        else:
            yield {"color": _COLOURS[runs % len(_COLOURS)]} | ({} if bars else {"linewidth": 2.0})
            runs += 1


def _is_baseline(member: Member) -> bool:
    return member.run.settings.get("method", {}).get("name") in BASELINES


# --- pairs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which pairs a sheet shows: places in the records."""

    best: tuple[int, ...]
    worst: tuple[int, ...]
    random: tuple[int, ...]


def choose(scores: Scores, each: int = _EACH, seed: int = 0) -> Chosen:
    """The pairs with the smallest and the largest mean error, and random ones among the others.

    Pairs that failed or have no points are not shown: there is nothing to see in them.
    """
    shown = np.flatnonzero(~scores.failed & (scores.totals > 0))
    errors = _mean_errors(scores)[shown]
    order: Int[np.ndarray, " shown"] = shown[np.argsort(errors, kind="stable")]
    # Of few pairs the best and the worst must not be the same.
    each_end = min(each, (len(order) + 1) // 2)
    best, rest = order[:each_end], order[each_end:]
    worst, rest = rest[::-1][:each_end], rest[: max(0, len(rest) - each_end)]
    random = np.random.default_rng(seed).permutation(np.sort(rest))[:each]
    return Chosen(best=tuple(best.tolist()), worst=tuple(worst.tolist()), random=tuple(random.tolist()))


def pair_sheet(member: Member, alpha: float, heatmap: Heatmap | None = None) -> PIL.Image.Image | None:
    """The best, worst and random pairs of a run in three rows; None where nothing was found.

    Dots are what was found, rings the truth. Above each target: how many points are right at ``alpha``, and the mean
    error as a part of the threshold's size.
    """
    chosen = choose(member.scores)
    rows = [(what, places) for what, places in vars(chosen).items() if places]
    if not rows:
        return None
    root = Path(member.run.settings.get("dataset", {}).get("root", "."))
    strips = []
    for what, places in rows:
        tiles = [_tile(member.scores, place, alpha, root, heatmap) for place in places]
        highest = max(tile.height for tile in tiles)
        tiles = [_on_paper(tile, tile.width, highest) for tile in tiles]
        strips.append(_headed(draw.gallery(tiles, columns=len(tiles)), f"{what} pairs"))
    width = max(strip.width for strip in strips)
    rule = f"right at {alpha:g} and mean error by {member.scores.protocol}"
    title = f"{member.name}: dots are what was found, rings the truth; {rule}"
    sheet = draw.gallery([_on_paper(strip, width, strip.height) for strip in strips])
    sheet, edge = _headed(sheet, title), 12
    return _on_paper(sheet, sheet.width + 2 * edge, sheet.height + 2 * edge, (edge, edge))


def _tile(scores: Scores, place: int, alpha: float, root: Path, heatmap: Heatmap | None) -> PIL.Image.Image:
    record = scores.records[place]
    source, target = (
        _picture(root / name, size)
        for name, size in ((record.source, record.source_size), (record.target, record.target_size))
    )
    errors = scores.errors[scores.pair == place]
    right = int(pck.count(errors, np.zeros(len(errors), np.int64), 1, [alpha]).right[0, 0])
    told = f"{right} of {len(errors)} right, error {_mean_errors(scores)[place]:.2f}: {Path(record.target).name}"
    # Where the pictures have been resized since, the points go with them.
    scale = np.array(target.size) / record.target_size
    return draw.match_figure(
        source,
        target,
        record.source_points * np.array(source.size) / record.source_size,
        np.nan_to_num(record.predicted) * scale,
        truth=record.truth * scale,
        heatmaps=_maps(record, heatmap),
        titles=(f"{record.category}: {Path(record.source).name}", told),
        names=record.names,
        height=_TILE,
    )


def _mean_errors(scores: Scores) -> Float[np.ndarray, " pairs"]:
    """Of every pair; infinite where a point was not found, 0 where there are no points."""
    sums = np.bincount(scores.pair, weights=scores.errors, minlength=len(scores.records))
    return sums / np.maximum(scores.totals, 1)


def _maps(record: PairRecord, heatmap: Heatmap | None) -> np.ndarray | None:
    maps = [] if heatmap is None else [heatmap(record, index) for index in range(len(record.truth))]
    known = [one for one in maps if one is not None]
    # A map without a peak shows nothing.
    return np.stack([np.zeros_like(known[0]) if one is None else one for one in maps]) if known else None


def _picture(path: Path, size: tuple[int, int]) -> Image:
    try:
        return load_image(path)
    except ImageError:
        width, height = max(size[0], 2), max(size[1], 2)
        tile = PIL.Image.new("RGB", (width, height), (190, 194, 199))
        font = font_of(max(10, round(height / 14)))
        place = (width / 2, height * 0.93)  # Not in the middle, where points are.
        PIL.ImageDraw.Draw(tile).text(place, shortened(path.name, width * 0.9, font), fill=INK, font=font, anchor="mm")
        return load_image(tile, name=path.name)


def _headed(picture: PIL.Image.Image, heading: str) -> PIL.Image.Image:
    font, row = font_of(16), 34
    sheet = _on_paper(picture, picture.width, picture.height + row, (0, row))
    words = shortened(heading, picture.width - 12, font)
    PIL.ImageDraw.Draw(sheet).text((6, row / 2), words, fill=FAINT, font=font, anchor="lm")
    return sheet


def _on_paper(picture: PIL.Image.Image, width: int, height: int, corner: tuple[int, int] = (0, 0)) -> PIL.Image.Image:
    sheet = PIL.Image.new("RGB", (width, height), PAPER)
    sheet.paste(picture, corner)
    return sheet


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
