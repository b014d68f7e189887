"""The colours of heat maps and of confidence, and their legend."""

import html

import numpy as np
import PIL.Image
from jaxtyping import Float

from semcorr.visualization.style import Colour

# Red over yellow to blue: apart from each other for every kind of colour vision, and none of them is inferno's black.
_STOPS: tuple[tuple[float, Colour], ...] = (
    (0.0, (215, 48, 39)),
    (0.35, (252, 141, 89)),
    (0.55, (254, 224, 120)),
    (0.75, (145, 191, 219)),
    (1.0, (49, 104, 190)),
)
_MAX_SIDE = 320
"""Pixels of the longer side of a heat map as the browser gets it; the browser enlarges it smoothly."""


def confidence_colour(confidence: float) -> str:
    """The CSS colour of a confidence in [0, 1]."""
    positions, colours = [position for position, _ in _STOPS], np.array([colour for _, colour in _STOPS], dtype=float)
    red, green, blue = (
        np.interp(min(max(confidence, 0.0), 1.0), positions, colours[:, channel]) for channel in range(3)
    )
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def hex_colour(colour: Colour) -> str:
    """A colour in CSS."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def legend(calibration: str | None, matched_with: str = "") -> str:
    """The legend of the colours of matches, as HTML.

    Args:
        calibration: What the confidence was calibrated on; None for an uncalibrated one.
        matched_with: The method, preset and model of the matches.
    """
    stops = ", ".join(f"{hex_colour(colour)} {position:.0%}" for position, colour in _STOPS)
    if calibration is None:
        meaning = (
            "<b>uncalibrated</b>: it ranks the matches, and is no probability"
            " (<code>semcorr calibrate</code> makes it one)"
        )
    else:
        meaning = f"the probability that a match is right, calibrated on {html.escape(calibration)}"
    matched = f"; matched with {html.escape(matched_with)}" if matched_with else ""
    return (
        '<div class="sc-legend"><span>confidence&nbsp; 0</span>'
        f'<span class="sc-bar" style="background:linear-gradient(90deg, {stops})"></span><span>1</span>'
        f'<span class="sc-note">{meaning}{matched}</span></div>'
    )


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
