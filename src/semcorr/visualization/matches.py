"""Figures of matches and heat maps, drawn with Pillow; nothing opens a window."""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import Float
from numpy.typing import ArrayLike

from semcorr.imaging.geometry import PointsLike, scale_points
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.results import Matches
from semcorr.visualization.style import (
    FAINT,
    FINER,
    HAIRLINE,
    INK,
    PAPER,
    PEAK,
    WIDE_RING,
    Box,
    Colour,
    Mark,
    Pen,
    Style,
    badge_positions,
    font_of,
    lay_over,
    point_colour,
    shortened,
)


def match_figure(
    source: Image,
    target: Image,
    source_points: "PointsLike",
    target_points: "PointsLike",
    *,
    heatmaps: "ArrayLike | None" = None,
    confidence: "ArrayLike | Sequence[Any] | None" = None,
    truth: "PointsLike | None" = None,
    names: Sequence[str] | None = None,
    titles: tuple[str, str] | None = None,
    lines: bool = False,
    opacity: float = 0.6,
    height: int = 512,
) -> PIL.Image.Image:
    """Draw source and target side by side (very wide ones one above the other) with numbered points.

    Args:
        source: The source image.
        target: The target image.
        source_points: (N, 2), in pixels of the source.
        target_points: (N, 2), in pixels of the target.
        heatmaps: (N, h, w) of any resolution, each covering the whole target. Each is scaled to its own range, and the
            largest is shown at every pixel.
        confidence: (N,), listed in the legend.
        truth: (N, 2), in pixels of the target: drawn as rings, each joined to the predicted point. A row of NaN has no
            ring.
        names: Names of the points, listed in the legend.
        titles: Headings of both panels; by default the images' names and sizes.
        lines: Whether to join every point with its match.
        opacity: Of the heat maps at their peak.
        height: Of a panel, in pixels of the figure.

    Raises:
        ValueError: The numbers of points, heat maps, confidences or names differ.
    """
    from_points, to_points = _pairs(source_points, "source_points"), _pairs(target_points, "target_points")
    true_points = None if truth is None else _pairs(truth, "truth", finite=False)
    scores = None if confidence is None else np.asarray(confidence, dtype=np.float64)
    maps = None if heatmaps is None else np.asarray(heatmaps, dtype=np.float64)
    count = len(from_points)
    _same_length(count, target_points=to_points, truth=true_points, confidence=scores, heatmaps=maps, names=names)

    style = Style.of(height)
    boxes, size = _arrange(source.size, target.size, height, style)
    legend = _legend_rows(count, names, scores, true_points is not None, size[0] - 2 * style.gap, style)
    figure = PIL.Image.new("RGB", (size[0], size[1] + len(legend) * style.row + (style.gap if legend else 0)), PAPER)
    images = [_resized(source, boxes[0]), _resized(target, boxes[1])]
    if maps is not None and count:
        images[1] = _blend(images[1], _strongest(maps, images[1].size), opacity)
    headings = titles or tuple(f"{one.name}  {one.size[0]} × {one.size[1]}" for one in (source, target))
    for image, box, heading in zip(images, boxes, headings, strict=True):
        _panel(figure, image, box, heading, style)

    shown = [_into(from_points, source.size, boxes[0]), _into(to_points, target.size, boxes[1])]
    rings = None if true_points is None else _into(true_points, target.size, boxes[1])
    _markers(figure, shown, rings, boxes, lines, style)
    _legend(figure, legend, size[1], style)
    return figure


def draw_matches(matches: Matches, source: "ImageSource", target: "ImageSource", **options: Any) -> PIL.Image.Image:
    """Draw source and target side by side with numbered points and the heat maps of matches.

    Points that the source does not show, as another one of several images does, are left out.

    Args:
        matches: The matches in the target.
        source: The image that the query's points are in.
        target: The image that they were located in.
        **options: As for :func:`match_figure`; ``heatmaps=None`` leaves the maps out.
    """
    known = np.isfinite(matches.query_points[:, 0])
    if not known.all():
        matches = matches.take(np.flatnonzero(known).tolist())
    shown: dict[str, Any] = {"heatmaps": matches.heatmaps, "confidence": matches.confidence, "names": matches.names}
    return match_figure(
        load_image(source), load_image(target), matches.query_points, matches.points, **(shown | options)
    )


def heatmap_overlay(
    image: Image,
    heatmap: "ArrayLike",
    opacity: float = 0.6,
    *,
    colormap: str = "inferno",
    peak: bool | Sequence[float] | np.ndarray = False,
    colour: Colour = PEAK,
) -> PIL.Image.Image:
    """Draw an image, of its own size, under a heat map that covers all of it.

    Args:
        image: The image.
        heatmap: (h, w), of any resolution; it is scaled to its own range. Where it is low, the image shows through,
            paler and darker.
        opacity: Of the map at its peak.
        colormap: Name of a matplotlib colour map. Inferno is perceptually uniform: equal steps of heat look equally
            large.
        peak: Whether to mark the map's largest pixel with a dot; or another point (x, y), in pixels of the image.
        colour: Of the dot.

    Raises:
        ValueError: The map is not two-dimensional.
    """
    heat = np.asarray(heatmap, dtype=np.float64)
    if heat.ndim != 2:
        raise ValueError(f"A heat map must be (height, width), got shape {heat.shape}.")
    overlay = _blend(image.pil(), _strongest(heat[None], image.size), opacity, colormap)
    if isinstance(peak, bool):
        return with_dot(overlay, peak_of(heat, image.size), colour) if peak else overlay
    return with_dot(overlay, _pairs([peak], "peak")[0], colour)


def peak_of(heatmap: "ArrayLike", size: tuple[int, int]) -> Float[np.ndarray, "2"]:
    """Return the centre (x, y) of a map's largest pixel (the first in row order), in pixels of the image it covers."""
    heat = np.asarray(heatmap)
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    centre = np.array([column + 0.5, row + 0.5])
    return scale_points(centre, (heat.shape[1], heat.shape[0]), size)


def with_dot(
    image: PIL.Image.Image, point: np.ndarray, colour: Colour, *, ring: np.ndarray | None = None
) -> PIL.Image.Image:
    """Return the image with a dot at ``point`` (x, y), and a ring around another point, joined to the dot."""
    marked, layer = image.copy(), PIL.Image.new("RGBA", (image.width * FINER, image.height * FINER))
    style = Style.of(image.height)
    pen = Pen(PIL.ImageDraw.Draw(layer), style, ring=WIDE_RING)
    if ring is not None:
        pen.connect(point, ring, colour)
        pen.ring(ring, colour)
    pen.disc(point, style.dot, colour)
    lay_over(marked, layer, (0, 0))
    return marked


def gallery(
    images: Sequence[PIL.Image.Image], *, columns: int = 1, gap: int = 16, background: Colour = PAPER
) -> PIL.Image.Image:
    """Arrange images in a grid, row by row, each centred in its cell; columns and rows fit their largest image."""
    if not images:
        raise ValueError("A gallery needs at least one image.")
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    widths = [max(row[column].width for row in rows if column < len(row)) for column in range(len(rows[0]))]
    heights = [max(image.height for image in row) for row in rows]
    size = (sum(widths) + gap * (len(widths) - 1), sum(heights) + gap * (len(heights) - 1))
    figure = PIL.Image.new("RGB", size, background)
    top = 0
    for row, row_height in zip(rows, heights, strict=True):
        left = 0
        for image, width in zip(row, widths, strict=False):
            corner = (left + (width - image.width) // 2, top + (row_height - image.height) // 2)
            figure.paste(image.convert("RGB"), corner)
            left += width + gap
        top += row_height + gap
    return figure


# --- layout -----------------------------------------------------------------------------------------------------------


def _pairs(points: PointsLike, what: str, *, finite: bool = True) -> Float[np.ndarray, "points 2"]:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{what} must be (N, 2), a list of (x, y) pairs, got shape {array.shape}.")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite; only truth may be NaN, where a point cannot be seen.")
    return array


def _same_length(count: int, **arguments: Sized | None) -> None:
    for name, values in arguments.items():
        if values is not None and len(values) != count:
            raise ValueError(f"{name} has {len(values)} entries for {count} source_points: both must be the same.")


def _arrange(
    source: tuple[int, int], target: tuple[int, int], height: int, style: Style
) -> tuple[tuple[Box, Box], tuple[int, int]]:
    """Return the boxes of the two panels, and the figure's size without its legend."""
    stacked = source[0] / source[1] + target[0] / target[1] > 4
    # Panoramas would make the figure several screens wide, and two of them stacked would make it too high.
    highest, widest = height * (0.62 if stacked else 1), height * 2.4
    sizes = []
    for width, tall in (source, target):
        scale = min(highest / tall, widest / width)
        sizes.append((max(1, round(width * scale)), max(1, round(tall * scale))))
    (width_1, height_1), (width_2, height_2) = sizes
    # Not so narrow that the heading is cut off entirely.
    cell_1, cell_2 = (max(width, style.narrowest) for width in (width_1, width_2))
    left, top = style.gap, style.gap + style.row
    if stacked:
        below = top + height_1 + style.gap + style.row
        first, second = (left, top), (left, below)
        size = (max(cell_1, cell_2) + 2 * left, below + height_2 + style.gap)
    else:
        tall = max(height_1, height_2)
        first = (left, top + (tall - height_1) // 2)
        second = (left + cell_1 + style.gap, top + (tall - height_2) // 2)
        size = (second[0] + cell_2 + style.gap, top + tall + style.gap)
    box_1 = (*first, first[0] + width_1, first[1] + height_1)
    return (box_1, (*second, second[0] + width_2, second[1] + height_2)), size


def _into(points: np.ndarray, size: tuple[int, int], box: Box) -> Float[np.ndarray, "points 2"]:
    moved: np.ndarray = scale_points(points, size, (box[2] - box[0], box[3] - box[1])) + np.array(box[:2])
    return moved


def _resized(image: Image, box: Box) -> PIL.Image.Image:
    return image.pil().resize((box[2] - box[0], box[3] - box[1]), PIL.Image.Resampling.LANCZOS)


# --- heat -------------------------------------------------------------------------------------------------------------


def _strongest(maps: np.ndarray, size: tuple[int, int]) -> Float[np.ndarray, "height width"]:
    """Return the largest value at every pixel of the maps, each scaled to [0, 1] and resized."""
    if maps.ndim != 3:
        raise ValueError(f"Heat maps must be (N, height, width), got shape {maps.shape}.")
    strongest = np.zeros((size[1], size[0]), dtype=np.float32)
    for one in maps:
        low, high = float(one.min()), float(one.max())
        if not high > low:
            continue
        unit = PIL.Image.fromarray(((one - low) / (high - low)).astype(np.float32))
        resized = np.asarray(unit.resize(size, PIL.Image.Resampling.BILINEAR))
        strongest = np.maximum(strongest, resized)
    return strongest


def _blend(image: PIL.Image.Image, heat: np.ndarray, opacity: float, colormap: str = "inferno") -> PIL.Image.Image:
    import matplotlib as mpl  # Here, because importing it makes folders in the user's home.

    colour = mpl.colormaps[colormap](heat)[..., :3].astype(np.float32)
    photo = np.asarray(image, dtype=np.float32) / 255
    grey = photo.mean(axis=-1, keepdims=True)
    # Pale and a little darker, so that the image's own colours are not mistaken for heat.
    pale = 0.8 * (0.45 * photo + 0.55 * grey)
    weight = (opacity * heat)[..., None]
    mixed = pale * (1 - weight) + colour * weight
    return PIL.Image.fromarray(np.round(mixed * 255).astype(np.uint8))


# --- marks ------------------------------------------------------------------------------------------------------------


def _markers(
    figure: PIL.Image.Image,
    points: Sequence[np.ndarray],
    rings: np.ndarray | None,
    boxes: Sequence[Box],
    lines: bool,
    style: Style,
) -> None:
    layer = PIL.Image.new("RGBA", (figure.width * FINER, figure.height * FINER))
    pen = Pen(PIL.ImageDraw.Draw(layer), style)
    if lines:
        for index, (start, end) in enumerate(zip(*points, strict=True)):
            pen.line(start, end, point_colour(index), style.dot / 2)
    known = np.zeros((0, 2))
    if rings is not None:
        seen = np.flatnonzero(np.isfinite(rings).all(axis=1)).tolist()
        known = rings[seen]
        for index in seen:
            pen.connect(points[1][index], rings[index], point_colour(index))
        for index in seen:
            pen.ring(rings[index], point_colour(index))
    for shown, avoid, box in zip(points, (known[:0], known), boxes, strict=True):
        badges = badge_positions(shown, avoid, box, style)
        for index, (point, badge) in enumerate(zip(shown, badges, strict=True)):
            pen.line(point, badge, point_colour(index), style.dot / 3)
        for index, point in enumerate(shown):
            pen.disc(point, style.dot, point_colour(index))
        for index, badge in enumerate(badges):
            pen.badge(badge, index)
    lay_over(figure, layer, (0, 0))


def _panel(figure: PIL.Image.Image, image: PIL.Image.Image, box: Box, heading: str, style: Style) -> None:
    figure.paste(image, box[:2])
    draw = PIL.ImageDraw.Draw(figure)
    # Without a hairline, an image with a white background has no visible border.
    draw.rectangle((box[0] - 1, box[1] - 1, box[2], box[3]), outline=HAIRLINE)
    font = font_of(style.text)
    shown = shortened(heading, max(box[2] - box[0], style.narrowest), font)
    draw.text((box[0], box[1] - style.row / 2), shown, fill=FAINT, font=font, anchor="lm")


def _legend_rows(
    count: int, names: Sequence[str] | None, confidence: np.ndarray | None, truth: bool, width: int, style: Style
) -> list[list[tuple[Mark, str]]]:
    """Return the legend's entries (mark, text), broken into rows of at most ``width``."""
    entries: list[tuple[Mark, str]] = []
    if names is not None or confidence is not None:
        for index in range(count):
            cells = [] if names is None else [names[index]]
            if confidence is not None:
                cells.append(f"{confidence[index]:.2f}")
            entries.append((index, "  ".join(cells)))
    if entries and confidence is not None:
        entries.insert(0, (None, "confidence"))
    if truth:
        entries.append(("ring", "true location"))

    font = font_of(style.text)
    rows: list[list[tuple[Mark, str]]] = []
    used = float("inf")
    for mark, text in entries:
        shown = shortened(text, width - style.lead(mark), font)
        needs = style.lead(mark) + font.getlength(shown)
        if used + needs > width:
            rows.append([])
            used = 0.0
        rows[-1].append((mark, shown))
        used += needs + style.gap
    return rows


def _legend(figure: PIL.Image.Image, rows: list[list[tuple[Mark, str]]], top: int, style: Style) -> None:
    if not rows:
        return
    font = font_of(style.text)
    layer = PIL.Image.new("RGBA", (figure.width * FINER, len(rows) * style.row * FINER))
    pen = Pen(PIL.ImageDraw.Draw(layer), style)
    draw = PIL.ImageDraw.Draw(figure)
    for number, row in enumerate(rows):
        middle = (number + 0.5) * style.row
        left = float(style.gap)
        for mark, text in row:
            centre = np.array([left + style.row / 2, middle])
            if mark == "ring":
                pen.ring(centre, FAINT)
            elif mark is not None:
                pen.badge(centre, mark)
            left += style.lead(mark)
            ink = INK if isinstance(mark, int) else FAINT
            draw.text((left, top + middle), text, fill=ink, font=font, anchor="lm")
            left += font.getlength(text) + style.gap
    lay_over(figure, layer, (0, top))
