"""Corrected objects in dlib's data sets: the mark ``semcorr`` of a part says that a person accepted or placed it."""

import copy
import math
from xml.etree import ElementTree as ET

import numpy as np

from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Instance
from semcorr.keypoints.corrections import Changed, Corrections, points_of, with_sources
from semcorr.keypoints.dlib.read import DEFAULT_CATEGORY, SCORE, label_of, pixel_box
from semcorr.keypoints.provenance import ACCEPTED, MARK, PREDICTED


def correct(annotations: Annotations, corrections: Corrections) -> Annotations:
    """A data set with other objects in place of some of its own; everything else of its elements stays.

    Boxes that a person annotated get no mark.
    """

    def corrected(image: AnnotatedImage, changed: Changed) -> ET.Element:
        element: ET.Element = copy.deepcopy(image.source)
        boxes = {f"box-{number}": box for number, box in enumerate(element.findall("box"))}
        for number, one in changed.items():
            before = image.instances[number]
            box = boxes[str(before.id)]
            if one is None:
                element.remove(box)
            else:
                _correct(box, before, one, annotations)
        return element

    return with_sources(annotations, corrections, corrected)


def _correct(box: ET.Element, before: Instance, one: Instance, annotations: Annotations) -> None:
    if one.category != before.category:
        _relabel(box, one.category)
    points = {point.name: point for point in points_of(one, annotations.categories[one.category].keypoints)}
    names = annotations.categories[before.category].keypoints
    locations = dict(zip(names, map(tuple, before.points.tolist()), strict=True))
    parts = {part.get("name", ""): part for part in box.findall("part")}
    for name, part in parts.items():
        if name not in points or points[name].mark == MISSING:
            box.remove(part)
    marks = before.predicted or box.get(MARK) is not None
    for name, point in points.items():
        if point.xy is None or point.mark == MISSING:
            continue
        part = parts[name] if name in parts else ET.SubElement(box, "part", name=name)
        moved = name not in parts or point.xy != locations[name]
        if moved:
            part.set("x", str(math.floor(point.xy[0])))
            part.set("y", str(math.floor(point.xy[1])))
        if before.predicted:
            part.attrib.pop(MARK, None)
        if marks and (before.predicted or moved) and point.origin not in (PREDICTED, None):
            part.set(MARK, point.origin or "")
    if marks:
        _mark(box, one)
    marked = one.points[one.visibility > MISSING]
    if before.box is None and len(marked):  # it is that of its own points
        x0, y0, x1, y1 = map(int, pixel_box(np.asarray(marked)))
        sides = {"left": x0, "top": y0, "width": x1 - x0, "height": y1 - y0}
        for name, side in sides.items():
            box.set(name, str(side))


def _mark(box: ET.Element, one: Instance) -> None:
    if not (one.visibility > MISSING).any():
        box.attrib.pop(MARK, None)
        box.attrib.pop(SCORE, None)
        return
    box.set(MARK, PREDICTED if one.predicted else ACCEPTED)
    if one.score is not None:
        box.set(SCORE, f"{one.score:.4f}")


def _relabel(box: ET.Element, category: str) -> None:
    label = box.find("label")
    if category == DEFAULT_CATEGORY and label is not None:
        box.remove(label)
    elif category != label_of(box):
        label = ET.SubElement(box, "label") if label is None else label
        label.text = category
