"""Grids of heat maps of one image: each layer's of a match, and each word's of a prompt."""

import re
from collections.abc import Sequence

import numpy as np
import PIL.Image
from jaxtyping import Float
from numpy.typing import ArrayLike

from semcorr.errors import ImageError
from semcorr.imaging.geometry import scale_points
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.prompt.word_attention import WordMaps
from semcorr.matchers.results import Matches
from semcorr.visualization.matches import dotted, gallery, heatmap_overlay, peak_of
from semcorr.visualization.panels import (
    Panel,
    even_columns,
    fitted,
    framed,
    headed,
    legend,
    panel_style,
    resized,
    sheet,
)
from semcorr.visualization.style import PEAK

OPACITY = 0.75
"""A little more than on a match's picture, where two images are compared: here the map is what is looked at."""

_HIGHEST, _LOWEST, _IN_ALL = 256, 120, 3600  # pixels: a panel's height, at most and at least, and all rows together
_ALONE = 384  # of one map beside its image
_COLUMNS = 6

_PLACES = {"down": "encoder", "mid": "middle", "up": "decoder"}
_NAME = re.compile(
    r"(?P<place>down|mid|up)_blocks?(?:\.(?P<block>\d+))?\.attentions\.(?P<attention>\d+)"
    r"(?:\.transformer_blocks\.(?P<part>\d+))?"
)


def layer_grid(
    target: ImageSource,
    matches: Matches,
    layers: ArrayLike,
    *,
    sides: Sequence[int] | None = None,
    columns: int = _COLUMNS,
    height: int | None = None,
    opacity: float = OPACITY,
) -> PIL.Image.Image:
    """For each point the heat map that decided, and beside it each layer's own, all on the target image.

    A dot is the panel's own peak; in a layer's panel a ring is what all of them together found, tied to the dot.

    Args:
        target: the image that was matched.
        matches: what was found in it.
        layers: (points, layers, h, w), each covering the whole target; what ``layer_heatmaps`` of a matcher gave.
        sides: how many positions wide each layer's map is in the network, for the captions.
        columns: panels in a row.
        height: of a panel, in pixels of the picture; by default less where there are many points.
        opacity: of a map at its peak.

    Raises:
        ValueError: ``layers`` has other numbers of points or layers than ``matches``.
        ImageError: the image cannot be read.
    """
    image, maps = load_image(target), np.asarray(layers)
    expected = (len(matches.points), len(matches.layer_names))
    if maps.ndim != 4 or maps.shape[:2] != expected:
        raise ValueError(f"layers must be {expected} (points, layers) + (height, width), got shape {maps.shape}.")
    across = even_columns(1 + maps.shape[1], columns)
    rows = -(-(1 + maps.shape[1]) // across)
    tall = height or _panel_height(rows * len(maps))
    style, size = panel_style(tall), fitted(image.size, tall)
    small = resized(image, size)
    blocks = []
    for index, own in enumerate(maps):
        answer = scale_points(matches.points[index], image.size, size)
        whole = heatmap_overlay(small, matches.heatmaps[index], opacity)
        panels = [Panel(picture=dotted(whole, answer, PEAK), caption="all layers together", note=_sure(matches, index))]
        for number, (name, one) in enumerate(zip(matches.layer_names, own, strict=True)):
            side = None if sides is None else sides[number]
            marked = dotted(heatmap_overlay(small, one, opacity), peak_of(one, size), PEAK, ring=answer)
            panels.append(Panel(picture=marked, caption=layer_caption(name, side), note=name))
        named = matches.names[index] if matches.names else f"point {index + 1}"
        blocks.append(headed(sheet(panels, across, style), named, style, badge=index))
    grid = gallery(blocks, gap=2 * style.gap)
    keys = [("dot", "highest in this map"), ("ring", "highest in all layers together")]
    return framed(legend(grid, keys, PEAK, style), style.gap)


def layer_caption(name: str, side: int | None = None) -> str:
    """What a layer's name says, in words: ``up_blocks.1.attentions.0`` is "decoder 2.1".

    Counted from 1: the U-Net's block, the attention in it, and where it has several the transformer block in that.
    ``side`` adds how fine its map is: "decoder 2.1, 16 × 16". A name of another form stays as it is.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return name
    numbers = [int(found[key]) + 1 for key in ("block", "attention", "part") if found[key] is not None]
    fine = "" if side is None else f", {side} × {side}"
    return f"{_PLACES[found['place']]} {'.'.join(map(str, numbers))}{fine}"


def word_grid(
    image: Image,
    words: Sequence[str],
    heatmaps: Float[np.ndarray, "words height width"],
    *,
    columns: int = _COLUMNS,
    height: int | None = None,
    opacity: float = OPACITY,
) -> PIL.Image.Image:
    """The image as it is, and under the map of each word, with the map's peak marked (paper, Figure 2).

    ``heatmaps`` each cover the whole image. ``height`` is that of a panel, in pixels of the picture; by default less
    where there are many words.
    """
    across = even_columns(1 + len(words), columns)
    tall = height or (_ALONE if len(words) == 1 else _panel_height(-(-(1 + len(words)) // across)))
    style, size = panel_style(tall), fitted(image.size, tall)
    small = resized(image, size)
    panels = [Panel(picture=small.pil(), caption=image.name)]
    panels += [
        Panel(picture=heatmap_overlay(small, one, opacity, peak=True), caption=word)
        for word, one in zip(words, heatmaps, strict=True)
    ]
    return framed(sheet(panels, across, style), style.gap)


def _sure(matches: Matches, index: int) -> str:
    return f"confidence {matches.confidence[index]:.2f}"


def _panel_height(rows: int) -> int:
    return max(_LOWEST, min(_HIGHEST, _IN_ALL // rows))


def draw_word_maps(
    maps: WordMaps, image: ImageSource, word: str | None = None, *, height: int | None = None
) -> PIL.Image.Image:
    """Draw an image under the map of one word, or a panel for each different word of the prompt.

    Args:
        maps: What :func:`semcorr.word_maps` gave.
        image: The image that was read.
        word: One word or several, as :meth:`semcorr.WordMaps.find` takes them; each of the prompt's once if None, but
            for those that name nothing that can be seen ("a", "with").
        height: Of a panel, in pixels of the drawing.

    Raises:
        ImageError: The image cannot be read, or is not of the size of the one that was.
        SettingsError: The prompt does not have the word.
    """
    shown = load_image(image)
    if shown.size != maps.image_size:
        raise ImageError(
            f"Expected the image that the maps are of, {maps.image_size[0]} × {maps.image_size[1]} pixels, got "
            f"{shown.name!r} with {shown.size[0]} × {shown.size[1]}."
        )
    words = [word] if word is not None else maps.distinct_words()
    return word_grid(shown, words, np.stack([maps.heatmap(one) for one in words]), height=height)
