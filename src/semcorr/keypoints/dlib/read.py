"""Reading dlib's data sets: images, boxes, and the parts of each box."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import Box, from_pixel_indices
from semcorr.keypoints.base import (
    VISIBLE,
    AnnotatedImage,
    Annotations,
    Category,
    Instance,
    instance_of,
    with_origins,
)
from semcorr.keypoints.file_reader import annotation_file
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.provenance import MARK, PREDICTED, is_predicted
from semcorr.keypoints.shapes import extent, extent_in, rectangle
from semcorr.keypoints.xml_files import XmlFile

TITLE = "dlib's data set"

DEFAULT_CATEGORY = "object"
"""The category of boxes without a label."""

SCORE = "detection_score"
"""dlib's own attribute for the score of a detector's box."""

_COMMENT, _TAG = re.compile(r"<!--.*?-->", re.DOTALL), re.compile(r"<([A-Za-z_][\w.-]*)")
_BEGINNING = 10_000


def is_data_set(text: str) -> bool:
    """Whether the first element of an XML text is dlib's."""
    first = _TAG.search(_COMMENT.sub("", text[:_BEGINNING]))
    return first is not None and first[1] == "dataset"


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a data set.

    A box is an object of the category that its label names, and its parts are key-points, in the order of their names
    as dlib keeps them. A box without parts is an object to be searched for them. Boxes to be ignored (ignore='1') are
    left out and counted. A box with the mark semcorr='predicted', or without a mark but with a detection_score, has
    parts that a program predicted.

    Raises:
        DatasetError: It is missing, broken, or has no parts at all.
    """
    file = XmlFile(annotation_file(path, TITLE))
    elements: dict[str, ET.Element] = {}
    for element in file.root.findall("images/image"):
        name = file.attribute(element, "file")
        if name in elements:
            raise file.error(element, "every image once", f"{name!r} again")
        elements[name] = element
    reader = _Reader(file)
    if not any(category.keypoints for category in reader.categories.values()):
        raise file.file.error("boxes with parts", "none: mark the parts of a few boxes in imglab first", at="")
    paths = ImagePaths(file.file.folder, images)
    located = paths.find_all(elements)
    annotated = [reader.image(element, name, located[name]) for name, element in elements.items()]
    return Annotations(
        path=path,
        categories=reader.categories,
        images=annotated,
        notes=(*paths.notes, *reader.notes(annotated)),
        format="dlib",
        source=file.root,
    )


def label_of(box: ET.Element) -> str:
    """A box's label."""
    return box.findtext("label", "").strip() or DEFAULT_CATEGORY


def pixel_box(points: Float[np.ndarray, "points 2"]) -> Box:
    """The edges (x0, y0, x1, y1) of the pixels that points are in."""
    x0, y0, x1, y1 = map(math.floor, extent(points))
    return float(x0), float(y0), float(x1 + 1), float(y1 + 1)


class _Reader:
    """Reads a document's labels and boxes."""

    def __init__(self, file: XmlFile) -> None:
        self.file = file
        self._ignored = 0
        self._bare: set[str] = set()
        names: dict[str, set[str]] = {}
        for box in file.root.findall("images/image/box"):
            own = names.setdefault(label_of(box), set())
            if not _is_ignored(box):
                own.update(file.attribute(part, "name") for part in box.findall("part"))
        self.categories: Mapping[str, Category] = {
            name: Category(id=number, name=name, keypoints=tuple(sorted(parts)))
            for number, (name, parts) in enumerate(names.items(), start=1)
        }

    def image(self, element: ET.Element, name: str, path: Path) -> AnnotatedImage:
        """An image with its objects."""
        sides = [side for side in (element.get("width"), element.get("height")) if side is not None]
        size = self.file.file.size(sides, f"the size of {name!r}") if len(sides) == 2 else None
        return AnnotatedImage(
            file=name, path=path, instances=tuple(self._instances(element, size)), size=size, source=element
        )

    def notes(self, images: list[AnnotatedImage]) -> Iterator[str]:
        """What is left out, a sentence for each kind."""
        if self._ignored:
            yield f"boxes to be ignored (ignore='1') are left out: {self._ignored}"
        if self._bare:
            yield f"boxes of labels without parts are ignored: {', '.join(sorted(self._bare))}"
        predicted = sum(one.predicted for image in images for one in image.instances)
        if predicted:
            yield (
                f"objects that are predicted and not annotated (by their mark or {SCORE}): {predicted}; no points are "
                "carried over from them"
            )

    def _instances(self, image: ET.Element, size: tuple[int, int] | None) -> Iterator[Instance]:
        for number, element in enumerate(image.findall("box")):
            category = self.categories[label_of(element)]
            box = self._box(element, size)
            if _is_ignored(element):
                self._ignored += 1
                continue
            if not category.keypoints:
                self._bare.add(category.name)
                continue
            points = self._points(element)
            predicted = bool(points) and self._is_predicted(element)
            if predicted and box == pixel_box(np.array(list(points.values()))):
                box = None  # it was not searched in the box, which is that of its own points
            one = instance_of(
                category,
                {name: (x, y, VISIBLE) for name, (x, y) in points.items()},
                box,
                id=f"box-{number}",
                predicted=predicted,
                score=self._score(element) if predicted else None,
            )
            marks = {part.get("name", ""): part.get(MARK, PREDICTED) for part in element.findall("part")}
            yield with_origins(one, category, marks) if predicted else one

    def _box(self, element: ET.Element, size: tuple[int, int] | None) -> Box | None:
        """The part of a box that is inside its image; None if there is none."""
        texts = [self.file.attribute(element, name) for name in ("left", "top", "width", "height")]
        left, top, width, height = self.file.numbers(element, texts, 4, "a box")
        if min(width, height) <= 0:
            return None
        return extent_in(rectangle(left, top, width, height), size or (math.inf, math.inf))

    def _points(self, element: ET.Element) -> dict[str, tuple[float, float]]:
        points: dict[str, tuple[float, float]] = {}
        for part in element.findall("part"):
            name = self.file.attribute(part, "name")
            if name in points:
                raise self.file.error(part, "every part of a box once", f"{name!r} again")
            texts = [self.file.attribute(part, axis) for axis in ("x", "y")]
            numbers = self.file.numbers(part, texts, 2, f"the part {name!r:.40}")
            ((x, y),) = from_pixel_indices(np.array([numbers])).tolist()
            points[name] = x, y
        return points

    def _is_predicted(self, element: ET.Element) -> bool:
        mark = element.get(MARK)
        if mark is None:
            return self._score(element) != 0
        predicted = is_predicted(mark)
        if predicted is None:
            raise self.file.error(element, f"{MARK}='predicted' or 'accepted'", repr(mark)[:40])
        return predicted

    def _score(self, element: ET.Element) -> float | None:
        """The detector's score: 0 without one; None if it is not from 0 to 1, as those of dlib's own detectors."""
        (score,) = self.file.numbers(element, [element.get(SCORE, "0")], 1, repr(SCORE))
        return score if 0 <= score <= 1 else None


def _is_ignored(box: ET.Element) -> bool:
    return box.get("ignore", "0").strip().lower() in ("1", "true")
