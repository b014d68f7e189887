"""Supports: the annotated objects that points are carried over from, and how they are chosen."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from semcorr.keypoints.base import COVERED, MISSING, VISIBLE, AnnotatedImage, Annotations, Category, Instance


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Support:
    """One annotated object that points are carried over from.

    Attributes:
        image: The image that it is in.
        instance: The object.
        keypoints: The numbers of its key-points that serve.
    """

    image: AnnotatedImage
    instance: Instance
    keypoints: Int[np.ndarray, " points"]


def choose_supports(annotations: Annotations, category: Category, most: int) -> list[Support]:
    """Choose at most ``most`` annotated objects of a category.

    Visible points serve. Covered ones (v = 1) serve only where no annotated object shows that key-point visible, as in
    files that know no other mark than 0 and 1.

    First comes the object that shows the most key-points, then whichever shows the most of those that are shown least
    often so far; of equals the one that comes first in the file.
    """
    annotated = _annotated(annotations, category)
    marks = _required_marks(annotated) if annotated else np.zeros(0, dtype=np.int64)
    left = [
        Support(image=image, instance=instance, keypoints=np.flatnonzero(instance.visibility >= marks))
        for image, instance in annotated
    ]
    left = [support for support in left if len(support.keypoints)]
    chosen: list[Support] = []
    times = np.zeros(len(category.keypoints))
    while left and len(chosen) < most:
        # A key-point counts less with every support that shows it already.
        worth = [float((0.5 ** times[support.keypoints]).sum()) for support in left]
        best = left.pop(int(np.argmax(worth)))
        times[best.keypoints] += 1
        chosen.append(best)
    return chosen


def covered_note(annotations: Annotations, category: Category) -> str | None:
    """Say how many covered points do not serve as supports (see :func:`choose_supports`); None if all serve."""
    annotated = _annotated(annotations, category)
    if not annotated:
        return None
    marks = _required_marks(annotated)
    unused = sum(
        int(((instance.visibility > MISSING) & (instance.visibility < marks)).sum()) for _, instance in annotated
    )
    if not unused:
        return None
    return (
        f"{unused} covered point{'s' if unused > 1 else ''} (v = {COVERED}) of {category.name!r} "
        f"{'are' if unused > 1 else 'is'} not used as supports: other annotated objects show the same key-points"
    )


def _annotated(annotations: Annotations, category: Category) -> list[tuple[AnnotatedImage, Instance]]:
    return [
        (image, instance)
        for image in annotations.images
        for instance in image.instances
        if instance.category == category.name and instance.annotated
    ]


def _required_marks(annotated: Sequence[tuple[AnnotatedImage, Instance]]) -> Int[np.ndarray, " keypoints"]:
    """The least mark with which each key-point serves: visible where any object shows it visible."""
    shown = np.array([instance.visibility == VISIBLE for _, instance in annotated]).any(axis=0)
    return np.where(shown, VISIBLE, COVERED)
