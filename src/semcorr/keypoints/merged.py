"""Annotations with what was predicted, image by image, for formats that keep nothing of the file that was read."""

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from semcorr.errors import DatasetError
from semcorr.keypoints.annotation_format import Records
from semcorr.keypoints.base import MISSING, VISIBLE, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.file_reader import first_few
from semcorr.keypoints.predictions import PredictedObject


def merged_images(annotations: Annotations, records: Records, min_confidence: float) -> Iterator[AnnotatedImage]:
    """The annotations' images, then those that only records name; a new prediction replaces the object that it is for.

    Predicted points of at least ``min_confidence`` are marked visible, others are not marked.
    """
    predicted = {record.file: record for record in records() if record.error is None}
    for image in annotations.images:
        record = predicted.pop(image.file, None)
        if record is None:
            yield image
            continue
        replaced = {one.id for one in record.objects if one.id is not None}
        kept = [one for one in image.instances if one.annotated or one.id not in replaced]
        new = [_instance(one, min_confidence) for one in record.objects]
        yield replace(image, instances=(*kept, *new), size=image.size or record.size)
    for record in predicted.values():
        instances = tuple(_instance(one, min_confidence) for one in record.objects)
        yield AnnotatedImage(file=record.file, path=record.path, instances=instances, size=record.size)


def categories_alike(annotations: Annotations, used: Collection[str], because: str) -> list[Category]:
    """The categories with the key-points of those that are used, for formats with one list of key-points.

    Args:
        annotations: All categories.
        used: The names of those that objects have.
        because: What has but one list, which begins the message.

    Raises:
        DatasetError: The used ones have different key-points, or there are none.
    """
    lists = {one.keypoints for name, one in annotations.categories.items() if name in used}
    if not lists:
        raise DatasetError(f"{str(annotations.path)!r} has no objects with key-points or boxes to write.")
    if len(lists) > 1:
        listed = first_few(f"{name} ({len(annotations.categories[name].keypoints)})" for name in sorted(used))
        raise DatasetError(
            f"{because}, and these categories have different ones: {listed}. Write one for each: "
            f"--category {min(used)}."
        )
    return [one for one in annotations.categories.values() if one.keypoints in lists]


def _instance(one: PredictedObject, min_confidence: float) -> Instance:
    confident = np.isfinite(one.points).all(axis=1) & (one.confidence >= min_confidence)
    return Instance(
        category=one.category,
        points=np.where(confident[:, None], one.points, np.nan),
        visibility=np.where(confident, VISIBLE, MISSING),
        box=one.box,
        id=one.id,
        predicted=True,
        score=one.score,
        predicted_points=np.column_stack([one.points, one.confidence]),
    )
