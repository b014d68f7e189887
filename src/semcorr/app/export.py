"""The files of *Export*: matches as COCO, CSV and figures, the query, and regions, one by one and in one archive.

All numbers are in pixels of the images that were sent, also where those were scaled down for matching.
"""

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

from semcorr.app.export_regions import region_files
from semcorr.app.find import join_queries
from semcorr.app.images import free_name, original_size, to_original
from semcorr.app.workspace import Cell, Point, Workspace
from semcorr.errors import PointError
from semcorr.imaging.image import Image
from semcorr.keypoints.base import MISSING, VISIBLE, AnnotatedImage, Category, Instance
from semcorr.keypoints.coco import build_document
from semcorr.keypoints.provenance import ACCEPTED, MARK, PREDICTED, predicted_mark
from semcorr.visualization.matches import match_figure

CATEGORY = "object"
COLUMNS = (
    "image",
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
"""Characters that are not allowed in file names somewhere, or lead out of a folder there, as a backslash does."""


def export(work: Workspace) -> dict[str, bytes]:
    """All files of a workspace by name; ``semcorr-matches.zip`` holds the others.

    Raises:
        PointError: No point has a location in any target, and no target has the regions.
    """
    files = {**_match_files(work), **region_files(work, image_names(work))}
    if not files:
        raise PointError("There is nothing to export yet: press Find first.")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return {"semcorr-matches.zip": archive.getvalue(), **files}


def _match_files(work: Workspace) -> dict[str, bytes]:
    """The files about points; none where no point has a location in any target."""
    if work.source is None or not any(located(work, target) for target in work.target_ids):
        return {}
    files = {"matches.csv": csv_file(work), "matches.coco.json": coco_file(work), **query_files(work)}
    for name, target, image in zip(image_names(work)[1:], work.target_ids, work.targets, strict=True):
        if located(work, target):
            # Images may differ in their suffix alone.
            files[free_name(f"{Path(name).stem}-matches.png", files)] = figure_file(work, work.source, target, image)
    return files


def located(work: Workspace, target: int) -> dict[int, Point]:
    """The points' locations in a target, in pixels of its held image, by the points' indices.

    Points that are not found yet are left out, and so are outdated predictions.
    """
    locations: dict[int, Point] = {}
    for index, point in enumerate(work.ids):
        cell = (target, point)
        location = work.location(cell)
        if location is not None and (cell in work.decisions or not work.outdated(cell)):
            locations[index] = location
    return locations


def count_left_out(work: Workspace) -> int:
    """The number of points in targets that are not exported, where any are found: not found yet, or outdated."""
    if not work.matches and not work.decisions:
        return 0
    return sum(len(work.ids) - len(located(work, target)) for target in work.target_ids)


def csv_file(work: Workspace) -> bytes:
    """A row for each point of each image, source first; x and y are pixels, (0, 0) the image's top-left corner."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(COLUMNS)
    names = image_names(work)
    for number, ((x, y), label) in enumerate(zip(_query_points(work), work.labels, strict=True), start=1):
        rows.writerow([_plain(names[0]), "source", number, _plain(label), _short(x), _short(y), "", "", "", ""])
    for name, target in zip(names[1:], work.target_ids, strict=True):
        for index, (x, y) in _in_original(work, target).items():
            cell = (target, work.ids[index])
            state, match = _state(work, cell), work.matches.get(cell)
            confidence = "" if match is None or state == "corrected" else f"{match.confidence:.4f}"
            calibrated = _yes(match is not None and match.prediction.matches.calibration is not None)
            row = [_plain(name), "target", index + 1, _plain(work.labels[index]), _short(x), _short(y)]
            mark = PREDICTED if state == PREDICTED else ACCEPTED
            rows.writerow([*row, confidence, calibrated, _yes(state == "corrected"), mark])
    return stream.getvalue().encode()


def coco_file(work: Workspace) -> bytes:
    """A COCO key-point file of source and targets.

    An object with any predicted point is marked as predicted. ``score``, ``confidence``, ``calibration``,
    ``corrected`` and ``accepted`` (the points' numbers, from 1) are not COCO's own.
    """
    category = Category(id=1, name=CATEGORY, keypoints=work.labels)
    assert work.source is not None  # noqa: S101  # export made sure
    names, images = image_names(work), [work.source, *work.targets]
    locations = [dict(enumerate(_query_points(work))), *(_in_original(work, target) for target in work.target_ids)]
    annotated = [
        (_annotated(name, points, len(work.points)), original_size(image))
        for name, image, points in zip(names, images, locations, strict=True)
    ]
    document: dict[str, Any] = build_document([category], annotated)
    targets = [target for target in work.target_ids if located(work, target)]
    for record, target in zip(document["annotations"][1:], targets, strict=True):
        record |= _extra_fields(work, target)
    made_with = ", ".join(["semcorr app", *sorted({match.label for match in work.matches.values()})])
    return (json.dumps({"info": {"description": made_with}, **document}, indent=1) + "\n").encode()


def _extra_fields(work: Workspace, target: int) -> dict[str, Any]:
    """The fields of a target's object beyond COCO's."""
    cells = {index: (target, work.ids[index]) for index in located(work, target)}
    states = {index: _state(work, cell) for index, cell in cells.items()}
    matches = {index: work.matches[cell] for index, cell in cells.items() if cell in work.matches}
    confidence = {index: round(match.confidence, 4) for index, match in matches.items()}
    calibrations = {match.prediction.matches.calibration for match in matches.values()}
    return {
        MARK: predicted_mark() if PREDICTED in states.values() else {ACCEPTED: True},
        "score": round(sum(confidence.values()) / len(confidence), 4) if confidence else 1.0,
        "confidence": [confidence.get(index) for index in range(len(work.ids))],
        "calibration": (calibrations.pop() if len(calibrations) == 1 else None) or "uncalibrated",
        "corrected": sorted(index + 1 for index, state in states.items() if state == "corrected"),
        "accepted": sorted(index + 1 for index, state in states.items() if state == ACCEPTED),
    }


def figure_file(work: Workspace, source: Image, target: int, image: Image) -> bytes:
    """Source and target side by side, as on the page, as PNG."""
    points = located(work, target)
    matches = [work.matches.get((target, work.ids[index])) for index in points]
    heatmaps = [match.prediction.matches.heatmaps[match.index] for match in matches if match is not None]
    complete = len(heatmaps) == len(points) and len({heatmap.shape for heatmap in heatmaps}) == 1
    figure = match_figure(
        source,
        image,
        [work.points[index] for index in points],
        list(points.values()),
        heatmaps=np.stack(heatmaps) if complete else None,
        # A point that a person located and no method predicted has no confidence.
        confidence=[match.confidence for match in matches if match is not None] if complete else None,
        names=[work.labels[index] for index in points],
    )
    stream = io.BytesIO()
    figure.save(stream, format="PNG")
    return stream.getvalue()


def query_files(work: Workspace) -> dict[str, bytes]:
    """The described points as queries for ``semcorr locate``, with their present names; outdated ones are left out.

    One file, or one for each method where points were described by several.
    """
    assert work.source is not None  # noqa: S101  # export made sure
    index_of = {id_: index for index, id_ in enumerate(work.ids)}
    current = {
        id_: work.described[id_]
        for id_, point in zip(work.ids, work.points, strict=True)
        if id_ in work.described and work.described[id_].point == point
    }
    files = {}
    queries = join_queries(current)
    with tempfile.TemporaryDirectory(prefix="semcorr-export-") as folder:
        for number, (ids, query) in enumerate(queries, start=1):
            rows = {index_of[id_]: row for row, id_ in enumerate(ids)}
            order = sorted(rows)
            taken = query.take([rows[index] for index in order])
            named = dataclasses.replace(
                taken,
                names=tuple(work.labels[index] for index in order),
                points=np.array([to_original(work.source, (x, y)) for x, y in taken.points.tolist()]).reshape(-1, 2),
                image_size=original_size(work.source),
            )
            name = "query.safetensors" if len(queries) == 1 else f"query-{number}.safetensors"
            files[name] = named.save(Path(folder) / name).read_bytes()
    return files


def image_names(work: Workspace) -> list[str]:
    """File names of the source and every target, safe and all different."""
    names: list[str] = []
    for image in [work.source, *work.targets]:
        name = _UNSAFE.sub("_", Path(getattr(image, "name", "") or "image").name).strip(". ") or "image"
        names.append(free_name(name, names))
    return names


def _query_points(work: Workspace) -> list[Point]:
    """The query points, in pixels of the source as it was sent."""
    assert work.source is not None  # noqa: S101  # there are no points without one
    return [to_original(work.source, point) for point in work.points]


def _in_original(work: Workspace, target: int) -> dict[int, Point]:
    """The same as :func:`located`, in pixels of the target as it was sent."""
    image = work.targets[work.target_ids.index(target)]
    return {index: to_original(image, point) for index, point in located(work, target).items()}


def _annotated(name: str, points: Mapping[int, Point], count: int) -> AnnotatedImage:
    array, marks = np.full((count, 2), np.nan), np.full(count, MISSING)
    for index, point in points.items():
        array[index], marks[index] = point, VISIBLE
    instances = (Instance(category=CATEGORY, points=array, visibility=marks),) if points else ()
    return AnnotatedImage(file=name, path=Path(name), instances=instances)


def _state(work: Workspace, cell: Cell) -> str:
    return work.decisions[cell].how if cell in work.decisions else PREDICTED


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


_FORMULAS = tuple("=+-@＝＋－＠")  # some programs take the full-width ones for formulas, too
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
"""A carriage return in a name would begin a new row."""


def _plain(text: str) -> str:
    """Text in one line that no spreadsheet takes for a formula."""
    text = _CONTROLS.sub(" ", text).strip()
    return f"'{text}" if text[:1] in _FORMULAS else text


def media_type(name: str) -> str:
    """The media type that a file is served as."""
    kinds = {".zip": "application/zip", ".csv": "text/csv; charset=utf-8", ".json": "application/json"}
    return {**kinds, ".png": "image/png"}.get(Path(name).suffix, "application/octet-stream")


def in_order(names: Sequence[str]) -> list[str]:
    """The files in the order in which the page lists them: the archive first, figures last."""
    return sorted(names, key=lambda name: (not name.endswith(".zip"), name.endswith(".png"), name))
