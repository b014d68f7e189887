"""The quality of a confidence: whether it ranks matches, and whether it is a probability.

Without points every figure is NaN.
"""

import math

import numpy as np
from jaxtyping import Bool, Float

BINS = 10


def risk_coverage_area(confidence: Float[np.ndarray, " points"], right: Bool[np.ndarray, " points"]) -> float:
    """The mean fraction of wrong points among the k most confident, over all k (AURC; Geifman et al., 2018).

    0 is best. Equally confident points are not ranked: each counts as their mean.
    """
    if not len(right):
        return math.nan
    ordered = _by_confidence(confidence, right)
    return float((1 - np.cumsum(ordered) / np.arange(1, len(ordered) + 1)).mean())


def confident_half(confidence: Float[np.ndarray, " points"], right: Bool[np.ndarray, " points"]) -> float:
    """The fraction of right points in the more confident half, without the middle one of an odd number."""
    if not len(right):
        return math.nan
    return float(_by_confidence(confidence, right)[: max(1, len(right) // 2)].mean())


def ranking_area(confidence: Float[np.ndarray, " points"], right: Bool[np.ndarray, " points"]) -> float:
    """The area under the receiver operating characteristic: how often a right point is the more confident one.

    Of all pairs of a right and a wrong point, the fraction in which the right one is more confident; equally confident
    ones count half. 0.5 is no order at all. NaN where no point is right, or none is wrong.
    """
    wrong = np.sort(confidence[~right])
    if not len(wrong) or not right.any():
        return math.nan
    below = np.searchsorted(wrong, confidence[right], side="left")
    level = np.searchsorted(wrong, confidence[right], side="right")
    return float((below + level).mean() / (2 * len(wrong)))


def calibration_error(
    confidence: Float[np.ndarray, " points"], right: Bool[np.ndarray, " points"], bins: int = BINS
) -> float:
    """The expected calibration error (Guo et al., 2017), in bins of equal width.

    The mean over points of the distance between their bin's mean confidence and its fraction of right points.
    """
    if not len(right):
        return math.nan
    bin_of = np.clip((confidence * bins).astype(int), 0, bins - 1)
    gaps = np.abs(np.bincount(bin_of, confidence - right.astype(float), minlength=bins))
    return float(gaps.sum() / len(right))


def _by_confidence(confidence: np.ndarray, right: np.ndarray) -> Float[np.ndarray, " points"]:
    """Correctness from the most to the least confident point, each as the mean of those that are as confident."""
    _, group = np.unique(-confidence, return_inverse=True)
    mean = np.bincount(group, right.astype(float)) / np.bincount(group)
    ordered: Float[np.ndarray, " points"] = mean[np.sort(group)]
    return ordered
