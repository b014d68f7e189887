"""Writing Label Studio's predictions: a project's own tasks with them, or new tasks."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.imaging.geometry import Box
from semcorr.keypoints.annotation_format import ExportOptions, Records
from semcorr.keypoints.base import AnnotatedImage, Annotations
from semcorr.keypoints.file_reader import annotation_file
from semcorr.keypoints.label_studio.config import path_beside
from semcorr.keypoints.label_studio.controls import Controls, RegionControls
from semcorr.keypoints.label_studio.read import TaskObject, with_scores
from semcorr.keypoints.label_studio.regions import LOOSE, drawing_of
from semcorr.keypoints.label_studio.tasks import TITLE, Region, Task
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.keypoints.shapes import extent
from semcorr.storage.files import atomic_file, is_file, write_atomically

_OURS = "semcorr"
"""The prefix of the version of predictions that are replaced by newer ones."""
POINT_WIDTH = 0.75
"""Size of a point's dot in Label Studio, in percent of the image's width."""


def write(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write the tasks, and beside them the labelling interface that they belong to, as .config.xml.

    It is the one beside the input, if there is one.
    """
    version = f"semcorr {options.info.get('method', '')}".strip()
    with atomic_file(path) as stream:
        listed = tasks(records(), annotations, min_confidence=options.min_confidence, version=version)
        for number, task in enumerate(listed):
            stream.write((b",\n" if number else b"[\n") + json.dumps(task, allow_nan=False).encode())
        stream.write(b"\n]\n" if stream.tell() else b"[]\n")
    own = path_beside(annotations.path)
    known = own.read_bytes() if annotations.format == "label-studio" and is_file(own) else None
    interface = write_atomically(path_beside(path), known or labelling_config(annotations).encode(errors="replace"))
    return [path, interface]


def tasks(
    records: Iterable[TransferRecord], annotations: Annotations, *, min_confidence: float, version: str
) -> Iterator[dict[str, Any]]:
    """Yield tasks with predictions, as Label Studio imports them.

    Of an export all tasks are kept, with a prediction for what was predicted; it is drawn with the project's own
    controls, and names an object's rectangle as the parent of its points. Predictions that this package made before are
    replaced. Images of other files become tasks with their file names.

    Only points of at least ``min_confidence`` are drawn, so that a person adds what is missing and moves what is
    wrong.
    """
    predicted = {record.file: record for record in records if record.error is None}
    writer = _Writer(annotations, min_confidence, version)
    if annotations.format == "label-studio":
        for image in annotations.images:
            record = predicted.pop(image.file, None)
            yield image.source if record is None else writer.completed(image, record)
    for record in predicted.values():
        yield writer.new(record)


def labelling_config(annotations: Annotations) -> str:
    """The labelling interface (XML) that the tasks belong to."""
    return controls_of(annotations).configuration(annotations.categories)


def controls_of(annotations: Annotations) -> Controls:
    """The controls of a project; the default ones for a file of another format."""
    return annotations.source if isinstance(annotations.source, Controls) else Controls()


class _Writer:
    """Turns records into predictions."""

    def __init__(self, annotations: Annotations, min_confidence: float, version: str) -> None:
        self._file = annotation_file(annotations.path, TITLE)
        self._min_confidence, self._version = min_confidence, version
        self._controls = controls_of(annotations)
        # A rectangle's label is the category. A project with a single category does not need it.
        is_project = annotations.format == "label-studio"
        self._always_boxed = not is_project or (bool(self._controls.areas) and len(annotations.categories) > 1)

    def new(self, record: TransferRecord) -> dict[str, Any]:
        """A task for an image that has none."""
        return {"data": {self._controls.image: record.file}, "predictions": [self._prediction(record, [], {})]}

    def completed(self, image: AnnotatedImage, record: TransferRecord) -> dict[str, Any]:
        """A task of the project with one more prediction."""
        task = Task(name=image.file, source=image.source, file=self._file)
        before, submitted = task.listed("predictions"), task.submitted()
        kept: list[TaskObject] = []
        if before:
            drawing = drawing_of(task, task.regions(before[-1]), lambda: record.size)
            # Points without a box stand for themselves, and there can be only one such object.
            ids = {LOOSE if one.box is None and one.id is None else one.id for one in record.objects}
            kept = [one for one in with_scores(drawing, before[-1].get("score")) if one.drawn.id not in ids]
        areas: dict[str, list[Region]] = {}
        for one in [*before[-1:], *submitted[-1:]]:  # of a region in both, the annotation's counts
            regions: dict[str, list[Region]] = {}
            for region in task.regions(one):
                regions.setdefault(str(region.get("id")), []).append(region)
            areas |= regions
        others = [one for one in before if not str(one.get("model_version", "")).startswith(_OURS)]
        return {**image.source, "predictions": [*others, self._prediction(record, kept, areas)]}

    def _prediction(
        self, record: TransferRecord, kept: list[TaskObject], areas: Mapping[str, list[Region]]
    ) -> dict[str, Any]:
        result = [region for one in kept for region in one.drawn.regions]
        used = {str(region.get("id")) for region in result} | set(areas)
        scores = [one.score for one in kept if one.score is not None]
        number = 0
        for predicted in record.objects:
            while f"object-{number}" in used:
                number += 1
            own = predicted.id if isinstance(predicted.id, str) and predicted.id in areas else f"object-{number}"
            used.add(own)
            result += self._regions(record, own, predicted, areas.get(own))
            scores.append(predicted.score)
        score = round(float(np.mean(scores)), 4) if scores else 0.0
        return {"model_version": self._version, "score": score, "result": result}

    def _regions(
        self, record: TransferRecord, key: str, predicted: PredictedObject, area: list[Region] | None
    ) -> list[Region]:
        confident = np.isfinite(predicted.points).all(axis=1) & (predicted.confidence >= self._min_confidence)
        score = round(predicted.score, 4)
        around_points = extent(predicted.points[confident]) if self._always_boxed and confident.any() else None
        box = predicted.box or around_points
        regions: list[Region] = []
        if area is not None:
            regions += [{**area[0], "score": score}, *area[1:]]
        elif box is not None:
            value = rectangle_value(box, record.size)
            controls = self._controls.of_area(predicted.category)
            regions += drawn(record.size, controls, key, value, predicted.category, score)
        parent = {"parentID": key} if regions else {}
        points = zip(predicted.names, predicted.points, predicted.confidence, confident, strict=True)
        for name, (x, y), confidence, is_drawn in points:
            if is_drawn:
                value = {
                    "x": percent(x, record.size[0]),
                    "y": percent(y, record.size[1]),
                    "width": POINT_WIDTH,
                }
                controls, score = self._controls.of_point(name), round(float(confidence), 4)
                point = drawn(record.size, controls, f"{key}-{name}", value, name, score)
                regions += [{**region, **parent} for region in point]
        return regions


def drawn(
    size: tuple[int, int],
    controls: RegionControls,
    key: str,
    value: Mapping[str, Any],
    label: str,
    score: float | None,
) -> list[Region]:
    """The regions of a key-point or a rectangle: one, or a plain one and the labels beside it.

    Args:
        size: The image's (width, height).
        controls: What they are drawn with.
        key: Their id.
        value: Where they are, in per cent of the image.
        label: Their label.
        score: Of a prediction; None for none.
    """
    return [
        {
            "original_width": size[0],
            "original_height": size[1],
            "image_rotation": 0,
            "id": key,
            "from_name": control.from_name,
            "to_name": control.to_name,
            "type": control.type,
            **({} if score is None else {"score": round(score, 4)}),
            "value": {**value, control.type: [label]} if control.type.endswith("labels") else dict(value),
        }
        for control in controls
    ]


def rectangle_value(box: Box, size: tuple[int, int]) -> dict[str, float]:
    """A rectangle in per cent of an image of ``size`` (width, height)."""
    x0, y0, x1, y1 = box
    return {
        "x": percent(x0, size[0]),
        "y": percent(y0, size[1]),
        "width": percent(x1 - x0, size[0]),
        "height": percent(y1 - y0, size[1]),
        "rotation": 0,
    }


def percent(value: float, whole: int) -> float:
    """A coordinate in per cent of the image's side, with four decimals."""
    return round(min(max(100 * float(value) / whole, 0.0), 100.0), 4)
