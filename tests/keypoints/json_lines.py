"""JSON lines, as an example of a new annotation format: a line for each object, with its points by name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.keypoints.annotation_format import AnnotationFormat, ExportOptions, Records
from semcorr.keypoints.base import VISIBLE, AnnotatedImage, Annotations, Category, Instance, instance_of
from semcorr.keypoints.file_reader import annotation_file
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.storage.files import write_atomically


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read lines such as {"image": "a.png", "category": "cat", "points": {"ear": [1, 2]}}."""
    file = annotation_file(path, "JSON lines")
    lines = [json.loads(line) for line in file.lines()]
    names: dict[str, dict[str, None]] = {}
    for line in lines:
        names.setdefault(file.field(line, "category", str), {}).update(dict.fromkeys(file.field(line, "points", dict)))
    categories = {name: Category(id=name, name=name, keypoints=tuple(points)) for name, points in names.items()}
    instances: dict[str, list[Instance]] = {}
    for line in lines:
        points = {name: (x, y, VISIBLE) for name, (x, y) in line["points"].items()}
        one = instance_of(categories[line["category"]], points, predicted=line.get("predicted", False))
        instances.setdefault(file.field(line, "image", str), []).append(one)
    located = ImagePaths(file.folder, images).find_all(instances)
    return Annotations(
        path=path,
        categories=categories,
        images=[AnnotatedImage(file=name, path=located[name], instances=tuple(own)) for name, own in instances.items()],
        format="json-lines",
    )


def write(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write a line for every object that was annotated and every one that is predicted."""
    lines = [*_annotated(annotations), *_predicted(records, options.min_confidence)]
    return [write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines).encode())]


def _annotated(annotations: Annotations) -> Iterator[dict[str, Any]]:
    for image in annotations.images:
        for one in image.instances:
            names = annotations.categories[one.category].keypoints
            known = zip(names, one.points.tolist(), one.visibility, strict=True)
            points = {name: point for name, point, mark in known if mark == VISIBLE}
            yield {"image": image.file, "category": one.category, "points": points, "predicted": one.predicted}


def _predicted(records: Records, min_confidence: float) -> Iterator[dict[str, Any]]:
    for record in records():
        for one in record.objects:
            confident = np.isfinite(one.points).all(axis=1) & (one.confidence >= min_confidence)
            known = zip(one.names, one.points.tolist(), confident, strict=True)
            points = {name: point for name, point, shown in known if shown}
            yield {"image": record.file, "category": one.category, "points": points, "predicted": True}


FORMAT = AnnotationFormat(name="json-lines", title="JSON lines", suffix=".jsonl", read=read, write=write)
