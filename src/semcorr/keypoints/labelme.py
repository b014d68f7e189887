"""labelme's files, and X-AnyLabeling's, which are like them: read, and not written.

A file belongs to one image. Coordinates are continuous, as in this package's own frame.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.errors import DatasetError
from semcorr.imaging.geometry import Box
from semcorr.keypoints.annotation_format import AnnotationFormat, read_only
from semcorr.keypoints.base import COVERED, VISIBLE, AnnotatedImage, Annotations, Category, MarkedPoint, instance_of
from semcorr.keypoints.file_reader import DataFile, DataFolder, first_few
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.shapes import contains, extent
from semcorr.storage.files import is_dir

TITLE = "labelme's files"
_DEFAULT_CATEGORY = "object"
_BOXES = ("rectangle", "rotation")
_SHOWN = 4


@dataclass(kw_only=True, eq=False)
class _Object:
    """An object while its shapes are read; ``category`` is "" without a rectangle."""

    category: str = ""
    corners: np.ndarray | None = None
    points: dict[str, MarkedPoint] = field(default_factory=dict)

    @property
    def box(self) -> Box | None:
        """The extent of its rectangle."""
        return None if self.corners is None else extent(self.corners)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Image:
    """An image's file: the name of the image, its size, and the objects."""

    name: str
    size: tuple[int, int] | None
    objects: Sequence[_Object]


def is_file_of_labelme(content: object) -> bool:
    """Whether a JSON file's content is labelme's."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def is_folder(path: Path) -> bool:
    """Whether a path is a folder whose first .json file is labelme's."""
    first = next(iter(sorted(path.glob("*.json"))), None) if is_dir(path) else None
    try:
        return first is not None and is_file_of_labelme(_file(path, first).content())
    except DatasetError:
        return False


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read one file, or all files below a folder.

    A point is a key-point, its label the name. A rectangle is an object's box, its label the category. They belong
    together by their group; a point without one belongs to the rectangle without one that it is in, and without any
    rectangle all points are one object. X-AnyLabeling's "difficult" points are covered.

    Raises:
        DatasetError: A file is missing, broken or ambiguous, or none has points.
    """
    root = path if is_dir(path) else path.parent
    files = sorted(path.rglob("*.json")) if is_dir(path) else [path]
    ignored: Counter[str] = Counter()
    read_images: dict[str, _Image] = {}
    others: list[str] = []
    for one in files:
        file = _file(root, one)
        content = file.content()
        if not is_file_of_labelme(content):
            others.append(one.name)
            continue
        image = _image(file, content, ignored)
        if image.name in read_images:
            raise file.error("an image of its own for every file", f"{image.name!r} again")
        read_images[image.name] = image
    categories = _categories(read_images.values())
    if not any(category.keypoints for category in categories.values()):
        raise _file(root, path).error("points", "none: mark the key-points of a few objects first")
    paths = ImagePaths(_folder(root), images)
    located = paths.find_all(read_images)
    return Annotations(
        path=path,
        categories={name: one for name, one in categories.items() if one.keypoints},
        images=[
            AnnotatedImage(
                file=name,
                path=located[name],
                size=image.size,
                instances=tuple(
                    instance_of(categories[one.category], one.points, one.box, id=number)
                    for number, one in enumerate(image.objects)
                    if categories[one.category].keypoints
                ),
            )
            for name, image in read_images.items()
        ],
        notes=(*paths.notes, *_notes(ignored, others, read_images.values(), categories)),
        format="labelme",
        files=tuple(files),
    )


def _folder(root: Path) -> DataFolder:
    return DataFolder(root=root, title=TITLE, advice="Correct the file, or name another.")


def _file(root: Path, path: Path) -> DataFile:
    return DataFile(folder=_folder(root), path=path)


def _image(file: DataFile, content: Mapping[str, Any], ignored: Counter[str]) -> _Image:
    name = str(file.field(content, "imagePath", str)).replace("\\", "/")
    below = file.path.parent.relative_to(file.folder.root).as_posix()
    sides = [content.get("imageWidth"), content.get("imageHeight")]
    return _Image(
        name=name if below == "." else f"{below}/{name}",
        size=None if None in sides else file.size(sides, "imageWidth and imageHeight"),
        objects=_objects(file, content["shapes"], ignored),
    )


def _objects(file: DataFile, shapes: Sequence[Any], ignored: Counter[str]) -> list[_Object]:
    """The objects of an image: those with a rectangle in the order of the file, then those of points alone."""
    boxed: list[_Object] = []
    groups: dict[object, _Object] = {}
    loose: list[tuple[str, MarkedPoint, object]] = []
    for shape in shapes:
        if not isinstance(shape, dict):
            raise file.error("shapes as a list of objects", f"{shape!r:.40}")
        label, group = file.field(shape, "label", str), shape.get("group_id")
        kind = str(shape.get("shape_type") or "polygon")
        if kind not in (*_BOXES, "point"):
            ignored[kind] += 1
            continue
        corners = file.points(file.field(shape, "points", list), f"the points of {label!r}")
        if kind == "point":
            if len(corners) != 1:
                raise file.error(f"one location of the point {label!r}", f"{len(corners)}")
            x, y = corners[0].tolist()
            loose.append((label, (x, y, COVERED if shape.get("difficult") is True else VISIBLE), group))
            continue
        one = _Object(category=label, corners=_outline(corners))
        boxed.append(one)
        if group is not None:
            if str(group) in groups:
                raise file.error(f"one rectangle in the group {group!r}", "two", advice="Give each a group of its own.")
            groups[str(group)] = one
    alone: dict[object, _Object] = {}
    grouped = list(groups.values())
    without_group = [one for one in boxed if one not in grouped] or boxed
    for label, point, group in loose:
        owner = groups.get(str(group)) if group is not None else _around(file, label, point, without_group)
        owner = owner or alone.setdefault(None if group is None else str(group), _Object())
        if label in owner.points:
            advice = "Group the points of each object with its rectangle (group_id)."
            raise file.error("every point of an object once", f"{label!r} again", advice=advice)
        owner.points[label] = point
    return [*boxed, *alone.values()]


def _outline(corners: np.ndarray) -> np.ndarray:
    """The corners of a rectangle, of which labelme keeps two and X-AnyLabeling four."""
    if len(corners) != 2:
        return corners
    (x0, y0), (x1, y1) = corners
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _around(file: DataFile, label: str, point: MarkedPoint, boxed: Sequence[_Object]) -> _Object | None:
    """The one rectangle that a point is in; None where there are none."""
    inside = [one for one in boxed if one.corners is not None and contains(one.corners, point[:2])]
    if boxed and len(inside) != 1:
        raise file.error(
            f"the point {label!r} in exactly one of {len(boxed)} rectangles, or in one's group",
            f"it in {len(inside) or 'none'} of them",
            advice="Group the points of each object with its rectangle (group_id).",
        )
    return inside[0] if inside else None


def _categories(images: Iterable[_Image]) -> dict[str, Category]:
    """The categories by name, key-points in the order in which they appear; objects without a rectangle get theirs."""
    listed = [one for image in images for one in image.objects]
    labels = list(dict.fromkeys(one.category for one in listed if one.category))
    names: dict[str, dict[str, None]] = {}
    for one in listed:
        one.category = one.category or (labels[0] if len(labels) == 1 else _DEFAULT_CATEGORY)
        names.setdefault(one.category, {}).update(dict.fromkeys(one.points))
    return {
        name: Category(id=number, name=name, keypoints=tuple(points))
        for number, (name, points) in enumerate(names.items(), start=1)
    }


def _notes(
    ignored: Counter[str], others: Sequence[str], images: Iterable[_Image], categories: Mapping[str, Category]
) -> Iterator[str]:
    if ignored:
        listed = ", ".join(f"{times} {kind}" for kind, times in ignored.most_common(_SHOWN))
        yield f"shapes that are no points or rectangles are ignored: {listed}"
    bare = Counter(one.category for image in images for one in image.objects if not categories[one.category].keypoints)
    if bare:
        listed = ", ".join(f"{times} of {name!r}" for name, times in bare.most_common(_SHOWN))
        yield f"rectangles of labels without points are ignored: {listed}"
    if others:
        yield f"files that are not labelme's are ignored: {first_few(others)}"


FORMAT = AnnotationFormat(
    name="labelme",
    title="labelme",
    suffix=".json",
    read=read,
    write=read_only,
    recognizes=is_file_of_labelme,
    opens=is_folder,
)
