"""Whether an image resembles the images of a measurement, by a few statistics and their range.

A measurement on drawings does not hold for photographs. Three statistics distinguish such kinds of images, whatever
they show. They are fractions of the pairs of neighbouring pixels, across and down, in the image resized to ``SIDE``
pixels along its longer side (by area averages if it is larger, by repeated pixels if it is smaller):

``flat``            The two differ by at most 2 of 255 in every channel.
``flat elsewhere``  The same, for pairs without the image's commonest colour (in 16 steps a channel), the background.
``soft``            They differ by 3 to 16: shading, texture and noise, between flat areas and edges.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Int, Shaped

from semcorr.imaging.image import Image

SIDE = 128
"""Pixels along the longer side of the resized image."""

MARGIN = 0.5
"""Tolerance beyond the smallest and largest measured value, as a fraction of the range between them."""

_EQUAL, _SOFT = 2, 16
_STEP = 16
_DIGITS = 100_000

STATISTICS = ("flat", "flat elsewhere", "soft")


def statistics(image: Image) -> dict[str, float]:
    """Return the statistics of an image, by name, each from 0 to 1."""
    pixels = _small(image)
    red, green, blue = np.moveaxis(pixels // _STEP, -1, 0)
    colour = (red * _STEP + green) * _STEP + blue
    elsewhere = colour != np.bincount(colour.ravel()).argmax()
    every, elsewhere_only = [], []
    for axis in (0, 1):
        difference = np.abs(np.diff(pixels, axis=axis)).max(axis=-1)
        first, second = _neighbours(elsewhere, axis)
        every.append(difference.ravel())
        elsewhere_only.append(difference[first & second])
    pairs, others = np.concatenate(every), np.concatenate(elsewhere_only)
    soft = (pairs > _EQUAL) & (pairs <= _SOFT)
    # An image of one colour has no pair elsewhere: it is flat.
    shares = ((pairs <= _EQUAL, 1.0), (others <= _EQUAL, 1.0), (soft, 0.0))
    values = (float(share.mean()) if len(share) else empty for share, empty in shares)
    return dict(zip(STATISTICS, values, strict=True))


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The kind of images of a measurement.

    Attributes:
        images: Number of images.
        ranges: Smallest and largest value of every statistic.
    """

    images: int
    ranges: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, images: Iterable[Mapping[str, float]]) -> "Domain":
        """Return the domain of images with these statistics, at least one."""
        rows = list(images)
        # Rounded outwards, so that the images themselves lie inside.
        ranges = {
            name: (
                math.floor(min(row[name] for row in rows) * _DIGITS) / _DIGITS,
                math.ceil(max(row[name] for row in rows) * _DIGITS) / _DIGITS,
            )
            for name in STATISTICS
        }
        return cls(images=len(rows), ranges=ranges)

    def contains(self, values: Mapping[str, float]) -> bool:
        """Whether an image with these statistics resembles those of the measurement; not if one is missing."""
        return all(
            name in values and low - MARGIN * (high - low) <= values[name] <= high + MARGIN * (high - low)
            for name, (low, high) in self.ranges.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the domain as a dictionary that JSON can hold."""
        return {"images": self.images, "ranges": {name: list(ends) for name, ends in self.ranges.items()}}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Domain":
        """Rebuild a domain from :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: The document is not one of a domain.
        """
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in document["ranges"].items()}
        if not ranges or not all(0 <= low <= high <= 1 for low, high in ranges.values()):
            raise ValueError(f"ranges of images' statistics {document['ranges']!r:.80}")
        return cls(images=int(document["images"]), ranges=ranges)


def _small(image: Image) -> Int[np.ndarray, "_height _width 3"]:
    scale = SIDE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    how = PIL.Image.Resampling.BOX if scale < 1 else PIL.Image.Resampling.NEAREST
    return np.asarray(PIL.Image.fromarray(image.pixels).resize((width, height), how)).astype(np.int64)


def _neighbours(
    values: Shaped[np.ndarray, "height width"], axis: int
) -> tuple[Shaped[np.ndarray, "_h _w"], Shaped[np.ndarray, "_h _w"]]:
    return (values[:-1], values[1:]) if axis == 0 else (values[:, :-1], values[:, 1:])
