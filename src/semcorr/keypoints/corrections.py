"""Objects that a person has corrected, accepted or rejected, put back into the annotations that they came from."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from semcorr.keypoints.base import AnnotatedImage, Annotations, Instance

Corrections = Mapping[str, Mapping[int, Instance | None]]
"""By the file of an image and an object's number in it, from 0: the object as it is now; None: take it out."""


def corrected_images(annotations: Annotations, corrections: Corrections) -> Iterator[AnnotatedImage]:
    """The images with their objects as they are now."""
    for image in annotations.images:
        changed = corrections.get(image.file, {})
        objects = [changed.get(number, instance) for number, instance in enumerate(image.instances)]
        yield replace(image, instances=tuple(one for one in objects if one is not None))
