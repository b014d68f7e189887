"""Regions that annotation tools draw around objects, turned ones included: whether a point is inside, and extents."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import Box

_EDGE = 0.01
"""Pixels. A point no further than this outside a region is on its edge: tools round coordinates."""
_ELLIPSE_CORNERS = 360

Corners = Float[np.ndarray, "corners 2"]


def rectangle(
    x: float, y: float, width: float, height: float, degrees: float = 0.0, *, about: tuple[float, float] | None = None
) -> Corners:
    """Corners of a rectangle that is turned clockwise.

    Args:
        x: Left side before turning, in pixels.
        y: Top side before turning.
        width: Before turning; so is ``height``.
        height: In pixels.
        degrees: Clockwise, as a person sees it.
        about: The centre of the turn; by default the top-left corner.
    """
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], dtype=np.float64)
    return _turned(corners, degrees, (x, y) if about is None else about)


def ellipse(x: float, y: float, radii: tuple[float, float], degrees: float = 0.0) -> Corners:
    """An ellipse around (x, y), turned clockwise about it, as a polygon (off by less than 0.0001 of a radius)."""
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)
    outline = np.stack([x + radii[0] * np.cos(angles), y + radii[1] * np.sin(angles)], axis=1)
    return _turned(outline, degrees, (x, y))


@np.errstate(over="ignore", invalid="ignore")  # coordinates that no image has are in no region
def contains(corners: Corners, point: Sequence[float]) -> bool:
    """Whether a point lies in a polygon or on its edge."""
    start, end = corners, np.roll(corners, -1, axis=0)
    along, offset = end - start, np.asarray(point) - start
    lengths = (along**2).sum(axis=1)
    part = np.clip((offset * along).sum(axis=1) / np.where(lengths > 0, lengths, 1), 0, 1)
    if (np.hypot(*(offset - part[:, None] * along).T) <= _EDGE).any():
        return True
    # Even-odd rule: how many edges a ray to the right crosses.
    x, y = point
    spans = (start[:, 1] > y) != (end[:, 1] > y)
    crossing = start[:, 0] + (y - start[:, 1]) * along[:, 0] / np.where(along[:, 1] == 0, 1, along[:, 1])
    return bool((spans & (crossing > x)).sum() % 2)


def extent(points: Float[np.ndarray, "points 2"]) -> Box:
    """The smallest upright box around points; zeros if there are none."""
    if not len(points):
        return 0.0, 0.0, 0.0, 0.0
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def extent_in(corners: Corners, size: tuple[float, float]) -> Box | None:
    """The smallest upright box around a polygon, cut off at the image's edge; None where nothing is left."""
    x0, y0, x1, y1 = extent(corners)
    width, height = size
    box = max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)
    return box if box[2] > box[0] and box[3] > box[1] else None


def box_around(
    points: Float[np.ndarray, "points 2"], margin: float, size: tuple[float, float], *, least: float = 0.0
) -> Box | None:
    """The box of an object of which only points are known; None where nothing of it is inside the image.

    Args:
        points: One or more.
        margin: Room on every side, as a part of their extent's longer side.
        size: The image's (width, height) in pixels, at which the box ends.
        least: Pixels of room at least.
    """
    x0, y0, x1, y1 = extent(points)
    room = max(margin * max(x1 - x0, y1 - y0), least)
    corners = np.array([[x0 - room, y0 - room], [x1 + room, y1 + room]])
    return extent_in(corners, size)


def _turned(corners: Corners, degrees: float, about: tuple[float, float]) -> Corners:
    if degrees % 360 == 0:
        return corners
    angle = math.radians(degrees)
    # y points down, so this turns clockwise.
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return (corners - about) @ turn + about
