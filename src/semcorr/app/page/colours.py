"""Colours of heat and of confidence, and the legend that says which is which."""

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
_MOST_SIDE = 320
"""Pixels of a heat map as the browser gets it, which enlarges it smoothly."""


def confidence_colour(confidence: float) -> str:
    """The colour of a confidence in [0, 1], as CSS has it."""
    places, colours = [place for place, _ in _STOPS], np.array([colour for _, colour in _STOPS], dtype=float)
    red, green, blue = (np.interp(min(max(confidence, 0.0), 1.0), places, colours[:, part]) for part in range(3))
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def hex_colour(colour: Colour) -> str:
    """A colour as CSS has it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def legend(calibration: str | None) -> str:
    """What the colours of matches mean, as HTML."""
    stops = ", ".join(f"{hex_colour(colour)} {place:.0%}" for place, colour in _STOPS)
    if calibration is None:
        what = (
            "<b>uncalibrated</b>: it orders the matches, and is no probability"
            " (<code>semcorr calibrate</code> makes it one)"
        )
    else:
        what = f"the probability that a match is right, calibrated on {html.escape(calibration)}"
    return (
        '<div class="sc-legend"><span>confidence&nbsp; 0</span>'
        f'<span class="sc-bar" style="background:linear-gradient(90deg, {stops})"></span><span>1</span>'
        f'<span class="sc-note">{what}</span></div>'
    )


def heat_picture(heatmap: Float[np.ndarray, "height width"]) -> PIL.Image.Image:
    """A heat map, stretched to its own range, as colours that are the more opaque the hotter."""
    import matplotlib as mpl  # here, because importing it makes folders in the user's home

    low, high = float(heatmap.min()), float(heatmap.max())
    unit = (heatmap - low) / (high - low) if high > low else np.zeros_like(heatmap)
    rgba = mpl.colormaps["inferno"](unit)
    rgba[..., 3] = np.clip(unit * 1.15, 0, 1)
    picture = PIL.Image.fromarray(np.round(rgba * 255).astype(np.uint8))
    picture.thumbnail((_MOST_SIDE, _MOST_SIDE), PIL.Image.Resampling.BILINEAR)
    return picture


def strongest(heatmaps: Float[np.ndarray, "maps height width"]) -> Float[np.ndarray, "height width"]:
    """Of several maps, each stretched to its own range, the largest at every place."""
    low = heatmaps.min(axis=(1, 2), keepdims=True)
    span = heatmaps.max(axis=(1, 2), keepdims=True) - low
    return ((heatmaps - low) / np.where(span > 0, span, 1)).max(axis=0)
