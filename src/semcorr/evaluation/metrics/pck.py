"""Percentage of correct key-points (PCK) and its bootstrap intervals, as pure functions.

A predicted point is correct at ``alpha`` when its distance to the true one is at most ``alpha`` times a size; which
size, and in which frame, :mod:`semcorr.evaluation.metrics.protocol` says. There are two averages, which must not be
mixed: per image (the mean over pairs of each pair's fraction of correct points) and per point (correct points among all
points).

The functions take errors: distances divided by that size, of all pairs' points one after the other, with ``pair``, the
number of the pair (from 0) that each belongs to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

_SLACK = 1 + 1e-9
"""On the threshold counts as right, also when the last bit of a scaled coordinate says otherwise."""

_CELLS = 1 << 20
"""The most draws that are held at a time: tens of megabytes, however many pairs there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """The number of points of every pair that are right at every alpha, and of all its points, perhaps 0."""

    right: Int[np.ndarray, "pairs alphas"]
    total: Int[np.ndarray, " pairs"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Averages:
    """Both averages at every alpha, from 0 to 1; NaN where there are no points."""

    per_image: Float[np.ndarray, " alphas"]
    per_point: Float[np.ndarray, " alphas"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Intervals:
    """Lower and upper ends for both averages at every alpha; NaN where there are no points."""

    per_image: Float[np.ndarray, "alphas 2"]
    per_point: Float[np.ndarray, "alphas 2"]


def is_correct(errors: Float[np.ndarray, "*shape"], alpha: float) -> Bool[np.ndarray, "*shape"]:
    """Which points are correct at ``alpha``: the one definition for all tables, figures and pages.

    A point on the threshold is correct, also where the last bit of scaled coordinates puts it a billionth beyond.

    Args:
        errors: Distances as fractions of the size that the threshold is measured by; infinity and NaN are wrong.
        alpha: The threshold, as a fraction of the same size.
    """
    correct: Bool[np.ndarray, "*shape"] = errors <= alpha * _SLACK
    return correct


def count(
    errors: Float[np.ndarray, " points"], pair: Integer[np.ndarray, " points"], pairs: int, alphas: Sequence[float]
) -> Counts:
    """Count the right points of each of ``pairs`` pairs at every alpha; an error of infinity is always wrong."""
    columns = [np.bincount(pair[is_correct(errors, alpha)], minlength=pairs) for alpha in alphas]
    right = np.stack(columns, axis=1) if columns else np.zeros((pairs, 0), dtype=np.int64)
    return Counts(right=right, total=np.bincount(pair, minlength=pairs))


def averages(counts: Counts) -> Averages:
    """Per image (pairs without points are left out) and per point."""
    table, alphas = _table(counts), counts.right.shape[1]
    image, point = _ratios(table.sum(axis=0, keepdims=True), alphas)
    return Averages(per_image=image[0], per_point=point[0])


def area(
    errors: Float[np.ndarray, " points"], pair: Integer[np.ndarray, " points"], pairs: int, highest: float
) -> tuple[float, float]:
    """Area under the PCK curve for alpha from 0 to ``highest``, divided by ``highest``: per image and per point.

    Exact, not over a grid: a point of error e is right for the alphas from e on, so it adds max(0, highest - e).
    NaN where there are no points.
    """
    gain = np.clip(1 - errors / highest, 0, 1)
    total = np.bincount(pair, minlength=pairs)
    sums = np.bincount(pair, weights=gain, minlength=pairs)
    seen = total > 0
    return (float(np.mean(sums[seen] / total[seen])), float(np.mean(gain))) if seen.any() else (np.nan, np.nan)


def intervals(
    first: Counts, second: Counts | None = None, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Intervals:
    """Percentile intervals of both averages when whole pairs are drawn with replacement.

    With ``second``, of ``first`` minus ``second``, the same pairs drawn for both: row i of either is the same pair.
    A draw of pairs without points is left out.

    Raises:
        ValueError: ``second`` has another number of pairs.
    """
    pairs, alphas = first.right.shape
    if second is not None and len(second.total) != pairs:
        raise ValueError(f"expected as many pairs on both sides, got {pairs} and {len(second.total)}")
    sides = [counts for counts in (first, second) if counts is not None]
    if not all(counts.total.any() for counts in sides):
        return Intervals(per_image=np.full((alphas, 2), np.nan), per_point=np.full((alphas, 2), np.nan))
    tables = [_table(counts) for counts in sides]
    drawn: list[np.ndarray] = []
    for weights in _weights(pairs, resamples, seed):
        ratios = [np.stack(_ratios(weights @ table, alphas)) for table in tables]
        drawn.append(ratios[0] - ratios[1] if second is not None else ratios[0])
    values = np.concatenate(drawn, axis=1)
    # If only one side has points in some pairs, it may be that no draw has points on both.
    known = values[:, np.isfinite(values).all(axis=(0, 2))]
    both_ends = [(1 - level) / 2, (1 + level) / 2]
    ends = np.quantile(known, both_ends, axis=1) if known.shape[1] else np.full((2, 2, alphas), np.nan)
    image, point = np.moveaxis(ends, 0, 2)
    return Intervals(per_image=image, per_point=point)


def mean_intervals(
    values: Float[np.ndarray, "pairs columns"], *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, "columns 2"]]:
    """The means over pairs and their percentile intervals, as :func:`intervals` draws pairs.

    Pairs that have NaN in any column are left out; without others all is NaN.
    """
    known = values[~np.isnan(values).any(axis=1)]
    if not len(known):
        return np.full(values.shape[1], np.nan), np.full((values.shape[1], 2), np.nan)
    drawn = np.concatenate([weights @ known for weights in _weights(len(known), resamples, seed)]) / len(known)
    return known.mean(axis=0), np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0).T


def _table(counts: Counts) -> Float[np.ndarray, "pairs columns"]:
    """What is summed over pairs for both averages: fractions, right points, 1 if there are points, and points."""
    total = counts.total[:, None]
    fractions = np.divide(counts.right, total, out=np.zeros(counts.right.shape), where=total > 0)
    return np.concatenate([fractions, counts.right, total > 0, total], axis=1)


def _ratios(
    sums: Float[np.ndarray, "rows columns"], alphas: int
) -> tuple[Float[np.ndarray, "rows {alphas}"], Float[np.ndarray, "rows {alphas}"]]:
    """Per image and per point, from sums of ``_table``'s rows; NaN where those have no points."""
    results = []
    for values, weight in ((sums[:, :alphas], sums[:, -2:-1]), (sums[:, alphas:-2], sums[:, -1:])):
        results.append(np.divide(values, weight, out=np.full(values.shape, np.nan), where=weight > 0))
    return results[0], results[1]


def _weights(pairs: int, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "rows {pairs}"]]:
    """How often each pair is drawn in each resample; the draws do not depend on the size of the blocks."""
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // pairs)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        cells = rng.integers(pairs, size=(rows, pairs)) + np.arange(rows)[:, None] * pairs
        yield np.bincount(cells.ravel(), minlength=rows * pairs).reshape(rows, pairs).astype(np.float64)
