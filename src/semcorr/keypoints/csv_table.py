"""Key-points as a table: one line a point."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path

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
from semcorr.keypoints.file_reader import Folder
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.keypoints.provenance import is_predicted

_NEEDED = ("image", "name", "x", "y")
_COLUMNS = ("image", "category", "object", "name", "x", "y", "visible", "confidence", "predicted", "score")
_DEFAULT_CATEGORY = "object"
TITLE = "Table of points"

_MARKS = {"": VISIBLE, "2": VISIBLE, "1": COVERED, "0": MISSING}
_YES_OR_NO = {"": False, "0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


@dataclass(kw_only=True)
class _Object:
    """An object as its lines are read."""

    category: str
    points: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    predicted: bool = False
    score: float | None = None


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a .csv file with a line of headings.

    ``image``, ``name``, ``x`` and ``y`` must be there; x and y are in pixels from the image's top-left corner, as
    ``-p`` has them. Further columns are read where they are: ``category``; ``object``, which tells several objects of
    a category in an image apart; ``visible`` (2; 1: covered; 0: missing, x and y do not count); ``predicted`` (1 or 0:
    whether a program predicted the point and nobody accepted it) and ``score``, of a predicted object. An object is
    predicted if any of its points is. A category's key-points are all names that it has anywhere, in order of
    appearance.

    Raises:
        DatasetError: It is missing, broken or another program's.
    """
    folder = Folder(root=path.parent, title=TITLE, advice=ADVICE)
    names: dict[str, dict[str, None]] = {}
    objects: dict[str, dict[str, _Object]] = {}
    for number, row in _rows(folder, path):
        category = row.get("category") or _DEFAULT_CATEGORY
        names.setdefault(category, {})[row["name"]] = None
        key = f"{category} {row.get('object') or 1}"
        one = objects.setdefault(row["image"], {}).setdefault(key, _Object(category=category))
        if row["name"] in one.points:
            raise folder.wrong(
                f"expected every point of {row['image']!r} once in {str(path)!r}, got {row['name']!r} again in line "
                f"{number}. Several objects of a category are told apart by a column 'object'."
            )
        one.points[row["name"]] = _point(folder, path, number, row)
        one.predicted |= _predicted(folder, path, number, row)
        if row.get("score"):
            (one.score,) = folder.numbers([row["score"]], 1, f"score in line {number}", path)
    categories = {
        name: Category(id=number, name=name, keypoints=tuple(found))
        for number, (name, found) in enumerate(names.items(), start=1)
    }
    paths = ImagePaths(folder, images)
    place = paths.find_all(objects)
    return Annotations(
        path=path,
        categories=categories,
        images=[
            AnnotatedImage(file=file, path=place[file], instances=tuple(_instances(found, categories)))
            for file, found in objects.items()
        ],
        notes=(*paths.notes, *_notes(objects)),
        format="csv",
    )


def write(
    stream: BufferedIOBase, annotations: Annotations, records: Iterable[TransferRecord], *, min_confidence: float
) -> None:
    """Write a table with what was there and what was predicted, image by image.

    A line for every key-point of an object, in the category's order. Of a predicted one of less than
    ``min_confidence``, or that no support shows, ``visible`` is 0. Boxes have no place in it.
    """
    text = io.StringIO(newline="")
    lines = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    lines.writeheader()
    predicted = {record.file: record for record in records if record.error is None}
    known = {picture.file: picture for picture in annotations.images}
    for file in dict.fromkeys([*known, *predicted]):
        counts: dict[str, int] = {}
        found = predicted[file].objects if file in predicted else ()
        replaced = {one.id for one in found if one.id is not None}
        kept = known[file].instances if file in known else ()
        rows = [_known_rows(annotations, one) for one in kept if one.annotated or one.id not in replaced]
        for category, points in [*rows, *(_predicted_rows(one, min_confidence) for one in found)]:
            counts[category] = counts.get(category, 0) + 1
            for point in points:
                lines.writerow({"image": file, "category": category, "object": counts[category], **point})
        stream.write(text.getvalue().encode(errors="replace"))
        text.seek(0)
        text.truncate()


_Rows = tuple[str, list[dict[str, object]]]
"""A category, and the columns of each of its points."""


def _known_rows(annotations: Annotations, one: Instance) -> _Rows:
    """The lines of an object that was there; none if it has no points."""
    points: list[dict[str, object]] = []
    score = "" if one.score is None else f"{one.score:.4f}"
    names = annotations.categories[one.category].keypoints if (one.visibility > MISSING).any() else ()
    for name, (x, y), mark in zip(names, one.points.tolist(), one.visibility.tolist(), strict=bool(names)):
        there = {} if mark == MISSING else {"x": repr(x), "y": repr(y)}
        points.append({"name": name, **there, "visible": mark, "predicted": int(one.predicted), "score": score})
    return one.category, points


def _predicted_rows(found: PredictedObject, min_confidence: float) -> _Rows:
    points: list[dict[str, object]] = []
    for name, (x, y), confidence in zip(found.names, found.points, found.confidence, strict=True):
        known = bool(np.isfinite([x, y]).all())
        points.append(
            {
                "name": name,
                **({"x": f"{x:.2f}", "y": f"{y:.2f}"} if known else {}),
                "visible": VISIBLE if known and confidence >= min_confidence else MISSING,
                "confidence": f"{confidence:.4f}",
                "predicted": 1,
                "score": f"{found.score:.4f}",
            }
        )
    return found.category, points


def _instances(objects: Mapping[str, _Object], categories: Mapping[str, Category]) -> Iterator[Instance]:
    """The objects that have a point."""
    for key, one in objects.items():
        names = categories[one.category].keypoints
        rows = np.array([one.points.get(name, (np.nan, np.nan, MISSING)) for name in names])
        marks = rows[:, 2].astype(np.int64)
        if (marks > MISSING).any():
            yield Instance(
                category=one.category,
                points=np.where(marks[:, None] > MISSING, rows[:, :2], np.nan),
                visibility=marks,
                id=key,
                predicted=one.predicted,
                score=one.score if one.predicted and one.score is not None and 0 <= one.score <= 1 else None,
            )


def _notes(objects: Mapping[str, Mapping[str, _Object]]) -> Iterator[str]:
    count = sum(one.predicted for found in objects.values() for one in found.values())
    if count:
        yield (
            f"objects that are predicted and not annotated (column 'predicted'): {count}; no points are carried over "
            "from them"
        )


def _point(folder: Folder, path: Path, number: int, row: Mapping[str, str]) -> tuple[float, float, int]:
    """x, y and COCO's mark."""
    text = row.get("visible", "")
    if text not in _MARKS:
        raise folder.wrong(f"expected visible as 2, 1 or 0 in line {number} of {str(path)!r}, got {text!r:.40}.")
    if _MARKS[text] == MISSING:
        return np.nan, np.nan, MISSING
    x, y = folder.numbers([row["x"], row["y"]], 2, f"x and y in line {number}", path)
    return x, y, _MARKS[text]


def _predicted(folder: Folder, path: Path, number: int, row: Mapping[str, str]) -> bool:
    text = row.get("predicted", "").lower()
    mark = _YES_OR_NO.get(text, is_predicted(text))
    if mark is None:
        raise folder.wrong(f"expected predicted as 1 or 0 in line {number} of {str(path)!r}, got {text!r:.40}.")
    return mark


def _rows(folder: Folder, path: Path) -> list[tuple[int, dict[str, str]]]:
    lines = folder.text(path).splitlines()
    try:
        reader = csv.DictReader(lines, strict=True)
        headings = [(heading or "").strip().lower() for heading in reader.fieldnames or ()]
        _check_headings(folder, path, headings)
        reader.fieldnames = headings
        rows = []
        for row in reader:
            cells = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
            needed = _NEEDED[:2] if cells.get("visible") == "0" else _NEEDED
            if not all(cells[name] for name in needed):
                raise folder.wrong(f"expected {', '.join(needed)} in line {reader.line_num} of {str(path)!r}.")
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise folder.wrong(f"expected a table in {str(path)!r}, got something else: {error}.") from error
    if not rows:
        raise folder.wrong(f"expected at least one point in {str(path)!r}, got none.")
    return rows


def _check_headings(folder: Folder, path: Path, headings: list[str]) -> None:
    """Refuse what is no table of points, other programs' tables by their names.

    Raises:
        DatasetError: It is none.
    """
    if all(name in headings for name in _NEEDED):
        return
    if headings[:1] == ["scorer"]:
        raise folder.wrong(
            f"{str(path)!r} is DeepLabCut's table, which is not read: write a line for each point (image, name, x, y)."
        )
    separated = " Separate the columns by commas." if len(headings) == 1 and ";" in headings[0] else ""
    raise folder.wrong(
        f"expected a first line with the headings {', '.join(_NEEDED)} in {str(path)!r}, got "
        f"{', '.join(headings) or 'nothing'!r:.60}.{separated}"
    )
