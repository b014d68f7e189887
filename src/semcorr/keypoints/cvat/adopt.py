"""Annotations of other formats as CVAT's own entries, for its writer."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np

from semcorr.imaging.geometry import Box
from semcorr.keypoints.base import COVERED, MISSING, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.cvat.labels import meta_of
from semcorr.keypoints.cvat.read import CvatFile
from semcorr.keypoints.declared_size import coordinate_frame

_RADIUS = 40
"""Of the circle on which a skeleton's drawing has its key-points, in percent."""


def adopt(annotations: Annotations) -> Annotations:
    """Annotations of another format with an image element for each image, and labels with their skeletons.

    Every object with key-points is a skeleton; a box that a person drew is a box, in the skeleton's group. Points that
    are not annotated are outside, in the middle of the others. Predicted objects have source="auto".
    """
    images = []
    for number, image in enumerate(annotations.images):
        element = _image(number, image, annotations.categories)
        images.append(replace(image, id=str(number), source=element))
    meta = meta_of(None, annotations.categories)
    for label in meta.iter("label"):
        category = annotations.categories.get(label.findtext("name", ""))
        if category is not None and label.findtext("type") == "skeleton":
            ET.SubElement(label, "svg").text = _drawing(category)
    root = ET.Element("annotations")
    root.append(meta)
    return replace(annotations, images=images, format="cvat", source=CvatFile(root=root, objects={}))


def _image(number: int, image: AnnotatedImage, categories: Mapping[str, Category]) -> ET.Element:
    size = coordinate_frame(image)
    sides = {} if size is None else {"width": str(size[0]), "height": str(size[1])}
    element = ET.Element("image", {"id": str(number), "name": image.file, **sides})
    for group, one in enumerate(image.instances, start=1):
        element.extend(_elements(one, categories[one.category], str(group)))
    return element


def _elements(one: Instance, category: Category, group: str) -> Iterator[ET.Element]:
    source = "auto" if one.predicted else "manual"
    box, marked = one.drawn_box, one.visibility > MISSING
    if marked.any():
        attributes = {"label": category.name, "source": source, "z_order": "0"}
        if one.predicted and one.score is not None:
            attributes["score"] = f"{one.score:.4f}"
        if box is not None:
            attributes["group_id"] = group
        skeleton = ET.Element("skeleton", attributes)
        middle = one.points[marked].mean(axis=0)
        points = np.where(marked[:, None], one.points, middle)
        for name, (x, y), mark in zip(category.keypoints, points.tolist(), one.visibility.tolist(), strict=True):
            ET.SubElement(
                skeleton,
                "points",
                label=name,
                source=source,
                outside=str(int(mark == MISSING)),
                occluded=str(int(mark == COVERED)),
                points=f"{x:.2f},{y:.2f}",
            )
        yield skeleton
    if box is not None:
        yield _box(box, category.name, group if marked.any() else "")


def _box(box: Box, label: str, group: str) -> ET.Element:
    corners = {name: f"{side:.2f}" for name, side in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)}
    grouped = {"group_id": group} if group else {}
    return ET.Element(
        "box", {"label": label, "source": "manual", "occluded": "0", **corners, "z_order": "0", **grouped}
    )


def _drawing(category: Category) -> str:
    """A skeleton's drawing (SVG), by which CVAT knows its lines: the key-points on a circle."""
    count = len(category.keypoints)
    angles = [2 * math.pi * number / count for number in range(count)]
    centres = [(50 + _RADIUS * math.sin(angle), 50 - _RADIUS * math.cos(angle)) for angle in angles]
    drawing = ET.Element("svg")
    for one, other in category.skeleton:
        (x1, y1), (x2, y2) = centres[one - 1], centres[other - 1]
        ends = {"x1": f"{x1:.3f}", "y1": f"{y1:.3f}", "x2": f"{x2:.3f}", "y2": f"{y2:.3f}"}
        nodes = {"data-type": "edge", "data-node-from": str(one), "data-node-to": str(other)}
        ET.SubElement(drawing, "line", {**ends, **nodes})
    for number, (name, (x, y)) in enumerate(zip(category.keypoints, centres, strict=True), start=1):
        centre = {"r": "1.5", "cx": f"{x:.3f}", "cy": f"{y:.3f}"}
        ids = {"data-type": "element node", "data-element-id": str(number), "data-node-id": str(number)}
        ET.SubElement(drawing, "circle", {**centre, **ids, "data-label-name": name})
    return "".join(ET.tostring(element, encoding="unicode") for element in drawing)
