"""Annotated objects whose points lie far from where a method predicts them from the other annotated objects."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations
from semcorr.keypoints.check.finding import Finding
from semcorr.keypoints.check.geometry import LEAST_OBJECTS, median_distance
from semcorr.keypoints.check.shape_findings import far_finding, most_stay_below
from semcorr.keypoints.shapes import extent
from semcorr.matchers.base import Matcher
from semcorr.progress import Progress
from semcorr.storage.files import is_file
from semcorr.transfer.plan import TransferSettings
from semcorr.transfer.targets import Region, Target
from semcorr.transfer.transferrer import Transferrer


def match_findings(
    annotations: Annotations, matcher: Matcher, *, support: int = 5, progress: Progress | None = None
) -> Iterator[Finding]:
    """Predict each half of the images from annotated objects of the other one, and compare with the annotations.

    Categories with too few objects, images that are not there, and those that a transfer would refuse are left out.

    Args:
        annotations: What is checked.
        matcher: The method.
        support: Objects that points are predicted from, at most.
        progress: Called as ``("match", done, total)``.

    Raises:
        TransferError: A category's images cannot be read.
    """
    for name, category in annotations.categories.items():
        images = [
            image
            for image in annotations.images
            if is_file(image.path) and any(one.category == name and one.annotated for one in image.instances)
        ]
        if len(images) < LEAST_OBJECTS:
            continue
        settings = TransferSettings(support=support, categories=(name,))
        where: list[tuple[AnnotatedImage, int]] = []
        rows: list[Float[np.ndarray, " keypoints"]] = []
        for half in (0, 1):
            others = replace(annotations, images=images[1 - half :: 2])
            transferrer = Transferrer(matcher, others, settings)
            for done, image in enumerate(images[half::2], start=1 + half * len(images[::2])):
                positions = [number for number, one in enumerate(image.instances) if one.category == name]
                for position, deviations in _deviations(transferrer, image, positions):
                    where.append((image, position))
                    rows.append(deviations)
                if progress:
                    progress("match", done, len(images))
        usual = most_stay_below(rows) if rows else np.zeros(len(category.keypoints))
        for (image, position), row in zip(where, rows, strict=True):
            yield from far_finding(
                image, position, category.keypoints, row / usual, "from where other annotated objects predict it"
            )


def _deviations(
    transferrer: Transferrer, image: AnnotatedImage, positions: Sequence[int]
) -> Iterator[tuple[int, Float[np.ndarray, " keypoints"]]]:
    """Of each annotated object how far its points lie from the predicted ones, in its median distance of two points."""
    regions = {}
    for position in positions:
        one = image.instances[position]
        marked = one.points[one.visibility > MISSING]
        if one.annotated and median_distance(marked) > 0:
            # Of several objects in an image each is searched in its own part of it.
            box = one.box or (extent(marked) if len(positions) > 1 else None)
            regions[position] = Region(category=one.category, box=box, id=position)
    target = Target(file=image.file, path=image.path, regions=tuple(regions.values()), size=image.size)
    predicted = transferrer.predict(target).objects if regions else ()
    for position, prediction in zip(regions, predicted, strict=False):  # none where the image cannot be used
        one = image.instances[position]
        unit = median_distance(one.points[one.visibility > MISSING])
        yield position, np.linalg.norm(prediction.points - one.points, axis=1) / unit
