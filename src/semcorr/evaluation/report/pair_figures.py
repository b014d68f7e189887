"""A figure of a run's best, worst and random pairs, with predicted and true points."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import Float, Int

from semcorr.errors import ImageError
from semcorr.evaluation.metrics import pck
from semcorr.evaluation.metrics.scores import Scores
from semcorr.evaluation.report.groups import Member
from semcorr.evaluation.runs.records import PairRecord
from semcorr.imaging.image import Image, load_image
from semcorr.visualization import matches as draw
from semcorr.visualization.style import FAINT, INK, PAPER, font_of, shortened

Heatmap = Callable[[PairRecord, int], np.ndarray | None]
"""Returns the heat map (height, width) over the target of one of a pair's points; None where there is none."""

_PER_ROW = 3
_TILE = 240
"""Pixels: the height of an image in the figure."""
_MARGIN = 12
_GREY = (190, 194, 199)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which pairs a figure shows: indices into the records."""

    best: tuple[int, ...]
    worst: tuple[int, ...]
    random: tuple[int, ...]


def choose(scores: Scores, each: int = _PER_ROW, seed: int = 0) -> Chosen:
    """Choose the pairs with the smallest and the largest mean error, and random ones among the others.

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


def pair_figure(member: Member, alpha: float, heatmap: Heatmap | None = None) -> PIL.Image.Image | None:
    """Draw the best, worst and random pairs of a run in three rows; None if no pair has predictions.

    Dots are predicted points, rings the truth. Above each target stand the number of points that are correct at
    ``alpha`` and the mean error as a fraction of the threshold's size.
    """
    chosen = choose(member.scores)
    rows = [(name, indices) for name, indices in vars(chosen).items() if indices]
    if not rows:
        return None
    root = Path(member.run.settings.get("dataset", {}).get("root", "."))
    strips = []
    for name, indices in rows:
        tiles = [_tile(member.scores, index, alpha, root, heatmap) for index in indices]
        highest = max(tile.height for tile in tiles)
        tiles = [_on_paper(tile, tile.width, highest) for tile in tiles]
        strips.append(_headed(draw.gallery(tiles, columns=len(tiles)), f"{name} pairs"))
    width = max(strip.width for strip in strips)
    figure = draw.gallery([_on_paper(strip, width, strip.height) for strip in strips])
    rule = f"right at {alpha:g} and mean error by {member.scores.protocol}"
    figure = _headed(figure, f"{member.name}: dots are predicted points, rings the truth; {rule}")
    return _on_paper(figure, figure.width + 2 * _MARGIN, figure.height + 2 * _MARGIN, (_MARGIN, _MARGIN))


def _tile(scores: Scores, index: int, alpha: float, root: Path, heatmap: Heatmap | None) -> PIL.Image.Image:
    record = scores.records[index]
    source = _image(root / record.source, record.source_size)
    target = _image(root / record.target, record.target_size)
    errors = scores.errors[scores.pair == index]
    right = int(pck.is_correct(errors, alpha).sum())
    outcome = f"{right} of {len(errors)} right, error {_mean_errors(scores)[index]:.2f}: {Path(record.target).name}"
    # If the images have been resized since, the points are scaled with them.
    scale = np.array(target.size) / record.target_size
    return draw.match_figure(
        source,
        target,
        record.source_points * np.array(source.size) / record.source_size,
        np.nan_to_num(record.predicted) * scale,
        truth=record.truth * scale,
        heatmaps=_maps(record, heatmap),
        titles=(f"{record.category}: {Path(record.source).name}", outcome),
        names=record.names,
        height=_TILE,
    )


def _mean_errors(scores: Scores) -> Float[np.ndarray, " pairs"]:
    """Of every pair; infinite where a point has no prediction, 0 where there are no points."""
    sums = np.bincount(scores.pair, weights=scores.errors, minlength=len(scores.records))
    return sums / np.maximum(scores.totals, 1)


def _maps(record: PairRecord, heatmap: Heatmap | None) -> Float[np.ndarray, "points height width"] | None:
    maps = [] if heatmap is None else [heatmap(record, index) for index in range(len(record.truth))]
    known = [one for one in maps if one is not None]
    # A map without a peak shows nothing.
    return np.stack([np.zeros_like(known[0]) if one is None else one for one in maps]) if known else None


def _image(path: Path, size: tuple[int, int]) -> Image:
    """The image, or a grey tile with its name if it cannot be read."""
    try:
        return load_image(path)
    except ImageError:
        width, height = max(size[0], 2), max(size[1], 2)
        tile = PIL.Image.new("RGB", (width, height), _GREY)
        font = font_of(max(10, round(height / 14)))
        below = (width / 2, height * 0.93)  # Not in the middle, where points are.
        PIL.ImageDraw.Draw(tile).text(below, shortened(path.name, width * 0.9, font), fill=INK, font=font, anchor="mm")
        return load_image(tile, name=path.name)


def _headed(image: PIL.Image.Image, heading: str) -> PIL.Image.Image:
    font, row = font_of(16), 34
    figure = _on_paper(image, image.width, image.height + row, (0, row))
    text = shortened(heading, image.width - 12, font)
    PIL.ImageDraw.Draw(figure).text((6, row / 2), text, fill=FAINT, font=font, anchor="lm")
    return figure


def _on_paper(image: PIL.Image.Image, width: int, height: int, corner: tuple[int, int] = (0, 0)) -> PIL.Image.Image:
    figure = PIL.Image.new("RGB", (width, height), PAPER)
    figure.paste(image, corner)
    return figure
