"""Comparisons that hold on every processor, thread count and batch size: only rounding may differ.

Results of the same computation in the same shapes on the same machine are equal to the last bit, and are compared so.
All others (another batch, another order, a part of a network, an independent computation) are compared here: numbers by
their scale, peaks by their lead.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def as_array(values: Any) -> np.ndarray:
    """Tensors with and without gradients, arrays and lists, as an array of doubles."""
    return np.asarray(values.detach() if hasattr(values, "detach") else values, dtype=np.float64)


def assert_close_to_scale(actual: ArrayLike, expected: ArrayLike, rel: float = 1e-4) -> None:
    """Every number differs by at most ``rel`` of the largest expected one, whose size decides how sums are rounded."""
    actual, expected = as_array(actual), as_array(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rel * float(np.abs(expected).max()))


def leads(maps: ArrayLike) -> np.ndarray:
    """By how much the largest pixel of each map (..., height, width) leads every other pixel; 0 on a plateau."""
    values = as_array(maps)
    two = np.sort(values.reshape(*values.shape[:-2], -1), axis=-1)[..., -2:]
    return two[..., 1] - two[..., 0]


def assert_same_peaks(
    points: ArrayLike,
    other_points: ArrayLike,
    maps: ArrayLike,
    other_maps: ArrayLike,
    size: tuple[int, int],
    *,
    clear: float = 1.0,
) -> None:
    """Peaks are equal where they lead by more than rounding; elsewhere each is a peak of the other map but for it.

    Two maps that differ by at most ``d`` have the same peak where it leads by more than ``2 d``. Positions between
    cells are equal to a hundredth of a cell.

    Args:
        points: Peaks (..., 2) of ``maps`` as points of an image of ``size``.
        other_points: The same of ``other_maps``.
        maps: Maps (..., height, width) that cover the image.
        other_maps: The same maps, computed in another way.
        size: (width, height) of the image in pixels.
        clear: The share of peaks that must lead by so much and are compared exactly.
    """
    both = [as_array(one) for one in (points, other_points)]
    first, second = as_array(maps), as_array(other_maps)
    assert both[0].shape == both[1].shape == (*first.shape[:-2], 2)
    assert first.shape == second.shape
    height, width = first.shape[-2:]
    difference = np.abs(first - second).max(axis=(-2, -1))
    leading = leads(first) > 2 * difference
    assert leading.mean() >= clear, f"{leading.mean():.0%} of the peaks lead clearly, by {leads(first)} of {difference}"
    cell = np.array(size) / (width, height)
    np.testing.assert_allclose(both[0][leading] / cell, both[1][leading] / cell, rtol=0, atol=0.01)
    last = [width - 1, height - 1]
    for one, other in ((first, both[1]), (second, both[0])):
        columns, rows = np.moveaxis(np.minimum(other * [width, height] // size, last).astype(int), -1, 0)
        reached = np.take_along_axis(one.reshape(*one.shape[:-2], -1), (rows * width + columns)[..., None], axis=-1)[
            ..., 0
        ]
        assert (reached >= one.max(axis=(-2, -1)) - 2 * difference).all()
