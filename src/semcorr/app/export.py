"""What a user takes home: the matches as COCO, CSV and pictures, and the query file, alone and in one archive."""

import csv
import dataclasses
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.app.find import joined
from semcorr.app.workspace import Cell, Point, Workspace
from semcorr.errors import PointError
from semcorr.imaging.image import Image
from semcorr.keypoints.base import MISSING, VISIBLE, AnnotatedImage, Category, Instance
from semcorr.keypoints.coco import truth_document
from semcorr.keypoints.provenance import ACCEPTED, MARK, PREDICTED, predicted_mark
from semcorr.visualization.matches import match_figure

CATEGORY = "object"
COLUMNS = (
    "picture",
    "role",
    "point",
    "name",
    "x",
    "y",
    "confidence",
    "calibrated",
    "corrected",
    MARK,
)


_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
"""What a file's name may not have somewhere: a backslash leads out of a folder on another system."""


def export(work: Workspace) -> dict[str, bytes]:
    """All files of a workspace by name; ``semcorr-matches.zip`` holds the others.

    Raises:
        PointError: Nothing was found or placed.
    """
    if work.source is None or not any(located(work, target) for target in work.target_ids):
        raise PointError("There is nothing to export yet: press Find first.")
    files = {"matches.csv": csv_file(work), "matches.coco.json": coco_file(work), **query_files(work)}
    for name, target, image in zip(picture_names(work)[1:], work.target_ids, work.targets, strict=True):
        if located(work, target):
            files[f"{Path(name).stem}-matches.png"] = png_file(work, work.source, target, image)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return {"semcorr-matches.zip": archive.getvalue(), **files}


def located(work: Workspace, target: int) -> dict[int, Point]:
    """Where points are in a target, by the points' places in the list, in pixels of the target.

    What is not found yet is not there, nor a prediction of an earlier location of its query point.
    """
    found: dict[int, Point] = {}
    for index, point in enumerate(work.ids):
        cell = (target, point)
        location = work.location(cell)
        if location is not None and (cell in work.decisions or not work.outdated(cell)):
            found[index] = location
    return found


def left_out(work: Workspace) -> int:
    """How many points of targets are not exported: not found yet, or outdated."""
    return sum(len(work.ids) - len(located(work, target)) for target in work.target_ids)


def csv_file(work: Workspace) -> bytes:
    """A row for each point of each image, source first; x and y are pixels, (0, 0) the image's top-left corner."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(COLUMNS)
    names = picture_names(work)
    for number, ((x, y), label) in enumerate(zip(work.points, work.labels, strict=True), start=1):
        rows.writerow([_plain(names[0]), "source", number, _plain(label), _short(x), _short(y), "", "", "", ""])
    for name, target in zip(names[1:], work.target_ids, strict=True):
        for index, (x, y) in located(work, target).items():
            cell = (target, work.ids[index])
            how, match = _how(work, cell), work.matches.get(cell)
            confidence = "" if match is None or how == "corrected" else f"{match.confidence:.4f}"
            calibrated = _yes(match is not None and match.prediction.matches.calibration is not None)
            row = [_plain(name), "target", index + 1, _plain(work.labels[index]), _short(x), _short(y)]
            mark = PREDICTED if how == PREDICTED else ACCEPTED
            rows.writerow([*row, confidence, calibrated, _yes(how == "corrected"), mark])
    return stream.getvalue().encode()


def coco_file(work: Workspace) -> bytes:
    """A COCO key-points file of source and targets.

    An object of which any point is predicted is marked as predicted. ``score``, ``confidence``, ``calibration``,
    ``corrected`` and ``accepted`` (points' numbers, from 1) are our own.
    """
    category = Category(id=1, name=CATEGORY, keypoints=work.labels)
    assert work.source is not None  # noqa: S101  # export says so
    names, images = picture_names(work), [work.source, *work.targets]
    places = [dict(enumerate(work.points)), *(located(work, target) for target in work.target_ids)]
    pictures = [
        (_annotated(name, points, len(work.points)), image.size)
        for name, image, points in zip(names, images, places, strict=True)
    ]
    document: dict[str, Any] = truth_document([category], pictures)
    targets = [target for target in work.target_ids if located(work, target)]
    for record, target in zip(document["annotations"][1:], targets, strict=True):
        record |= _fields(work, target)
    labels = ", ".join(sorted({match.label for match in work.matches.values()}))
    return (json.dumps({"info": {"description": f"semcorr app, {labels}"}, **document}, indent=1) + "\n").encode()


def _fields(work: Workspace, target: int) -> dict[str, Any]:
    """Our own fields of a target's object."""
    cells = {index: (target, work.ids[index]) for index in located(work, target)}
    how = {index: _how(work, cell) for index, cell in cells.items()}
    matches = {index: work.matches[cell] for index, cell in cells.items() if cell in work.matches}
    confidence = {index: round(match.confidence, 4) for index, match in matches.items()}
    calibrations = {match.prediction.matches.calibration for match in matches.values()}
    return {
        MARK: predicted_mark() if PREDICTED in how.values() else {ACCEPTED: True},
        "score": round(sum(confidence.values()) / len(confidence), 4) if confidence else 1.0,
        "confidence": [confidence.get(index) for index in range(len(work.ids))],
        "calibration": (calibrations.pop() if len(calibrations) == 1 else None) or "uncalibrated",
        "corrected": sorted(index + 1 for index, one in how.items() if one == "corrected"),
        "accepted": sorted(index + 1 for index, one in how.items() if one == ACCEPTED),
    }


def png_file(work: Workspace, source: Image, target: int, image: Image) -> bytes:
    """Source and target beside each other, as they stand on the page."""
    points = located(work, target)
    matches = [work.matches.get((target, work.ids[index])) for index in points]
    heatmaps = [match.prediction.matches.heatmaps[match.index] for match in matches if match is not None]
    whole = len(heatmaps) == len(points) and len({heatmap.shape for heatmap in heatmaps}) == 1
    figure = match_figure(
        source,
        image,
        [work.points[index] for index in points],
        list(points.values()),
        heatmaps=np.stack(heatmaps) if whole else None,
        # A point that a person placed and no method looked for has no confidence of a method.
        confidence=[match.confidence for match in matches if match is not None] if whole else None,
        names=[work.labels[index] for index in points],
    )
    stream = io.BytesIO()
    figure.save(stream, format="PNG")
    return stream.getvalue()


def query_files(work: Workspace) -> dict[str, bytes]:
    """What was learned of the points as they are, with the names that they have now, for ``semcorr locate``.

    One file, or one for each method where points were learned by several.
    """
    at = {one: index for index, one in enumerate(work.ids)}
    current = {
        one: work.described[one]
        for one in work.ids
        if one in work.described and work.described[one].point == work.points[at[one]]
    }
    files = {}
    queries = joined(current)
    with tempfile.TemporaryDirectory(prefix="semcorr-export-") as folder:
        for number, (points, query) in enumerate(queries, start=1):
            order = sorted(range(len(points)), key=lambda index, points=points: at[points[index]])  # type: ignore[misc]
            named = dataclasses.replace(
                query.take(order), names=tuple(work.labels[at[points[index]]] for index in order)
            )
            name = "query.safetensors" if len(queries) == 1 else f"query-{number}.safetensors"
            files[name] = named.save(Path(folder) / name).read_bytes()
    return files


def picture_names(work: Workspace) -> list[str]:
    """File names of the source and every target, each once."""
    names: list[str] = []
    for image in [work.source, *work.targets]:
        name = _UNSAFE.sub("_", Path(getattr(image, "name", "") or "picture").name).strip(". ") or "picture"
        stem, suffix, count = Path(name).stem, Path(name).suffix, 1
        while name.casefold() in {other.casefold() for other in names}:
            count += 1
            name = f"{stem}-{count}{suffix}"
        names.append(name)
    return names


def _annotated(name: str, points: Mapping[int, Point], count: int) -> AnnotatedImage:
    array, marks = np.full((count, 2), np.nan), np.full(count, MISSING)
    for index, point in points.items():
        array[index], marks[index] = point, VISIBLE
    instances = (Instance(category=CATEGORY, points=array, visibility=marks),) if points else ()
    return AnnotatedImage(file=name, path=Path(name), instances=instances)


def _how(work: Workspace, cell: Cell) -> str:
    return work.decisions[cell].how if cell in work.decisions else PREDICTED


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


_FORMULAS = tuple("=+-@＝＋－＠")  # the wide ones are taken for formulas, too
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
"""A carriage return in a name would begin a row of its own."""


def _plain(text: str) -> str:
    """Text that no spreadsheet takes for a formula, in one row."""
    text = _CONTROLS.sub(" ", text).strip()
    return f"'{text}" if text[:1] in _FORMULAS else text


def media_type(name: str) -> str:
    """What the browser is told a file is."""
    kinds = {".zip": "application/zip", ".csv": "text/csv; charset=utf-8", ".json": "application/json"}
    return {**kinds, ".png": "image/png"}.get(Path(name).suffix, "application/octet-stream")


def listed(names: Sequence[str]) -> list[str]:
    """The files in the order in which they are offered: the archive of all first."""
    return sorted(names, key=lambda name: (not name.endswith(".zip"), name.endswith(".png"), name))
