"""Several supports located in one target, and their heat maps fused into one answer for each key-point."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import scale_points
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import LocatedTogether, Matches, Query
from semcorr.transfer.support_queries import DescribedSupport

AGREEMENT_SIGMA = 0.05
"""How far a support's own point may be from the fused one: the standard deviation of the Gaussian that its confidence
is weighted with, as a fraction of the target's longer side."""

_RADIUS, _TEMPERATURE = 0.08, 0.1
"""The radius around a map's peak that the answer is the mean of, as a fraction of the map's longer side, and how much
less lower values count. Chosen on validation drawings."""

_LEAST_WEIGHT = 1e-6
"""The weight of a support that has no confidence at all, lest all weights be 0."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FusedPoints:
    """What several supports say together: points in pixels of the target, NaN where no support has the key-point.

    A support's vote for a point is its own confidence times the nearness of its own point; NaN where it lacks it.
    """

    points: Float[np.ndarray, "keypoints 2"]
    confidence: Float[np.ndarray, " keypoints"]
    votes: Float[np.ndarray, "supports keypoints"]


def locate_supports(matcher: Matcher, supports: Sequence[DescribedSupport], target: Image) -> list[Matches]:
    """Locate the points of every support in a target.

    Where the method allows it (:func:`can_join`), all points go through one call, so that the target is read once.
    """
    queries = [support.query for support in supports]
    if len(supports) == 1 or not can_join(queries, matcher):
        return matcher.locate_each(queries, target)
    matches = matcher.locate(join(queries), target)
    ends = np.cumsum([len(support.query.points) for support in supports]).tolist()
    return [matches.take(range(end - len(one.query.points), end)) for end, one in zip(ends, supports, strict=True)]


def locate_optimized(matcher: Matcher, support: DescribedSupport, keypoints: int, target: Image) -> LocatedTogether:
    """Locate the points of one query that all supports made together, with the peaks of :func:`fuse`.

    Args:
        matcher: The method.
        support: The query of all supports.
        keypoints: How many the category has.
        target: The target.
    """
    matches = matcher.locate(support.query, target)
    fused = fuse([support], [matches], keypoints, target.size)
    return LocatedTogether(
        points=fused.points,
        confidence=fused.confidence,
        warnings=(*support.query.warnings, *matches.warnings),
        calibration=matches.calibration,
    )


def can_join(queries: Sequence[Query], matcher: Matcher) -> bool:
    """Whether points of several images may go through one call: no query keeps anything of its image as a whole.

    Not with mirror images, since each support may face another way; nor where a calibration holds for some of the
    images only.
    """
    if matcher.calibration is not None and len({matcher.calibration.has(query) for query in queries}) > 1:
        return False
    return not matcher.identity().get("align_pose") and not any(query.shared for query in queries)


def join(queries: Sequence[Query]) -> Query:
    """All points of several queries, one after the other, as points of the first one's image.

    Where a point is located depends on its own row of the tensors alone, so the result is that of its own query.
    """
    first = queries[0]
    return dataclasses.replace(
        first,
        points=np.concatenate([query.points for query in queries]),
        names=None,
        tensors={name: np.concatenate([query.tensors[name] for query in queries]) for name in first.tensors},
    )


def fuse(
    supports: Sequence[DescribedSupport], matches: Sequence[Matches], keypoints: int, size: tuple[int, int]
) -> FusedPoints:
    """Fuse the matches of several supports, key-point by key-point.

    A key-point's heat maps, each stretched to [0, 1], are averaged with the supports' confidence as weights. The point
    is the mean location around the peak of that mean (:func:`semcorr.imaging.heatmaps.soft_peak`).

    Its confidence is the root of the mean over supports of confidence times nearness, which is 1 where a support's own
    point is the fused one and falls as a Gaussian with the distance (:data:`AGREEMENT_SIGMA`). The root, because both
    factors fall for the same reasons. The confidence of a single support stays as it is.

    Args:
        supports: The supports of a category.
        matches: Their matches in the target, in the same order.
        keypoints: How many the category has.
        size: (width, height) of the target in pixels.
    """
    points, confidence = np.full((keypoints, 2), np.nan), np.zeros(keypoints)
    votes = np.full((len(supports), keypoints), np.nan)
    for keypoint in range(keypoints):
        rows = _rows(supports, matches, keypoint)
        if not rows:
            continue
        own = np.array([one.points[row] for one, row in rows])
        fused, sure = _fused_map(rows)
        point = _peak(fused, size)
        near = np.exp(-((own - point) ** 2).sum(axis=1) / (2 * (AGREEMENT_SIGMA * max(size)) ** 2))
        votes[[keypoint in support.keypoints for support in supports], keypoint] = sure * near
        agreed = float((sure * near).mean())
        points[keypoint], confidence[keypoint] = (point, agreed**0.5) if len(rows) > 1 else (point, float(sure[0]))
    return FusedPoints(points=points, confidence=confidence, votes=votes)


def fuse_near(
    supports: Sequence[DescribedSupport],
    matches: Sequence[Matches],
    keypoint: int,
    near: tuple[float, float],
    size: tuple[int, int],
) -> tuple[Float[np.ndarray, "2"], float]:
    """Fuse the matches of one key-point around a location that a person pointed at.

    The heat maps are averaged as in :func:`fuse`, and the mean is multiplied by a Gaussian around the location, of the
    standard deviation :data:`AGREEMENT_SIGMA`. The confidence is the supports' mean, times the mean map's value at the
    point as a fraction of its highest.

    Args:
        supports: Supports that all show the key-point.
        matches: Their matches in the target, in the same order.
        keypoint: Its number.
        near: (x, y) in pixels of the target.
        size: (width, height) of the target in pixels.
    """
    fused, sure = _fused_map(_rows(supports, matches, keypoint))
    height, width = fused.shape
    rows, columns = np.indices(fused.shape) + 0.5
    distance = np.hypot(columns * size[0] / width - near[0], rows * size[1] / height - near[1])
    weighted = np.maximum(fused, _LEAST_WEIGHT) * np.exp(-(distance**2) / (2 * (AGREEMENT_SIGMA * max(size)) ** 2))
    row, column = np.unravel_index(int(weighted.argmax()), weighted.shape)
    share = float(fused[row, column] / fused.max()) if fused.max() > 0 else 0.0
    return _peak(weighted, size), float(sure.mean()) * share


def _rows(supports: Sequence[DescribedSupport], matches: Sequence[Matches], keypoint: int) -> list[tuple[Matches, int]]:
    """The matches of a key-point, with the number of its row in each."""
    return [
        (one, int(np.flatnonzero(support.keypoints == keypoint)[0]))
        for support, one in zip(supports, matches, strict=True)
        if keypoint in support.keypoints
    ]


def _fused_map(
    rows: Sequence[tuple[Matches, int]],
) -> tuple[Float[np.ndarray, "height width"], Float[np.ndarray, " supports"]]:
    """The mean of a key-point's heat maps, weighted by confidence, and the confidence of each."""
    sure = np.array([one.confidence[row] for one, row in rows])
    maps = np.stack([_stretched(one.heatmaps[row]) for one, row in rows])
    return np.average(maps, axis=0, weights=np.maximum(sure, _LEAST_WEIGHT)), sure


def _peak(heatmap: Float[np.ndarray, "height width"], size: tuple[int, int]) -> Float[np.ndarray, "2"]:
    """The peak of a map in pixels of the target, which is ``size`` (width, height)."""
    height, width = heatmap.shape
    radius = max(1, round(_RADIUS * max(height, width)))
    peaks = heatmaps.soft_peak(torch.from_numpy(heatmap).float()[None], radius, _TEMPERATURE)
    return scale_points(peaks[0].double().numpy(), (width, height), size)


def _stretched(heatmap: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    low, high = float(heatmap.min()), float(heatmap.max())
    return (heatmap - low) / (high - low) if high > low else np.zeros_like(heatmap)
