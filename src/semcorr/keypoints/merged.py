"""Annotations with what was predicted, image by image, for formats that keep nothing of the file that was read."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from semcorr.keypoints.annotation_format import Records
from semcorr.keypoints.base import MISSING, VISIBLE, AnnotatedImage, Annotations, Instance
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
