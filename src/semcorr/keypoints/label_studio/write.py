"""What is predicted as Label Studio's predictions: a project's own tasks with them, or new tasks."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from semcorr.imaging.geometry import Box
from semcorr.keypoints.base import AnnotatedImage, Annotations
from semcorr.keypoints.label_studio.controls import Controls, Drawn
from semcorr.keypoints.label_studio.read import Read, scored
from semcorr.keypoints.label_studio.regions import LOOSE, drawing_of
from semcorr.keypoints.label_studio.tasks import Region, Task
from semcorr.keypoints.predictions import PredictedObject, TransferRecord

_OURS = "semcorr"
"""How the version of predictions begins that are replaced by newer ones."""
_POINT_WIDTH = 0.75
"""Size of a point's dot in Label Studio, in percent of the image's width."""


def tasks(
    records: Iterable[TransferRecord], annotations: Annotations, *, min_confidence: float, version: str
) -> Iterator[dict[str, Any]]:
    """Yield tasks with predictions, as Label Studio imports them.

    Of an export all tasks are given as they were, with a prediction for what was predicted; it is drawn with the
    project's own controls, and names an object's rectangle as the parent of its points. Predictions that this package
    made before are replaced. Images of other files become tasks with their file names.

    Only points of at least ``min_confidence`` are drawn, so that a person adds what is missing and moves what is
    wrong.
    """
    predicted = {record.file: record for record in records if record.error is None}
    writer = _Writer(annotations, min_confidence, version)
    if annotations.format == "label-studio":
        for picture in annotations.images:
            record = predicted.pop(picture.file, None)
            yield picture.source if record is None else writer.completed(picture, record)
    for record in predicted.values():
        yield writer.new(record)


def labelling_config(annotations: Annotations) -> str:
    """The labelling interface (XML) that the tasks belong to."""
    return _controls_of(annotations).configuration(annotations.categories)


def _controls_of(annotations: Annotations) -> Controls:
    return annotations.source if isinstance(annotations.source, Controls) else Controls()


class _Writer:
    """Turns records into predictions."""

    def __init__(self, annotations: Annotations, min_confidence: float, version: str) -> None:
        self._annotations, self._min_confidence, self._version = annotations, min_confidence, version
        self._controls = _controls_of(annotations)
        # A rectangle tells the category. A project with a single one does not need it.
        project = annotations.format == "label-studio"
        self._always_boxed = not project or (bool(self._controls.areas) and len(annotations.categories) > 1)

    def new(self, record: TransferRecord) -> dict[str, Any]:
        """A task for an image that has none."""
        return {"data": {self._controls.image: record.file}, "predictions": [self._prediction(record, [], {})]}

    def completed(self, picture: AnnotatedImage, record: TransferRecord) -> dict[str, Any]:
        """A task of the project with a prediction more."""
        task = Task(name=picture.file, source=picture.source, path=self._annotations.path)
        before, submitted = task.listed("predictions"), task.submitted()
        kept: list[Read] = []
        if before:
            drawing = drawing_of(task, task.regions(before[-1]), lambda: record.size)
            # Without a box points stand for themselves, and there can be only one such object.
            ids = {LOOSE if found.box is None and found.id is None else found.id for found in record.objects}
            kept = [one for one in scored(drawing, before[-1].get("score")) if one.drawn.id not in ids]
        areas: dict[str, list[Region]] = {}
        for one in [*before[-1:], *submitted[-1:]]:  # of a region in both, the annotation's counts
            drawn: dict[str, list[Region]] = {}
            for region in task.regions(one):
                drawn.setdefault(str(region.get("id")), []).append(region)
            areas |= drawn
        others = [one for one in before if not str(one.get("model_version", "")).startswith(_OURS)]
        return {**picture.source, "predictions": [*others, self._prediction(record, kept, areas)]}

    def _prediction(
        self, record: TransferRecord, kept: list[Read], areas: Mapping[str, list[Region]]
    ) -> dict[str, Any]:
        result = [region for one in kept for region in one.drawn.regions]
        used = {str(region.get("id")) for region in result} | set(areas)
        scores = [one.score for one in kept if one.score is not None]
        number = 0
        for found in record.objects:
            while f"object-{number}" in used:
                number += 1
            key = found.id if isinstance(found.id, str) and found.id in areas else f"object-{number}"
            used.add(key)
            result += self._regions(record, key, found, areas.get(key))
            scores.append(found.score)
        score = round(float(np.mean(scores)), 4) if scores else 0.0
        return {"model_version": self._version, "score": score, "result": result}

    def _regions(
        self, record: TransferRecord, key: str, found: PredictedObject, area: list[Region] | None
    ) -> list[Region]:
        sure = np.isfinite(found.points).all(axis=1) & (found.confidence >= self._min_confidence)
        score = round(found.score, 4)
        box = found.box or (_extent(found.points[sure]) if self._always_boxed and sure.any() else None)
        regions: list[Region] = []
        if area is not None:
            regions += [{**area[0], "score": score}, *area[1:]]
        elif box is not None:
            width, height = record.size
            x0, y0, x1, y1 = box
            value = {
                "x": _percent(x0, width),
                "y": _percent(y0, height),
                "width": _percent(x1 - x0, width),
                "height": _percent(y1 - y0, height),
                "rotation": 0,
            }
            regions += _drawn(record, self._controls.of_area(found.category), key, value, found.category, score)
        parent = {"parentID": key} if regions else {}
        for name, (x, y), confidence, drawn in zip(found.names, found.points, found.confidence, sure, strict=True):
            if drawn:
                value = {
                    "x": _percent(x, record.size[0]),
                    "y": _percent(y, record.size[1]),
                    "width": _POINT_WIDTH,
                }
                controls, score = self._controls.of_point(name), round(float(confidence), 4)
                point = _drawn(record, controls, f"{key}-{name}", value, name, score)
                regions += [{**region, **parent} for region in point]
        return regions


def _drawn(
    record: TransferRecord, controls: Drawn, key: str, value: Mapping[str, Any], label: str, score: float
) -> list[Region]:
    """The regions of one drawn thing: one, or a plain one and the labels beside it."""
    return [
        {
            "original_width": record.size[0],
            "original_height": record.size[1],
            "image_rotation": 0,
            "id": key,
            "from_name": control.from_name,
            "to_name": control.to_name,
            "type": control.type,
            "score": score,
            "value": {**value, control.type: [label]} if control.type.endswith("labels") else dict(value),
        }
        for control in controls
    ]


def _extent(points: np.ndarray) -> Box:
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def _percent(value: float, whole: int) -> float:
    return round(min(max(100 * float(value) / whole, 0.0), 100.0), 4)
