"""What a user takes home: the matches as COCO, CSV and pictures, and the query file, alone and in one archive."""

import csv
import dataclasses
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.annotations.base import VISIBLE, AnnotatedPicture, Category, Instance
from semcorr.annotations.coco import truth_document
from semcorr.app.workspace import Found, Result, Workspace
from semcorr.draw import match_figure
from semcorr.errors import PointError
from semcorr.images import Image

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
)


_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
"""What a file's name may not have somewhere: a backslash leads out of a folder on another system."""


def export(work: Workspace) -> dict[str, bytes]:
    """All files of a result by name; ``semcorr-matches.zip`` holds the others.

    Raises:
        PointError: there is no result.
    """
    if work.result is None or work.source is None:
        raise PointError("There is nothing to export yet: press Find first.")
    files = {
        "matches.csv": csv_file(work, work.result),
        "matches.coco.json": coco_file(work, work.result),
        "query.safetensors": query_file(work, work.result),
    }
    names = picture_names(work)[1:]
    for name, found in zip(names, work.result.found, strict=True):
        files[f"{Path(name).stem}-matches.png"] = png_file(work, work.source, found)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return {"semcorr-matches.zip": archive.getvalue(), **files}


def csv_file(work: Workspace, result: Result) -> bytes:
    """A row for each point of each picture, source first; x and y are pixels, (0, 0) the picture's top-left corner."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(COLUMNS)
    names = picture_names(work)
    for number, ((x, y), label) in enumerate(zip(work.points, work.labels, strict=True), start=1):
        rows.writerow([_plain(names[0]), "source", number, _plain(label), _short(x), _short(y), "", "", ""])
    for name, found in zip(names[1:], result.found, strict=True):
        for index, ((x, y), label) in enumerate(zip(found.points.tolist(), work.labels, strict=True)):
            moved = index in found.moved
            confidence = "" if moved else f"{found.matches.confidence[index]:.4f}"
            calibrated = "yes" if found.matches.calibration else "no"
            row = [_plain(name), "target", index + 1, _plain(label), _short(x), _short(y)]
            rows.writerow([*row, confidence, calibrated, "yes" if moved else "no"])
    return stream.getvalue().encode()


def coco_file(work: Workspace, result: Result) -> bytes:
    """A COCO key-points file of source and targets; ``score``, ``confidence`` and ``corrected`` are our own."""
    labels = work.labels
    category = Category(id=1, name=CATEGORY, keypoints=labels)
    assert work.source is not None  # noqa: S101  # export says so
    sides = [(work.source, np.array(work.points)), *((found.image, found.points) for found in result.found)]
    pictures = [
        (_annotated(name, points), image.size) for name, (image, points) in zip(picture_names(work), sides, strict=True)
    ]
    document: dict[str, Any] = truth_document([category], pictures)
    for record, found in zip(document["annotations"][1:], result.found, strict=True):
        record["score"] = round(float(np.mean(found.matches.confidence)), 4)
        record["confidence"] = [round(value, 4) for value in found.matches.confidence.tolist()]
        record["calibration"] = found.matches.calibration or "uncalibrated"
        record["corrected"] = sorted(index + 1 for index in found.moved)
    return (json.dumps({"info": {"description": f"semcorr app, {result.label}"}, **document}, indent=1) + "\n").encode()


def png_file(work: Workspace, source: Image, found: Found) -> bytes:
    """Source and target beside each other, as they stand on the page."""
    figure = match_figure(
        source,
        found.image,
        work.points,
        found.points,
        heatmaps=found.matches.heatmaps,
        confidence=found.matches.confidence,
        names=work.labels,
    )
    stream = io.BytesIO()
    figure.save(stream, format="PNG")
    return stream.getvalue()


def query_file(work: Workspace, result: Result) -> bytes:
    """The query with the names that the points have now, for ``semcorr locate``."""
    query = dataclasses.replace(result.query, names=work.labels)
    with tempfile.TemporaryDirectory(prefix="semcorr-export-") as folder:
        return query.save(Path(folder) / "query.safetensors").read_bytes()


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


def _annotated(name: str, points: np.ndarray) -> AnnotatedPicture:
    seen = np.full(len(points), VISIBLE)
    instance = Instance(category=CATEGORY, points=points.astype(np.float64), visibility=seen)
    return AnnotatedPicture(file=name, path=Path(name), instances=(instance,))


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
