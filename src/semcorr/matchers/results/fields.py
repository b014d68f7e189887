"""What queries and matches share: read-only arrays, their checks when they are read, and points in a few words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def read_only(array: ArrayLike, dtype: str | None = None) -> np.ndarray:
    """Return a copy that cannot be written to."""
    # A private copy: results are immutable, and so must be what they hold.
    result = np.array(array, dtype=dtype, order="C")
    result.flags.writeable = False
    return result


def points_in_short(count: int, names: Sequence[str] | None) -> str:
    """Return how many points there are, and their first names."""
    first = ", ".join((names or ())[:3]) + (", …" if count > 3 else "")
    return f"{count:,} point{'s' * (count != 1)}" + (f" ({first})" if names else "")


def size_of(values: Sequence[int]) -> tuple[int, int]:
    """Return the (width, height) that a file holds.

    Raises:
        ValueError: There is no such image.
    """
    width, height = values
    if min(int(width), int(height)) < 1:
        raise ValueError(f"an image of {width} x {height} pixels")
    return int(width), int(height)


def names_of(values: Sequence[object] | None, points: int) -> tuple[str, ...] | None:
    """Return the names of so many points that a file holds, or None.

    Raises:
        ValueError: There is not one for each point.
    """
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != points:
        raise ValueError(f"names {values!r:.60} for {points} points")
    return tuple(map(str, values))


def checked_numbers(name: str, array: np.ndarray, *, partial: bool = False) -> np.ndarray:
    """Return an array that a file holds.

    Raises:
        ValueError: Not all of it are numbers that are finite, or with ``partial`` NaN.
    """
    if array.dtype.kind != "f":
        raise ValueError(f"{name} of type {array.dtype}")
    if not (np.isfinite(array) | (partial & np.isnan(array))).all():
        raise ValueError(f"{name} that are not finite")
    return array
