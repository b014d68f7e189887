"""Panels with captions, and grids of panels, for figures of several heat maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps

from semcorr.imaging.geometry import Size
from semcorr.imaging.image import Image
from semcorr.visualization.matches import gallery
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
    """An image, of the size in which it is shown, with a caption and a fainter note below the caption."""

    image: PIL.Image.Image
    caption: str = ""
    note: str = ""


def panel_style(height: int) -> Style:
    """Return the sizes for panels of this height: smaller than those of a match, with text that is still readable."""
    return Style.of(round(1.7 * height))


def panel_height(rows: int, *, least: int = 120) -> int:
    """Return the height of panels in this many rows: at most 256 pixels, and at most 3,600 for all rows together."""
    return max(least, min(256, 3600 // rows))


def fitted(size: Size, height: int, *, widest: float = 1.6) -> Size:
    """Return the (width, height) of a panel for an image of ``size``: ``height`` high, less if the image is wide."""
    scale = min(height / size[1], widest * height / size[0])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resized(image: Image, size: Size) -> Image:
    """Return the image at a panel's size."""
    return Image(pixels=np.asarray(image.pil().resize(size, PIL.Image.Resampling.LANCZOS)), name=image.name)


def even_columns(panels: int, most: int) -> int:
    """Return a number of columns, at most ``most``, with which the last row of ``panels`` is as full as possible."""
    return -(-panels // -(-panels // most))


def panel_grid(panels: Sequence[Panel], columns: int, style: Style) -> PIL.Image.Image:
    """Arrange panels row by row, in cells of one width; each row is as high as its highest panel.

    Captions too long for their cell end in an ellipsis.
    """
    width = max(style.narrowest, *(panel.image.width for panel in panels))
    lines = any(panel.caption for panel in panels) + any(panel.note for panel in panels)
    head = lines * round(style.text * 1.35) + (style.gap // 2 if lines else 0)
    cells = []
    for start in range(0, len(panels), columns):
        row = panels[start : start + columns]
        height = max(panel.image.height for panel in row)
        cells += [_cell(panel, (width, head, height), style) for panel in row]
    return gallery(cells, columns=columns, gap=style.gap)


def _cell(panel: Panel, cell: tuple[int, int, int], style: Style) -> PIL.Image.Image:
    """Draw a panel in a cell (width, height of the text, height of the image)."""
    width, head, height = cell
    figure = PIL.Image.new("RGB", (width, head + height), PAPER)
    draw = PIL.ImageDraw.Draw(figure)
    top = head + (height - panel.image.height) // 2
    figure.paste(panel.image, (0, top))
    # Without a hairline, an image with a white background has no visible border.
    draw.rectangle((0, top, panel.image.width - 1, top + panel.image.height - 1), outline=HAIRLINE)
    line = top - style.gap // 2
    for text, ink in ((panel.note, FAINT), (panel.caption, INK)):  # from below, so that the text stands on the image
        if text:
            font = font_of(max(9, round(style.text * 0.85)) if ink == FAINT else style.text)
            draw.text((0, line), shortened(text, width, font), fill=ink, font=font, anchor="ld")
            line -= round(style.text * 1.35)
    return figure


def with_heading(image: PIL.Image.Image, text: str, style: Style, *, badge: int | None = None) -> PIL.Image.Image:
    """Return the image under a heading, with the numbered badge of a point before it if there is one."""
    figure = PIL.ImageOps.expand(image, (0, style.row + style.gap // 2, 0, 0), PAPER)
    left, middle = 0.0, style.row / 2
    if badge is not None:
        layer = PIL.Image.new("RGBA", (figure.width * FINER, style.row * FINER))
        Pen(PIL.ImageDraw.Draw(layer), style).badge(np.array([style.row / 2, middle]), badge)
        lay_over(figure, layer, (0, 0))
        left = style.lead(badge)
    font = font_of(style.text, bold=True)
    shown = shortened(text, figure.width - left, font)
    PIL.ImageDraw.Draw(figure).text((left, middle), shown, fill=INK, font=font, anchor="lm")
    return figure


def with_legend(
    image: PIL.Image.Image, entries: Sequence[tuple[str, str]], colour: Colour, style: Style
) -> PIL.Image.Image:
    """Return the image above a legend of its marks; ``entries`` are ("dot" or "ring", meaning)."""
    figure = PIL.ImageOps.expand(image, (0, 0, 0, style.row + style.gap // 2), PAPER)
    layer = PIL.Image.new("RGBA", (figure.width * FINER, style.row * FINER))
    pen, draw, font = Pen(PIL.ImageDraw.Draw(layer), style), PIL.ImageDraw.Draw(figure), font_of(style.text)
    top, left = figure.height - style.row, 0.0
    for mark, meaning in entries:
        centre = np.array([left + style.row / 2, style.row / 2])
        if mark == "ring":
            pen.ring(centre, colour)
        else:
            pen.disc(centre, style.dot, colour)
        left += style.lead("ring")
        draw.text((left, top + style.row / 2), meaning, fill=FAINT, font=font, anchor="lm")
        left += font.getlength(meaning) + 2 * style.gap
    lay_over(figure, layer, (0, top))
    return figure


def with_margin(image: PIL.Image.Image, margin: int) -> PIL.Image.Image:
    """Return the image with a white margin on all sides."""
    return PIL.ImageOps.expand(image, margin, PAPER)
