"""The colours of points and heat maps, and what the numbers of confidence mean."""

import numpy as np
import PIL.Image
from jaxtyping import Float

from semcorr.visualization.style import Colour

_MAX_SIDE = 320
"""Pixels of the longer side of a heat map as the browser gets it; the browser enlarges it smoothly."""


def hex_colour(colour: Colour) -> str:
    """A colour in CSS."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def legend(calibration: str | None) -> str:
    """What the confidence of matches means; ``calibration`` says what it was calibrated on, None that it was not."""
    if calibration is None:
        return (
            "uncalibrated: it ranks the matches, and is no probability (the command `semcorr calibrate` makes it one)"
        )
    return f"the probability that a match is right, calibrated on {calibration}"


def heat_image(heatmap: Float[np.ndarray, "height width"]) -> PIL.Image.Image:
    """A heat map in colour, stretched to its own range; the hotter, the more opaque."""
    import matplotlib as mpl  # here: importing it creates folders in the user's home

    low, high = float(heatmap.min()), float(heatmap.max())
    unit = (heatmap - low) / (high - low) if high > low else np.zeros_like(heatmap)
    rgba = mpl.colormaps["inferno"](unit)
    rgba[..., 3] = np.clip(unit * 1.15, 0, 1)
    image = PIL.Image.fromarray(np.round(rgba * 255).astype(np.uint8))
    image.thumbnail((_MAX_SIDE, _MAX_SIDE), PIL.Image.Resampling.BILINEAR)
    return image


def strongest(heatmaps: Float[np.ndarray, "maps height width"]) -> Float[np.ndarray, "height width"]:
    """The maximum of several maps at every pixel, each stretched to its own range."""
    low = heatmaps.min(axis=(1, 2), keepdims=True)
    span = heatmaps.max(axis=(1, 2), keepdims=True) - low
    return ((heatmaps - low) / np.where(span > 0, span, 1)).max(axis=0)
