"""COCO's key-point files, written; :mod:`semcorr.keypoints.coco.read` reads them.

COCO's x and y count pixels from 0 and name a pixel, whose middle is half a pixel further on in the frame that this
package uses; boxes (x, y, width, height) are edges in both.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BufferedIOBase
from typing import Any

import numpy as np

from semcorr.errors import ImageError
from semcorr.imaging.geometry import Box
from semcorr.imaging.image import image_size
from semcorr.keypoints.base import (
    MISSING,
    VISIBLE,
    AnnotatedImage,
    Annotations,
    Category,
    Instance,
)
from semcorr.keypoints.coco.document import FOUND
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.keypoints.provenance import MARK, predicted_mark


def write(
    stream: BufferedIOBase,
    annotations: Annotations,
    records: Callable[[], Iterable[TransferRecord]],
    *,
    min_confidence: float,
    info: Mapping[str, Any],
) -> None:
    """Write a COCO file with what was there and what was predicted, image by image.

    Whatever a COCO file held stays as it is, and an object that had a box but no points gets them in its own
    annotation, under its own box. What is predicted carries a mark, ``semcorr``, by which the reader knows it again.

    A key-point is marked visible (v = 2) where its confidence is at least ``min_confidence``; else it stands as COCO
    writes what nobody marked (0, 0, 0). ``keypoints_found`` (x, y and confidence of each, in the pixels of
    ``keypoints``; null where no support shows it) and ``score``, their mean confidence, are fields beside COCO's own,
    and tell the others as well.

    Args:
        stream: What is written to.
        annotations: What was there.
        records: Called twice; gives what was found.
        min_confidence: From where on a point is marked as visible.
        info: Goes into the field ``semcorr`` at the top.
    """
    content, numbers = _content(annotations)
    images = _images_by_file(content["images"])
    completed = _completed(records(), numbers)
    kept = (record for record in content["annotations"] if record["id"] not in completed)
    added = _annotations(annotations, records(), content["annotations"], images, numbers, min_confidence)
    parts: list[tuple[str, Iterable[Any]]] = [
        # The first fills in the ids of new images, which the second needs: they are written in this order.
        ("images", itertools.chain(content["images"], _added_images(records(), images))),
        ("annotations", itertools.chain(kept, added)),
    ]
    stream.write(b"{" + _bytes("semcorr") + b": " + _bytes(dict(info)))
    for key, value in content.items():
        if key not in ("images", "annotations", "semcorr"):
            stream.write(b",\n" + _bytes(key) + b": " + _bytes(value))
    for key, entries in parts:
        stream.write(b",\n" + _bytes(key) + b": [")
        for number, entry in enumerate(entries):
            stream.write((b",\n" if number else b"\n") + _bytes(entry))
        stream.write(b"\n]")
    stream.write(b"}\n")


def keypoints_of(points: Any, visibility: Any) -> list[float]:
    """COCO's flat list of x, y, v of continuous points; (0, 0, 0) where v is 0."""
    flat: list[float] = []
    for (x, y), mark in zip(points, visibility, strict=True):
        flat += [0, 0, 0] if mark == MISSING else [_short(x - 0.5), _short(y - 0.5), int(mark)]
    return flat


def truth_document(categories: Sequence[Category], pictures: Iterable[tuple[AnnotatedImage, tuple[int, int]]]) -> Any:
    """A COCO file of pictures, each with its (width, height), and the things in them."""
    numbers = {category.name: category.id for category in categories}
    images: list[dict[str, Any]] = []
    things: list[dict[str, Any]] = []
    for number, (picture, size) in enumerate(pictures, start=1):
        images.append({"id": number, "file_name": picture.file, "width": size[0], "height": size[1]})
        for instance in picture.instances:
            box = instance.box or extent(instance.points[instance.visibility > 0])
            things.append(
                {
                    "id": len(things) + 1,
                    "image_id": number,
                    "category_id": numbers[instance.category],
                    "keypoints": keypoints_of(instance.points, instance.visibility),
                    "num_keypoints": int((instance.visibility > 0).sum()),
                    **box_fields(box),
                    **(_mark_fields(instance) if instance.predicted else {}),
                }
            )
    return {
        "images": images,
        "annotations": things,
        "categories": [category_record(category) for category in categories],
    }


def _mark_fields(instance: Instance) -> dict[str, Any]:
    return {**({} if instance.score is None else {"score": round(instance.score, 4)}), MARK: predicted_mark()}


def box_fields(box: Box) -> dict[str, Any]:
    """``bbox``, ``area`` and ``iscrowd`` of (x0, y0, x1, y1)."""
    width, height = box[2] - box[0], box[3] - box[1]
    return {
        "bbox": [_short(value) for value in (box[0], box[1], width, height)],
        "area": _short(width * height),
        "iscrowd": 0,
    }


def category_record(category: Category) -> dict[str, Any]:
    """A category as COCO has it."""
    return {
        "id": category.id,
        "name": category.name,
        "supercategory": category.name,
        "keypoints": list(category.keypoints),
        "skeleton": [list(bone) for bone in category.skeleton],
    }


def extent(points: np.ndarray) -> Box:
    """The smallest box around points; of no points an empty one."""
    if not len(points):
        return 0.0, 0.0, 0.0, 0.0
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


_Numbers = Mapping[tuple[str, int | str], int | str]
"""The output's id of an object by its image's file and its id in the input."""


def _content(annotations: Annotations) -> tuple[dict[str, Any], _Numbers]:
    """What the file held, or what a file of another format would hold if it were COCO; and its objects' ids."""
    known = [
        (picture.file, instance.id)
        for picture in annotations.images
        for instance in picture.instances
        if instance.id is not None
    ]
    if annotations.document:
        content = {**annotations.document, "annotations": annotations.document.get("annotations") or []}
        return content, {(file, number): number for file, number in known}
    sized = [(picture, size) for picture in annotations.images if (size := _frame(picture)) is not None]
    content = truth_document(list(annotations.categories.values()), sized)
    objects = [(picture.file, instance.id) for picture, _ in sized for instance in picture.instances]
    written = zip(objects, content["annotations"], strict=True)
    return content, {(file, number): record["id"] for (file, number), record in written if number is not None}


def _frame(picture: AnnotatedImage) -> tuple[int, int] | None:
    """The (width, height) of the frame that an image's coordinates are in; None if nothing says it."""
    try:
        actual = image_size(picture.path)
    except ImageError:
        return picture.size
    return actual if picture.size in (None, actual[::-1]) else picture.size


def _images_by_file(images: Iterable[Mapping[str, Any]]) -> dict[str, int | str]:
    """The id of each image file; of several the first."""
    found: dict[str, int | str] = {}
    for record in images:
        found.setdefault(record["file_name"], record["id"])
    return found


def _new_ids(known: Iterable[float | str]) -> Iterator[int | str]:
    """Ids that nobody has as yet: whole numbers, as texts where all known ones are texts."""
    ids = list(known)
    first = max((int(one) for one in ids if not isinstance(one, str) or one.isdecimal()), default=0) + 1
    texts = bool(ids) and all(isinstance(one, str) for one in ids)
    return (str(number) if texts else number for number in itertools.count(first))


def _added_images(records: Iterable[TransferRecord], images: dict[str, int | str]) -> Iterator[dict[str, Any]]:
    """Images that the file does not name as yet; their ids go into ``images``."""
    following = _new_ids(images.values())
    for record in records:
        if record.error is None and record.file not in images:
            images[record.file] = number = next(following)
            yield {"id": number, "file_name": record.file, "width": record.size[0], "height": record.size[1]}


def _completed(records: Iterable[TransferRecord], numbers: _Numbers) -> set[int | str]:
    """The file's own annotations that get their points now."""
    keys = ((record.file, found.id) for record in records for found in record.objects if found.id is not None)
    return {numbers[key] for key in keys if key in numbers}


def _annotations(
    annotations: Annotations,
    records: Iterable[TransferRecord],
    known: Sequence[Mapping[str, Any]],
    images: Mapping[str, int | str],
    numbers: _Numbers,
    min_confidence: float,
) -> Iterator[dict[str, Any]]:
    had = {record["id"]: record for record in known}
    following = _new_ids(had)
    for record in records:
        for found in record.objects:
            entry = _annotation(found, annotations.categories[found.category].id, min_confidence)
            own = None if found.id is None else numbers.get((record.file, found.id))
            if own is None:
                yield {"id": next(following), "image_id": images[record.file], **entry}
                continue
            if found.box is not None and had[own].get("bbox"):
                # Looked for in the file's own box, which stays as it is.
                entry = {key: value for key, value in entry.items() if key not in ("bbox", "area", "iscrowd")}
            yield {**had[own], **entry}


def _bytes(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _annotation(found: PredictedObject, category: int | str, min_confidence: float) -> dict[str, Any]:
    known = np.isfinite(found.points).all(axis=1)
    sure = known & (found.confidence >= min_confidence)
    fallback = extent(found.points[sure] if sure.any() else found.points[known])
    listed: list[float | None] = []
    for (x, y), confidence, there in zip(found.points, found.confidence, known, strict=True):
        listed += [_short(x - 0.5), _short(y - 0.5), round(float(confidence), 4)] if there else [None, None, 0.0]
    return {
        "category_id": category,
        "keypoints": keypoints_of(found.points, np.where(sure, VISIBLE, MISSING)),
        "num_keypoints": int(sure.sum()),
        **box_fields(found.box or fallback),
        "score": round(found.score, 4),
        FOUND: listed,
        MARK: predicted_mark(),
    }


def _short(value: float) -> float:
    """Two decimals, a whole number where there are none."""
    rounded = round(float(value), 2)
    return int(rounded) if math.isfinite(rounded) and rounded == int(rounded) else rounded
