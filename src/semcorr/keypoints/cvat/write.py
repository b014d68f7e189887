"""Writing CVAT's own XML: its importer takes it, and people correct instead of annotating anew."""

import copy
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from semcorr.keypoints.annotation_format import ExportOptions, Records
from semcorr.keypoints.base import AnnotatedImage, Annotations
from semcorr.keypoints.cvat.labels import meta_of
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.storage.files import atomic_file

_ID_DIGITS = 18
"""Image ids are read up to this many digits; CVAT's are short."""


def write(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write the file, image by image. Every object is a skeleton with one element a key-point, in continuous pixels.

    Of a CVAT file all images are kept, with a skeleton for each prediction; a box that it was searched in gets the same
    group. Predicted skeletons that were searched again are replaced.

    A point of less than ``options.min_confidence``, or one that no support shows, is marked as outside.
    """
    with atomic_file(path) as stream:
        stream.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        before, after = _others(annotations)
        for element in before:
            element.tail = "\n"
            stream.write(ET.tostring(element, encoding="utf-8"))
        for image in _images(annotations, records(), options.min_confidence):
            image.tail = "\n"
            stream.write(ET.tostring(image, encoding="utf-8"))
        for element in after:
            element.tail = "\n"
            stream.write(ET.tostring(element, encoding="utf-8"))
        stream.write(b"</annotations>\n")
    return [path]


def _others(annotations: Annotations) -> tuple[list[ET.Element], list[ET.Element]]:
    """What a file holds before its images (the version, the labels, what else there is) and after them."""
    known = list(annotations.source.root) if annotations.format == "cvat" else []
    tags = [one.tag for one in known]
    first = tags.index("image") if "image" in tags else len(tags)
    labels = meta_of(next((one for one in known if one.tag == "meta"), None), annotations.categories)
    before = [labels if one.tag == "meta" else copy.copy(one) for one in known[:first]]
    if labels not in before:
        before.insert(0, labels)
    if "version" not in tags:
        version = ET.Element("version")
        version.text = "1.1"
        before.insert(0, version)
    return before, [copy.copy(one) for one in known[first:] if one.tag not in ("image", "meta")]


def _images(annotations: Annotations, records: Iterable[TransferRecord], min_confidence: float) -> Iterator[ET.Element]:
    """The images of a CVAT file with the predictions, then those that it does not name."""
    readable = (record for record in records if record.error is None)
    ids = itertools.count()
    if annotations.format == "cvat":
        predicted = {record.file: record for record in readable}
        for image in annotations.images:
            record = predicted.pop(image.file, None)
            yield image.source if record is None else _completed(image, record, min_confidence)
        readable = (record for record in predicted.values())
        known = [str(image.id)[:_ID_DIGITS] for image in annotations.images]
        ids = itertools.count(max((int(one) for one in known if one.isdecimal()), default=-1) + 1)
    for record in readable:
        width, height = record.size
        element = ET.Element("image", id=str(next(ids)), name=record.file, width=str(width), height=str(height))
        element.extend(_skeleton(one, min_confidence) for one in record.objects)
        yield element


def _completed(image: AnnotatedImage, record: TransferRecord, min_confidence: float) -> ET.Element:
    """A copy of an image's element with the objects of a record."""
    element: ET.Element = copy.deepcopy(image.source)
    boxes = {f"box-{number}": box for number, box in enumerate(element.findall("box"))}
    skeletons = {f"skeleton-{number}": one for number, one in enumerate(element.findall("skeleton"))}
    groups = {one.get("group_id", "0") for one in element} | {"0"}
    new_groups = (str(number) for number in itertools.count(1) if str(number) not in groups)
    for predicted in record.objects:
        skeleton = _skeleton(predicted, min_confidence)
        for name in str(predicted.id).split("+"):
            if name in boxes:
                if boxes[name].get("group_id", "0") == "0":
                    boxes[name].set("group_id", next(new_groups))
                skeleton.set("group_id", boxes[name].get("group_id", "0"))
            elif name in skeletons:
                element.remove(skeletons.pop(name))
        element.append(skeleton)
    for before in skeletons.values():
        if before.get("source") == "auto" and all(one.get("outside") == "1" for one in before.findall("points")):
            element.remove(before)  # an earlier prediction without a point of enough confidence
    return element


def _skeleton(predicted: PredictedObject, min_confidence: float) -> ET.Element:
    score = f"{predicted.score:.4f}"
    skeleton = ET.Element("skeleton", label=predicted.category, source="auto", z_order="0", score=score)
    finite = np.isfinite(predicted.points).any()
    centre = np.nanmean(predicted.points, axis=0) if finite else np.zeros(2)
    for name, point, confidence in zip(predicted.names, predicted.points, predicted.confidence, strict=True):
        known = bool(np.isfinite(point).all())
        x, y = point if known else centre
        ET.SubElement(
            skeleton,
            "points",
            label=name,
            source="auto",
            outside=str(int(not (known and confidence >= min_confidence))),
            occluded="0",
            points=f"{x:.2f},{y:.2f}",
        )
    return skeleton
