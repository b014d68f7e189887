"""CVAT's own XML ("CVAT for images 1.1"), read: skeletons, boxes, and single points, in continuous pixels."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from semcorr.keypoints.base import (
    ADVICE,
    COVERED,
    MISSING,
    VISIBLE,
    AnnotatedImage,
    Annotations,
    Category,
    Instance,
)
from semcorr.keypoints.cvat.labels import Labels
from semcorr.keypoints.file_reader import Folder
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.shapes import Corners, contains, extent_in, rectangle
from semcorr.keypoints.xml_files import XmlFile

TITLE = "CVAT export"
_DEFAULT_CATEGORY = "object"
_OTHERS = ("polygon", "polyline", "mask", "cuboid", "ellipse", "tag")
_NAMED = 4

Point = tuple[float, float, int]
"""x, y and COCO's mark."""


@dataclass(eq=False, kw_only=True)
class CvatObject:
    """An object of an image as it is put together: a skeleton, a box, both, or a box with single points.

    Attributes:
        category: Its label.
        id: Which elements it is, for the writer: skeleton-0+box-2 is an image's first skeleton and third box.
        element: The element.
        points: By name; of a box without any none.
        corners: The box's, turned ones included.
        predicted: Whether a program made the skeleton, and nobody changed it.
        score: A predicted one's score.
    """

    category: str
    id: str
    element: ET.Element
    points: dict[str, Point] = field(default_factory=dict)
    corners: Corners | None = None
    predicted: bool = False
    score: float | None = None

    @property
    def group(self) -> str:
        """CVAT's number of a group of objects; empty for none."""
        group = self.element.get("group_id", "0")
        return "" if group == "0" else group

    def around(self, other: "CvatObject") -> bool:
        """Whether this box is of another's label, and around all its marked points."""
        marked = [(x, y) for x, y, mark in other.points.values() if mark > MISSING]
        return (
            self.category == other.category
            and self.corners is not None
            and bool(marked)
            and all(contains(self.corners, point) for point in marked)
        )


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read an annotations.xml of "CVAT for images 1.1".

    A skeleton is an object. Its points that are occluded are covered (v = 1), those outside are missing. A box of the
    same label around it, or of its group, is its box; other boxes are objects without points. Points without a
    skeleton are key-points of the box that they lie in, or in an image without boxes of one object of the category
    "object". What a program made (source="auto") is predicted, until a person changes it: CVAT then writes
    "semi-auto".

    Raises:
        DatasetError: It is missing, broken, ambiguous or of another format, which the message names.
    """
    folder = Folder(root=path.parent, title=TITLE, advice=ADVICE)
    file = XmlFile(folder, path)
    _refuse_others(file)
    reading = _Reading(file)
    elements = list(file.root.findall("image"))
    names: dict[str, ET.Element] = {}
    for element in elements:
        name = file.attribute(element, "name")
        if name in names:
            raise file.wrong(element, "every image's name once", f"{name!r} again", do="Export the tasks one by one.")
        names[name] = element
    objects = {name: reading.objects(element) for name, element in names.items()}
    categories = reading.labels.categories()
    if not any(category.keypoints for category in categories.values()):
        raise folder.wrong(f"expected skeletons or points in {str(path)!r}, got none.")
    paths = ImagePaths(folder, images)
    places = paths.find_all(names)
    pictures = [
        AnnotatedImage(
            file=name,
            path=places[name],
            instances=tuple(reading.instances(objects[name], categories, size)),
            id=element.get("id"),
            size=size,
            source=element,
        )
        for name, element in names.items()
        for size in [reading.size(element)]
    ]
    return Annotations(
        path=path,
        categories={name: category for name, category in categories.items() if category.keypoints},
        images=pictures,
        notes=(*paths.notes, *reading.notes()),
        format="cvat",
        source=file.root.find("meta"),
    )


def _refuse_others(file: XmlFile) -> None:
    """Refuse other XML, and videos."""
    if file.root.tag == "annotation":
        raise file.wrong(
            file.root, "CVAT for images 1.1", "Pascal VOC, which has no key-points", do="Export CVAT or COCO instead."
        )
    if file.root.tag != "annotations":
        raise file.wrong(file.root, "CVAT for images 1.1 (<annotations>)", f"<{file.root.tag:.40}>")
    track = file.root.find("track")
    if track is not None:
        raise file.wrong(
            track, "images", "a <track> of CVAT for video", do='Export the task as "CVAT for images 1.1" instead.'
        )


class _Reading:
    """A file as it is read, and what is left out of it."""

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
        return self.file.folder.size(sides, f"the size of {image.get('name')!r:.60}", self.file.path)

    def objects(self, image: ET.Element) -> list[CvatObject]:
        """The objects of an image."""
        skeletons = [self._skeleton(one, number) for number, one in enumerate(image.findall("skeleton"))]
        boxes = [self._box(one, number) for number, one in enumerate(image.findall("box"))]
        self._ignored.update(one.tag for one in image if one.tag in _OTHERS)
        pairs = self._pairs(skeletons, boxes)
        for skeleton, box in pairs.items():
            skeleton.corners = box.corners
            skeleton.id = f"{skeleton.id}+{box.id}"
        left = [box for box in boxes if box not in pairs.values()]
        return [*skeletons, *left, *self._loose(image, left)]

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
            rows = np.array([one.points.get(name, (np.nan, np.nan, MISSING)) for name in category.keypoints])
            marks = rows[:, 2].astype(np.int64)
            yield Instance(
                category=one.category,
                points=np.where(marks[:, None] > MISSING, rows[:, :2], np.nan),
                visibility=marks,
                box=None if one.corners is None else extent_in(one.corners, size or (np.inf, np.inf)),
                id=one.id,
                predicted=one.predicted,
                score=one.score if one.predicted else None,
            )

    def notes(self) -> Iterator[str]:
        """What is left out."""
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
        points: dict[str, Point] = {}
        for part in element.findall("points"):
            name = self.file.attribute(part, "label")
            if name in points:
                raise self.file.wrong(part, f"every point of a skeleton {label!r} once", f"{name!r} again")
            points[name] = self._point(part)
            self.labels.add(label, name)
        self.labels.add(label)
        made = element.get("source") == "auto"
        return CvatObject(
            category=label,
            id=f"skeleton-{number}",
            element=element,
            points=points,
            predicted=made and any(mark > MISSING for *_, mark in points.values()),
            score=self._score(element) if made else None,
        )

    def _box(self, element: ET.Element, number: int) -> CvatObject:
        label = self.file.attribute(element, "label")
        texts = [self.file.attribute(element, name) for name in ("xtl", "ytl", "xbr", "ybr")]
        x0, y0, x1, y1 = self.file.numbers(element, texts, 4, "a box")
        (turn,) = self.file.numbers(element, [element.get("rotation", "0")], 1, "'rotation'")
        self.labels.add(label)
        corners = rectangle(x0, y0, x1 - x0, y1 - y0, turn, about=((x0 + x1) / 2, (y0 + y1) / 2))
        return CvatObject(category=label, id=f"box-{number}", element=element, corners=corners)

    def _point(self, element: ET.Element) -> Point:
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
        left = {one: grouped[one] or [box for box in boxes if box.around(one)] for one in skeletons}
        pairs: dict[CvatObject, CvatObject] = {}
        while sure := [one for one, fitting in left.items() if len(fitting) == 1]:
            pairs[sure[0]] = taken = left.pop(sure[0])[0]
            left = {one: [box for box in fitting if box is not taken] for one, fitting in left.items()}
        for one, fitting in left.items():
            if fitting:
                raise self.file.wrong(
                    one.element,
                    f"one box around the skeleton {one.category!r}",
                    f"{len(fitting)}",
                    do="Group the skeleton with its box in CVAT.",
                )
        return pairs

    def _loose(self, image: ET.Element, boxes: Sequence[CvatObject]) -> list[CvatObject]:
        """Points without a skeleton go to the box around them; without boxes they are one object, which is returned."""
        alone: list[CvatObject] = []
        for element in image.findall("points"):
            name = self.file.attribute(element, "label")
            if ";" in element.get("points", ""):
                self._ignored["points (several in one shape)"] += 1
                continue
            point = self._point(element)
            around = [box for box in boxes if box.corners is not None and contains(box.corners, point[:2])]
            if boxes and len(around) != 1:
                raise self.file.wrong(
                    element,
                    f"the point {name!r} in exactly one of {len(boxes)} boxes",
                    f"it in {len(around) or 'none'} of them",
                    do="Draw skeletons, or move one of them.",
                )
            if not boxes and not alone:
                alone.append(CvatObject(category=_DEFAULT_CATEGORY, id="points", element=element))
            owner = around[0] if boxes else alone[0]
            if name in owner.points:
                raise self.file.wrong(element, "every point of an object once", f"{name!r} again")
            owner.predicted = element.get("source") == "auto" and (owner.predicted or not owner.points)
            owner.points[name] = point
            self.labels.add(owner.category, name)
        return alone


def _counted(kinds: Counter[str]) -> str:
    listed = [f"{times} {kind}" for kind, times in kinds.most_common(_NAMED)]
    return ", ".join(listed) + (" and more" if len(kinds) > _NAMED else "")
