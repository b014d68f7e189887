"""Key-points as a table with commas: one line for each point."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from semcorr.keypoints.annotation_format import AnnotationFormat, ExportOptions, Records
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
)
from semcorr.keypoints.corrections import Corrections, corrected_images
from semcorr.keypoints.file_reader import DataFile, annotation_file
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.predictions import PredictedObject
from semcorr.keypoints.provenance import ACCEPTED, PLACED, PREDICTED, is_predicted
from semcorr.storage.files import atomic_file

_REQUIRED = ("image", "name", "x", "y")
_COLUMNS = ("image", "category", "object", "name", "x", "y", "visible", "confidence", "predicted", "score")
_DEFAULT_CATEGORY = "object"
TITLE = "Table of points"

_MARKS = {"": VISIBLE, "2": VISIBLE, "1": COVERED, "0": MISSING}
_YES_OR_NO = {"": False, "0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


@dataclass(kw_only=True)
class _Object:
    """An object while its lines are read."""

    category: str
    points: dict[str, MarkedPoint] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    predicted_points: dict[str, tuple[float, ...]] = field(default_factory=dict)
    score: float | None = None

    @property
    def predicted(self) -> bool:
        """Whether any of its points is."""
        return PREDICTED in self.origins.values()

    def instance(self, category: Category, key: str) -> Instance:
        """The object."""
        one = instance_of(
            category,
            self.points,
            id=key,
            predicted=self.predicted,
            score=self.score if self.predicted and self.score is not None and 0 <= self.score <= 1 else None,
        )
        if not self.predicted_points:
            return one
        nothing = (np.nan, np.nan, 0.0)
        return replace(
            one,
            predicted_points=np.array([self.predicted_points.get(name, nothing) for name in category.keypoints]),
            origins=tuple(self.origins.get(name) for name in category.keypoints),
        )


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a .csv file with a line of headings.

    ``image``, ``name``, ``x`` and ``y`` are required; x and y are in pixels from the image's top-left corner, as
    ``-p`` has them. Further columns are optional: ``category``; ``object``, which distinguishes several objects of
    a category in an image; ``visible`` (2; 1: covered; 0: missing, x and y do not count, but that they and
    ``confidence`` may say where a program expects it); ``predicted`` (1 or 0, "accepted": whether a program predicted
    the point and nobody accepted it) and ``score``, of a predicted object. An object is
    predicted if any of its points is. A category's key-points are all names that it has anywhere, in order of
    appearance.

    Raises:
        DatasetError: It is missing, broken or another program's.
    """
    file = annotation_file(path, TITLE)
    names: dict[str, dict[str, None]] = {}
    objects: dict[str, dict[str, _Object]] = {}
    for line, row in _rows(file):
        category = row.get("category") or _DEFAULT_CATEGORY
        names.setdefault(category, {})[row["name"]] = None
        key = f"{category} {row.get('object') or 1}"
        one = objects.setdefault(row["image"], {}).setdefault(key, _Object(category=category))
        if row["name"] in one.points:
            raise file.error(
                f"every point of {row['image']!r} once",
                f"{row['name']!r} again in line {line}",
                advice="Several objects of a category are distinguished by a column 'object'.",
            )
        one.points[row["name"]] = _point(file, line, row)
        one.origins[row["name"]] = _origin(file, line, row)
        if row.get("confidence") and row["x"] and row["y"]:
            numbers = [row["x"], row["y"], row["confidence"]]
            one.predicted_points[row["name"]] = file.numbers(numbers, 3, f"x, y and confidence in line {line}")
        if row.get("score"):
            (one.score,) = file.numbers([row["score"]], 1, f"score in line {line}")
    categories = {
        name: Category(id=number, name=name, keypoints=tuple(keypoints))
        for number, (name, keypoints) in enumerate(names.items(), start=1)
    }
    paths = ImagePaths(file.folder, images)
    located = paths.find_all(objects)
    return Annotations(
        path=path,
        categories=categories,
        images=[
            AnnotatedImage(file=name, path=located[name], instances=tuple(_instances(own, categories)))
            for name, own in objects.items()
        ],
        notes=(*paths.notes, *_notes(objects)),
        format="csv",
    )


def write(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write a table with what was annotated and what was predicted, image by image.

    A line for every key-point of an object, in the category's order. Of a predicted one with less than
    ``options.min_confidence``, or that no support shows, ``visible`` is 0. A table has no column for boxes.
    """
    predicted = {record.file: record for record in records() if record.error is None}
    known = {image.file: image for image in annotations.images}
    with atomic_file(path) as stream:
        stream.write((",".join(_COLUMNS) + "\n").encode())
        for file in dict.fromkeys([*known, *predicted]):
            objects = predicted[file].objects if file in predicted else ()
            replaced = {one.id for one in objects if one.id is not None}
            kept = known[file].instances if file in known else ()
            rows = [_known_rows(annotations, one) for one in kept if one.annotated or one.id not in replaced]
            rows += [_predicted_rows(one, options.min_confidence) for one in objects]
            stream.write(_lines_of(file, rows))
    return [path]


def _lines_of(file: str, objects: Iterable["_Rows"]) -> bytes:
    """The lines of one image; names that are not valid text get replacement characters."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    counts: dict[str, int] = {}
    for category, points in objects:
        counts[category] = counts.get(category, 0) + 1
        table.writerows({"image": file, "category": category, "object": counts[category], **one} for one in points)
    return text.getvalue().encode(errors="replace")


_Rows = tuple[str, list[dict[str, object]]]
"""A category, and the columns of each of its points."""


def _known_rows(annotations: Annotations, one: Instance) -> _Rows:
    """The lines of an object of the input; none if it has no points."""
    points: list[dict[str, object]] = []
    score = "" if one.score is None else f"{one.score:.4f}"
    has_points = one.predicted_points is not None or (one.visibility > MISSING).any()
    names = annotations.categories[one.category].keypoints if has_points else ()
    predicted = np.full((len(names), 3), np.nan) if one.predicted_points is None else one.predicted_points
    origins = (PREDICTED if one.predicted else None,) * len(names) if one.origins is None else one.origins
    for name, mark, xy, (x, y, sure), origin in zip(
        names, one.visibility.tolist(), one.points.tolist(), predicted.tolist(), origins, strict=bool(names)
    ):
        shown = (x, y) if mark == MISSING else xy
        points.append(
            {
                "name": name,
                **({} if math.isnan(shown[0]) else {"x": repr(shown[0]), "y": repr(shown[1])}),
                "visible": mark,
                **({} if math.isnan(x) or tuple(shown) != (x, y) else {"confidence": f"{sure:.4f}"}),
                "predicted": {PREDICTED: 1, ACCEPTED: ACCEPTED}.get(origin or "", 0),
                "score": score,
            }
        )
    return one.category, points


def _predicted_rows(one: PredictedObject, min_confidence: float) -> _Rows:
    points: list[dict[str, object]] = []
    for name, (x, y), confidence in zip(one.names, one.points, one.confidence, strict=True):
        known = bool(np.isfinite([x, y]).all())
        points.append(
            {
                "name": name,
                **({"x": f"{x:.2f}", "y": f"{y:.2f}"} if known else {}),
                "visible": VISIBLE if known and confidence >= min_confidence else MISSING,
                "confidence": f"{confidence:.4f}",
                "predicted": 1,
                "score": f"{one.score:.4f}",
            }
        )
    return one.category, points


def _instances(objects: Mapping[str, _Object], categories: Mapping[str, Category]) -> Iterator[Instance]:
    """The objects that have a point, marked or predicted."""
    for key, one in objects.items():
        if one.predicted_points or any(mark > MISSING for *_, mark in one.points.values()):
            yield one.instance(categories[one.category], key)


def _notes(objects: Mapping[str, Mapping[str, _Object]]) -> Iterator[str]:
    count = sum(one.predicted for own in objects.values() for one in own.values())
    if count:
        yield (
            f"objects that are predicted and not annotated (column 'predicted'): {count}; no points are carried over "
            "from them"
        )


def _point(file: DataFile, line: int, row: Mapping[str, str]) -> MarkedPoint:
    text = row.get("visible", "")
    if text not in _MARKS:
        raise file.error("visible as 2, 1 or 0", f"{text!r:.40}", at=f"line {line}")
    if _MARKS[text] == MISSING:
        return np.nan, np.nan, MISSING
    x, y = file.numbers([row["x"], row["y"]], 2, f"x and y in line {line}")
    return x, y, _MARKS[text]


def _origin(file: DataFile, line: int, row: Mapping[str, str]) -> str:
    text = row.get("predicted", "").lower()
    mark = _YES_OR_NO.get(text, is_predicted(text))
    if mark is None:
        raise file.error("predicted as 1 or 0", f"{text!r:.40}", at=f"line {line}")
    return PREDICTED if mark else ACCEPTED if text == ACCEPTED else PLACED


def _rows(file: DataFile) -> list[tuple[int, dict[str, str]]]:
    """The number and the cells of every line after the headings."""
    lines = file.text().splitlines()
    try:
        reader = csv.DictReader(lines, strict=True)
        headings = [(heading or "").strip().lower() for heading in reader.fieldnames or ()]
        _check_headings(file, headings)
        reader.fieldnames = headings
        rows = []
        for row in reader:
            cells = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
            required = _REQUIRED[:2] if cells.get("visible") == "0" else _REQUIRED
            if not all(cells[name] for name in required):
                raise file.folder.error(
                    f"expected {', '.join(required)} in line {reader.line_num} of {str(file.path)!r}."
                )
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise file.error("a table", f"something else: {error}") from error
    if not rows:
        raise file.error("at least one point", "none")
    return rows


def _check_headings(file: DataFile, headings: list[str]) -> None:
    """Refuse what is not a table of points.

    Raises:
        DatasetError: It is not one.
    """
    if all(name in headings for name in _REQUIRED):
        return
    separator = "Separate the columns by commas." if len(headings) == 1 and ";" in headings[0] else ""
    got = f"{', '.join(headings) or 'nothing'!r:.60}"
    raise file.error(f"a first line with the headings {', '.join(_REQUIRED)}", got, advice=separator)


def correct(annotations: Annotations, corrections: Corrections) -> Annotations:
    """A table with other objects in place of some of its own."""
    return replace(annotations, images=list(corrected_images(annotations, corrections)))


FORMAT = AnnotationFormat(name="csv", title="a table", suffix=".csv", read=read, write=write, correct=correct)
