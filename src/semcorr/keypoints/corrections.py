"""Objects that a person has corrected, accepted or rejected, put back into the annotations that they came from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Instance
from semcorr.keypoints.provenance import PLACED, PREDICTED

Changed = Mapping[int, Instance | None]
"""By an object's number in its image, from 0: the object as it is now; None: take it out."""

Corrections = Mapping[str, Changed]
"""The same by the file of an image."""


@dataclass(frozen=True, kw_only=True)
class CorrectedPoint:
    """A key-point of a corrected object.

    Attributes:
        name: Its name.
        xy: Where it is, in pixels of the image; None if there is none.
        mark: COCO's mark; of a prediction of too little confidence that of a missing point.
        origin: Who set it (:mod:`semcorr.keypoints.provenance`); None if there is none.
        confidence: Of a point as it was predicted, where that is known.
    """

    name: str
    xy: tuple[float, float] | None
    mark: int
    origin: str | None
    confidence: float | None


def corrected_images(annotations: Annotations, corrections: Corrections) -> Iterator[AnnotatedImage]:
    """The images with their objects as they are now."""
    for image in annotations.images:
        changed = corrections.get(image.file, {})
        objects = [changed.get(number, instance) for number, instance in enumerate(image.instances)]
        yield replace(image, instances=tuple(one for one in objects if one is not None))


def with_sources(
    annotations: Annotations, corrections: Corrections, correct: Callable[[AnnotatedImage, Changed], Any]
) -> Annotations:
    """The annotations with objects as they are now, and the file's own entries of images that say the same.

    Args:
        annotations: What the file holds.
        corrections: What was changed.
        correct: Returns an image's entry with changed objects; it must not change the entry itself.
    """
    images = zip(annotations.images, corrected_images(annotations, corrections), strict=True)
    return replace(
        annotations,
        images=[
            replace(now, source=correct(image, corrections[image.file])) if corrections.get(image.file) else now
            for image, now in images
        ],
    )


def points_of(one: Instance, keypoints: Sequence[str]) -> Iterator[CorrectedPoint]:
    """The key-points of a corrected object."""
    for number, name in enumerate(keypoints):
        mark = int(one.visibility[number])
        x, y = one.points[number].tolist()
        confidence = None
        if one.predicted_points is not None:
            *shown, confidence = one.predicted_points[number].tolist()
            x, y = (x, y) if mark > MISSING else shown
        known = x == x  # not NaN
        made = PREDICTED if one.predicted else PLACED
        origin = made if one.origins is None else one.origins[number]
        yield CorrectedPoint(
            name=name,
            xy=(x, y) if known else None,
            mark=mark,
            origin=origin if known else None,
            confidence=confidence if known and confidence == confidence else None,
        )
