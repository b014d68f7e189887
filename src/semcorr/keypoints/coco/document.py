"""The entries of a COCO key-points file, in the forms in which people's tools write them.

A field with one possible meaning is read; an ambiguous one is refused, and the message names the entry.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import Box, corner_box
from semcorr.keypoints.base import COVERED, MISSING, VISIBLE
from semcorr.keypoints.file_reader import DataFile
from semcorr.keypoints.provenance import MARK, is_predicted
from semcorr.keypoints.shapes import extent

PREDICTED_POINTS = "keypoints_found"
"""The field in which ``semcorr transfer`` writes every predicted point and its confidence."""

Entry = Mapping[str, Any]
"""An image, a category or an annotation, as the file has it."""

_NO, _YES = (None, False, 0, "0", ""), (True, 1, "1")
_LONGEST_SIDE = 10**6


class CocoDocument:
    """A COCO file's images and categories by id, and its annotations; their fields are checked when they are read.

    Args:
        file: The file.

    Raises:
        DatasetError: It is missing, is not a JSON object, or its images or categories are not lists of entries with
            different ids. Every method raises it where an entry is not what it should be.
    """

    def __init__(self, file: DataFile) -> None:
        self.file = file
        self.content = file.json()
        self.categories = self.by_id(self.entries("categories"), "category")
        self.images = self.by_id(self.entries("images"), "image")

    def entries(self, key: str, *, required: bool = True) -> list[dict[str, Any]]:
        """The list of objects under a key; empty if it is missing or null and not ``required``."""
        if not required and self.content.get(key) is None:
            return []
        entries: list[dict[str, Any]] = self.file.field(self.content, key, list)
        for entry in entries:
            if not isinstance(entry, dict):
                raise self.file.error(f"{key!r} as a list of objects", f"{entry!r:.40}")
        return entries

    def by_id(self, entries: Iterable[dict[str, Any]], kind: str) -> dict[int | str, dict[str, Any]]:
        """Entries by their ids, which must differ; ``kind`` is what they are, for the message."""
        known: dict[int | str, dict[str, Any]] = {}
        for entry in entries:
            number = self.id_of(entry)
            if number in known:
                raise self.file.error(f"every {kind}'s id once", f"{number!r} twice")
            known[number] = entry
        return known

    def id_of(self, entry: Entry, key: str = "id") -> int | str:
        """An id: a whole number of any size or a text. 1 and "1" are different."""
        value = entry.get(key)
        if isinstance(value, float) and value.is_integer():
            return int(value)  # A table of floats was written as JSON.
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise self.file.error(f"{key!r} as a whole number or a text", f"{value!r:.40} in {_shown(entry)}")
        return value

    def image_id(self, annotation: Entry) -> int | str:
        """The id of an annotation's image, which must be there."""
        return self._reference(annotation, "image_id", self.images)

    def category_id(self, annotation: Entry) -> int | str:
        """The id of an annotation's category, which must be there."""
        return self._reference(annotation, "category_id", self.categories)

    def is_crowd(self, annotation: Entry) -> bool:
        """Whether ``iscrowd`` says that an annotation covers a group; 0 and 1 may be written as texts."""
        value = annotation.get("iscrowd")
        value = value.strip() if isinstance(value, str) else value
        if isinstance(value, list | dict) or value not in (*_NO, *_YES):
            raise self.file.error("'iscrowd' as 0 or 1", f"{value!r:.40} in {named(annotation)}")
        return value in _YES

    def keypoint_names(self, category: Entry) -> tuple[str, ...]:
        """The names of a category's key-points, which must differ; empty if it has none.

        Where the category names none and all its annotations have as many (converters of 300-W and COFW write such
        files), they are their numbers from 1; see :meth:`numbered`.
        """
        listed = category.get("keypoints") or []
        which = f"for category {category.get('id')!r}"
        if not isinstance(listed, list) or not all(isinstance(name, str | int) for name in listed):
            raise self.file.error("'keypoints' as a list of names", f"{listed!r:.60} {which}")
        if not listed:
            return tuple(str(number + 1) for number in range(self.numbered.get(category.get("id"), 0)))
        names = tuple(map(str, listed))
        if len(set(names)) != len(names):
            raise self.file.error("different names of key-points", f"{', '.join(names):.80} {which}")
        return names

    @cached_property
    def numbered(self) -> Mapping[object, int]:
        """How many key-points the annotations of a category without names have, by its id, where all have as many."""
        unnamed = {number for number, entry in self.categories.items() if not entry.get("keypoints")}
        counts: dict[object, set[float]] = {}
        for annotation in self.entries("annotations", required=False):
            if has_marked_points(annotation) and (number := self.category_id(annotation)) in unnamed:
                counts.setdefault(number, set()).add(len(annotation["keypoints"]) / 3)
        return {number: int(count) for number, (count, *others) in counts.items() if not others and count.is_integer()}

    def keypoints(self, annotation: Entry, names: Sequence[str]) -> Float[np.ndarray, "keypoints 3"]:
        """x, y and mark of every key-point as the file has them; zeros where the annotation has none."""
        which = named(annotation)
        values = annotation.get("keypoints") or [0] * 3 * len(names)
        if not isinstance(values, list):
            raise self.file.error("'keypoints' as a list", f"{values!r:.40} in {which}")
        array = np.array(self.file.numbers(values, 3 * len(names), f"'keypoints' of {which}")).reshape(-1, 3)
        unknown = np.flatnonzero(~np.isin(array[:, 2], (VISIBLE, COVERED, MISSING)))
        if len(unknown):
            more = f", and {len(unknown) - 1} more like it in the same annotation" if len(unknown) > 1 else ""
            raise self.file.error(
                "0 (not annotated), 1 (covered) or 2 (visible) as the third number of every key-point",
                f"{array[unknown[0], 2]:g} for {names[unknown[0]]!r} of {which}{more}",
                advice="If it is a score, write 2 for points that are right and 0 for others.",
            )
        return array

    def predicted_keypoints(self, annotation: Entry, names: Sequence[str]) -> Float[np.ndarray, "keypoints 3"]:
        """x, y and confidence of every key-point, NaN where there is none.

        They are those of ``keypoints_found`` if the annotation has it. Otherwise they are those of ``keypoints``, whose
        third number is a mark or a confidence.
        """
        key = PREDICTED_POINTS if annotation.get(PREDICTED_POINTS) else "keypoints"
        values = self.file.field(annotation, key, list)
        numbers = [0 if value is None else value for value in values]
        array = np.array(self.file.numbers(numbers, 3 * len(names), f"{key!r} of {named(annotation)}"))
        return np.where([value is None for value in values], np.nan, array).reshape(-1, 3)

    def bbox(self, annotation: Entry) -> tuple[float, ...] | None:
        """``bbox`` as the file has it: x, y, width and height; None if there is none."""
        if not annotation.get("bbox"):
            return None
        return self.file.numbers(self.file.field(annotation, "bbox", list), 4, f"'bbox' of {named(annotation)}")

    def box(self, annotation: Entry) -> Box | None:
        """``bbox`` as (x0, y0, x1, y1), or else the extent of the polygons of ``segmentation``.

        None if there is neither, or it has no extent. No side may be negative.
        """
        sides = self.bbox(annotation)
        if sides is None:
            return self._extent_of_outline(annotation)
        if min(sides[2:]) < 0:
            which = f"'bbox' of {named(annotation)}"
            raise self.file.error(f"{which} as x, y, width and height", f"{list(sides)}: a side is negative")
        return corner_box(*sides) if min(sides[2:]) > 0 else None

    def _extent_of_outline(self, annotation: Entry) -> Box | None:
        """The box around the polygons of ``segmentation``; None if there are none, as where it is run-lengths."""
        polygons = annotation.get("segmentation")
        listed = [one for one in polygons if one] if isinstance(polygons, list) else []
        corners: list[float] = []
        for one in listed:
            what = f"a polygon of 'segmentation' of {named(annotation)}, x and y in turn,"
            values = one if isinstance(one, list) else [one]
            corners += self.file.numbers(values, max(len(values) // 2 * 2, 6), what)
        x0, y0, x1, y1 = extent(np.array(corners).reshape(-1, 2))
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def is_predicted(self, annotation: Entry) -> bool:
        """Whether a program predicted an annotation's points, and no person has accepted them.

        Its mark says so; without one, ``keypoints_found`` (from before there were marks) or a ``score``, as detectors'
        results have it. A box without points is nobody's prediction of points, whatever made the box.
        """
        has_predicted_points = isinstance(annotation.get(PREDICTED_POINTS), list)
        if annotation.get(MARK) is None:
            score = annotation.get("score")
            return has_predicted_points or (isinstance(score, int | float) and has_marked_points(annotation))
        predicted = is_predicted(annotation[MARK])
        if predicted is None:
            raise self.file.error(
                f'{{"predicted": true}} or {{"predicted": true, "accepted": true}} as {MARK!r}',
                f"{annotation[MARK]!r:.60} in {named(annotation)}",
            )
        return predicted and (has_predicted_points or has_marked_points(annotation))

    def _reference(self, annotation: Entry, key: str, known: Mapping[int | str, Any]) -> int | str:
        number = self.id_of(annotation, key)
        if number in known:
            return number
        other: int | str = str(number) if isinstance(number, int) else int(number) if number.isdecimal() else number
        hint = f"The id {other!r} is there, but one is a number and the other a text." if other in known else ""
        kind = key.removesuffix("_id")
        raise self.file.error(f"every annotation's {kind}", f"{key} {number!r} in {named(annotation)}", advice=hint)


def has_marked_points(annotation: Entry) -> bool:
    """Whether any number other than 0 is where a key-point's mark would be."""
    values = annotation.get("keypoints")
    return isinstance(values, list) and any(values[2::3])


def size_of(image: Entry) -> tuple[int, int] | None:
    """The (width, height) that an image's entry declares, or None where it declares none that an image can have."""
    width, height = _side(image.get("width")), _side(image.get("height"))
    return (width, height) if width and height else None


def score_of(annotation: Entry) -> float | None:
    """``score``, if it is a number in [0, 1]."""
    score = annotation.get("score")
    usable = isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1
    return float(score) if usable else None  # type: ignore[arg-type]  # a number, as the line before says


def named(annotation: Entry) -> str:
    """An annotation by its id, for messages."""
    return f"annotation {annotation.get('id')!r}"


def counted(names: Iterable[str]) -> str:
    """Each name and how often it comes: "2 of 'car', 1 of 'ball'"."""
    return ", ".join(f"{count} of {name!r}" for name, count in Counter(names).most_common())


def _side(value: object) -> int:
    """A side in pixels; 0 if it is not one."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value.strip()) if len(value) < 10 else 0
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= _LONGEST_SIDE
    return int(value) if usable and value == int(value) else 0  # type: ignore[call-overload]  # a number, as above


def _shown(entry: Entry) -> str:
    name = entry.get("id", entry.get("name", entry.get("file_name")))
    return f"the entry {name!r:.40}" if name is not None else f"{dict(entry)!r:.80}"
