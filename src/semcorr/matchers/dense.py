"""Dense matches: every point of a grid over one image, or of the part of it in a mask, found in another."""

import numpy as np
from jaxtyping import Bool, Float

from semcorr.imaging.flow import Flow, grid_points
from semcorr.imaging.geometry import Size, mirror_points
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features import FeatureMatcher
from semcorr.matchers.results import Query
from semcorr.matchers.wrappers.calibration import CalibratedMatcher
from semcorr.matchers.wrappers.float32_fallback import Float32Fallback
from semcorr.matchers.wrappers.mirror import MirrorMatcher, mirror
from semcorr.progress import Progress

GRID = 64
"""Points along the longer side of an image, unless another step is asked for."""

_TOGETHER = 64
"""Points that a method with heat maps of its own looks for together: so many maps are in memory."""

Found = tuple[Float[np.ndarray, "points 2"], Float[np.ndarray, " points"]]


def dense_flow(
    matcher: Matcher,
    source: ImageSource,
    target: ImageSource,
    *,
    step: int | None = None,
    mask: Bool[np.ndarray, "height width"] | None = None,
    progress: Progress | None = None,
) -> Flow:
    """Find a grid of points of one image in another, by any method.

    Methods on features are made for this. One that optimises something for each point does so for every point of the
    grid. In the mirror (:class:`semcorr.matchers.wrappers.mirror.MirrorMatcher`) all points are looked for together, or
    none.

    Args:
        matcher: the method.
        source: the image that the grid lies on.
        target: the other.
        step: distance of the grid's points, in pixels of the source; by default ``GRID`` of them along the longer side.
        mask: (height, width), one entry for each pixel of the source: only points in pixels where it is true.
        progress: as the method's ``describe`` and ``locate`` call it; the latter as ("locate", points done, in all).

    Returns:
        The flow; its confidence is the method's.

    Raises:
        FlowError: a step or a mask that does not fit the source.
        PointError: no point of the grid is in the mask.
        ImageError: an image cannot be used.
        OutOfMemoryError: not even the least that the method works on fits into memory.
    """
    first, second = load_image(source), load_image(target)
    chosen = step_of(first.size, step)
    points, index = grid_points(first.size, chosen, mask)
    query = matcher.describe(first, points, progress=progress)
    found, confidence = _find(matcher, query, second, progress)
    return Flow.from_points(
        found, index, confidence=confidence, source_size=first.size, target_size=second.size, step=chosen
    )


def step_of(size: Size, step: int | None) -> int:
    """The step asked for, or the one that puts ``GRID`` points along the longer side."""
    return max(1, round(max(size) / GRID)) if step is None else step


def _find(matcher: Matcher, query: Query, target: Image, progress: Progress | None) -> Found:
    if isinstance(matcher, CalibratedMatcher):
        found, confidence = _find(matcher.matcher, query, target, progress)
        return found, matcher.calibration.apply(confidence) if matcher.holds(query, target) else confidence
    if isinstance(matcher, Float32Fallback):
        return matcher.either(lambda own: _find(own, query, target, progress), progress=progress)[0]
    if isinstance(matcher, MirrorMatcher):
        straight = _find(matcher.matcher, query, target, progress)
        mirrored = _find(matcher.matcher, query, mirror(target), progress)
        if mirrored[1].mean() <= straight[1].mean():
            return straight
        return mirror_points(mirrored[0], target.size), mirrored[1]
    if isinstance(matcher, FeatureMatcher):
        return matcher.places(query, target, progress=progress)
    count, parts = len(query.points), []
    for begin in range(0, count, _TOGETHER):
        matches = matcher.locate(query.take(range(begin, min(begin + _TOGETHER, count))), target)
        parts.append((matches.points, matches.confidence))
        if progress is not None:
            progress("locate", min(begin + _TOGETHER, count), count)
    return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])
