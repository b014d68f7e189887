"""What one entry of a file says wrongly: points outside, duplicates, sizes, marks, boxes, and names of key-points."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semcorr.errors import ImageError
from semcorr.imaging.image import image_size
from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Instance
from semcorr.keypoints.check.finding import Finding, of_object
from semcorr.keypoints.declared_size import coordinate_frame, declared_scale, outside, swap_warning
from semcorr.keypoints.file_reader import first_few
from semcorr.keypoints.shapes import extent
from semcorr.keypoints.sides import unpaired
from semcorr.storage.files import is_file

_TINY = 8
"""Pixels: of an object with a shorter longer side nothing is left after a network's first steps."""
_SAME = 0.02
"""Two objects whose points are nearer to each other than this part of their extent are the same."""
_BOX_MARGIN = 0.25
"""How far outside its box a point may lie, in the box's longer side: boxes around what is visible are tight."""
_CORNER = 0.5
"""Pixels: a point that is nearer to the image's corner is 0, 0, which stands for no point."""


def category_findings(annotations: Annotations) -> Iterator[Finding]:
    """Key-points whose names or order a trainer would misunderstand."""
    known: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}
    for name, one in annotations.categories.items():
        other, order = known.setdefault(tuple(sorted(one.keypoints)), (name, one.keypoints))
        if order != one.keypoints:
            reason = f"{name!r} has the key-points of {other!r} in another order: one network cannot be trained on both"
            yield Finding(kind="order", suspicion=0.9, reason=reason, category=name)
        alone = unpaired(one.keypoints)
        if alone:
            reason = (
                f"{name!r} has key-points that say a side, and none for the other side: {first_few(alone)}; a mirrored "
                "image would be trained on with wrong names"
            )
            yield Finding(kind="order", suspicion=0.4, reason=reason, category=name, keypoints=tuple(alone))


def file_findings(annotations: Annotations) -> Iterator[Finding]:
    """Images that are not there, and image files and objects' points that are there twice."""
    with_objects = [image for image in annotations.images if image.instances]
    missing = [image.file for image in with_objects if not is_file(image.path)]
    if missing:
        reason = f"{len(missing)} of {len(with_objects)} images with objects are not there: {first_few(missing)}"
        yield Finding(kind="size", suspicion=0.9, reason=reason, file=missing[0])
    first_of: dict[str, str] = {}
    for image, content in _hashed(with_objects):
        other = first_of.setdefault(content, image.file)
        if other != image.file:
            reason = f"it is the same image as {other!r}, byte for byte"
            yield Finding(kind="duplicate", suspicion=0.95, reason=reason, file=image.file)
    shown: dict[bytes, str] = {}
    for image in with_objects:
        for position, one in enumerate(image.instances):
            if (one.visibility > MISSING).sum() < 2:
                continue
            other = shown.setdefault(one.category.encode() + one.points.round(2).tobytes(), image.file)
            if other != image.file:
                reason = f"its points are those of an object in {other!r}, to the last digit"
                yield of_object(image, position, "duplicate", 0.9, reason)


def image_findings(annotations: Annotations) -> Iterator[Finding]:
    """Images whose declared size is not their own, and that cannot be read."""
    for image in annotations.images:
        if not image.instances or not is_file(image.path):
            continue
        try:
            actual = image_size(image.path)
            declared_scale(image.file, image.size, actual)
            corners = [np.reshape(one.box, (2, 2)) for one in image.instances if one.box is not None]
            points = np.concatenate([*(one.points for one in image.instances), *corners])
            warning = swap_warning(image.file, image.size, actual, points)
        except ImageError as error:
            yield Finding(kind="size", suspicion=1.0, reason=str(error).rstrip("."), file=image.file)
        else:
            if warning is not None:
                yield Finding(kind="size", suspicion=0.6, reason=warning, file=image.file)


def object_findings(annotations: Annotations) -> Iterator[Finding]:
    """What is wrong about single objects."""
    coinciding = _coinciding(annotations)
    # As a COCO file has them; other formats have no document.
    entries = {one["id"]: one for one in annotations.document.get("annotations", ())}
    for image in annotations.images:
        frame = coordinate_frame(image) if image.instances else None
        for position, one in enumerate(image.instances):
            names = annotations.categories[one.category].keypoints
            yield from _location_findings(image, position, names, frame)
            yield from _extent_findings(image, position)
            # A pair that several objects have at one location is closer than a person can tell, as lips are.
            named = sorted({name for pair in coinciding.pop((image.file, position), ()) for name in pair})
            if named:
                reason = f"{first_few(map(repr, named))} at one location, to the last digit"
                yield of_object(image, position, "duplicate", 0.45, reason, tuple(named))
            values = entries.get(one.id, {}).get("keypoints")
            if values and not one.predicted:
                yield from _mark_findings(image, position, names, np.reshape(values, (-1, 3)).astype(float))
        for first, second in combinations(range(len(image.instances)), 2):
            if _same(image.instances[first], image.instances[second]):
                other = image.instances[first].id
                which = f"object {other!r}" if other is not None else f"object {first + 1}"
                reason = f"it is the same object as {which} of this image"
                yield of_object(image, second, "duplicate", 1.0, reason)


def _location_findings(
    image: AnnotatedImage, position: int, names: tuple[str, ...], frame: tuple[int, int] | None
) -> Iterator[Finding]:
    one = image.instances[position]
    if frame is not None and (beyond := np.flatnonzero(outside(one.points, frame))).size:
        named = _named(names, beyond)
        x, y = one.points[beyond[0]]
        reason = f"{first_few(map(repr, named))} outside the image of {frame[0]} x {frame[1]}, at ({x:g}, {y:g})"
        yield of_object(image, position, "outside", 1.0, reason, named)
    if (corner := np.flatnonzero((np.abs(one.points) <= _CORNER).all(axis=1))).size:
        named = _named(names, corner)
        reason = f"{first_few(map(repr, named))} marked at 0, 0, which stands for a point that nobody marked"
        yield of_object(image, position, "visibility", 0.95, reason, named)
    if one.drawn_box is not None:
        x0, y0, x1, y1 = one.drawn_box
        room = _BOX_MARGIN * max(x1 - x0, y1 - y0)
        far = (one.points < np.array([x0, y0]) - room) | (one.points > np.array([x1, y1]) + room)
        if far.any():
            named = _named(names, np.flatnonzero(far.any(axis=1)))
            reason = f"{first_few(map(repr, named))} far outside the object's box"
            yield of_object(image, position, "box", 0.6, reason, named)


def _extent_findings(image: AnnotatedImage, position: int) -> Iterator[Finding]:
    one = image.instances[position]
    marked = one.points[one.visibility > MISSING]
    box = one.box or (extent(marked) if len(marked) > 1 else None)
    side = None if box is None else max(box[2] - box[0], box[3] - box[1])
    if side is not None and side < _TINY:
        yield of_object(image, position, "tiny", 0.5, f"it is {side:.3g} pixels large")


def _mark_findings(
    image: AnnotatedImage, position: int, names: tuple[str, ...], rows: Float[np.ndarray, "keypoints 3"]
) -> Iterator[Finding]:
    """Coordinates of key-points that COCO's file marks as not annotated, which every reader ignores."""
    unmarked = np.flatnonzero((rows[:, 2] == MISSING) & (rows[:, :2] != 0).any(axis=1))
    if unmarked.size:
        named = _named(names, unmarked)
        reason = f"{first_few(map(repr, named))} with coordinates and the mark v = 0, which says that there are none"
        yield of_object(image, position, "visibility", 0.3, reason, named)


def _coinciding(annotations: Annotations) -> dict[tuple[str, int], list[tuple[str, str]]]:
    """By image and number in it, the pairs of key-points that are at one location in no other object."""
    where: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for image in annotations.images:
        for position, one in enumerate(image.instances):
            names = annotations.categories[one.category].keypoints
            equal = (one.points[:, None] == one.points).all(axis=2)
            for i, j in np.argwhere(np.triu(equal, 1)).tolist():
                where.setdefault((one.category, names[i], names[j]), []).append((image.file, position))
    single: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for (_, first, second), objects in where.items():
        if len(objects) == 1:
            single.setdefault(objects[0], []).append((first, second))
    return single


def _same(first: Instance, second: Instance) -> bool:
    """Whether two objects of an image are one: of their points, most are common and nearly equal."""
    if first.category != second.category:
        return False
    marked = np.stack([first.visibility > MISSING, second.visibility > MISSING])
    common = marked.all(axis=0)
    if not marked.any():
        return first.box is not None and first.box == second.box
    if 2 * common.sum() <= marked.any(axis=0).sum():
        return False
    x0, y0, x1, y1 = extent(first.points[common])
    distance = np.linalg.norm(first.points[common] - second.points[common], axis=1).mean()
    return bool(distance <= max(_SAME * max(x1 - x0, y1 - y0), 0.01))


def _hashed(images: list[AnnotatedImage]) -> Iterator[tuple[AnnotatedImage, str]]:
    """Images whose files are as large as another's, with what they hold."""
    sizes = {image.file: image.path.stat().st_size for image in images if is_file(image.path)}
    alike = Counter(sizes.values())
    for image in images:
        if alike[sizes.get(image.file, -1)] > 1:
            yield image, _content(image.path)


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(names: tuple[str, ...], numbers: np.ndarray) -> tuple[str, ...]:
    return tuple(names[number] for number in numbers.tolist())
