"""COCO's key-point files, read and written.

COCO's x and y count pixels from 0 and name a pixel, whose middle is half a pixel further on in the frame that this
package uses; boxes (x, y, width, height) are edges in both.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.annotations.base import (
    ADVICE,
    COVERED,
    MISSING,
    VISIBLE,
    AnnotatedPicture,
    Annotations,
    Category,
    Instance,
)
from semcorr.annotations.records import FoundObject, TransferRecord
from semcorr.datasets.base import Box
from semcorr.datasets.files import Folder, corner_box
from semcorr.datasets.image_paths import ImagePaths
from semcorr.images import load_image

TITLE = "COCO annotations"


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a COCO key-points file; annotations of crowds are left out.

    Args:
        path: The .json file.
        images: Folder of the pictures; the file's own, or images in it, are looked in as well.

    Raises:
        DatasetError: it is missing or broken.
    """
    folder = Folder(root=path.parent, title=TITLE, advice=ADVICE)
    content = folder.json(path)
    categories = {record.id: record for record in _categories(folder, path, content)}
    paths = ImagePaths(folder, images)
    things: dict[int, list[Instance]] = {}
    numbers: set[int] = set()
    for record in _objects(folder, path, content, "annotations", required=False):
        category = categories.get(_id(folder, path, record, "category_id"))
        if category is None:
            raise folder.wrong(
                f"expected every annotation's category in {str(path)!r}, got category {record['category_id']!r}."
            )
        number = _id(folder, path, record, "id")
        if number in numbers:
            raise folder.wrong(f"expected every annotation's id once in {str(path)!r}, got {number} twice.")
        numbers.add(number)
        if not record.get("iscrowd"):
            things.setdefault(_id(folder, path, record, "image_id"), []).append(
                _instance(folder, path, record, category)
            )
    records = _objects(folder, path, content, "images")
    place = paths.find_all(folder.field(record, "file_name", str, path) for record in records)
    found, seen = [], set()
    for record in records:
        number = _id(folder, path, record, "id")
        if number in seen:
            raise folder.wrong(f"expected every image's id once in {str(path)!r}, got {number} twice.")
        seen.add(number)
        file = record["file_name"]
        found.append(AnnotatedPicture(file=file, path=place[file], instances=tuple(things.get(number, ())), id=number))
    unknown = sorted(set(things) - seen)
    if unknown:
        raise folder.wrong(f"expected every annotation's image in {str(path)!r}, got image {unknown[0]}.")
    return Annotations(
        path=path,
        categories={category.name: category for category in categories.values()},
        pictures=found,
        document=content,
        notes=paths.notes,
    )


def write(
    stream: BufferedIOBase,
    annotations: Annotations,
    records: Callable[[], Iterable[TransferRecord]],
    *,
    min_confidence: float,
    info: Mapping[str, Any],
) -> None:
    """Write a COCO file with what was there and what was found, picture by picture.

    Whatever a COCO file held stays as it is, and a thing that had a box but no points gets them in its own annotation.
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
    content = _content(annotations)
    images = {record["file_name"]: record["id"] for record in content["images"]}
    known: set[int | str] = {record["id"] for record in content["annotations"]}
    added, completed = _added_images(records(), images), _completed(records(), known)
    kept = (record for record in content["annotations"] if record["id"] not in completed)
    parts: list[tuple[str, Iterable[Any]]] = [
        ("images", itertools.chain(content["images"], added)),
        ("annotations", itertools.chain(kept, _annotations(annotations, records(), images, known, min_confidence))),
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


def truth_document(categories: Sequence[Category], pictures: Iterable[tuple[AnnotatedPicture, tuple[int, int]]]) -> Any:
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
                }
            )
    return {
        "images": images,
        "annotations": things,
        "categories": [category_record(category) for category in categories],
    }


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


def _content(annotations: Annotations) -> dict[str, Any]:
    """What the file held, or what a file of another kind would hold if it were COCO."""
    if annotations.document:
        return {"annotations": [], **annotations.document}
    pictures = [(picture, load_image(picture.path).size) for picture in annotations.pictures]
    return truth_document(list(annotations.categories.values()), pictures)


def _added_images(records: Iterable[TransferRecord], images: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Pictures that the file does not name as yet; their ids go into ``images``."""
    following = max(images.values(), default=0) + 1
    for record in records:
        if record.error is None and record.file not in images:
            images[record.file] = following
            yield {"id": following, "file_name": record.file, "width": record.size[0], "height": record.size[1]}
            following += 1


def _completed(records: Iterable[TransferRecord], known: Set[int | str]) -> set[int | str]:
    """The file's own annotations that get their points now."""
    return {found.id for record in records for found in record.objects if found.id is not None and found.id in known}


def _annotations(
    annotations: Annotations,
    records: Iterable[TransferRecord],
    images: Mapping[str, int],
    known: Set[int | str],
    min_confidence: float,
) -> Iterator[dict[str, Any]]:
    had = {record["id"]: record for record in annotations.document.get("annotations", ())}
    following = max((number for number in known if isinstance(number, int)), default=0) + 1
    for record in records:
        for found in record.objects:
            category = annotations.categories[found.category].id
            entry = _annotation(found, category, images[record.file], min_confidence)
            if found.id is not None and found.id in known:
                yield {**had[found.id], **entry, "id": found.id}
            else:
                yield {"id": following, **entry}
                following += 1


def _bytes(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _annotation(found: FoundObject, category: int, image: int, min_confidence: float) -> dict[str, Any]:
    known = np.isfinite(found.points).all(axis=1)
    sure = known & (found.confidence >= min_confidence)
    fallback = extent(found.points[sure] if sure.any() else found.points[known])
    listed: list[float | None] = []
    for (x, y), confidence, there in zip(found.points, found.confidence, known, strict=True):
        listed += [_short(x - 0.5), _short(y - 0.5), round(float(confidence), 4)] if there else [None, None, 0.0]
    return {
        "image_id": image,
        "category_id": category,
        "keypoints": keypoints_of(found.points, np.where(sure, VISIBLE, MISSING)),
        "num_keypoints": int(sure.sum()),
        **box_fields(found.box or fallback),
        "score": round(found.score, 4),
        "keypoints_found": listed,
    }


def _categories(folder: Folder, path: Path, content: dict[str, Any]) -> list[Category]:
    found: list[Category] = []
    for record in _objects(folder, path, content, "categories"):
        names = tuple(map(str, folder.field(record, "keypoints", list, path) if record.get("keypoints") else ()))
        if len(set(names)) != len(names):
            raise folder.wrong(f"expected different names of key-points in {str(path)!r}, got {', '.join(names):.80}.")
        name = folder.field(record, "name", str, path)
        number = _id(folder, path, record, "id")
        if any(name == other.name or number == other.id for other in found):
            raise folder.wrong(f"expected every category once in {str(path)!r}, got {name!r} ({number}) again.")
        bones = record.get("skeleton") or ()
        skeleton = tuple(
            (int(bone[0]), int(bone[1]))
            for bone in (bones if isinstance(bones, list) else ())
            if isinstance(bone, list) and len(bone) == 2 and all(type(end) is int for end in bone)
        )
        found.append(Category(id=number, name=name, keypoints=names, skeleton=skeleton))
    if not any(category.keypoints for category in found):
        raise folder.wrong(
            f"expected a category with 'keypoints', the names of its key-points, in {str(path)!r}, got none."
        )
    return found


def _instance(folder: Folder, path: Path, record: dict[str, Any], category: Category) -> Instance:
    names = len(category.keypoints)
    values = record.get("keypoints") or [0] * 3 * names
    if not isinstance(values, list):
        raise folder.wrong(f"expected 'keypoints' as a list in {str(path)!r}, got {values!r:.40}.")
    array = np.array(folder.numbers(values, 3 * names, f"'keypoints' of a {category.name}", path)).reshape(-1, 3)
    marks = np.where(np.isin(array[:, 2], (VISIBLE, COVERED)), array[:, 2], MISSING).astype(np.int64)
    box: Box | None = None
    if record.get("bbox"):
        sides = folder.numbers(folder.field(record, "bbox", list, path), 4, "'bbox'", path)
        box = corner_box(*sides) if min(sides[2:]) > 0 else None
    return Instance(
        category=category.name,
        points=np.where(marks[:, None] > MISSING, array[:, :2] + 0.5, np.nan),
        visibility=marks,
        box=box,
        id=_id(folder, path, record, "id"),
    )


def _objects(
    folder: Folder, path: Path, content: dict[str, Any], key: str, *, required: bool = True
) -> list[dict[str, Any]]:
    if not required and key not in content:
        return []
    records = folder.field(content, key, list, path)
    for record in records:
        if not isinstance(record, dict):
            raise folder.wrong(f"expected {key!r} as a list of objects in {str(path)!r}, got {record!r:.40}.")
    return records


def _id(folder: Folder, path: Path, record: dict[str, Any], key: str) -> int:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise folder.wrong(f"expected {key!r} as a whole number in {str(path)!r}, got {value!r:.40}.")
    return value


def _short(value: float) -> float:
    """Two decimals, a whole number where there are none."""
    rounded = round(float(value), 2)
    return int(rounded) if math.isfinite(rounded) and rounded == int(rounded) else rounded
