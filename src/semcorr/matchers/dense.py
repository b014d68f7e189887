"""Dense matches: a grid of points over one image, or over the part of it in a mask, located in another."""

import numpy as np
from jaxtyping import Bool

from semcorr.imaging.flow import Flow, grid_points
from semcorr.imaging.geometry import Size
from semcorr.imaging.image import ImageSource, load_image
from semcorr.matchers.base import Matcher
from semcorr.progress import Progress

GRID = 64
"""Points along the longer side of an image, unless another step is asked for."""


def dense_flow(
    matcher: Matcher,
    source: "ImageSource",
    target: "ImageSource",
    *,
    step: int | None = None,
    mask: Bool[np.ndarray, "height width"] | None = None,
    progress: Progress | None = None,
) -> Flow:
    """Locate a grid of points of one image in another, by any method.

    Methods on features are made for this; one that optimizes embeddings does so for every point of the grid. With
    mirror images (:class:`semcorr.matchers.wrappers.mirror.MirrorMatcher`) all points are taken from one of the two.

    Args:
        matcher: The method.
        source: The image that the grid lies on.
        target: The other.
        step: Distance of the grid's points, in pixels of the source; by default ``GRID`` of them along the longer side.
        mask: (height, width), one entry for each pixel of the source: only points in pixels where it is true.
        progress: As the method's ``describe`` and ``locate`` call it; the latter as ("locate", points done, in all).

    Returns:
        The flow; its confidence is the method's.

    Raises:
        FlowError: A step or a mask that does not fit the source.
        PointError: No point of the grid is in the mask.
        ImageError: An image cannot be used.
        OutOfMemoryError: Not even the smallest batch fits into memory.
    """
    first, second = load_image(source), load_image(target)
    chosen = step_of(first.size, step)
    points, index = grid_points(first.size, chosen, mask)
    query = matcher.describe(first, points, progress=progress)
    located, confidence = matcher.locate_points(query, second, progress=progress)
    return Flow.from_points(
        located, index, confidence=confidence, source_size=first.size, target_size=second.size, step=chosen
    )


def step_of(size: Size, step: int | None) -> int:
    """The step asked for, or the one that puts ``GRID`` points along the longer side."""
    return max(1, round(max(size) / GRID)) if step is None else step
