"""Polygons from which the toy world's objects are built.

Everything is a polygon of shape (vertices, 2) in *object coordinates*: x to the object's front (right),
y down, the object roughly within [-1, 1] on both axes. Affine maps of objects are then affine maps of
vertices, and a key-point moves with its object exactly.
"""

import math

import numpy as np
from jaxtyping import Float

Polygon = Float[np.ndarray, "_ 2"]


def ellipse(cx: float, cy: float, rx: float, ry: float, angle: float = 0.0, vertices: int = 24) -> Polygon:
    """Ellipse around (cx, cy) with radii rx, ry, turned by ``angle`` degrees clockwise (y is down)."""
    turn = np.linspace(0, 2 * math.pi, vertices, endpoint=False)
    x, y = rx * np.cos(turn), ry * np.sin(turn)
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.stack([cx + c * x - s * y, cy + s * x + c * y], axis=1)


def polygon(*points: tuple[float, float]) -> Polygon:
    """The polygon through ``points``."""
    return np.asarray(points, dtype=np.float64)


def box(x0: float, y0: float, x1: float, y1: float, bevel: float = 0.0) -> Polygon:
    """Axis-aligned box with corners cut by ``bevel``."""
    if bevel <= 0:
        return polygon((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    b = bevel
    return polygon(
        (x0 + b, y0), (x1 - b, y0), (x1, y0 + b), (x1, y1 - b), (x1 - b, y1), (x0 + b, y1), (x0, y1 - b), (x0, y0 + b)
    )


def limb(x0: float, y0: float, x1: float, y1: float, w0: float, w1: float) -> Polygon:
    """A tapering bar with round ends from (x0, y0), ``w0`` wide, to (x1, y1), ``w1`` wide."""
    along = math.atan2(y1 - y0, x1 - x0)
    start = np.linspace(along + math.pi / 2, along + 3 * math.pi / 2, 8)
    end = np.linspace(along - math.pi / 2, along + math.pi / 2, 8)
    first = np.stack([x0 + w0 / 2 * np.cos(start), y0 + w0 / 2 * np.sin(start)], axis=1)
    last = np.stack([x1 + w1 / 2 * np.cos(end), y1 + w1 / 2 * np.sin(end)], axis=1)
    return np.concatenate([first, last])


def curve(points: list[tuple[float, float]], w0: float, w1: float) -> list[Polygon]:
    """A bent limb: one bar for each stretch between ``points``, tapering from ``w0`` to ``w1``."""
    widths = np.linspace(w0, w1, len(points))
    return [limb(*points[i], *points[i + 1], float(widths[i]), float(widths[i + 1])) for i in range(len(points) - 1)]
