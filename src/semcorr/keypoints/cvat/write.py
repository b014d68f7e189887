"""CVAT's own XML ("CVAT for images 1.1"), written: its importer takes it, and people correct instead of drawing."""

import copy
import itertools
from collections.abc import Iterable, Iterator
from io import BufferedIOBase
from xml.etree import ElementTree as ET

import numpy as np

from semcorr.keypoints.base import AnnotatedImage, Annotations
from semcorr.keypoints.cvat.labels import meta_of
from semcorr.keypoints.predictions import PredictedObject, TransferRecord

_ID_DIGITS = 18
"""Of an image's id at most so many count; CVAT's are short."""


def write(
    stream: BufferedIOBase, annotations: Annotations, records: Iterable[TransferRecord], *, min_confidence: float
) -> None:
    """Write the file, image by image. Every object is a skeleton with one element a key-point, in continuous pixels.

    Of a CVAT file all images are given as they were, with a skeleton for what was predicted; a box that it was looked
    for in gets the same group. Predicted skeletons that were looked for again are replaced.

    A point of less than ``min_confidence``, or one that no support shows, is marked as outside.
    """
    stream.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
    known = annotations.source if annotations.format == "cvat" else None
    stream.write(ET.tostring(meta_of(known, annotations.categories), encoding="utf-8") + b"\n")
    for image in _images(annotations, records, min_confidence):
        image.tail = "\n"
        stream.write(ET.tostring(image, encoding="utf-8"))
    stream.write(b"</annotations>\n")


def _images(annotations: Annotations, records: Iterable[TransferRecord], min_confidence: float) -> Iterator[ET.Element]:
    """The images of a CVAT file with what was predicted, then those that it does not name."""
    readable = (record for record in records if record.error is None)
    ids = itertools.count()
    if annotations.format == "cvat":
        predicted = {record.file: record for record in readable}
        for picture in annotations.images:
            record = predicted.pop(picture.file, None)
            yield picture.source if record is None else _completed(picture, record, min_confidence)
        readable = (record for record in predicted.values())
        known = [str(picture.id)[:_ID_DIGITS] for picture in annotations.images]
        ids = itertools.count(max((int(one) for one in known if one.isdecimal()), default=-1) + 1)
    for record in readable:
        width, height = record.size
        image = ET.Element("image", id=str(next(ids)), name=record.file, width=str(width), height=str(height))
        image.extend(_skeleton(found, min_confidence) for found in record.objects)
        yield image


def _completed(picture: AnnotatedImage, record: TransferRecord, min_confidence: float) -> ET.Element:
    """A copy of an image's element with the objects of a record."""
    image: ET.Element = copy.deepcopy(picture.source)
    boxes = {f"box-{number}": box for number, box in enumerate(image.findall("box"))}
    skeletons = {f"skeleton-{number}": one for number, one in enumerate(image.findall("skeleton"))}
    groups = {one.get("group_id", "0") for one in image} | {"0"}
    new_groups = (str(number) for number in itertools.count(1) if str(number) not in groups)
    for found in record.objects:
        skeleton = _skeleton(found, min_confidence)
        for part in str(found.id).split("+"):
            if part in boxes:
                if boxes[part].get("group_id", "0") == "0":
                    boxes[part].set("group_id", next(new_groups))
                skeleton.set("group_id", boxes[part].get("group_id", "0"))
            elif part in skeletons:
                image.remove(skeletons.pop(part))
        image.append(skeleton)
    for before in skeletons.values():
        if before.get("source") == "auto" and all(one.get("outside") == "1" for one in before.findall("points")):
            image.remove(before)  # what was looked for before, and not found
    return image


def _skeleton(found: PredictedObject, min_confidence: float) -> ET.Element:
    skeleton = ET.Element("skeleton", label=found.category, source="auto", z_order="0", score=f"{found.score:.4f}")
    middle = np.nanmean(found.points, axis=0) if np.isfinite(found.points).any() else np.zeros(2)
    for name, point, confidence in zip(found.names, found.points, found.confidence, strict=True):
        known = bool(np.isfinite(point).all())
        x, y = point if known else middle
        outside = not (known and confidence >= min_confidence)
        ET.SubElement(
            skeleton,
            "points",
            label=name,
            source="auto",
            outside=str(int(outside)),
            occluded="0",
            points=f"{x:.2f},{y:.2f}",
        )
    return skeleton
