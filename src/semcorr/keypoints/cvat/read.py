"""Reading CVAT's own XML: skeletons, boxes, and single points, in continuous pixels."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from semcorr.keypoints.base import (
    COVERED,
    MISSING,
    VISIBLE,
    AnnotatedImage,
    Annotations,
    Category,
    Instance,
    MarkedPoint,
    instance_of,
    with_origins,
)
from semcorr.keypoints.cvat.labels import Labels
from semcorr.keypoints.file_reader import annotation_file
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.provenance import ACCEPTED, PLACED, PREDICTED
from semcorr.keypoints.shapes import Corners, contains, extent_in, rectangle
from semcorr.keypoints.xml_files import XmlFile

TITLE = "CVAT export"
_DEFAULT_CATEGORY = "object"
_IGNORED = ("polygon", "polyline", "mask", "cuboid", "ellipse", "tag")
_SHOWN = 4

SOURCES = {PREDICTED: "auto", ACCEPTED: "semi-auto", PLACED: "manual"}
"""CVAT's word for who set a point."""
_ORIGINS = {word: origin for origin, word in SOURCES.items()}


@dataclass(eq=False, kw_only=True)
class CvatObject:
    """An object of an image while it is put together: a skeleton, a box, both, or a box with single points.

    Attributes:
        category: Its label.
        id: Which elements it is, for the writer: skeleton-0+box-2 is an image's first skeleton and third box.
        element: The element.
        points: By name; a box without any has none.
        shapes: The elements of its points, by name.
        corners: The box's, turned ones included.
        predicted: Whether a program made the skeleton, and nobody changed it.
        score: A predicted one's score.
    """

    category: str
    id: str
    element: ET.Element
    points: dict[str, MarkedPoint] = field(default_factory=dict)
    shapes: dict[str, ET.Element] = field(default_factory=dict)
    corners: Corners | None = None
    predicted: bool = False
    score: float | None = None

    @property
    def origins(self) -> Mapping[str, str]:
        """Who set each marked point of a predicted object; empty if none of its points says that a program did."""
        made = {name: _ORIGINS.get(shape.get("source", ""), PLACED) for name, shape in self.shapes.items()}
        marked = {name: origin for name, origin in made.items() if self.points[name][2] > MISSING}
        return marked if PREDICTED in made.values() else {}

    @property
    def group(self) -> str:
        """CVAT's number of a group of objects; empty for none."""
        group = self.element.get("group_id", "0")
        return "" if group == "0" else group

    def surrounds(self, other: "CvatObject") -> bool:
        """Whether this box has the other's label, and all its marked points are inside."""
        marked = [(x, y) for x, y, mark in other.points.values() if mark > MISSING]
        return (
            self.category == other.category
            and self.corners is not None
            and bool(marked)
            and all(contains(self.corners, point) for point in marked)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class CvatFile:
    """What a file says beside its images, for the writer.

    Attributes:
        root: Its root.
        objects: By image, in the order of its instances.
    """

    root: ET.Element
    objects: Mapping[str, Sequence[CvatObject]]


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read an annotations.xml of "CVAT for images 1.1".

    A skeleton is an object. Its points that are occluded are covered (v = 1), those outside are missing. A box of the
    same label around it, or of its group, is its box; other boxes are objects without points. Points without a
    skeleton are key-points of the box that they are in, or in an image without boxes of one object of the category
    "object". What a program made (source="auto") is predicted, until a person changes it: CVAT then writes
    "semi-auto", as review does. Of a predicted skeleton the points that are not "auto" are a person's: "semi-auto" ones
    were accepted, others placed.

    Raises:
        DatasetError: It is missing, broken, ambiguous or of another format, which the message names.
    """
    file = XmlFile(annotation_file(path, TITLE))
    _refuse_other_xml(file)
    reader = _Reader(file)
    elements: dict[str, ET.Element] = {}
    for element in file.root.findall("image"):
        name = file.attribute(element, "name")
        if name in elements:
            raise file.error(
                element, "every image's name once", f"{name!r} again", advice="Export the tasks one by one."
            )
        elements[name] = element
    objects = {name: reader.objects(element) for name, element in elements.items()}
    categories = reader.labels.categories()
    if not any(category.keypoints for category in categories.values()):
        raise file.file.error("skeletons or points", "none")
    paths = ImagePaths(file.file.folder, images)
    located = paths.find_all(elements)
    annotated = [
        AnnotatedImage(
            file=name,
            path=located[name],
            instances=tuple(reader.instances(objects[name], categories, size)),
            id=element.get("id"),
            size=size,
            source=element,
        )
        for name, element in elements.items()
        for size in [reader.size(element)]
    ]
    return Annotations(
        path=path,
        categories={name: category for name, category in categories.items() if category.keypoints},
        images=annotated,
        notes=(*paths.notes, *reader.notes()),
        format="cvat",
        source=CvatFile(
            root=file.root,
            objects={name: [one for one in own if categories[one.category].keypoints] for name, own in objects.items()},
        ),
    )


def _refuse_other_xml(file: XmlFile) -> None:
    """Refuse other XML, and videos."""
    if file.root.tag == "annotation":
        got = "Pascal VOC, which has no key-points"
        raise file.error(file.root, "CVAT for images 1.1", got, advice="Export CVAT or COCO instead.")
    if file.root.tag != "annotations":
        raise file.error(file.root, "CVAT for images 1.1 (<annotations>)", f"<{file.root.tag:.40}>")
    track = file.root.find("track")
    if track is not None:
        advice = 'Export the task as "CVAT for images 1.1" instead.'
        raise file.error(track, "images", "a <track> of CVAT for video", advice=advice)


class _Reader:
    """Reads a file's images, and counts what is left out."""

    def __init__(self, file: XmlFile) -> None:
        self.file, self.labels = file, Labels(file)
        self._ignored: Counter[str] = Counter()
        self._boxes: Counter[str] = Counter()
        self._predicted = 0

    def size(self, image: ET.Element) -> tuple[int, int] | None:
        """(width, height) that an image's element declares."""
        sides = [image.get("width"), image.get("height")]
        if sides == [None, None]:
            return None
        return self.file.file.size(sides, f"the size of {image.get('name')!r:.60}")

    def objects(self, image: ET.Element) -> list[CvatObject]:
        """The objects of an image."""
        skeletons = [self._skeleton(one, number) for number, one in enumerate(image.findall("skeleton"))]
        boxes = [self._box(one, number) for number, one in enumerate(image.findall("box"))]
        self._ignored.update(one.tag for one in image if one.tag in _IGNORED)
        pairs = self._pairs(skeletons, boxes)
        for skeleton, box in pairs.items():
            skeleton.corners = box.corners
            skeleton.id = f"{skeleton.id}+{box.id}"
        left = [box for box in boxes if box not in pairs.values()]
        return [*skeletons, *left, *self._loose_points(image, left)]

    def instances(
        self, objects: Sequence[CvatObject], categories: Mapping[str, Category], size: tuple[int, int] | None
    ) -> Iterator[Instance]:
        """Objects of categories with key-points, with their points in the category's order."""
        for one in objects:
            category = categories[one.category]
            if not category.keypoints:
                self._boxes[one.category] += 1
                continue
            self._predicted += one.predicted
            box = None if one.corners is None else extent_in(one.corners, size or (np.inf, np.inf))
            score = one.score if one.predicted else None
            instance = instance_of(category, one.points, box, id=one.id, predicted=one.predicted, score=score)
            yield with_origins(instance, category, one.origins) if one.predicted else instance

    def notes(self) -> Iterator[str]:
        """What is left out, a sentence for each kind."""
        if self._ignored:
            yield f"shapes that are no skeletons, boxes or single points are ignored: {_counted(self._ignored)}"
        if self._boxes:
            yield f"boxes of labels without key-points are ignored: {_counted(self._boxes)}"
        if self._predicted:
            yield (
                f'objects that are predicted and not annotated (source="auto"): {self._predicted}; no points are '
                "carried over from them"
            )

    def _skeleton(self, element: ET.Element, number: int) -> CvatObject:
        label = self.file.attribute(element, "label")
        points: dict[str, MarkedPoint] = {}
        shapes: dict[str, ET.Element] = {}
        for child in element.findall("points"):
            name = self.file.attribute(child, "label")
            if name in points:
                raise self.file.error(child, f"every point of a skeleton {label!r} once", f"{name!r} again")
            points[name], shapes[name] = self._point(child), child
            self.labels.add(label, name)
        self.labels.add(label)
        automatic = element.get("source") == "auto"
        return CvatObject(
            category=label,
            id=f"skeleton-{number}",
            element=element,
            points=points,
            shapes=shapes,
            predicted=automatic and any(mark > MISSING for *_, mark in points.values()),
            score=self._score(element) if automatic else None,
        )

    def _box(self, element: ET.Element, number: int) -> CvatObject:
        label = self.file.attribute(element, "label")
        texts = [self.file.attribute(element, name) for name in ("xtl", "ytl", "xbr", "ybr")]
        x0, y0, x1, y1 = self.file.numbers(element, texts, 4, "a box")
        (degrees,) = self.file.numbers(element, [element.get("rotation", "0")], 1, "'rotation'")
        self.labels.add(label)
        corners = rectangle(x0, y0, x1 - x0, y1 - y0, degrees, about=((x0 + x1) / 2, (y0 + y1) / 2))
        return CvatObject(category=label, id=f"box-{number}", element=element, corners=corners)

    def _point(self, element: ET.Element) -> MarkedPoint:
        texts = self.file.attribute(element, "points").split(",")
        x, y = self.file.numbers(element, texts, 2, f"the point {element.get('label')!r:.40}")
        if element.get("outside") == "1":
            return x, y, MISSING
        return x, y, COVERED if element.get("occluded") == "1" else VISIBLE

    def _score(self, element: ET.Element) -> float | None:
        text = element.get("score")
        if text is None:
            return None
        (score,) = self.file.numbers(element, [text], 1, "'score'")
        return score if 0 <= score <= 1 else None

    def _pairs(self, skeletons: Sequence[CvatObject], boxes: Sequence[CvatObject]) -> dict[CvatObject, CvatObject]:
        """Each skeleton's box, where there is one; boxes that others need are not taken."""
        grouped = {one: [box for box in boxes if box.group and box.group == one.group] for one in skeletons}
        left = {one: grouped[one] or [box for box in boxes if box.surrounds(one)] for one in skeletons}
        pairs: dict[CvatObject, CvatObject] = {}
        while unambiguous := [one for one, candidates in left.items() if len(candidates) == 1]:
            pairs[unambiguous[0]] = taken = left.pop(unambiguous[0])[0]
            left = {one: [box for box in candidates if box is not taken] for one, candidates in left.items()}
        for one, candidates in left.items():
            if candidates:
                raise self.file.error(
                    one.element,
                    f"one box around the skeleton {one.category!r}",
                    f"{len(candidates)}",
                    advice="Group the skeleton with its box in CVAT.",
                )
        return pairs

    def _loose_points(self, image: ET.Element, boxes: Sequence[CvatObject]) -> list[CvatObject]:
        """Add points without a skeleton to the box around them; without boxes they are an object, which is returned."""
        alone: list[CvatObject] = []
        for element in image.findall("points"):
            name = self.file.attribute(element, "label")
            if ";" in element.get("points", ""):
                self._ignored["points (several in one shape)"] += 1
                continue
            point = self._point(element)
            around = [box for box in boxes if box.corners is not None and contains(box.corners, point[:2])]
            if boxes and len(around) != 1:
                raise self.file.error(
                    element,
                    f"the point {name!r} in exactly one of {len(boxes)} boxes",
                    f"it in {len(around) or 'none'} of them",
                    advice="Draw skeletons, or move one of them.",
                )
            if not boxes and not alone:
                alone.append(CvatObject(category=_DEFAULT_CATEGORY, id="points", element=element))
            owner = around[0] if boxes else alone[0]
            if name in owner.points:
                raise self.file.error(element, "every point of an object once", f"{name!r} again")
            owner.predicted = element.get("source") == "auto" and (owner.predicted or not owner.points)
            owner.points[name], owner.shapes[name] = point, element
            self.labels.add(owner.category, name)
        return alone


def _counted(kinds: Counter[str]) -> str:
    listed = [f"{times} {kind}" for kind, times in kinds.most_common(_SHOWN)]
    return ", ".join(listed) + (" and more" if len(kinds) > _SHOWN else "")
