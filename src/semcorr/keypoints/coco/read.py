"""COCO's key-point files, read.

COCO's x and y count pixels from 0 and name a pixel, whose middle is half a pixel further on in the frame that this
package uses; boxes (x, y, width, height) are edges in both.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.keypoints.base import ADVICE, MISSING, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.coco.document import (
    box_of,
    by_id,
    counted,
    has_marked_points,
    is_crowd,
    key_points,
    predicted,
    record_id,
    records,
    referred,
    score_of,
    size_of,
)
from semcorr.keypoints.file_reader import Folder
from semcorr.keypoints.image_paths import ImagePaths

TITLE = "COCO annotations"


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a COCO key-points file.

    Crowds and objects of categories without key-points are left out and counted in the notes. Entries of one image
    file under several ids become one image with the objects of all; they keep their ids in the document.

    Args:
        path: The .json file.
        images: Folder of the images; the file's own, or images in it, are looked in as well.

    Raises:
        DatasetError: It is missing, broken or ambiguous.
    """
    folder = Folder(root=path.parent, title=TITLE, advice=ADVICE)
    reading = _Reading(folder, path, folder.json(path))
    paths = ImagePaths(folder, images)
    pictures = reading.pictures(paths)
    return Annotations(
        path=path,
        categories={category.name: category for category in reading.categories.values()},
        images=pictures,
        document=reading.content,
        notes=(*paths.notes, *reading.notes()),
    )


class _Reading:
    """A file as it is read, and what is left out of it."""

    def __init__(self, folder: Folder, path: Path, content: dict[str, Any]) -> None:
        self.folder, self.path, self.content = folder, path, content
        self.boxes: list[str] = []
        self.crowds: list[str] = []
        self.predictions: list[str] = []
        self.repeated: list[str] = []
        self.flat: list[int | str] = []
        self.unused: list[str] = []
        self.entries = by_id(folder, path, records(folder, path, content, "categories"), "category")
        listed = records(folder, path, content, "annotations", required=False)
        self.annotations = by_id(folder, path, listed, "annotation")
        used = {referred(folder, path, record, "category_id", self.entries) for record in listed}
        self.categories = self._categories(used)

    def pictures(self, paths: ImagePaths) -> list[AnnotatedImage]:
        """All images with their objects."""
        listed = records(self.folder, self.path, self.content, "images")
        images = by_id(self.folder, self.path, listed, "image")
        for number, image in images.items():
            if not isinstance(image.get("file_name"), str):
                raise self.folder.wrong(
                    f"expected 'file_name', the name of a file, for every image in {str(self.path)!r}, got "
                    f"{image.get('file_name', 'nothing')!r:.40} for image {number!r}."
                )
        place = paths.find_all(image["file_name"] for image in images.values())
        objects = self._objects(images)
        found: dict[str, AnnotatedImage] = {}
        for number, image in images.items():
            file, size, own = image["file_name"], size_of(image), tuple(objects.get(number, ()))
            if file not in found:
                found[file] = AnnotatedImage(file=file, path=place[file], instances=own, id=number, size=size)
                continue
            first = found[file]
            if None not in (size, first.size) and size != first.size:
                raise self.folder.wrong(
                    f"expected one size of {file!r} in {str(self.path)!r}, got images {first.id!r} and {number!r} with "
                    f"{first.size} and {size}."
                )
            self.repeated.append(file)
            found[file] = AnnotatedImage(
                file=file, path=place[file], instances=first.instances + own, id=first.id, size=first.size or size
            )
        return list(found.values())

    def notes(self) -> Iterator[str]:
        """What was left out or is not as one might think."""
        if self.boxes:
            yield f"boxes of categories without key-points are ignored: {counted(self.boxes)}"
        if self.crowds:
            yield f"annotations of crowds (iscrowd) are ignored: {counted(self.crowds)}"
        if self.unused:
            yield f"categories of another's name and without annotations are ignored: {_few(self.unused)}"
        if self.flat:
            yield f"boxes without extent are ignored: {len(self.flat)}, the first of annotation {self.flat[0]!r}"
        if self.repeated:
            count = len(set(self.repeated))
            yield (
                f"image files that are named under several ids: {count}, such as {self.repeated[0]!r}; the objects of "
                "all its ids are taken together, each keeps its own id, and new ones get the first"
            )
        if self.predictions:
            yield (
                f"objects that are predicted and not annotated (by their mark, keypoints_found or score): "
                f"{counted(self.predictions)}; no points are carried over from them"
            )

    def _categories(self, used: set[int | str]) -> dict[int | str, Category]:
        """Categories with key-points, by id."""
        found: dict[int | str, Category] = {}
        by_name: dict[str, int | str] = {}
        for number, record in self.entries.items():
            category = self._category(number, record)
            if not category.keypoints:
                continue
            other = by_name.get(category.name)
            if other is not None and number in used and other in used:
                raise self.folder.wrong(
                    f"expected different names of categories in {str(self.path)!r}, got {category.name!r} for both "
                    f"{other!r} and {number!r}, and both have annotations: give one another name, or move its "
                    "annotations to the other."
                )
            if other is not None:
                ignored = other if number in used else number
                self.unused.append(f"{category.name!r} ({ignored!r})")
                if ignored == number:
                    continue
                del found[other]
            found[number] = category
            by_name[category.name] = number
        if not found:
            raise self.folder.wrong(
                f"expected a category with 'keypoints', the names of its key-points, in {str(self.path)!r}, got none."
            )
        return found

    def _category(self, number: int | str, record: Mapping[str, Any]) -> Category:
        listed = record.get("keypoints") or []
        if not isinstance(listed, list) or not all(isinstance(name, str | int) for name in listed):
            raise self.folder.wrong(
                f"expected 'keypoints' as a list of names in {str(self.path)!r}, got {listed!r:.60} for category "
                f"{number!r}."
            )
        names = tuple(map(str, listed))
        if len(set(names)) != len(names):
            raise self.folder.wrong(
                f"expected different names of key-points in {str(self.path)!r}, got {', '.join(names):.80} for "
                f"category {number!r}."
            )
        bones = record.get("skeleton")
        skeleton = tuple(
            (int(bone[0]), int(bone[1]))
            for bone in (bones if isinstance(bones, list) else ())
            if isinstance(bone, list) and len(bone) == 2 and all(type(end) is int for end in bone)
        )
        name = self.folder.field(dict(record), "name", str, self.path)
        return Category(id=number, name=name, keypoints=names, skeleton=skeleton)

    def _objects(self, images: Mapping[int | str, Any]) -> dict[int | str, list[Instance]]:
        """Objects by their images' ids."""
        found: dict[int | str, list[Instance]] = {}
        for number, record in self.annotations.items():
            image = referred(self.folder, self.path, record, "image_id", images)
            kind = record_id(self.folder, self.path, record, "category_id")
            name = self.entries[kind].get("name")
            crowd = is_crowd(self.folder, self.path, record)
            if kind not in self.categories:
                if has_marked_points(record):
                    raise self.folder.wrong(
                        f"expected 'keypoints', the names of the key-points, for the category {name!r} ({kind!r}) in "
                        f"{str(self.path)!r}, got none, and annotation {number!r} has points of it."
                    )
                self.boxes.append(str(name))
            elif crowd:
                self.crowds.append(str(name))
            else:
                found.setdefault(image, []).append(self._instance(number, record, self.categories[kind]))
        return found

    def _instance(self, number: int | str, record: Mapping[str, Any], category: Category) -> Instance:
        array = key_points(self.folder, self.path, record, category.keypoints)
        marks = array[:, 2].astype(np.int64)
        box = box_of(self.folder, self.path, record)
        if box is None and record.get("bbox") and not (marks > MISSING).any():
            self.flat.append(number)
        made = predicted(self.folder, self.path, record)
        if made:
            self.predictions.append(category.name)
        return Instance(
            category=category.name,
            points=np.where(marks[:, None] > MISSING, array[:, :2] + 0.5, np.nan),
            visibility=marks,
            box=box,
            id=number,
            predicted=made,
            score=score_of(record) if made else None,
        )


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
