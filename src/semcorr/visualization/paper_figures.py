"""The paper's pictures of the method, made of one's own images: Figure 1, one source and many targets; Figure 3."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import torch

from semcorr.diagram import Diagram
from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Size, scale_points
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.results import Matches
from semcorr.visualization.matches import dotted, gallery, heatmap_overlay
from semcorr.visualization.panels import Panel, even_columns, fitted, framed, headed, panel_style, resized, sheet
from semcorr.visualization.style import HAIRLINE, PALETTE, PAPER, PEAK, Style

OPACITY = 0.7
QUERY = PALETTE[0]
"""The colour of a point that is asked for: yellow, as in the paper."""

_HIGHEST, _LOWEST, _IN_ALL = 256, 130, 3600  # pixels: a panel's height, at most and at least, and all rows together


def one_to_many(
    source: ImageSource,
    targets: Sequence[ImageSource],
    matches: Sequence[Matches],
    *,
    columns: int = 4,
    height: int | None = None,
    opacity: float = OPACITY,
) -> PIL.Image.Image:
    """One source and many targets, as the paper's Figure 1: for each point a row.

    On the left the source with the point in yellow; then every target under the point's heat map, with what was found.

    Args:
        source: the image that the points are in.
        targets: the images that they were found in.
        matches: what was found in each of them, of one query.
        columns: targets side by side; more go below.
        height: of a panel, in pixels of the picture; by default less where there are many rows.
        opacity: of a heat map at its peak.

    Raises:
        ValueError: no targets, not one ``Matches`` for each, or not all of the same points.
        ImageError: an image cannot be read.
    """
    _check(targets, matches)
    across = even_columns(len(targets), columns)
    points = len(matches[0].points)
    tall = height or max(_LOWEST, min(_HIGHEST, _IN_ALL // (points * -(-len(targets) // across))))
    style, first = panel_style(tall), load_image(source)
    # Small at once: there may be many, and large ones.
    images = [
        resized(load_image(target), fitted(one.image_size, tall)) for target, one in zip(targets, matches, strict=True)
    ]
    blocks = []
    for index in range(points):
        left = sheet([_asked(first, matches[0].query_points[index], tall)], 1, style)
        panels = [_found(image, one, index, opacity) for image, one in zip(images, matches, strict=True)]
        block = _beside(left, sheet(panels, across, style), style)
        if points > 1:
            names = matches[0].names
            block = headed(block, names[index] if names else f"point {index + 1}", style, badge=index)
        blocks.append(block)
    return framed(gallery(blocks, gap=2 * style.gap), style.gap)


def method_figure(
    source: ImageSource,
    target: ImageSource,
    in_source: Matches,
    in_target: Matches,
    *,
    point: int = 0,
    sigma: float = 27.97853316316864 / 512,
    height: int = 260,
    opacity: float = OPACITY,
) -> PIL.Image.Image:
    """How one point is learned and found, as the paper's Figure 3, with the maps of a real query.

    Above, learning: the embedding is changed until the source's attention is a Gaussian at the point. Below, locating:
    the same embedding in the target, and the largest value of its map.

    Args:
        source: the image that the point is in.
        target: the image that it was found in.
        in_source: what was found in the source itself, whose heat map is shown: what the embedding has learned.
        in_target: what was found in the target.
        point: which of the points, counted from 0.
        sigma: standard deviation of the Gaussian that was learned, as a part of the frame's side.
        height: of a panel, in pixels of the picture.
        opacity: of a map at its peak.

    Raises:
        ValueError: there is no such point.
        ImageError: an image cannot be read.
    """
    for matches in (in_source, in_target):
        if not 0 <= point < len(matches.points):
            raise ValueError(f"point must be from 0 to {len(matches.points) - 1}, got {point}.")
    first, second = load_image(source), load_image(target)
    asked, found = in_source.query_points[point], in_target.points[point]
    goal = _gaussian(asked, first.size, in_source.heatmaps[point].shape, sigma)
    upper, lower = fitted(first.size, height, widest=1.3), fitted(second.size, height, widest=1.3)
    one, two = resized(first, upper), resized(second, lower)
    at, answer = scale_points(asked, first.size, upper), scale_points(found, second.size, lower)
    return Diagram(style=panel_style(height), width=max(upper[0], lower[0])).draw(
        [
            (dotted(one.pil(), at, QUERY), "source, and the point asked for"),
            (heatmap_overlay(one, in_source.heatmaps[point], opacity), "its attention, learned"),
            (dotted(heatmap_overlay(one, goal, opacity), at, QUERY), "what it should be: a Gaussian"),
        ],
        [
            (two.pil(), "target"),
            (heatmap_overlay(two, in_target.heatmaps[point], opacity), "its attention"),
            (dotted(two.pil(), answer, PEAK), "where that is highest"),
        ],
    )


def _check(targets: Sequence[ImageSource], matches: Sequence[Matches]) -> None:
    if not targets or len(targets) != len(matches):
        raise ValueError(f"Expected matches for each of at least one target, got {len(matches)} for {len(targets)}.")
    for one in matches[1:]:
        if not np.array_equal(one.query_points, matches[0].query_points):
            raise ValueError("The matches are of different points: locate one query in all targets.")


def _asked(image: Image, point: np.ndarray, height: int) -> Panel:
    size = fitted(image.size, height)
    picture = dotted(resized(image, size).pil(), scale_points(point, image.size, size), QUERY)
    return Panel(picture=picture, caption=image.name, note="the point asked for")


def _found(image: Image, matches: Matches, index: int, opacity: float) -> Panel:
    place = scale_points(matches.points[index], matches.image_size, image.size)
    picture = heatmap_overlay(image, matches.heatmaps[index], opacity, peak=place, colour=PEAK)
    return Panel(picture=picture, caption=image.name, note=f"confidence {matches.confidence[index]:.2f}")


def _beside(left: PIL.Image.Image, right: PIL.Image.Image, style: Style) -> PIL.Image.Image:
    """Two pictures with a line between them, tops aligned."""
    gap = 2 * style.gap
    size = (left.width + right.width + 2 * gap, max(left.height, right.height))
    figure = PIL.Image.new("RGB", size, PAPER)
    figure.paste(left, (0, 0))
    figure.paste(right, (left.width + 2 * gap, 0))
    middle = left.width + gap
    PIL.ImageDraw.Draw(figure).line((middle, 0, middle, size[1]), fill=HAIRLINE, width=2)
    return figure


def _gaussian(point: np.ndarray, size: Size, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """The map that learning aims at, in the frame of the heat maps: squashed to a square."""
    side = shape[-1]
    centre = torch.from_numpy(scale_points(point, size, (side, shape[-2])))
    return heatmaps.gaussian(centre, sigma * side, (side, shape[-2])).numpy()
