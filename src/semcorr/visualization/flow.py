"""Figures of a dense match: its vectors as colours, and the target warped into the source's frame."""

import math
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps
import torch
from jaxtyping import UInt8

from semcorr.errors import FlowError, SettingsError
from semcorr.imaging.flow import Flow
from semcorr.imaging.geometry import sample
from semcorr.imaging.image import ImageSource, load_image
from semcorr.visualization.style import FINER, INK, PAPER, Colour, Style, font_of

# Unknown vectors. White means length 0; no colour of the wheel is near this grey.
UNKNOWN: Colour = (128, 128, 128)


def colour_wheel(flow: Flow, *, longest: float | None = None, legend: bool = False) -> PIL.Image.Image:
    """Draw the vectors of a flow as colours, at the source's size: hue is the direction, saturation the length.

    Red points right, yellow-green down, cyan left and violet up, a quarter of the hues apart. A vector of length 0 is
    white, an unknown one grey. Colours are saturated from ``longest`` pixels on; if None, that is the length of the
    longest vector. ``legend`` adds the wheel of all colours on the right, with the length at its rim.

    Raises ``SettingsError`` when ``longest`` is not above 0.
    """
    if longest is not None and not (math.isfinite(longest) and longest > 0):
        raise SettingsError(
            f"longest must be a number of pixels above 0, got {longest:g}; leave it out for the flow's own."
        )
    if longest is None:
        lengths = np.linalg.norm(flow.displacement, axis=-1)[flow.known]
        longest = float(lengths.max(initial=0))
    image = PIL.Image.fromarray(_colours(flow.dense().displacement, longest))
    return _with_wheel(image, longest) if legend else image


def warp(target: "ImageSource", flow: Flow) -> PIL.Image.Image:
    """Return the target warped into the source's frame: each pixel of the source shows where the flow leads.

    Sampled bilinearly in the target; grey where the flow is unknown or leads out of the target.

    Raises:
        FlowError: The image is not of the size of the flow's target.
        ImageError: The image cannot be read.
    """
    image = load_image(target)
    if image.size != flow.target_size:
        raise FlowError(
            f"{image.name!r} is {image.size[0]} x {image.size[1]} pixels, and the flow leads to an image of "
            f"{flow.target_size[0]} x {flow.target_size[1]}: pass the target it was made for."
        )
    points = flow.dense().target_points()
    with np.errstate(invalid="ignore"):
        inside: Any = ((points >= 0) & (points <= np.array(image.size))).all(axis=-1)
    sampled = sample(image.tensor(), torch.from_numpy(np.where(inside[..., None], points, 0)).to(torch.float32))
    pixels = _eight_bits(sampled.movedim(0, -1).numpy())
    pixels[~inside] = UNKNOWN
    return PIL.Image.fromarray(pixels)


def _colours(vectors: np.ndarray, longest: float) -> UInt8[np.ndarray, "height width 3"]:
    from matplotlib.colors import hsv_to_rgb  # Here, because importing it makes folders in the user's home.

    known = np.isfinite(vectors).all(axis=-1)
    x, y = np.moveaxis(np.where(known[..., None], vectors, 0).astype(np.float64), -1, 0)
    hue = np.arctan2(y, x) / (2 * np.pi) % 1
    saturation = np.clip(np.hypot(x, y) / (longest or 1), 0, 1)
    pixels = _eight_bits(hsv_to_rgb(np.stack([hue, saturation, np.ones_like(hue)], axis=-1)))
    pixels[~known] = UNKNOWN
    return pixels


def _eight_bits(unit: np.ndarray) -> UInt8[np.ndarray, "height width 3"]:
    return np.floor(unit * 255 + 0.5).astype(np.uint8)


def _with_wheel(image: PIL.Image.Image, longest: float) -> PIL.Image.Image:
    style = Style.of(image.height)
    side = style.narrowest
    below = max(0, side + style.row + 2 * style.gap - image.height)
    figure = PIL.ImageOps.expand(image, (0, 0, side + 2 * style.gap, below), PAPER)
    corner = (image.width + style.gap, style.gap)
    figure.paste(_wheel(side), corner)
    middle = (corner[0] + side / 2, corner[1] + side + style.row / 2)
    PIL.ImageDraw.Draw(figure).text(middle, f"{longest:.3g} px", fill=INK, font=font_of(style.text), anchor="mm")
    return figure


def _wheel(side: int) -> PIL.Image.Image:
    """Return a disc on white that shows, at each position, the colour of the vector from its centre to there."""
    fine = side * FINER
    axis = (np.arange(fine) + 0.5) / fine * 2 - 1
    vectors = np.stack(np.meshgrid(axis, axis), axis=-1)
    pixels = _colours(vectors, 1)
    pixels[np.hypot(vectors[..., 0], vectors[..., 1]) > 1] = PAPER
    return PIL.Image.fromarray(pixels).reduce(FINER)
