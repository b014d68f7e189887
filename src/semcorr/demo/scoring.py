"""How far found points lie from the true ones, for the tables of the demonstrations."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from semcorr.evaluation.metrics.pck import is_correct

ALPHA = 0.1
"""A point counts as found when its error is at most this fraction of the object's size (PCK@0.1)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """Found points of one target against the truth.

    Attributes:
        names: A name for each point.
        points: Found points, in the target's own pixels.
        truth: True points in the same frame; NaN where the target does not show the point.
        object_size: The length that errors are measured against, in pixels.
    """

    names: tuple[str, ...]
    points: Float[np.ndarray, "points 2"]
    truth: Float[np.ndarray, "points 2"]
    object_size: float

    @property
    def errors(self) -> Float[np.ndarray, " points"]:
        """Distance to the truth in pixels; NaN where there is none."""
        return np.linalg.norm(self.points - self.truth, axis=1)

    @property
    def fractions(self) -> Float[np.ndarray, " points"]:
        """The errors as fractions of the object's size; NaN where there is no truth."""
        return self.errors / self.object_size

    @property
    def known(self) -> Bool[np.ndarray, " points"]:
        """The points whose truth is known: only these can be right or wrong."""
        return ~np.isnan(self.truth).any(axis=1)

    @property
    def right(self) -> Bool[np.ndarray, " points"]:
        """The points that are found to within ``ALPHA`` of the object's size."""
        return is_correct(self.fractions, ALPHA)
