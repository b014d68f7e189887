"""Pictures of a dense match: its vectors as colours, and the target picture pulled into the source's frame."""

import math
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import torch
from jaxtyping import Float, UInt8

from semcorr.errors import FlowError, SettingsError
from semcorr.imaging.flow import Flow
from semcorr.imaging.geometry import sample
from semcorr.imaging.image import ImageSource, load_image
from semcorr.visualization.style import FINER, INK, PAPER, Colour, Style, font_of

# What is not known. White is a vector of length 0, so that a grey no colour comes near is left for it.
UNKNOWN: Colour = (128, 128, 128)


def colour_wheel(flow: Flow, *, longest: float | None = None, legend: bool = False) -> PIL.Image.Image:
    """A flow's vectors as colours, a picture of the source's size: the hue is the direction, the saturation the length.

    Red points right, yellow-green down, cyan left and violet up, a quarter of the hues apart; a vector of no length is
    white, one that is not known grey. Colours are full at ``longest`` pixels and beyond, which is the longest vector's
    length if None. ``legend`` adds the wheel of all colours to the right, and the length at its rim.

    Raises ``SettingsError`` when ``longest`` is not above 0.
    """
    if longest is not None and not (math.isfinite(longest) and longest > 0):
        raise SettingsError(
            f"longest must be a number of pixels above 0, got {longest:g}; leave it out for the flow's own."
        )
    if longest is None:
        lengths = np.linalg.norm(flow.displacement, axis=-1)[flow.known]
        longest = float(lengths.max(initial=0))
    picture = PIL.Image.fromarray(_colours(flow.dense().displacement, longest))
    return _with_legend(picture, longest) if legend else picture


def warp(target: ImageSource, flow: Flow) -> PIL.Image.Image:
    """The target picture pulled into the source's frame: at each pixel of the source what the flow finds for it.

    Bilinear in the target. Grey where the flow is not known or leads out of the target.

    Raises:
        FlowError: the picture is not of the size that the flow leads to.
        ImageError: the picture cannot be read.
    """
    image = load_image(target)
    if image.size != flow.target_size:
        raise FlowError(
            f"{image.name!r} is {image.size[0]} x {image.size[1]} pixels, and the flow leads to a picture of "
            f"{flow.target_size[0]} x {flow.target_size[1]}: pass the target it was made for."
        )
    points = flow.dense().target_points()
    with np.errstate(invalid="ignore"):
        inside: Any = ((points >= 0) & (points <= np.array(image.size))).all(axis=-1)
    found = sample(image.tensor(), torch.from_numpy(np.where(inside[..., None], points, 0)).to(torch.float32))
    pixels = _eight_bits(found.movedim(0, -1).numpy())
    pixels[~inside] = UNKNOWN
    return PIL.Image.fromarray(pixels)


def _colours(vectors: np.ndarray, longest: float) -> UInt8[np.ndarray, "height width 3"]:
    known = np.isfinite(vectors).all(axis=-1)
    x, y = np.moveaxis(np.where(known[..., None], vectors, 0).astype(np.float64), -1, 0)
    hue = np.arctan2(y, x) / (2 * np.pi)
    saturation = np.clip(np.hypot(x, y) / (longest or 1), 0, 1)
    pixels = _eight_bits(_hsv_to_rgb(hue, saturation))
    pixels[~known] = UNKNOWN
    return pixels


def _hsv_to_rgb(hue: np.ndarray, saturation: np.ndarray) -> Float[np.ndarray, "height width 3"]:
    """Colours of full value; a hue is in turns, red at 0, green at 1/3, blue at 2/3."""
    # A channel is full within 1/6 of a turn from its own hue, at its least beyond 1/3, and changes evenly between.
    apart = np.abs((hue[..., None] - np.array([0, 1, 2]) / 3 + 0.5) % 1 - 0.5)
    return 1 - saturation[..., None] * np.clip(6 * apart - 1, 0, 1)


def _eight_bits(unit: np.ndarray) -> UInt8[np.ndarray, "height width 3"]:
    return np.floor(unit * 255 + 0.5).astype(np.uint8)


def _with_legend(picture: PIL.Image.Image, longest: float) -> PIL.Image.Image:
    style = Style.of(picture.height)
    side = style.narrowest
    words = f"{longest:.3g} px"
    height = max(picture.height, side + style.row + 2 * style.gap)
    figure = PIL.Image.new("RGB", (picture.width + side + 2 * style.gap, height), PAPER)
    figure.paste(picture, (0, 0))
    corner = (picture.width + style.gap, style.gap)
    figure.paste(_wheel(side), corner)
    middle = (corner[0] + side / 2, corner[1] + side + style.row / 2)
    PIL.ImageDraw.Draw(figure).text(middle, words, fill=INK, font=font_of(style.text), anchor="mm")
    return figure


def _wheel(side: int) -> PIL.Image.Image:
    """A disc with the colour of each vector that leads from its middle to there, on the paper."""
    fine = side * FINER
    axis = (np.arange(fine) + 0.5) / fine * 2 - 1
    vectors = np.stack(np.meshgrid(axis, axis), axis=-1)
    pixels = _colours(vectors, 1)
    pixels[np.hypot(vectors[..., 0], vectors[..., 1]) > 1] = PAPER
    return PIL.Image.fromarray(pixels).reduce(FINER)
