"""Grids of heat maps of one image: of each layer of a match, and of each word of a prompt."""

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
from semcorr.visualization.matches import gallery, heatmap_overlay, peak_of, with_dot
from semcorr.visualization.panels import (
    Panel,
    even_columns,
    fitted,
    panel_grid,
    panel_height,
    panel_style,
    resized,
    with_heading,
    with_legend,
    with_margin,
)
from semcorr.visualization.style import PEAK

OPACITY = 0.75
"""A little more than in a figure of a match, which compares two images; here the map is what matters."""

_SINGLE_HEIGHT = 384  # pixels: of a single map beside its image
_COLUMNS = 6

_STAGES = {"down": "encoder", "mid": "middle", "up": "decoder"}
_NAME = re.compile(
    r"(?P<stage>down|mid|up)_blocks?(?:\.(?P<block>\d+))?\.attentions\.(?P<attention>\d+)"
    r"(?:\.transformer_blocks\.(?P<transformer>\d+))?"
)


def layer_grid(
    target: "ImageSource",
    matches: Matches,
    layers: "ArrayLike",
    *,
    sides: Sequence[int] | None = None,
    columns: int = _COLUMNS,
    height: int | None = None,
    opacity: float = OPACITY,
) -> PIL.Image.Image:
    """Draw, for each point, the fused heat map and those of all layers, over the target.

    A dot is the peak of the panel's own map; in the panel of a layer, a ring marks the match, joined to the dot.

    Args:
        target: The target image.
        matches: The matches in it.
        layers: (points, layers, h, w), each covering the whole target: the result of a matcher's ``layer_heatmaps``.
        sides: Width of each layer's map in the network, in positions, for the captions.
        columns: Panels in a row.
        height: Of a panel, in pixels of the figure; by default less where there are many points.
        opacity: Of a map at its peak.

    Raises:
        ValueError: ``layers`` has other numbers of points or layers than ``matches``.
        ImageError: The image cannot be read.
    """
    image, maps = load_image(target), np.asarray(layers)
    expected = (len(matches.points), len(matches.layer_names))
    if maps.ndim != 4 or maps.shape[:2] != expected:
        raise ValueError(f"layers must be {expected} (points, layers) + (height, width), got shape {maps.shape}.")
    across = even_columns(1 + maps.shape[1], columns)
    rows = -(-(1 + maps.shape[1]) // across)
    tall = height or panel_height(rows * len(maps))
    style, size = panel_style(tall), fitted(image.size, tall)
    small = resized(image, size)
    blocks = []
    for index, own in enumerate(maps):
        point = scale_points(matches.points[index], image.size, size)
        fused = with_dot(heatmap_overlay(small, matches.heatmaps[index], opacity), point, PEAK)
        note = f"confidence {matches.confidence[index]:.2f}"
        panels = [Panel(image=fused, caption="all layers together", note=note)]
        for number, (name, one) in enumerate(zip(matches.layer_names, own, strict=True)):
            side = None if sides is None else sides[number]
            marked = with_dot(heatmap_overlay(small, one, opacity), peak_of(one, size), PEAK, ring=point)
            panels.append(Panel(image=marked, caption=layer_caption(name, side), note=name))
        heading = matches.names[index] if matches.names else f"point {index + 1}"
        blocks.append(with_heading(panel_grid(panels, across, style), heading, style, badge=index))
    grid = gallery(blocks, gap=2 * style.gap)
    entries = [("dot", "highest in this map"), ("ring", "highest in all layers together")]
    return with_margin(with_legend(grid, entries, PEAK, style), style.gap)


def layer_caption(name: str, side: int | None = None) -> str:
    """Return a readable name of a layer: "decoder 2.1" for ``up_blocks.1.attentions.0``.

    The numbers are counted from 1: the U-Net's block, the attention in it, and the transformer block where there are
    several. ``side`` adds the size of its map: "decoder 2.1, 16 × 16". A name of another form is returned unchanged.
    """
    parsed = _NAME.fullmatch(name)
    if parsed is None:
        return name
    numbers = [int(parsed[key]) + 1 for key in ("block", "attention", "transformer") if parsed[key] is not None]
    size = "" if side is None else f", {side} × {side}"
    return f"{_STAGES[parsed['stage']]} {'.'.join(map(str, numbers))}{size}"


def word_grid(
    image: Image,
    words: Sequence[str],
    heatmaps: Float[np.ndarray, "words height width"],
    *,
    columns: int = _COLUMNS,
    height: int | None = None,
    opacity: float = OPACITY,
) -> PIL.Image.Image:
    """Draw the image, and the image under the map of each word with the map's peak (paper, Figure 2).

    Args:
        image: The image.
        words: One word for each map.
        heatmaps: Each covers the whole image.
        columns: Panels in a row.
        height: Of a panel, in pixels of the figure; by default less where there are many words.
        opacity: Of a map at its peak.
    """
    across = even_columns(1 + len(words), columns)
    tall = height or (_SINGLE_HEIGHT if len(words) == 1 else panel_height(-(-(1 + len(words)) // across)))
    style, size = panel_style(tall), fitted(image.size, tall)
    small = resized(image, size)
    panels = [Panel(image=small.pil(), caption=image.name)]
    panels += [
        Panel(image=heatmap_overlay(small, one, opacity, peak=True), caption=word)
        for word, one in zip(words, heatmaps, strict=True)
    ]
    return with_margin(panel_grid(panels, across, style), style.gap)


def draw_word_maps(
    maps: WordMaps, image: "ImageSource", word: str | None = None, *, height: int | None = None
) -> PIL.Image.Image:
    """Draw an image under the map of one word, or a panel for each distinct word of the prompt.

    Args:
        maps: The result of :func:`semcorr.word_maps`.
        image: The image that the maps are of.
        word: One word or several consecutive ones, as for :meth:`semcorr.WordMaps.find`. If None, each word of the
            prompt once, except those that name nothing visible ("a", "with").
        height: Of a panel, in pixels of the figure.

    Raises:
        ImageError: The image cannot be read, or has another size than the maps.
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
