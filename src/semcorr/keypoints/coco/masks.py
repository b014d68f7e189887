"""Regions in COCO files: polygons and run lengths (RLE) become a label map of an image, and label maps become RLE."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from jaxtyping import Bool

from semcorr.errors import DatasetError
from semcorr.imaging.geometry import Size
from semcorr.imaging.label_map import LabelMap
from semcorr.imaging.masks import decode_rle, encode_rle, fill_polygons
from semcorr.keypoints.coco.document import CocoDocument, Entry, named, size_of
from semcorr.keypoints.coco.write import write_list
from semcorr.keypoints.file_reader import annotation_file, first_few
from semcorr.storage.files import atomic_file

TITLE = "COCO masks"

_FARTHEST = 1e7
"""Corners may lie outside of the image, but not where numbers overflow."""

ImageRegions = tuple[str, Size, Sequence[Entry]]
"""An image's name, its (width, height), and the entries of its regions as :func:`region_entry` makes them."""


def read_label_map(path: Path, image: str, size: Size) -> LabelMap:
    """Read the regions of one image: each category's objects are one region.

    A category's label is its id where all ids of the file are 1 to 255, else its number in the file, from 1. Where
    objects overlap, the smaller one is on top. A crowd (``iscrowd``) covers several objects and what is between them:
    it is ignored where no object is.

    Args:
        path: The .json file.
        image: The image's path or name. It is the file's entry whose ``file_name`` has the most in common with it,
            counted from its end.
        size: (width, height) of the image.

    Raises:
        DatasetError: The file is missing or broken, does not name the image or declares another size for it, or a
            region is no mask.
    """
    document = CocoDocument(annotation_file(path, TITLE))
    entry = _entry(document, image)
    declared = size_of(entry)
    if declared is not None and declared != size:
        raise document.file.error(
            f"the image's size, {size[0]} x {size[1]} pixels", f"{declared[0]} x {declared[1]} for {image!r}"
        )
    labels_of = _labels(document)
    number = document.id_of(entry)
    masks, crowd = [], np.zeros((size[1], size[0]), dtype=bool)
    for annotation in document.entries("annotations"):
        if document.image_id(annotation) == number and annotation.get("segmentation"):
            mask = _mask(document, annotation, size)
            if document.is_crowd(annotation):
                crowd |= mask
            else:
                masks.append((int(mask.sum()), labels_of[document.category_id(annotation)], mask))
    labels = np.zeros((size[1], size[0]), dtype=np.uint8)
    ignored = (_free_label(document, labels_of.values()),) if crowd.any() else ()
    for label in ignored:
        labels[crowd] = label
    for _, label, mask in sorted(masks, key=lambda one: -one[0]):
        labels[mask] = label
    names = {labels_of[number]: str(category.get("name")) for number, category in document.categories.items()}
    present = {label: name for label, name in names.items() if label in labels}
    return LabelMap(labels=labels, names=present, ignored=ignored)


def write_regions(path: Path, images: Callable[[], Iterable[ImageRegions]], names: Mapping[int, str]) -> Path:
    """Write a COCO file of regions, completely or not at all, and return its path.

    Args:
        path: The .json file.
        images: Called twice for all images.
        names: The names of all labels, which become categories whose ids are the labels.

    Raises:
        DatasetError: It cannot be written.
    """
    ids = itertools.count(1)
    entries = (
        {"id": number, "file_name": name, "width": width, "height": height}
        for number, (name, (width, height), _) in enumerate(images(), start=1)
    )
    annotations = (
        {"id": next(ids), "image_id": number, **entry}
        for number, (_, _, regions) in enumerate(images(), start=1)
        for entry in regions
    )
    try:
        with atomic_file(path) as stream:
            stream.write(b"{")
            write_list(stream, "images", entries)
            stream.write(b",\n")
            write_list(stream, "annotations", annotations)
            stream.write(b",\n")
            write_list(stream, "categories", [{"id": label, "name": name} for label, name in names.items()])
            stream.write(b"}\n")
    except OSError as error:
        raise DatasetError(
            f"{str(path)!r} cannot be written: {error.strerror or error}. Name a folder that can be written and has "
            "room."
        ) from error
    return path


def region_entry(label: int, mask: Bool[np.ndarray, "height width"], confidence: float) -> dict[str, Any]:
    """Return one region as COCO has it in annotations and results; ``id`` and ``image_id`` are missing."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return {
        "category_id": label,
        "segmentation": encode_rle(mask),
        "area": int(mask.sum()),
        "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        "iscrowd": 0,
        "score": round(confidence, 4),
    }


def _entry(document: CocoDocument, image: str) -> dict[str, Any]:
    """The entry of an image by the end of its path."""
    own = PurePath(image).parts

    def common(entry: Entry) -> int:
        parts = PurePath(document.file.field(entry, "file_name", str)).parts
        pairs = zip(reversed(parts), reversed(own), strict=False)
        return next((count for count, (one, other) in enumerate(pairs) if one != other), min(len(parts), len(own)))

    entries = list(document.images.values())
    most = max(map(common, entries), default=0)
    nearest = [entry for entry in entries if common(entry) == most]
    if most == 0:
        listed = first_few(repr(entry["file_name"]) for entry in entries) or "no image"
        raise document.file.error(f"an entry of the image {own[-1]!r}", listed)
    if len(nearest) > 1:
        listed = first_few(repr(entry["file_name"]) for entry in nearest)
        raise document.file.error(f"one entry of the image {image!r}", f"{len(nearest)}: {listed}")
    return nearest[0]


def _labels(document: CocoDocument) -> dict[int | str, int]:
    numbers = list(document.categories)
    if len(numbers) > 255:
        raise document.file.error("at most 255 categories", f"{len(numbers)}")
    if all(isinstance(number, int) and 1 <= number <= 255 for number in numbers):
        return {number: int(number) for number in numbers}
    return {number: label for label, number in enumerate(numbers, start=1)}


def _free_label(document: CocoDocument, used: Iterable[int]) -> int:
    """The highest label that no category has."""
    free = set(range(1, 256)) - set(used)
    if not free:
        raise document.file.error("at most 254 categories beside crowds ('iscrowd'), which need a label", "255")
    return max(free)


def _mask(document: CocoDocument, annotation: Entry, size: Size) -> Bool[np.ndarray, "height width"]:
    shape, what = annotation["segmentation"], f"'segmentation' of {named(annotation)}"
    if isinstance(shape, list):
        corners = []
        for polygon in shape:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                raise document.file.error(f"{what} as lists of x, y of 3 corners or more", f"{polygon!r:.60}")
            numbers = np.array(document.file.numbers(polygon, len(polygon), what))
            if np.abs(numbers).max() > _FARTHEST:
                raise document.file.error(f"{what} as x, y in pixels", f"{np.abs(numbers).max():g}")
            corners.append(numbers.reshape(-1, 2))
        return fill_polygons(corners, size)
    if not isinstance(shape, dict):
        raise document.file.error(f"{what} as polygons or RLE", f"{shape!r:.60}")
    declared = shape.get("size")
    if declared != [size[1], size[0]]:
        raise document.file.error(f"{what} of size {[size[1], size[0]]}, height and width", f"{declared!r:.40}")
    try:
        return decode_rle(shape)
    except (ValueError, TypeError, KeyError) as error:
        raise document.file.error(f"{what} as RLE", f"something else: {error}") from error
