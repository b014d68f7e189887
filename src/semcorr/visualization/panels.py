"""Panels of one size with words above them, and sheets of panels: what pictures of several maps are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw

from semcorr.imaging.geometry import Size
from semcorr.imaging.image import Image
from semcorr.visualization.style import (
    FAINT,
    FINER,
    HAIRLINE,
    INK,
    PAPER,
    Colour,
    Pen,
    Style,
    font_of,
    lay_over,
    shortened,
)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A picture, of the size in which it is shown, with a caption and below that a fainter note."""

    picture: PIL.Image.Image
    caption: str = ""
    note: str = ""


def panel_style(height: int) -> Style:
    """Measures for panels of this height, which are smaller than those of a match and whose words must be read too."""
    return Style.of(round(1.7 * height))


def fitted(size: Size, height: int, *, widest: float = 1.6) -> Size:
    """The (width, height) of a panel for an image of ``size``: ``height`` high, less for one that is very wide."""
    scale = min(height / size[1], widest * height / size[0])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resized(image: Image, size: Size) -> Image:
    """The image at a panel's size."""
    return Image(pixels=np.asarray(image.pil().resize(size, PIL.Image.Resampling.LANCZOS)), name=image.name)


def even_columns(panels: int, most: int) -> int:
    """How many of ``panels`` stand side by side, at most ``most``, so that the last row is as full as can be."""
    return -(-panels // -(-panels // most))


def sheet(panels: Sequence[Panel], columns: int, style: Style, *, cell: Size | None = None) -> PIL.Image.Image:
    """Panels row by row, in cells of one width; each row is as high as its highest panel.

    Captions that are too long for their cell end in an ellipsis. ``cell`` is the least size of a cell's picture.
    """
    width = max(style.narrowest, *(panel.picture.width for panel in panels), cell[0] if cell else 0)
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    lines = (1 if any(panel.caption for panel in panels) else 0) + (1 if any(panel.note for panel in panels) else 0)
    head = lines * round(style.text * 1.35) + (style.gap // 2 if lines else 0)
    highs = [max(cell[1] if cell else 0, *(panel.picture.height for panel in row)) for row in rows]
    across = len(rows[0])
    size = (across * width + (across - 1) * style.gap, sum(head + high for high in highs) + (len(rows) - 1) * style.gap)
    figure = PIL.Image.new("RGB", size, PAPER)
    top = 0
    for row, high in zip(rows, highs, strict=True):
        for column, panel in enumerate(row):
            _place(figure, panel, (column * (width + style.gap), top), (width, head, high), style)
        top += head + high + style.gap
    return figure


def _place(
    figure: PIL.Image.Image, panel: Panel, corner: tuple[int, int], cell: tuple[int, int, int], style: Style
) -> None:
    """Put one panel into its cell of (width, height of the words, height of the picture) at ``corner``."""
    width, head, high = cell
    draw = PIL.ImageDraw.Draw(figure)
    left = corner[0]
    top = corner[1] + head + (high - panel.picture.height) // 2
    figure.paste(panel.picture, (left, top))
    right, bottom = left + panel.picture.width - 1, top + panel.picture.height - 1
    # A hairline, or a photograph with a white background has no visible end.
    draw.rectangle((left, top, right, bottom), outline=HAIRLINE)
    step, line = round(style.text * 1.35), top - style.gap // 2
    words = [(text, ink) for text, ink in ((panel.note, FAINT), (panel.caption, INK)) if text]
    for text, ink in words:  # from below, so that words stand on their picture
        small = ink == FAINT
        font = font_of(max(9, round(style.text * 0.85)) if small else style.text)
        draw.text((left, line), shortened(text, width, font), fill=ink, font=font, anchor="ld")
        line -= step


def headed(picture: PIL.Image.Image, words: str, style: Style, *, badge: int | None = None) -> PIL.Image.Image:
    """The picture under a line of words, behind the numbered badge of a point if there is one."""
    figure = PIL.Image.new("RGB", (picture.width, picture.height + style.row + style.gap // 2), PAPER)
    figure.paste(picture, (0, style.row + style.gap // 2))
    left, middle = 0.0, style.row / 2
    if badge is not None:
        layer = PIL.Image.new("RGBA", (figure.width * FINER, style.row * FINER))
        Pen(PIL.ImageDraw.Draw(layer), style).badge(np.array([style.row / 2, middle]), badge)
        lay_over(figure, layer, (0, 0))
        left = style.lead(badge)
    font = font_of(style.text, bold=True)
    shown = shortened(words, figure.width - left, font)
    PIL.ImageDraw.Draw(figure).text((left, middle), shown, fill=INK, font=font, anchor="lm")
    return figure


def legend(picture: PIL.Image.Image, keys: Sequence[tuple[str, str]], colour: Colour, style: Style) -> PIL.Image.Image:
    """The picture over a line that says what its marks mean: ``keys`` are ("dot" or "ring", words)."""
    figure = PIL.Image.new("RGB", (picture.width, picture.height + style.row + style.gap // 2), PAPER)
    figure.paste(picture, (0, 0))
    layer = PIL.Image.new("RGBA", (figure.width * FINER, style.row * FINER))
    pen, draw, font = Pen(PIL.ImageDraw.Draw(layer), style), PIL.ImageDraw.Draw(figure), font_of(style.text)
    top, left = figure.height - style.row, 0.0
    for mark, words in keys:
        place = np.array([left + style.row / 2, style.row / 2])
        if mark == "ring":
            pen.ring(place, colour)
        else:
            pen.disc(place, style.dot, colour)
        left += style.lead("ring")
        draw.text((left, top + style.row / 2), words, fill=FAINT, font=font, anchor="lm")
        left += font.getlength(words) + 2 * style.gap
    lay_over(figure, layer, (0, top))
    return figure


def framed(picture: PIL.Image.Image, margin: int) -> PIL.Image.Image:
    """The picture with a white margin all around."""
    figure = PIL.Image.new("RGB", (picture.width + 2 * margin, picture.height + 2 * margin), PAPER)
    figure.paste(picture, (margin, margin))
    return figure
