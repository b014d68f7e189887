"""What annotations hold, counted, so that what a format does not keep can be said."""

from collections.abc import Mapping

import numpy as np

from semcorr.keypoints.base import COVERED, MISSING, Annotations

IMAGES, EMPTY, OBJECTS, POINTS, BOXES = "images with objects", "images without objects", "objects", "points", "boxes"
COVERED_MARKS, PREDICTED, ORIGINS = "marks of covered points", "marks of predicted objects", "marks of who set a point"
SCORES, CONFIDENCES = "scores of objects", "confidences of points"
CATEGORIES, NAMES, ORDERS = "names of categories", "names of key-points", "orders of key-points"
LINES = "lines of skeletons"

KINDS = (
    *(IMAGES, EMPTY, OBJECTS, POINTS, BOXES, COVERED_MARKS, PREDICTED, ORIGINS, SCORES, CONFIDENCES),
    *(CATEGORIES, NAMES, ORDERS, LINES),
)
"""All that is counted."""


def contents(annotations: Annotations, of: Annotations | None = None) -> dict[str, int]:
    """How much of each of :data:`KINDS` annotations hold.

    Args:
        annotations: What is counted. Of categories those that objects have.
        of: Only names and orders that these have as well; all by default.
    """
    objects = [one for image in annotations.images for one in image.instances]
    used = {one.category for one in objects}
    categories = [one for name, one in annotations.categories.items() if name in used]
    given = (annotations if of is None else of).categories
    orders = [one.keypoints for one in given.values()]
    names = {name for order in orders for name in order}
    predicted_points = [one.predicted_points for one in objects if one.predicted_points is not None]
    with_objects = sum(bool(image.instances) for image in annotations.images)
    return {
        IMAGES: with_objects,
        EMPTY: len(annotations.images) - with_objects,
        OBJECTS: len(objects),
        POINTS: sum(int((one.visibility > MISSING).sum()) for one in objects),
        BOXES: sum(one.drawn_box is not None for one in objects),
        COVERED_MARKS: sum(int((one.visibility == COVERED).sum()) for one in objects),
        PREDICTED: sum(one.predicted for one in objects),
        ORIGINS: sum(one.origins is not None for one in objects),
        SCORES: sum(one.score is not None for one in objects),
        CONFIDENCES: sum(int(np.isfinite(points).all(axis=1).sum()) for points in predicted_points),
        CATEGORIES: sum(one.name in given for one in categories),
        NAMES: sum(name in names for one in categories for name in one.keypoints),
        ORDERS: sum(one.keypoints in orders for one in categories),
        LINES: sum(len(one.skeleton) for one in categories),
    }


def lost(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """How many of each kind are fewer, where any are."""
    return {kind: before[kind] - after[kind] for kind in KINDS if after[kind] < before[kind]}
