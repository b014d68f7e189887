"""Reading COCO's key-point files.

COCO's x and y count pixels from 0 and name a pixel, whose centre is half a pixel further on in the frame that this
package uses; boxes (x, y, width, height) are edges in both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.imaging.geometry import from_pixel_indices
from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.coco.document import (
    PREDICTED_POINTS,
    CocoDocument,
    counted,
    has_marked_points,
    score_of,
    size_of,
)
from semcorr.keypoints.file_reader import annotation_file, first_few
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.provenance import MARK, origins_of, votes_of

TITLE = "COCO annotations"

_FURTHER_POINTS = "_kpts"
"""How COCO-WholeBody's fields for the points of faces, hands and feet end."""


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a COCO key-points file.

    Crowds and objects of categories without key-points are left out and counted in the notes. Entries of one image
    file under several ids become one image with the objects of all; they keep their ids in the document.

    Args:
        path: The .json file.
        images: Folder of the images; the file's own folder, or images in it, are searched as well.

    Raises:
        DatasetError: It is missing, broken or ambiguous.
    """
    document = CocoDocument(annotation_file(path, TITLE))
    reader = _Reader(document)
    paths = ImagePaths(document.file.folder, images)
    annotated = reader.images(paths)
    return Annotations(
        path=path,
        categories={category.name: category for category in reader.categories.values()},
        images=annotated,
        document=document.content,
        notes=(*paths.notes, *reader.skipped.notes(), *reader.further_notes()),
    )


@dataclass
class _Skipped:
    """What is left out, or is not as one might think."""

    boxes: list[str] = field(default_factory=list)
    crowds: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    flat: list[int | str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        """A sentence for each kind."""
        if self.boxes:
            yield f"boxes of categories without key-points are ignored: {counted(self.boxes)}"
        if self.crowds:
            yield f"annotations of crowds (iscrowd) are ignored: {counted(self.crowds)}"
        if self.unused:
            yield f"categories of another's name and without annotations are ignored: {first_few(self.unused)}"
        if self.flat:
            yield f"boxes without extent are ignored: {len(self.flat)}, the first of annotation {self.flat[0]!r}"
        if self.repeated:
            yield (
                f"image files that are named under several ids: {len(set(self.repeated))}, such as "
                f"{self.repeated[0]!r}; the objects of all its ids are taken together, each keeps its own id, and new "
                "ones get the first"
            )
        if self.predictions:
            yield (
                f"objects that are predicted and not annotated (by their mark, keypoints_found or score): "
                f"{counted(self.predictions)}; no points are carried over from them"
            )


class _Reader:
    """Reads a document's categories, images and objects."""

    def __init__(self, document: CocoDocument) -> None:
        self.document, self.skipped = document, _Skipped()
        listed = document.entries("annotations", required=False)
        self.annotations = document.by_id(listed, "annotation")
        self.categories = self._categories({document.category_id(annotation) for annotation in listed})

    def images(self, paths: ImagePaths) -> list[AnnotatedImage]:
        """All images with their objects."""
        entries = self.document.images
        for number, entry in entries.items():
            if not isinstance(entry.get("file_name"), str):
                raise self.document.file.error(
                    "'file_name', the name of a file, for every image",
                    f"{entry.get('file_name', 'nothing')!r:.40} for image {number!r}",
                )
        located = paths.find_all(entry["file_name"] for entry in entries.values())
        instances = self._instances()
        images: dict[str, AnnotatedImage] = {}
        for number, entry in entries.items():
            file, size, own = entry["file_name"], size_of(entry), tuple(instances.get(number, ()))
            if file not in images:
                images[file] = AnnotatedImage(file=file, path=located[file], instances=own, id=number, size=size)
                continue
            first = images[file]
            if None not in (size, first.size) and size != first.size:
                raise self.document.file.error(
                    f"one size of {file!r}", f"images {first.id!r} and {number!r} with {first.size} and {size}"
                )
            self.skipped.repeated.append(file)
            images[file] = replace(first, instances=first.instances + own, size=first.size or size)
        return list(images.values())

    def further_notes(self) -> Iterator[str]:
        """Sentences on what is read but has no names, and on what other converters add beside COCO's own fields."""
        numbered = [
            f"{category.name!r} ({len(category.keypoints)})"
            for number, category in self.categories.items()
            if number in self.document.numbered
        ]
        if numbered:
            yield f"categories that do not name their key-points, which are numbered from 1: {first_few(numbered)}"
        further = {key for entry in self.annotations.values() for key in entry if key.endswith(_FURTHER_POINTS)}
        if further:
            yield f"key-points beside COCO's own are not read: the fields {', '.join(sorted(further))}"

    def _categories(self, used: set[int | str]) -> dict[int | str, Category]:
        """Categories with key-points, by id."""
        categories: dict[int | str, Category] = {}
        by_name: dict[str, int | str] = {}
        for number, entry in self.document.categories.items():
            category = self._category(number, entry)
            if not category.keypoints:
                continue
            other = by_name.get(category.name)
            if other is not None and number in used and other in used:
                raise self.document.file.error(
                    "different names of categories",
                    f"{category.name!r} for both {other!r} and {number!r}, and both have annotations: give one another "
                    "name, or move its annotations to the other",
                )
            if other is not None:
                ignored = other if number in used else number
                self.skipped.unused.append(f"{category.name!r} ({ignored!r})")
                if ignored == number:
                    continue
                del categories[other]
            categories[number] = category
            by_name[category.name] = number
        if not categories:
            raise self.document.file.error("a category with 'keypoints', the names of its key-points,", "none")
        return categories

    def _category(self, number: int | str, entry: Mapping[str, Any]) -> Category:
        names = self.document.keypoint_names(entry)
        bones = entry.get("skeleton")
        skeleton = tuple(
            (int(bone[0]), int(bone[1]))
            for bone in (bones if isinstance(bones, list) else ())
            if isinstance(bone, list) and len(bone) == 2 and all(type(end) is int for end in bone)
        )
        return Category(
            id=number, name=self.document.file.field(entry, "name", str), keypoints=names, skeleton=skeleton
        )

    def _instances(self) -> dict[int | str, list[Instance]]:
        """Objects by their images' ids."""
        instances: dict[int | str, list[Instance]] = {}
        for number, annotation in self.annotations.items():
            image, category = self.document.image_id(annotation), self.document.category_id(annotation)
            name = self.document.categories[category].get("name")
            crowd = self.document.is_crowd(annotation)
            if category not in self.categories:
                if has_marked_points(annotation):
                    raise self.document.file.error(
                        f"'keypoints', the names of the key-points, for the category {name!r} ({category!r})",
                        f"none, and annotation {number!r} has points of it",
                    )
                self.skipped.boxes.append(str(name))
            elif crowd:
                self.skipped.crowds.append(str(name))
            else:
                instances.setdefault(image, []).append(self._instance(number, annotation, self.categories[category]))
        return instances

    def _instance(self, number: int | str, annotation: Mapping[str, Any], category: Category) -> Instance:
        array = self.document.keypoints(annotation, category.keypoints)
        marks = array[:, 2].astype(np.int64)
        box = self.document.box(annotation)
        if box is None and annotation.get("bbox") and not (marks > MISSING).any():
            self.skipped.flat.append(number)
        predicted, points = self.document.is_predicted(annotation), None
        if isinstance(annotation.get(PREDICTED_POINTS), list):
            points = self.document.predicted_keypoints(annotation, category.keypoints)
            points[:, :2] = from_pixel_indices(points[:, :2])
        if predicted:
            self.skipped.predictions.append(category.name)
        return Instance(
            category=category.name,
            points=np.where(marks[:, None] > MISSING, from_pixel_indices(array[:, :2]), np.nan),
            visibility=marks,
            box=box,
            id=number,
            predicted=predicted,
            score=score_of(annotation) if predicted else None,
            predicted_points=points,
            origins=origins_of(annotation.get(MARK), len(category.keypoints)),
            votes=votes_of(annotation.get(MARK), len(category.keypoints)),
        )
