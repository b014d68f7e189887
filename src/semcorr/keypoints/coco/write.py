"""Writing COCO's key-point files; :mod:`semcorr.keypoints.coco.read` says in which frame their coordinates are."""

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.imaging.geometry import Box, to_pixel_indices
from semcorr.keypoints.annotation_format import ExportOptions, Records
from semcorr.keypoints.base import MISSING, VISIBLE, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.coco.document import PREDICTED_POINTS
from semcorr.keypoints.corrections import Corrections, corrected_images
from semcorr.keypoints.declared_size import coordinate_frame
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.keypoints.provenance import MARK, VOTES, predicted_mark, reviewed_mark, votes_of
from semcorr.keypoints.shapes import box_around, extent
from semcorr.storage.files import atomic_file

_Ids = Mapping[tuple[str, int | str], int | str]
"""The output's id of an object by its image's file and its id in the input."""


def write(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write a COCO file with what was annotated and what was predicted, image by image.

    What a COCO file held stays as it is, and an object that had a box but no points gets them in its own annotation,
    under its own box. Predictions have a mark, ``semcorr``, by which the reader recognizes them.

    A key-point is marked visible (v = 2) where its confidence is at least ``options.min_confidence``; others are
    written as COCO writes points that nobody marked (0, 0, 0). Two fields beside COCO's own hold all of them:
    ``keypoints_found`` (x, y and confidence of each, in the pixels of ``keypoints``; null where no support shows it)
    and ``score``, their mean confidence. ``votes`` in the mark are a list for each key-point: how much each of the
    objects that the field ``semcorr`` at the top names as its ``sources`` speaks for the point. ``options.info`` goes
    into that field; a file gets no empty one.

    The box of an object that has none is the extent of its points; with ``options.margin`` there is room around those
    of ``annotations``, and then the file does not say any more that nobody drew them.
    """
    content, ids = _content(_with_room(annotations, options.margin) if options.margin else annotations)
    images = _images_by_file(content["images"])
    completed = _completed(records(), ids)
    kept = (entry for entry in content["annotations"] if entry["id"] not in completed)
    added = _annotations(annotations, records(), content["annotations"], images, ids, options.min_confidence)
    with atomic_file(path) as stream:
        info = {MARK: dict(options.info)} if options.info or MARK in content else {}
        others = {key: value for key, value in content.items() if key not in ("images", "annotations", MARK)}
        stream.write(
            b"{" + b"".join(_json(key) + b": " + _json(one) + b",\n" for key, one in {**info, **others}.items())
        )
        # The images come first: writing them fills in the ids of new images, which the annotations need.
        write_list(stream, "images", itertools.chain(content["images"], _added_images(records(), images)))
        stream.write(b",\n")
        write_list(stream, "annotations", itertools.chain(kept, added))
        stream.write(b"}\n")
    return [path]


def build_document(categories: Sequence[Category], images: Iterable[tuple[AnnotatedImage, tuple[int, int]]]) -> Any:
    """The content of a COCO file: images, each with its (width, height), and the objects in them."""
    category_ids = {category.name: category.id for category in categories}
    entries: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, (image, size) in enumerate(images, start=1):
        entries.append({"id": number, "file_name": image.file, "width": size[0], "height": size[1]})
        for instance in image.instances:
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": category_ids[instance.category],
                    "keypoints": _keypoints(instance.points, instance.visibility),
                    "num_keypoints": int((instance.visibility > 0).sum()),
                    **_box_fields(instance.box or extent(instance.points[instance.visibility > 0])),
                    **_origin_fields(instance),
                }
            )
    return {
        "images": entries,
        "annotations": objects,
        "categories": [_category(category) for category in categories],
    }


def correct(annotations: Annotations, corrections: Corrections) -> Annotations:
    """A COCO file's content with other objects in place of some of its own, under the same ids.

    ``keypoints_found`` and ``score`` keep what the program predicted; the mark says which points a person accepted or
    placed. Of an annotated object only points that were changed are written anew.
    """
    changed = {
        image.instances[number].id: (image.instances[number], one)
        for image in annotations.images
        for number, one in corrections.get(image.file, {}).items()
    }
    entries: list[Mapping[str, Any]] = []
    for entry in annotations.document.get("annotations") or []:
        before, one = changed.get(entry["id"], (None, None))
        if before is None:
            entries.append(entry)
        elif one is not None:
            corrected = _corrected if before.predicted else _reannotated
            entries.append(corrected(entry, before, one, annotations.categories[one.category].id))
    images = list(corrected_images(annotations, corrections))
    return replace(annotations, images=images, document={**annotations.document, "annotations": entries})


def _reannotated(entry: Mapping[str, Any], before: Instance, one: Instance, category: int | str) -> dict[str, Any]:
    """An annotation of a person's with other points; what says who made them stays."""
    keypoints = _keypoints(one.points, one.visibility)
    if one.category == before.category:
        same = (before.visibility == one.visibility) & (
            (before.points == one.points).all(axis=1) | (one.visibility == MISSING)
        )
        known = list(entry["keypoints"])
        for number in np.flatnonzero(~same).tolist():
            known[3 * number : 3 * number + 3] = keypoints[3 * number : 3 * number + 3]
        keypoints = known
    fields = {
        **entry,
        "category_id": category,
        "keypoints": keypoints,
        "num_keypoints": int((one.visibility > MISSING).sum()),
    }
    if one.box is not None and one.box != before.box:
        fields |= _box_fields(one.box)
    if one.origins is not None:
        fields[MARK] = {**entry[MARK], **reviewed_mark(one.predicted, one.origins)}
    return fields


def _corrected(entry: Mapping[str, Any], _: Instance, one: Instance, category: int | str) -> dict[str, Any]:
    """An annotation with the points of an object."""
    fields: dict[str, Any] = {
        key: value for key, value in entry.items() if key not in (PREDICTED_POINTS, "score", MARK)
    }
    fields |= {
        "category_id": category,
        "keypoints": _keypoints(one.points, one.visibility),
        "num_keypoints": int((one.visibility > MISSING).sum()),
    }
    if one.box is not None and not _is_box(entry.get("bbox"), one.box):
        fields |= _box_fields(one.box)
    fields |= _origin_fields(one)
    votes = votes_of(entry.get(MARK), len(one.points)) if one.votes is not None else None
    if MARK in fields and votes is not None:
        # Votes of sources that the file names; those of an object that was predicted again are others.
        fields[MARK] = {**fields[MARK], VOTES: votes}
    return fields


def _with_room(annotations: Annotations, margin: float) -> Annotations:
    """Annotations in which an object without a box that was drawn has one around its points, with a margin."""
    images: list[AnnotatedImage] = []
    boxes: dict[int | str | None, Box] = {}
    for image in annotations.images:
        size = coordinate_frame(image) or (math.inf, math.inf)
        instances: list[Instance] = []
        for one in image.instances:
            marked = one.points[one.visibility > MISSING]
            around = box_around(marked, margin, size) if one.drawn_box is None and len(marked) else None
            if around is not None:
                boxes[one.id] = around
            instances.append(one if around is None else replace(one, box=around))
        images.append(replace(image, instances=tuple(instances)))
    if not annotations.document:
        return replace(annotations, images=images)
    entries = [
        {**entry, **_box_fields(boxes[entry["id"]])} if entry["id"] in boxes else entry
        for entry in annotations.document.get("annotations") or []
    ]
    return replace(annotations, images=images, document={**annotations.document, "annotations": entries})


def _is_box(bbox: Any, box: Box) -> bool:
    """Whether the box of an annotation, as the file has it, is the same but for rounding."""
    return bool(bbox) and np.allclose(np.array(bbox, dtype=np.float64), _box_fields(box)["bbox"], rtol=0, atol=0.02)


def write_list(stream: BufferedIOBase, key: str, entries: Iterable[Any]) -> None:
    """Write a list of a JSON object, entry by entry, so that it need not be in memory."""
    stream.write(_json(key) + b": [")
    for number, entry in enumerate(entries):
        stream.write((b",\n" if number else b"\n") + _json(entry))
    stream.write(b"\n]")


def _keypoints(points: np.ndarray, visibility: np.ndarray) -> list[float]:
    """COCO's flat list of x, y, v of continuous points; (0, 0, 0) where v is 0."""
    flat: list[float] = []
    for (x, y), mark in zip(to_pixel_indices(points), visibility, strict=True):
        flat += [0, 0, 0] if mark == MISSING else [_rounded(x), _rounded(y), int(mark)]
    return flat


def _origin_fields(one: Instance) -> dict[str, Any]:
    """What a program predicted, how sure it was, and which points a person accepted or placed."""
    fields: dict[str, Any] = {} if one.score is None else {"score": round(one.score, 4)}
    if one.predicted_points is not None:
        listed = np.column_stack([to_pixel_indices(one.predicted_points[:, :2]), one.predicted_points[:, 2]])
        fields[PREDICTED_POINTS] = [
            value
            for x, y, sure in listed.tolist()
            for value in ([None, None, 0.0] if math.isnan(x) else [_rounded(x), _rounded(y), round(sure, 4)])
        ]
    if one.origins is not None:
        fields[MARK] = reviewed_mark(one.predicted, one.origins)
    elif one.predicted:
        fields[MARK] = predicted_mark()
    return fields


def _box_fields(box: Box) -> dict[str, Any]:
    """``bbox``, ``area`` and ``iscrowd`` of (x0, y0, x1, y1)."""
    width, height = box[2] - box[0], box[3] - box[1]
    return {
        "bbox": [_rounded(value) for value in (box[0], box[1], width, height)],
        "area": _rounded(width * height),
        "iscrowd": 0,
    }


def _category(category: Category) -> dict[str, Any]:
    return {
        "id": category.id,
        "name": category.name,
        "supercategory": category.name,
        "keypoints": list(category.keypoints),
        "skeleton": [list(bone) for bone in category.skeleton],
    }


def _content(annotations: Annotations) -> tuple[dict[str, Any], _Ids]:
    """What the file held, or what a file of another format would hold if it were COCO; and its objects' ids."""
    if annotations.document:
        content = {**annotations.document, "annotations": annotations.document.get("annotations") or []}
        known = [(image.file, instance.id) for image in annotations.images for instance in image.instances]
        return content, {(file, number): number for file, number in known if number is not None}
    sized = [(image, size) for image in annotations.images if (size := coordinate_frame(image)) is not None]
    content = build_document(list(annotations.categories.values()), sized)
    known = [(image.file, instance.id) for image, _ in sized for instance in image.instances]
    written = zip(known, content["annotations"], strict=True)
    return content, {(file, number): entry["id"] for (file, number), entry in written if number is not None}


def _images_by_file(images: Iterable[Mapping[str, Any]]) -> dict[str, int | str]:
    """The id of each image file; the first of several."""
    ids: dict[str, int | str] = {}
    for entry in images:
        ids.setdefault(entry["file_name"], entry["id"])
    return ids


def _new_ids(known: Iterable[float | str]) -> Iterator[int | str]:
    """Unused ids: whole numbers, as texts where all known ones are texts."""
    ids = list(known)
    first = max((int(one) for one in ids if not isinstance(one, str) or one.isdecimal()), default=0) + 1
    texts = bool(ids) and all(isinstance(one, str) for one in ids)
    return (str(number) if texts else number for number in itertools.count(first))


def _added_images(records: Iterable[TransferRecord], images: dict[str, int | str]) -> Iterator[dict[str, Any]]:
    """Images that the file does not name; their ids go into ``images``."""
    new_ids = _new_ids(images.values())
    for record in records:
        if record.error is None and record.file not in images:
            images[record.file] = number = next(new_ids)
            yield {"id": number, "file_name": record.file, "width": record.size[0], "height": record.size[1]}


def _completed(records: Iterable[TransferRecord], ids: _Ids) -> set[int | str]:
    """The ids of the file's own annotations that get their points now."""
    keys = ((record.file, one.id) for record in records for one in record.objects if one.id is not None)
    return {ids[key] for key in keys if key in ids}


def _annotations(
    annotations: Annotations,
    records: Iterable[TransferRecord],
    entries: Sequence[Mapping[str, Any]],
    images: Mapping[str, int | str],
    ids: _Ids,
    min_confidence: float,
) -> Iterator[dict[str, Any]]:
    known = {entry["id"]: entry for entry in entries}
    new_ids = _new_ids(known)
    for record in records:
        for predicted in record.objects:
            entry = _annotation(predicted, annotations.categories[predicted.category].id, min_confidence)
            own = None if predicted.id is None else ids.get((record.file, predicted.id))
            if own is None:
                yield {"id": next(new_ids), "image_id": images[record.file], **entry}
                continue
            if predicted.box is not None and known[own].get("bbox"):
                # It was searched in the file's own box, which stays as it is.
                entry = {key: value for key, value in entry.items() if key not in ("bbox", "area", "iscrowd")}
            yield {**known[own], **entry}


def _annotation(predicted: PredictedObject, category: int | str, min_confidence: float) -> dict[str, Any]:
    known = np.isfinite(predicted.points).all(axis=1)
    confident = known & (predicted.confidence >= min_confidence)
    listed: list[float | None] = []
    indices = to_pixel_indices(predicted.points)
    for (x, y), confidence, finite in zip(indices, predicted.confidence, known, strict=True):
        point = [_rounded(x), _rounded(y), round(float(confidence), 4)]
        listed += point if finite else [None, None, 0.0]
    return {
        "category_id": category,
        "keypoints": _keypoints(predicted.points, np.where(confident, VISIBLE, MISSING)),
        "num_keypoints": int(confident.sum()),
        **_box_fields(predicted.box or extent(predicted.points[confident if confident.any() else known])),
        "score": round(predicted.score, 4),
        PREDICTED_POINTS: listed,
        MARK: {**predicted_mark(), **({} if predicted.votes is None else {VOTES: _votes(predicted.votes)})},
    }


def _votes(votes: np.ndarray) -> list[list[float | None]]:
    """By key-point, the vote of each source."""
    return [[None if math.isnan(one) else one for one in row] for row in votes.T.round(3).tolist()]


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _rounded(value: float) -> float:
    """Two decimals, a whole number where they are zeros."""
    rounded = round(float(value), 2)
    return int(rounded) if math.isfinite(rounded) and rounded == int(rounded) else rounded
