"""Figures of one configuration on one set of photographs, and their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Integer

from semcorr.evaluation.metrics import confidence as metrics
from semcorr.evaluation.metrics import pck

ALPHAS = (0.05, 0.1, 0.15)
HEADLINE = ALPHAS.index(0.1)
"""The alpha of the overview, and of confidence."""

LEVEL = 0.95
RESAMPLES = 2000

Half = Literal["development", "held-out", "all"]
"""Choices are made on the first and reported on the others."""

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """Whether a confidence ranks points, and whether it is a probability.

    Attributes:
        points: The number of points.
        calibrated: The fraction of them whose confidence is a calibrated probability.
        error: The calibration error of all of them, calibrated or not.
        right: The fraction of right points.
        half: That of the more confident half.
        area: The area under the receiver operating characteristic.
    """

    points: int
    calibrated: float
    error: float
    right: float
    half: float
    area: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The right points of one configuration on one set.

    Attributes:
        configuration: Its name.
        images: The set.
        half: Which part of it.
        supports: The number of annotated objects.
        spread: Whether these are spread evenly over the set instead of drawn.
        pck: Right points in %, at every alpha of :data:`ALPHAS`.
        intervals: Their 95 % intervals; None where there is one draw only.
        points: The number of points that were predicted.
        confidence: None for baselines.
    """

    configuration: str
    images: str
    half: Half = "all"
    supports: int = 1
    spread: bool = False
    pck: tuple[float, ...]
    intervals: tuple[Interval | None, ...]
    points: int
    confidence: Confidence | None = None


def image_intervals(
    counts: pck.Counts,
    source: Integer[np.ndarray, " pairs"],
    target: Integer[np.ndarray, " pairs"],
    group: Integer[np.ndarray, " pairs"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval]:
    """Return percentile intervals of PCK per image, at every alpha, when the images of each group are drawn.

    Pairs that share an image are not independent, so images are drawn and not pairs: those of each group (a
    sub-class), as many as it has, with replacement. A pair counts as often as its two images were drawn, one number
    times the other (Owen, 2007, "The pigeonhole bootstrap").

    Args:
        counts: Right points of every pair.
        source: The number of every pair's source image.
        target: That of its target image.
        group: That of its group.
        resamples: The number of draws.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    times = np.zeros((resamples, 1 + max(source.max(), target.max())))
    for number in np.unique(group):
        images = np.unique(np.concatenate([source[group == number], target[group == number]]))
        times[:, images] = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), size=resamples)
    weights = (times[:, source] * times[:, target]) * (counts.total > 0)
    fractions = counts.right / np.maximum(counts.total, 1)[:, None]
    drawn = weights.sum(axis=1) > 0
    values = 100 * (weights[drawn] @ fractions) / weights[drawn].sum(axis=1, keepdims=True)
    ends = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [(float(low), float(high)) for low, high in ends.T]


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return Student's interval of the mean of independent draws of percentages; None for fewer than two."""
    interval = difference_interval(values)
    return None if interval is None else (max(0.0, interval[0]), min(100.0, interval[1]))


def difference_interval(values: Sequence[float]) -> Interval | None:
    """Return the same of differences, which may have any sign."""
    if len(values) < 2:
        return None
    reach = scipy.stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values) - reach), float(np.mean(values) + reach)


def confidence_of(
    confidence: Float[np.ndarray, " points"],
    right: Bool[np.ndarray, " points"],
    calibrated: Bool[np.ndarray, " points"],
) -> Confidence:
    """Measure the confidence of points."""
    return Confidence(
        points=len(right),
        calibrated=float(calibrated.mean()),
        error=metrics.calibration_error(confidence, right),
        right=float(right.mean()),
        half=metrics.confident_half(confidence, right),
        area=metrics.ranking_area(confidence, right),
    )
