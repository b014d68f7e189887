"""Regions drawn over their images."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps
from jaxtyping import Bool, UInt8

from semcorr.imaging.geometry import Size
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.imaging.label_map import LabelMap
from semcorr.matchers.regions.results import Regions
from semcorr.visualization.panels import (
    Panel,
    even_columns,
    fitted,
    panel_grid,
    panel_height,
    panel_style,
    with_margin,
)
from semcorr.visualization.style import INK, PAPER, Colour, Style, font_of, point_colour, shortened

OPACITY = 0.55
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_LONGEST = 1024
"""The longer side of an overlay, at most."""


def region_colours(labels: Iterable[int]) -> dict[int, Colour]:
    """The colour of each label, the same in all figures and label maps."""
    return {label: point_colour(label - 1) for label in labels}


def size_within(size: Size, side: int) -> Size:
    """Return a size (width, height), or one in its proportions with the longer side ``side`` where that is smaller."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def draw_regions(regions: Regions, target: "ImageSource", *, opacity: float = OPACITY) -> PIL.Image.Image:
    """Draw regions over their image, each in its colour with a line around it, above a legend with their confidence.

    Args:
        regions: What was found in it.
        target: The image. One of more than 1,024 pixels is scaled down.
        opacity: Of the colours.

    Raises:
        ImageError: The image cannot be read.
    """
    image = load_image(target)
    size = size_within(image.size, _LONGEST)
    figure = overlay(image, regions.label_map(), size, opacity)
    texts = {label: f"{regions.names[label]} {value:.2f}" for label, value in regions.confidence.items()}
    return _with_legend(figure, texts, Style.of(size[1]))


def region_figure(
    examples: Sequence[tuple[Image, LabelMap]], targets: Sequence[tuple[Image, LabelMap]], *, columns: int = 6
) -> PIL.Image.Image:
    """Draw the examples, the targets below them, and a legend.

    Args:
        examples: Images and their label maps.
        targets: The same of the targets.
        columns: Images side by side.
    """
    count = len(examples) + len(targets)
    across = even_columns(count, columns) if count < columns else columns
    tall = panel_height(-(-count // across))
    style = panel_style(tall)
    panels = [
        Panel(image=overlay(image, labels, fitted(image.size, tall)), caption=image.name + role)
        for role, some in ((" (example)", examples), ("", targets))
        for image, labels in some
    ]
    names = {label: labels.name(label) for _, labels in examples for label in labels.present}
    grid = panel_grid(panels, across, style)
    return with_margin(_with_legend(grid, dict(sorted(names.items())), style), style.gap)


def overlay(image: Image, label_map: LabelMap, size: tuple[int, int], opacity: float = OPACITY) -> PIL.Image.Image:
    """Return an image at ``size`` with its regions in their colours and dark lines between them."""
    pixels = np.asarray(image.pil().resize(size, PIL.Image.Resampling.LANCZOS)).astype(np.float64)
    scaled = PIL.Image.fromarray(label_map.labels).resize(size, PIL.Image.Resampling.NEAREST)
    labels = np.asarray(scaled)
    colours = np.zeros((256, 3))
    for label, colour in region_colours(label_map.present).items():
        colours[label] = colour
    inside = np.isin(labels, label_map.present)[..., None]
    # On grey, because the image's own colours would make others of them than the legend has.
    grey = pixels @ _LUMINANCE
    mixed = np.where(inside, (1 - opacity) * grey[..., None] + opacity * colours[labels], pixels)
    mixed[edges_of(labels)] = INK
    return PIL.Image.fromarray(np.floor(mixed + 0.5).astype(np.uint8))


def edges_of(labels: UInt8[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Pixels whose neighbour to the right or below has another label."""
    edges = np.zeros(labels.shape, dtype=bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def _with_legend(figure: PIL.Image.Image, texts: Mapping[int, str], style: Style) -> PIL.Image.Image:
    """Return the figure above a legend: a square of each label's colour and its text, in as many lines as it takes."""
    font, entries, room = font_of(style.text), [], figure.width
    colours = region_colours(texts)
    for label, text in texts.items():
        shown = shortened(text, room - style.lead("ring"), font)
        entry = PIL.Image.new("RGB", (round(style.lead("ring") + font.getlength(shown)) + style.gap, style.row), PAPER)
        draw = PIL.ImageDraw.Draw(entry)
        side = round(style.text * 0.9)
        top = (style.row - side) // 2
        draw.rectangle((0, top, side, top + side), fill=colours[label], outline=INK)
        draw.text((style.lead("ring") - style.gap // 2, style.row / 2), shown, fill=INK, font=font, anchor="lm")
        entries.append(entry)
    lines: list[list[PIL.Image.Image]] = [[]]
    for entry in entries:
        if lines[-1] and sum(one.width for one in lines[-1]) + entry.width > room:
            lines.append([])
        lines[-1].append(entry)
    gap = style.gap // 2 if entries else 0
    result = PIL.ImageOps.expand(figure, (0, 0, 0, gap + style.row * len(lines) * bool(entries)), PAPER)
    for number, line in enumerate(lines):
        left = 0
        for entry in line:
            result.paste(entry, (left, figure.height + gap + number * style.row))
            left += entry.width
    return result
