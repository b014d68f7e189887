"""The diagram of the method: two rows of pictures, the frozen network between them, arrows, and the embedding."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import PIL.Image
import PIL.ImageDraw

from semcorr.visualization.style import FAINT, FINER, HAIRLINE, INK, PAPER, Colour, Style, font_of, lay_over, shortened

Shown = tuple[PIL.Image.Image, str]
"""A picture and the words above it."""

_FROZEN: Colour = (232, 240, 250)
_LEARNED: Colour = (255, 236, 179)
_CHANGE: Colour = (200, 80, 20)


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """Three columns of pictures, each ``width`` wide, with the network between the first two."""

    style: Style
    width: int

    def draw(self, learning: Sequence[Shown], locating: Sequence[Shown]) -> PIL.Image.Image:
        """Both stages, one above the other; the embedding that both share stands in between."""
        row, gap = self.style.row, self.style.gap
        heights = [max(4 * row, *(picture.height for picture, _ in stage)) for stage in (learning, locating)]
        tops = [3 * row, 3 * row + heights[0] + 6 * row]
        size = (self._lefts[3] + self.width + 2 * gap, tops[1] + heights[1] + 2 * gap)
        figure = PIL.Image.new("RGB", size, PAPER)
        layer = PIL.Image.new("RGBA", (figure.width * FINER, figure.height * FINER))
        pen = _Pen(PIL.ImageDraw.Draw(layer), self.style)
        middles = [top + height / 2 for top, height in zip(tops, heights, strict=True)]
        for stage, name, top, middle in zip((learning, locating), ("Learning", "Locating"), tops, middles, strict=True):
            self._stage(figure, pen, stage, name, (top, middle))
        self._embedding(pen, tops[0] + heights[0], middles)
        self._loss(pen, learning[1][0].width, middles[0], tops[0] + heights[0])
        left, right = self._lefts[2] + locating[1][0].width, self._lefts[3]
        pen.arrow((left, middles[1]), (right, middles[1]), inset=4)
        pen.words(((left + right) / 2, middles[1] - 0.6 * row), "argmax")
        lay_over(figure, layer, (0, 0))
        return figure

    @property
    def _lefts(self) -> tuple[int, int, int, int]:
        """Left edges of the first picture, the network, the second and the third picture."""
        step, left = 2 * self.style.row, 2 * self.style.gap
        network = left + self.width + step
        second = network + self._network + step
        return left, network, second, second + self.width + 2 * step

    @property
    def _network(self) -> int:
        return 5 * self.style.row

    def _stage(
        self,
        figure: PIL.Image.Image,
        pen: "_Pen",
        pictures: Sequence[Shown],
        name: str,
        place: tuple[int, float],
    ) -> None:
        """A row of pictures between ``place``'s top and around its middle, and the network that reads the first."""
        lefts, (top, middle), row = self._lefts, place, self.style.row
        pen.words((lefts[0], top - 2 * row), name, anchor="lm", bold=True, size=1.25)
        for (picture, words), left in zip(pictures, (lefts[0], lefts[2], lefts[3]), strict=True):
            corner = (left, round(middle - picture.height / 2))
            figure.paste(picture, corner)
            box = (corner[0], corner[1], corner[0] + picture.width - 1, corner[1] + picture.height - 1)
            PIL.ImageDraw.Draw(figure).rectangle(box, outline=HAIRLINE)
            pen.words((left, corner[1] - row * 0.6), words, anchor="lm", within=self.width + 2 * row)
        network = (lefts[1], middle - 1.6 * row, lefts[1] + self._network, middle + 1.6 * row)
        pen.box(network, _FROZEN, ["U-Net", "frozen"])
        pen.arrow((lefts[0] + pictures[0][0].width, middle), (lefts[1], middle), inset=4)
        pen.words((lefts[1] - row, middle - 0.6 * row), "+ noise", size=0.8)
        pen.arrow((network[2], middle), (lefts[2], middle), inset=4)

    def _embedding(self, pen: "_Pen", bottom: int, middles: Sequence[float]) -> None:
        row, left = self.style.row, self._lefts[1]
        middle, centre = self._between(bottom), left + self._network / 2
        box = (left, middle - 1.2 * row, left + self._network, middle + 1.2 * row)
        pen.box(box, _LEARNED, ["embedding", "learned"])
        pen.arrow((centre, box[1]), (centre, middles[0] + 1.6 * row), inset=4)
        pen.arrow((centre, box[3]), (centre, middles[1] - 1.6 * row), inset=4)

    def _loss(self, pen: "_Pen", width: int, middle: float, bottom: int) -> None:
        """Attention, ``width`` wide, and Gaussian are compared; what differs goes back to the embedding."""
        row, start, end = self.style.row, self._lefts[2] + width, self._lefts[3]
        pen.arrow((start, middle), (end, middle), both=True, inset=4)
        centre, below = (start + end) / 2, self._between(bottom)
        pen.words((centre, middle - 0.6 * row), "difference", size=0.9)
        right = self._lefts[1] + self._network
        pen.path([(centre, middle + 0.5 * row), (centre, below), (right + 4, below)], _CHANGE)
        pen.words(((right + centre) / 2, below - 0.6 * row), "gradient", colour=_CHANGE)

    def _between(self, bottom: int) -> float:
        """The middle of the embedding, between the upper pictures, which end at ``bottom``, and the lower ones."""
        return bottom + 2.5 * self.style.row


class _Pen:
    """Draws in pixels of the figure on a layer that is FINER times as large."""

    def __init__(self, draw: PIL.ImageDraw.ImageDraw, style: Style) -> None:
        self._draw, self._style = draw, style
        self._width = max(2, round(0.09 * style.row * FINER))

    def words(
        self,
        place: tuple[float, float],
        text: str,
        *,
        anchor: str = "mm",
        bold: bool = False,
        size: float = 1.0,
        within: float | None = None,
        colour: Colour = INK,
    ) -> None:
        font = font_of(round(self._style.text * size * FINER), bold=bold)
        shown = text if within is None else shortened(text, within * FINER, font)
        self._draw.text((place[0] * FINER, place[1] * FINER), shown, fill=colour, font=font, anchor=anchor)

    def box(self, box: tuple[float, float, float, float], fill: Colour, lines: Sequence[str]) -> None:
        scaled = tuple(edge * FINER for edge in box)
        radius = 0.4 * self._style.row * FINER
        self._draw.rounded_rectangle(scaled, radius, fill=fill, outline=FAINT, width=FINER)
        across, down, step = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 1.35 * self._style.text
        for number, line in enumerate(lines):
            place = (across, down + (number - (len(lines) - 1) / 2) * step)
            self.words(place, line, bold=number == 0, size=1.0 if number == 0 else 0.9)

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], *, both: bool = False, inset: float = 0
    ) -> None:
        """A straight line with a head at its end, or at both; ``inset`` pixels stay free at either end."""
        length = math.dist(start, end)
        along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
        first = (start[0] + inset * along[0], start[1] + inset * along[1])
        last = (end[0] - inset * along[0], end[1] - inset * along[1])
        self.path([first, last], INK)
        if both:
            self._head(first, (-along[0], -along[1]), INK)

    def path(self, places: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Lines from place to place with a head at the last."""
        before, last = places[-2:]
        length = math.dist(before, last)
        along = ((last[0] - before[0]) / length, (last[1] - before[1]) / length)
        scaled = [(x * FINER, y * FINER) for x, y in places]
        # The line ends inside its head, which is pointed.
        back = 0.3 * self._style.row * FINER
        scaled[-1] = (scaled[-1][0] - back * along[0], scaled[-1][1] - back * along[1])
        self._draw.line(scaled, fill=colour, width=self._width, joint="curve")
        self._head(last, along, colour)

    def _head(self, tip: tuple[float, float], along: tuple[float, float], colour: Colour) -> None:
        long, half = 0.45 * self._style.row, 0.22 * self._style.row
        base = (tip[0] - long * along[0], tip[1] - long * along[1])
        corners = [
            tip,
            (base[0] - half * along[1], base[1] + half * along[0]),
            (base[0] + half * along[1], base[1] - half * along[0]),
        ]
        self._draw.polygon([(x * FINER, y * FINER) for x, y in corners], fill=colour)
