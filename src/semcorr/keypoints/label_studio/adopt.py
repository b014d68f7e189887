"""Annotations of other formats as Label Studio's own tasks, for its writer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.declared_size import coordinate_frame
from semcorr.keypoints.label_studio.controls import Controls
from semcorr.keypoints.label_studio.read import BESIDE_PREDICTIONS
from semcorr.keypoints.label_studio.tasks import Region
from semcorr.keypoints.provenance import MARK
from semcorr.keypoints.shapes import extent

_POINT_WIDTH = 0.75
"""Size of a point's dot in Label Studio, in percent of the image's width."""


def adopt(annotations: Annotations) -> Annotations:
    """Annotations of another format with a task for each image.

    Every object is a rectangle, its label the category, and the parent of its key-points; one without a box has the
    extent of its points. What was annotated is an annotation, what was predicted a prediction.
    """
    controls = Controls()
    images = [replace(image, source=_task(image, annotations.categories, controls)) for image in annotations.images]
    return replace(annotations, images=images, format="label-studio", source=controls)


def _task(image: AnnotatedImage, categories: Mapping[str, Category], controls: Controls) -> dict[str, Any]:
    task: dict[str, Any] = {"data": {controls.image: image.file}}
    size = coordinate_frame(image)
    numbered = list(enumerate(image.instances))
    # A box alone is a person's, whatever will predict points in it.
    predicted = [(number, one) for number, one in numbered if one.predicted]
    drawn = [(number, one) for number, one in numbered if not one.predicted]
    if size is not None and drawn:
        mark = {MARK: BESIDE_PREDICTIONS} if predicted else {}
        task["annotations"] = [{"result": list(_regions(drawn, categories, size, controls)), **mark}]
    if size is not None and predicted:
        scores = [one.score for _, one in predicted if one.score is not None]
        score = {"score": round(float(np.mean(scores)), 4)} if scores else {}
        result = list(_regions(predicted, categories, size, controls))
        task["predictions"] = [{"model_version": "semcorr", **score, "result": result}]
    return task


def _regions(
    objects: Sequence[tuple[int, Instance]],
    categories: Mapping[str, Category],
    size: tuple[int, int],
    controls: Controls,
) -> Iterator[Region]:
    for number, one in objects:
        key, marked = f"object-{number}", one.visibility > MISSING
        score = {} if one.score is None else {"score": round(one.score, 4)}
        x0, y0, x1, y1 = one.box or extent(one.points[marked])
        area = {"x": x0 / size[0], "y": y0 / size[1], "width": (x1 - x0) / size[0], "height": (y1 - y0) / size[1]}
        value = {**{side: _percent(part) for side, part in area.items()}, "rotation": 0}
        (control,) = controls.of_area(one.category)
        names = {"from_name": control.from_name, "to_name": control.to_name, "type": control.type}
        sides = {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
        yield {**sides, "id": key, **names, **score, "value": {**value, control.type: [one.category]}}
        for name, (x, y), is_marked in zip(
            categories[one.category].keypoints, one.points.tolist(), marked.tolist(), strict=True
        ):
            if is_marked:
                (control,) = controls.of_point(name)
                names = {"from_name": control.from_name, "to_name": control.to_name, "type": control.type}
                value = {"x": _percent(x / size[0]), "y": _percent(y / size[1]), "width": _POINT_WIDTH}
                labelled = {**value, control.type: [name]}
                yield {**sides, "id": f"{key}-{name}", **names, **score, "parentID": key, "value": labelled}


def _percent(part: float) -> float:
    return round(100 * part, 6)
