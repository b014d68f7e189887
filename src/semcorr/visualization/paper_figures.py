"""The paper's Figure 1, of one's own images: one source and many targets."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw

from semcorr.imaging.geometry import scale_points
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.results import Matches
from semcorr.visualization.matches import gallery, heatmap_overlay, with_dot
from semcorr.visualization.panels import (
    Panel,
    even_columns,
    fitted,
    panel_grid,
    panel_height,
    panel_style,
    resized,
    with_heading,
    with_margin,
)
from semcorr.visualization.style import HAIRLINE, PALETTE, PAPER, PEAK, Style

OPACITY = 0.7
QUERY = PALETTE[0]
"""The colour of a query point: yellow, as in the paper."""


def one_to_many(
    source: "ImageSource",
    targets: "Sequence[ImageSource]",
    matches: Sequence[Matches],
    *,
    columns: int = 4,
    height: int | None = None,
    opacity: float = OPACITY,
) -> PIL.Image.Image:
    """Draw one source and many targets, as the paper's Figure 1, with a row for each point.

    On the left is the source with the query point in yellow; then every target under the point's heat map, with the
    match.

    Args:
        source: The source image.
        targets: The target images.
        matches: The matches of one query in each target.
        columns: Targets side by side; more go below.
        height: Of a panel, in pixels of the figure; by default less where there are many rows.
        opacity: Of a heat map at its peak.

    Raises:
        ValueError: There are no targets, or not one ``Matches`` for each, or not all are of the same points.
        ImageError: An image cannot be read.
    """
    _check(targets, matches)
    across = even_columns(len(targets), columns)
    points = len(matches[0].points)
    tall = height or panel_height(points * -(-len(targets) // across), least=130)
    style, first = panel_style(tall), load_image(source)
    # Reduced at once: there may be many, and large ones.
    images = [
        resized(load_image(target), fitted(one.image_size, tall)) for target, one in zip(targets, matches, strict=True)
    ]
    blocks = []
    for index in range(points):
        left = panel_grid([_source_panel(first, matches[0].query_points[index], tall)], 1, style)
        panels = [_target_panel(image, one, index, opacity) for image, one in zip(images, matches, strict=True)]
        block = _beside(left, panel_grid(panels, across, style), style)
        if points > 1:
            names = matches[0].names
            block = with_heading(block, names[index] if names else f"point {index + 1}", style, badge=index)
        blocks.append(block)
    return with_margin(gallery(blocks, gap=2 * style.gap), style.gap)


def _check(targets: Sequence[ImageSource], matches: Sequence[Matches]) -> None:
    if not targets or len(targets) != len(matches):
        raise ValueError(f"Expected matches for each of at least one target, got {len(matches)} for {len(targets)}.")
    for one in matches[1:]:
        if not np.array_equal(one.query_points, matches[0].query_points):
            raise ValueError("The matches are of different points: locate one query in all targets.")


def _source_panel(image: Image, point: np.ndarray, height: int) -> Panel:
    size = fitted(image.size, height)
    shown = with_dot(resized(image, size).pil(), scale_points(point, image.size, size), QUERY)
    return Panel(image=shown, caption=image.name, note="query point")


def _target_panel(image: Image, matches: Matches, index: int, opacity: float) -> Panel:
    point = scale_points(matches.points[index], matches.image_size, image.size)
    shown = heatmap_overlay(image, matches.heatmaps[index], opacity, peak=point, colour=PEAK)
    return Panel(image=shown, caption=image.name, note=f"confidence {matches.confidence[index]:.2f}")


def _beside(left: PIL.Image.Image, right: PIL.Image.Image, style: Style) -> PIL.Image.Image:
    """Return two images with a line between them, tops aligned."""
    gap = 2 * style.gap
    size = (left.width + right.width + 2 * gap, max(left.height, right.height))
    figure = PIL.Image.new("RGB", size, PAPER)
    figure.paste(left, (0, 0))
    figure.paste(right, (left.width + 2 * gap, 0))
    middle = left.width + gap
    PIL.ImageDraw.Draw(figure).line((middle, 0, middle, size[1]), fill=HAIRLINE, width=2)
    return figure
