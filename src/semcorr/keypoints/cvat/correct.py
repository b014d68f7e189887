"""Corrected objects in CVAT's XML: the source of a skeleton and of its points says what a person set."""

import copy
from collections.abc import Mapping
from xml.etree import ElementTree as ET

import numpy as np

from semcorr.keypoints.base import COVERED, MISSING, AnnotatedImage, Annotations, Instance
from semcorr.keypoints.corrections import Changed, CorrectedPoint, Corrections, points_of, with_sources
from semcorr.keypoints.cvat.read import SOURCES, CvatFile, CvatObject
from semcorr.keypoints.provenance import ACCEPTED, PLACED, PREDICTED


def correct(annotations: Annotations, corrections: Corrections) -> Annotations:
    """A file's content with other objects in place of some of its own; everything else of its elements stays.

    An accepted skeleton is "semi-auto", as CVAT says of one that a person has changed; so is each of its points that
    was accepted, and one that a person placed is "manual". Boxes stay, whatever becomes of what was predicted in them.
    Of a skeleton that was annotated only points that were changed are written anew; it is taken out with its box.
    """
    file: CvatFile = annotations.source

    def corrected(image: AnnotatedImage, changed: Changed) -> ET.Element:
        element: ET.Element = copy.deepcopy(image.source)
        copies = dict(zip(image.source.iter(), element.iter(), strict=True))
        for number, one in changed.items():
            shapes = _Shapes(image.source, file.objects[image.file][number], copies)
            _correct(shapes, image.instances[number], one, annotations)
        return element

    return with_sources(annotations, corrections, corrected)


class _Shapes:
    """The elements of an object in a copy of its image.

    Args:
        image: The image's own element.
        known: The object.
        copies: Of the image's element and all in it.
    """

    def __init__(self, image: ET.Element, known: CvatObject, copies: Mapping[ET.Element, ET.Element]) -> None:
        self.image = copies[image]
        boxes = {f"box-{number}": copies[box] for number, box in enumerate(image.findall("box"))}
        self.box = next((boxes[name] for name in known.id.split("+") if name in boxes), None)
        self.skeleton = copies[known.element] if known.element.tag == "skeleton" else None
        self.points = {name: copies[shape] for name, shape in known.shapes.items()}

    def remove(self) -> None:
        """Take the skeleton out, or the single points."""
        for element in self.points.values() if self.skeleton is None else [self.skeleton]:
            self.image.remove(element)

    def remove_all(self) -> None:
        """Take the object out, with its box."""
        self.remove()
        if self.box is not None:
            self.image.remove(self.box)


def _correct(shapes: _Shapes, before: Instance, one: Instance | None, annotations: Annotations) -> None:
    if one is None and not before.predicted:
        shapes.remove_all()
        return
    if one is None or not (one.predicted or (one.visibility > MISSING).any()):
        shapes.remove()
        return
    points = list(points_of(one, annotations.categories[one.category].keypoints))
    names = annotations.categories[before.category].keypoints
    locations = dict(zip(names, map(tuple, before.points.tolist()), strict=True))
    if not before.predicted:
        marks = dict(zip(names, before.visibility.tolist(), strict=True))
        points = [point for point in points if not _is_same(point, locations.get(point.name), marks.get(point.name))]
    if shapes.skeleton is None and one.category != before.category:
        # Single points have no category of their own.
        shapes.remove()
        shapes.points = {}
        shapes.skeleton = ET.SubElement(shapes.image, "skeleton", z_order="0")
    if shapes.skeleton is None:
        _correct_single(shapes, points, locations)
    else:
        shapes.skeleton.set("label", one.category)
        for name in shapes.points.keys() - set(annotations.categories[one.category].keypoints):
            shapes.skeleton.remove(shapes.points[name])
        _set_source(shapes.skeleton, before, one)
        _correct_skeleton(shapes.skeleton, shapes.points, points, locations)


def _is_same(point: CorrectedPoint, location: tuple[float, ...] | None, mark: int | None) -> bool:
    """Whether a point is as it was annotated."""
    return point.mark == mark and (point.mark == MISSING or point.xy == location)


def _set_source(skeleton: ET.Element, before: Instance, one: Instance) -> None:
    if before.predicted:
        skeleton.set("source", SOURCES[PREDICTED if one.predicted else ACCEPTED])
    elif skeleton.get("source", SOURCES[PREDICTED]) == SOURCES[PREDICTED]:
        skeleton.set("source", SOURCES[PLACED])
    if one.score is not None:
        skeleton.set("score", f"{one.score:.4f}")


def _correct_skeleton(
    skeleton: ET.Element,
    elements: Mapping[str, ET.Element],
    points: list[CorrectedPoint],
    locations: Mapping[str, tuple[float, ...]],
) -> None:
    known = [point.xy for point in points if point.xy is not None]
    centre = tuple(np.mean(known, axis=0).tolist()) if known else (0.0, 0.0)
    for point in points:
        element = elements.get(point.name)
        if element is None:
            element = ET.SubElement(skeleton, "points", label=point.name, source="auto", outside="1", occluded="0")
            _move_to(element, centre)
        if point.xy is None and element.get("outside") == "1":
            continue  # nobody has set it: it stays as it is
        _mark(element, point)
        if point.xy is not None and point.xy != locations.get(point.name):
            _move_to(element, point.xy)


def _correct_single(shapes: _Shapes, points: list[CorrectedPoint], locations: Mapping[str, tuple[float, ...]]) -> None:
    for point in points:
        element = shapes.points.get(point.name)
        if point.xy is None or point.mark == MISSING:
            if element is not None:
                shapes.image.remove(element)
            continue
        if element is None:
            element = ET.SubElement(shapes.image, "points", label=point.name, z_order="0")
        _mark(element, point)
        if point.xy != locations.get(point.name):
            _move_to(element, point.xy)


def _mark(element: ET.Element, point: CorrectedPoint) -> None:
    if point.origin is not None:
        element.set("source", SOURCES[point.origin])
    if element.get("outside") is not None or point.mark == MISSING:
        element.set("outside", str(int(point.mark == MISSING)))
    element.set("occluded", str(int(point.mark == COVERED)))


def _move_to(element: ET.Element, xy: tuple[float, ...]) -> None:
    element.set("points", f"{xy[0]:.2f},{xy[1]:.2f}")
