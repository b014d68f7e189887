"""Writing dlib's data sets."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import Box
from semcorr.keypoints.annotation_format import ExportOptions, Records
from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Category
from semcorr.keypoints.dlib.read import DEFAULT_CATEGORY, SCORE, pixel_box
from semcorr.keypoints.predictions import TransferRecord
from semcorr.keypoints.provenance import MARK, PREDICTED
from semcorr.storage.files import atomic_file


def write(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write a data set with what was annotated and what was predicted, image by image.

    Of dlib's own files every element stays as it is; a box without parts gets them, and other predictions become new
    boxes around their points. Predicted ones have the mark semcorr='predicted' and, as detection_score, the mean
    confidence of their points. Points of less than ``options.min_confidence`` are left out, and so is an object without
    others.

    dlib has whole pixels only: a part is the pixel that the point is in. Marks of covered points are lost.
    """
    predicted = {record.file: record for record in records() if record.error is None}
    with atomic_file(path) as stream:
        stream.write(b"<?xml version='1.0' encoding='UTF-8'?>\n<dataset>\n")
        for element in _others(annotations):
            element.tail = "\n"
            stream.write(ET.tostring(element, encoding="utf-8"))
        stream.write(b"<images>\n")
        for image in _images(annotations, predicted, options.min_confidence):
            ET.indent(image, "  ", level=1)
            image.tail = "\n"
            stream.write(b"  " + ET.tostring(image, encoding="utf-8"))
        stream.write(b"</images>\n</dataset>\n")
    return [path]


def _others(annotations: Annotations) -> Iterator[ET.Element]:
    """What a data set holds before its images: dlib's name and comment, and what other programs put there."""
    known = [one for one in annotations.source if one.tag != "images"] if annotations.format == "dlib" else []
    for tag in ("name", "comment"):
        if tag not in [one.tag for one in known]:
            yield ET.Element(tag)
    yield from map(copy.copy, known)


def _images(
    annotations: Annotations, predicted: dict[str, TransferRecord], min_confidence: float
) -> Iterator[ET.Element]:
    """The images of the input, with the predictions, then those that it does not name."""
    for image in annotations.images:
        record = predicted.pop(image.file, None)
        if annotations.format == "dlib":
            element: ET.Element = copy.deepcopy(image.source)
        else:
            element = _known(image, record, annotations.categories)
        if record is not None:
            _complete(element, record, min_confidence)
        yield element
    for record in predicted.values():
        element = _image(record.file, record.size)
        _complete(element, record, min_confidence)
        yield element


def _image(file: str, size: tuple[int, int] | None) -> ET.Element:
    width, height = size or (0, 0)
    return ET.Element("image", {"file": file, **({"width": str(width), "height": str(height)} if width else {})})


def _known(image: AnnotatedImage, record: TransferRecord | None, categories: Mapping[str, Category]) -> ET.Element:
    """An image of another format, with the objects that have points or a box and are not predicted again."""
    element = _image(image.file, image.size or (record.size if record is not None else None))
    replaced = {one.id for one in record.objects if one.id is not None} if record is not None else set()
    for one in image.instances:
        marked = one.visibility > MISSING
        if marked.any() and (one.annotated or one.id not in replaced):
            box = _new_box(element, one.category, one.box or pixel_box(one.points[marked]))
            names = np.array(categories[one.category].keypoints)
            _add_parts(box, names[marked].tolist(), one.points[marked])
            if one.predicted:
                _mark(box, one.score or 0.0)
        elif one.box is not None and one.id not in replaced:
            _new_box(element, one.category, one.box)
    return element


def _complete(element: ET.Element, record: TransferRecord, min_confidence: float) -> None:
    """Add the objects of a record, each to the box that it was searched in, or as a new one."""
    boxes = {f"box-{number}": box for number, box in enumerate(element.findall("box"))}
    for one in record.objects:
        confident = np.isfinite(one.points).all(axis=1) & (one.confidence >= min_confidence)
        box = boxes.get(str(one.id)) if one.id is not None else None
        if box is not None and box.find("part") is not None:
            _remove_parts(box)
        if not confident.any():
            continue
        if box is None:
            box = _new_box(element, one.category, one.box or pixel_box(one.points[confident]))
        _add_parts(box, np.array(one.names)[confident].tolist(), one.points[confident])
        _mark(box, one.score)


def _remove_parts(box: ET.Element) -> None:
    """Remove the parts of a box and what says who made them."""
    for part in box.findall("part"):
        box.remove(part)
    box.attrib.pop(MARK, None)
    box.attrib.pop(SCORE, None)


def _mark(box: ET.Element, score: float) -> None:
    box.set(MARK, PREDICTED)
    box.set(SCORE, f"{score:.4f}")


def _new_box(image: ET.Element, category: str, box: Box) -> ET.Element:
    """A new box of whole pixels around (x0, y0, x1, y1)."""
    left, top, right, bottom = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
    sides = {"top": top, "left": left, "width": max(right - left, 1), "height": max(bottom - top, 1)}
    element = ET.SubElement(image, "box", {name: str(side) for name, side in sides.items()})
    if category != DEFAULT_CATEGORY:
        ET.SubElement(element, "label").text = category
    return element


def _add_parts(box: ET.Element, names: Sequence[str], points: Float[np.ndarray, "points 2"]) -> None:
    """The pixel that each point is in, in the order of the names, which is dlib's own."""
    for name, (x, y) in sorted(zip(names, points.tolist(), strict=True)):
        ET.SubElement(box, "part", {"name": name, "x": str(math.floor(x)), "y": str(math.floor(y))})
