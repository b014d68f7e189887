"""How far a confidence can be trusted: whether it orders matches, and whether it is a probability.

Of no points nothing is known: every figure is NaN then.
"""

import math

import numpy as np
from jaxtyping import Bool, Float

BINS = 10


def risk_coverage_area(confidence: Float[np.ndarray, " points"], right: Bool[np.ndarray, " points"]) -> float:
    """The mean share of wrong points among the k most confident, over all k (AURC; Geifman et al., 2018).

    0 is the best there is. Of equally confident points none comes first: each counts as their mean.
    """
    if not len(right):
        return math.nan
    ordered = _in_order(confidence, right)
    return float((1 - np.cumsum(ordered) / np.arange(1, len(ordered) + 1)).mean())


def confident_half(confidence: Float[np.ndarray, " points"], right: Bool[np.ndarray, " points"]) -> float:
    """The share of right points in the more confident half; the middle one of an odd number is not in it."""
    if not len(right):
        return math.nan
    return float(_in_order(confidence, right)[: max(1, len(right) // 2)].mean())


def calibration_error(
    confidence: Float[np.ndarray, " points"], right: Bool[np.ndarray, " points"], bins: int = BINS
) -> float:
    """The expected calibration error (Guo et al., 2017): in bins of equal width, how far confidence is from the truth.

    The mean over points of the distance between their bin's mean confidence and its share of right points.
    """
    if not len(right):
        return math.nan
    which = np.clip((confidence * bins).astype(int), 0, bins - 1)
    apart = np.abs(np.bincount(which, confidence - right.astype(float), minlength=bins))
    return float(apart.sum() / len(right))


def _in_order(confidence: np.ndarray, right: np.ndarray) -> Float[np.ndarray, " points"]:
    """The most confident first, each as the mean of those that are as confident."""
    _, group = np.unique(-confidence, return_inverse=True)
    mean = np.bincount(group, right.astype(float)) / np.bincount(group)
    ordered: Float[np.ndarray, " points"] = mean[np.sort(group)]
    return ordered
