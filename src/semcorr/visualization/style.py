"""Colours, sizes and marks of all figures: dots, numbered badges, rings and text."""

import colorsys
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from jaxtyping import Float

Colour = tuple[int, int, int]

INK: Colour = (30, 34, 40)
FAINT: Colour = (105, 112, 122)
HAIRLINE: Colour = (205, 210, 216)
PAPER: Colour = (255, 255, 255)
PEAK: Colour = (0, 200, 255)  # not a colour of inferno, which goes from black through red to yellow
# Ten hues that stay distinct, also on photographs; later points continue around the hue circle.
PALETTE: tuple[Colour, ...] = (
    (255, 209, 0),
    (0, 168, 232),
    (255, 92, 138),
    (61, 204, 112),
    (255, 140, 26),
    (160, 120, 255),
    (0, 209, 193),
    (235, 64, 52),
    (190, 224, 60),
    (240, 150, 240),
)
WIDE_RING = 3.2  # radius of a ring around a dot, as a multiple of the dot's radius
# Marks are drawn this many times larger and scaled down, because Pillow does not antialias.
FINER = 3

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the figure
Mark = int | Literal["ring"] | None  # of a legend entry: the badge of a point, a ring, nothing


def point_colour(index: int) -> Colour:
    """Return the colour of the point with this index, counted from 0."""
    if index < len(PALETTE):
        return PALETTE[index]
    # Steps of the golden ratio never repeat a hue.
    hue = (0.11 + (index - len(PALETTE)) * 0.6180339887) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.62, 0.96)
    return round(red * 255), round(green * 255), round(blue * 255)


@dataclass(frozen=True, kw_only=True)
class Style:
    """Sizes in pixels of the figure."""

    text: int
    row: int
    gap: int
    dot: float
    badge: float
    narrowest: int

    def lead(self, mark: Mark) -> int:
        """Return the width of the mark of a legend entry."""
        return 0 if mark is None else round(1.15 * self.row)

    @staticmethod
    def of(height: int) -> "Style":
        """Return the sizes for a panel of this height; below 240 pixels they shrink no further."""
        unit = max(height, 240) / 512
        return Style(
            text=max(11, round(15 * unit)),
            row=max(18, round(26 * unit)),
            gap=max(6, round(12 * unit)),
            dot=max(3.0, 4.5 * unit),
            badge=max(7.5, 11.0 * unit),
            narrowest=round(200 * unit),
        )


class Pen:
    """Draws on a layer that is FINER times as large as the figure, in pixels of the figure; marks have dark edges."""

    def __init__(self, draw: PIL.ImageDraw.ImageDraw, style: Style, *, ring: float = 2.3) -> None:
        self._draw = draw
        self._style = style
        self._edge = style.dot / 3
        self.ring_radius = ring * style.dot

    def line(self, start: np.ndarray, end: np.ndarray, colour: Colour, width: float) -> None:
        """Draw a line with a dark edge."""
        ends = [tuple(start * FINER), tuple(end * FINER)]
        self._draw.line(ends, fill=(*INK, 200), width=round((width + self._edge) * FINER))
        self._draw.line(ends, fill=colour, width=max(1, round(width * FINER)))

    def disc(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        """Draw a filled dot with a white and a dark rim."""
        for size, fill in ((radius + 2 * self._edge, INK), (radius + self._edge, PAPER), (radius, colour)):
            self._draw.ellipse(_round_box(centre, size), fill=fill)

    def ring(self, centre: np.ndarray, colour: Colour) -> None:
        """Draw a ring of ``ring_radius`` with a white and a dark rim on both sides."""
        outer = self.ring_radius
        for inset, width, fill in ((0.0, 4.0, INK), (0.7, 2.6, PAPER), (1.1, 1.8, colour)):
            box = _round_box(centre, outer - inset * self._edge)
            self._draw.ellipse(box, outline=fill, width=round(width * self._edge * FINER))

    def connect(self, point: np.ndarray, ring: np.ndarray, colour: Colour) -> None:
        """Draw a line from a point to the rim of the ring with this centre."""
        distance = float(np.linalg.norm(ring - point))
        if distance > self.ring_radius:
            self.line(point, ring + (point - ring) * (self.ring_radius / distance), colour, 1.2 * self._edge)

    def badge(self, centre: np.ndarray, index: int) -> None:
        """Draw the number of the point with this index (counted from 0) on a disc of its colour."""
        colour = point_colour(index)
        radius = self._style.badge
        self._draw.ellipse(_round_box(centre, radius + self._edge), fill=INK)
        self._draw.ellipse(_round_box(centre, radius), fill=colour)
        number = str(index + 1)
        letter = radius * {1: 1.3, 2: 1.1, 3: 0.8}.get(len(number), 0.6)
        font = font_of(round(letter * FINER), bold=True)
        self._draw.text(tuple(centre * FINER), number, fill=INK, font=font, anchor="mm")


def _round_box(centre: np.ndarray, radius: float) -> tuple[float, float, float, float]:
    x, y = centre * FINER
    return x - radius * FINER, y - radius * FINER, x + radius * FINER, y + radius * FINER


def badge_positions(points: np.ndarray, avoid: np.ndarray, box: Box, style: Style) -> Float[np.ndarray, "points 2"]:
    """Return a position for each badge: near its point, off points, rings and other badges, inside the panel."""
    marks = np.concatenate([points, avoid])
    chosen: list[np.ndarray] = []
    reach = style.badge + style.dot
    angles = [math.radians(-60 + 30 * step) for step in range(12)]
    steps = reach * np.array(
        [(far * math.cos(angle), far * math.sin(angle)) for far in (1.25, 1.9, 2.7, 3.6, 4.8) for angle in angles]
    )
    low, high = np.array(box[:2]) + style.badge, np.array(box[2:]) - style.badge
    for point in points:
        candidates = np.clip(point + steps, low, high)
        away = np.linalg.norm(candidates - point, axis=1)
        on_marks = np.maximum(reach * 1.1 - np.linalg.norm(candidates[:, None] - marks, axis=-1), 0).sum(axis=1)
        others = np.array(chosen).reshape(-1, 2)
        on_others = np.maximum(2.2 * style.badge - np.linalg.norm(candidates[:, None] - others, axis=-1), 0).sum(axis=1)
        chosen.append(candidates[np.argmin(3 * on_marks + 5 * on_others + 0.25 * away)])
    return np.array(chosen).reshape(-1, 2)


def lay_over(figure: PIL.Image.Image, layer: PIL.Image.Image, corner: tuple[int, int]) -> None:
    """Scale a layer of marks down to the figure's pixels and lay it over the figure at ``corner``."""
    small = layer.reduce(FINER)
    figure.paste(small, corner, small)


@lru_cache(maxsize=32)
def font_of(size: int, *, bold: bool = False) -> PIL.ImageFont.FreeTypeFont:
    """Return the font of all text, ``size`` pixels high."""
    import matplotlib as mpl  # For its DejaVu, which has more glyphs than Pillow's own font.

    file = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    return PIL.ImageFont.truetype(file, size)


def shortened(text: str, width: float, font: PIL.ImageFont.FreeTypeFont) -> str:
    """Return the text, cut with an ellipsis to be at most ``width`` pixels wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
