"""Label Studio: its JSON export read, and pre-annotations (predictions) written that its importer takes.

Coordinates are percent of the picture's width and height, continuous like this package's own frame.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np

from semcorr.annotations.base import ADVICE, AnnotatedPicture, Annotations, Category, instance_of
from semcorr.annotations.records import FoundObject, TransferRecord
from semcorr.datasets.base import Box
from semcorr.datasets.files import Folder
from semcorr.datasets.image_paths import ImagePaths
from semcorr.files import is_file

TITLE = "Label Studio export"
_DEFAULT_CATEGORY = "object"
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of a file that was uploaded to it."""
_POINT_WIDTH = 0.75
"""Size of a point's dot in Label Studio, in percent of the picture's width."""


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a project's JSON export: a list of tasks.

    Key-points are regions of the type keypointlabels, and their labels are the key-points' names. A region of the type
    rectanglelabels is a thing's box and its label the category; key-points are its own if they name it as their parent,
    or if it is the picture's only box. Without boxes everything is one thing of the category "object". Of several
    annotations of a task the last that was not cancelled counts.

    Raises:
        DatasetError: it is missing or broken.
    """
    folder = Folder(root=path.parent, title=TITLE, advice=ADVICE)
    tasks = _tasks(folder, path)
    raw = [(_file(folder, path, task), _things(folder, path, task)) for task in tasks]
    names: dict[str, dict[str, None]] = {}
    for _, things in raw:
        for category, _, points in things:
            names.setdefault(category, {}).update(dict.fromkeys(points))
    categories = {
        name: Category(id=number, name=name, keypoints=tuple(found))
        for number, (name, found) in enumerate(names.items(), start=1)
    }
    if not any(category.keypoints for category in categories.values()):
        raise folder.wrong(f"expected key-points (regions of the type keypointlabels) in {str(path)!r}, got none.")
    pictures = ImagePaths(folder, images)
    found = []
    for file, things in raw:
        place = pictures.find(file)
        if not is_file(place) and _UPLOADED.match(file):
            file = _UPLOADED.sub("", file)  # the name that it had before the upload
            place = pictures.find(file)
        instances = tuple(instance_of(categories[name], points, box) for name, box, points in things)
        found.append(AnnotatedPicture(file=file, path=place, instances=instances))
    return Annotations(path=path, categories=categories, pictures=found)


def tasks(records: Iterable[TransferRecord], *, min_confidence: float, version: str) -> Iterator[dict[str, Any]]:
    """Yield tasks with predictions, as Label Studio imports them; pictures by their file names.

    Only points of at least ``min_confidence`` are drawn, so that a person adds what is missing and moves what is
    wrong. A thing with a box gets a rectangle, which its points name as their parent.
    """
    for record in records:
        if record.error is not None:
            continue
        result: list[dict[str, Any]] = []
        for number, thing in enumerate(record.objects):
            result += _regions(record, number, thing, min_confidence)
        scores = [thing.score for thing in record.objects]
        prediction = {"model_version": version, "score": round(float(np.mean(scores)), 4) if scores else 0.0}
        yield {"data": {"image": record.file}, "predictions": [{**prediction, "result": result}]}


def labelling_config(categories: Mapping[str, Category]) -> str:
    """The labelling interface (XML) that the tasks belong to."""
    names = dict.fromkeys(name for category in categories.values() for name in category.keypoints)
    labels = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in names)
    kinds = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in categories)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <KeyPointLabels name="keypoints" toName="image">\n{labels}\n  </KeyPointLabels>\n'
        f'  <RectangleLabels name="things" toName="image">\n{kinds}\n  </RectangleLabels>\n</View>\n'
    )


def _regions(record: TransferRecord, number: int, thing: FoundObject, min_confidence: float) -> list[dict[str, Any]]:
    width, height = record.size
    shared = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
    regions: list[dict[str, Any]] = []
    parent = f"thing-{number}"
    if thing.box is not None:
        x0, y0, x1, y1 = thing.box
        value = {
            "x": _percent(x0, width),
            "y": _percent(y0, height),
            "width": _percent(x1 - x0, width),
            "height": _percent(y1 - y0, height),
            "rotation": 0,
            "rectanglelabels": [thing.category],
        }
        regions.append({**shared, "id": parent, "from_name": "things", "type": "rectanglelabels", "value": value})
    for name, (x, y), confidence in zip(thing.names, thing.points, thing.confidence, strict=True):
        if not (np.isfinite(x) and confidence >= min_confidence):
            continue
        place = {"x": _percent(x, width), "y": _percent(y, height), "width": _POINT_WIDTH, "keypointlabels": [name]}
        region = {
            **shared,
            "id": f"{parent}-{name}",
            "from_name": "keypoints",
            "type": "keypointlabels",
            "score": round(float(confidence), 4),
            "value": place,
        }
        regions.append(region if thing.box is None else {**region, "parentID": parent})
    return regions


def _percent(value: float, whole: int) -> float:
    return round(min(max(100 * float(value) / whole, 0.0), 100.0), 4)


def _tasks(folder: Folder, path: Path) -> list[dict[str, Any]]:
    content = folder.content(path)
    for task in content if isinstance(content, list) else [content]:
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise folder.wrong(f"expected a list of tasks with 'data' in {str(path)!r}, got {task!r:.40}.")
    return content


def _file(folder: Folder, path: Path, task: dict[str, Any]) -> str:
    """The picture's name: Label Studio keeps an address, of which the end is the file's."""
    data = task["data"]
    address = data.get("image") or data.get("img") or next((v for v in data.values() if isinstance(v, str)), None)
    if not isinstance(address, str):
        raise folder.wrong(
            f"expected the address of a picture in every task's 'data' in {str(path)!r}, got {data!r:.40}."
        )
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise folder.wrong(f"expected the address of a picture in {str(path)!r}, got {address!r:.60}.") from error
    if not parts.scheme and not address.startswith("/"):
        return address
    local = parse_qs(parts.query).get("d")  # /data/local-files/?d=folder/name.jpg
    return PurePosixPath(unquote(local[0] if local else parts.path)).name


def _things(
    folder: Folder, path: Path, task: dict[str, Any]
) -> list[tuple[str, Box | None, dict[str, tuple[float, float]]]]:
    """Category, box and named points of each thing of a task, in pixels."""
    boxes: dict[str, tuple[str, Box | None, dict[str, tuple[float, float]]]] = {}
    loose: list[tuple[str | None, str, tuple[float, float]]] = []
    for region in _result(folder, path, task):
        kind, value = region.get("type"), region.get("value")
        if kind not in ("keypointlabels", "rectanglelabels") or not isinstance(value, dict):
            continue
        labels = value.get(kind)
        if not isinstance(labels, list) or not labels:
            continue
        sides = [region.get("original_width"), region.get("original_height")]
        width, height = folder.numbers(sides, 2, "'original_width' and 'original_height'", path)
        x, y = folder.numbers([value.get("x"), value.get("y")], 2, "'x' and 'y' of a region", path)
        at = (x / 100 * width, y / 100 * height)
        if kind == "keypointlabels":
            parent = region.get("parentID")
            loose.append((parent if isinstance(parent, str) else None, str(labels[0]), at))
            continue
        w, h = folder.numbers([value.get("width"), value.get("height")], 2, "the size of a rectangle", path)
        box = (at[0], at[1], at[0] + w / 100 * width, at[1] + h / 100 * height)
        boxes[str(region.get("id", len(boxes)))] = (str(labels[0]), box, {})
    only = next(iter(boxes)) if len(boxes) == 1 else ""
    for parent, name, at in loose:
        key = parent if parent in boxes else only
        if key not in boxes:
            boxes[key] = (_DEFAULT_CATEGORY, None, {})
        boxes[key][2][name] = at
    return list(boxes.values())


def _result(folder: Folder, path: Path, task: dict[str, Any]) -> list[dict[str, Any]]:
    annotations = task.get("annotations") or task.get("completions") or []
    if not isinstance(annotations, list):
        raise folder.wrong(f"expected 'annotations' as a list in {str(path)!r}, got {annotations!r:.40}.")
    done = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
    result = done[-1].get("result", []) if done else []
    if not isinstance(result, list):
        raise folder.wrong(f"expected 'result' as a list in {str(path)!r}, got {result!r:.40}.")
    return [region for region in result if isinstance(region, dict)]
