"""Masks as COCO holds them: run lengths (RLE), and polygons.

Runs go down the columns, from the top-left corner, and begin with background. COCO has their lengths as a list of
numbers, or as text: each number in groups of 5 bits, the lowest first, with a bit that says whether more follow; from
the fourth on, what is written is the difference from the number two before it. The format is that of pycocotools'
``maskApi``.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from semcorr.imaging.geometry import Size

_OFFSET = 48
"""What makes 6 bits a printable character."""


def encode_rle(mask: Bool[np.ndarray, "height width"]) -> dict[str, Any]:
    """Return a mask as COCO's compressed RLE: ``size`` (height, width), and ``counts`` as text."""
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=False)).tolist()  # a mask that begins with foreground has a run of 0
    counts = np.diff([0, *edges, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": _text(counts)}


def decode_rle(rle: Mapping[str, Any]) -> Bool[np.ndarray, "height width"]:
    """Return the mask of an RLE, whose ``counts`` are text or a list of numbers.

    Raises:
        ValueError: It is broken; the message says what of it.
    """
    height, width = rle["size"]
    counts = rle["counts"]
    lengths = _numbers(counts) if isinstance(counts, str) else counts
    if not all(type(length) is int and length >= 0 for length in lengths) or sum(lengths) != height * width:
        raise ValueError(f"counts whose sum is the {height} x {width} pixels of its size")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T


def fill_polygons(
    polygons: Sequence[Float[np.ndarray, "corners 2"]], size: Size
) -> Bool[np.ndarray, "{size[1]} {size[0]}"]:
    """Return the pixels whose centres lie in any of some polygons.

    Args:
        polygons: Corners (x, y) in pixels of the image, (0, 0) being its top-left corner; they may lie outside. By the
            even-odd rule, where a polygon crosses itself.
        size: (width, height) of the image.
    """
    width, height = size
    mask = np.zeros((height, width), dtype=bool)
    for corners in polygons:
        # Every edge flips all pixels to the right of it, in the rows whose middle it crosses.
        flips = np.zeros((height, width + 1), dtype=np.int64)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            first, last = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in sorted((y0, y1)))
            rows = np.arange(first, last)
            if len(rows):
                crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                flips[rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)] += 1
        mask |= flips.cumsum(axis=1)[:, :width] % 2 == 1
    return mask


def fill_stroke(
    corners: Float[np.ndarray, "corners 2"], radius: float, size: Size
) -> Bool[np.ndarray, "{size[1]} {size[0]}"]:
    """Return the pixels whose centres are within a radius of a line, as a round brush paints it.

    Args:
        corners: The line's corners (x, y) in pixels of the image, (0, 0) being its top-left corner; they may lie
            outside. One alone is a dot.
        radius: The brush's, in pixels of the image.
        size: (width, height) of the image.
    """
    width, height = size
    top, end = (
        int(np.clip(row, 0, height))
        for row in (np.ceil(corners[:, 1].min() - radius - 0.5), np.floor(corners[:, 1].max() + radius - 0.5) + 1)
    )
    # What a straight piece of it covers of a row is one interval: where it begins counts 1, where it ends -1.
    changes = np.zeros((max(0, end - top), width + 1), dtype=np.int32)
    middles = np.arange(top, end) + 0.5
    for start, stop in pairwise([corners[0], *corners]):
        left, right = _extent(start, stop, radius, middles)
        rows = np.flatnonzero(left <= right)
        first, last = np.ceil(left[rows] - 0.5), np.floor(right[rows] - 0.5) + 1
        changes[rows, np.clip(first, 0, width).astype(np.int64)] += 1
        changes[rows, np.clip(last, 0, width).astype(np.int64)] -= 1
    mask = np.zeros((height, width), dtype=bool)
    mask[top:end] = changes.cumsum(axis=1)[:, :width] > 0
    return mask


def _extent(
    start: Float[np.ndarray, "2"], stop: Float[np.ndarray, "2"], radius: float, middles: Float[np.ndarray, "rows"]
) -> tuple[Float[np.ndarray, "rows"], Float[np.ndarray, "rows"]]:
    """Return where all that is within a radius of a straight line begins and ends in each row; inf, -inf: nowhere.

    It is convex: in each row the ends are those of the discs about both ends of the line, or of the tangents of both.
    """
    left, right = np.full(len(middles), np.inf), np.full(len(middles), -np.inf)
    for x, y in (start, stop):
        inside = np.abs(middles - y) <= radius
        reach = np.sqrt(np.maximum(radius**2 - (middles - y) ** 2, 0))
        left = np.where(inside, np.minimum(left, x - reach), left)
        right = np.where(inside, np.maximum(right, x + reach), right)
    along = stop - start
    length = float(np.hypot(*along))
    if length > 0:
        aside = np.array([-along[1], along[0]]) * (radius / length)
        for (x0, y0), (x1, y1) in ((start + aside, stop + aside), (start - aside, stop - aside)):
            if y0 != y1:
                crossed = (middles >= min(y0, y1)) & (middles <= max(y0, y1))
                x = x0 + (middles - y0) * ((x1 - x0) / (y1 - y0))
                left = np.where(crossed, np.minimum(left, x), left)
                right = np.where(crossed, np.maximum(right, x), right)
    return left, right


def _text(counts: Sequence[int]) -> str:
    text = bytearray()
    for index, count in enumerate(counts):
        number = count - counts[index - 2] if index > 2 else count
        while True:
            group, number = number & 31, number >> 5
            # Done when the rest is the sign of what is written.
            more = number != (-1 if group & 16 else 0)
            text.append(group + (32 if more else 0) + _OFFSET)
            if not more:
                break
    return text.decode()


def _numbers(text: str) -> list[int]:
    counts: list[int] = []
    number, shift = 0, 0
    for character in text:
        group = ord(character) - _OFFSET
        if not 0 <= group < 64 or shift > 60:
            raise ValueError(f"counts of compressed runs, got {character!r} among them")
        number |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            number -= 1 << shift
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number, shift = 0, 0
    if shift:
        raise ValueError("complete counts, got some that break off")
    return counts
