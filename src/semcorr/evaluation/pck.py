"""Percentage of correct key-points and its bootstrap interval, as pure functions.

A predicted point is correct at ``alpha`` when its distance to the true one is at most ``alpha`` times a size;
the caller says which (for the toy benchmark: the longer side of the target's true box). Distances and
sizes are in the target's own pixels.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float


def correct(
    predicted: Float[np.ndarray, "points 2"], truth: Float[np.ndarray, "points 2"], size: float, alpha: float
) -> Bool[np.ndarray, " points"]:
    """Whether each point lies within ``alpha * size`` pixels of the truth (on the threshold counts as right)."""
    return np.linalg.norm(predicted - truth, axis=1) <= alpha * size


def per_point(pairs: Sequence[Bool[np.ndarray, " _"]]) -> float:
    """Correct points among all points of all pairs; NaN-free: no points give 0."""
    total = sum(len(pair) for pair in pairs)
    return sum(int(pair.sum()) for pair in pairs) / total if total else 0.0


def per_image(pairs: Sequence[Bool[np.ndarray, " _"]]) -> float:
    """Mean over pairs of each pair's fraction of correct points; pairs without points are left out."""
    fractions = [float(pair.mean()) for pair in pairs if len(pair)]
    return float(np.mean(fractions)) if fractions else 0.0


def bootstrap(
    pairs: Sequence[Bool[np.ndarray, " _"]], *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of ``per_point`` when whole pairs are drawn with replacement."""
    return bootstrap_difference(pairs, [np.zeros(0, bool)] * len(pairs), resamples=resamples, level=level, seed=seed)


def bootstrap_difference(
    first: Sequence[Bool[np.ndarray, " _"]],
    second: Sequence[Bool[np.ndarray, " _"]],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of ``per_point(first) - per_point(second)``, the same pairs drawn for both."""
    if len(first) != len(second):
        raise ValueError(f"expected as many pairs on both sides, got {len(first)} and {len(second)}")
    if not first:
        return 0.0, 0.0
    draws = np.random.default_rng(seed).integers(len(first), size=(resamples, len(first)))
    values = _resampled(first, draws) - _resampled(second, draws)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(pairs: Sequence[np.ndarray], draws: np.ndarray) -> np.ndarray:
    right = np.array([pair.sum() for pair in pairs], dtype=np.float64)[draws].sum(1)
    total = np.array([len(pair) for pair in pairs], dtype=np.float64)[draws].sum(1)
    return np.divide(right, total, out=np.zeros_like(right), where=total > 0)
