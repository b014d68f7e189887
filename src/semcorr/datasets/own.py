"""A folder of one's own: images, and their key-points in a file of any format that annotations are read in."""

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.datasets.benchmark import Benchmark
from semcorr.imaging.geometry import moved_inside, pixel_points
from semcorr.keypoints.base import MISSING, VISIBLE, Annotations
from semcorr.keypoints.coco.document import CocoDocument, Entry, counted, has_marked_points, size_of
from semcorr.keypoints.deeplabcut.project import is_project_path
from semcorr.keypoints.file_reader import DataFile, UniqueNames, annotation_file, open_folder
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.read import format_of, read_annotations
from semcorr.keypoints.shapes import extent
from semcorr.storage.files import is_file

SETTINGS = ("all", "listed")
LISTS = ("pairs.csv", "pairs.txt")
"""Files that list the pairs of setting "listed"."""

_ADVICE = "Correct it, and see whether anything else is wrong: semcorr data check own FOLDER."


@dataclass(frozen=True, kw_only=True, eq=False)
class _Object:
    """One annotated object: all points of its category, and which of them are visible, or marked at all."""

    category: str
    file: str
    image: PairImage
    names: tuple[str, ...]
    visible: Bool[np.ndarray, " all"]
    marked: Bool[np.ndarray, " all"]

    @property
    def area(self) -> float:
        """Of its box, or else of the extent of its visible points, or of all that are marked if none is visible."""
        shown = self.visible if self.visible.any() else self.marked
        x0, y0, x1, y1 = self.image.box or extent(self.image.points[shown])
        return (x1 - x0) * (y1 - y0)


def load(data: Path, split: str = "test", *, setting: str | None = None, annotations: Path | None = None) -> Dataset:
    """Read one file of key-points and make pairs of the objects in it.

    It may be in any format that :func:`semcorr.read_annotations` takes: COCO, DeepLabCut's projects, dlib's data sets,
    and others. Images are in the file's folder; :mod:`semcorr.keypoints.image_paths` says how their names are taken.
    Sizes are those that the file declares, where it does; :func:`semcorr.datasets.registry.load` compares them with the
    images. Common points are those that are visible on both sides (v = 2); crowds and predicted objects are left out.
    In a file that marks no point as visible, all that are marked (v = 1) count. Where an image shows several objects of
    a category, the largest is used (by box, else by points).

    "all": all ordered pairs of images that share a category. "listed": the pairs of pairs.csv or pairs.txt, one a
    line: two file names separated by a comma, a tab or blanks; in every category they share. Without ``setting`` it is
    "listed" if there is such a file.

    Args:
        data: The folder, or the file of key-points in it.
        split: Goes into the result only.
        setting: "all" or "listed".
        annotations: The file of key-points, if the folder holds several.

    Raises:
        DatasetError: A file is missing or broken, or nothing makes a pair.
    """
    if annotations is None and is_file(data):
        data, annotations = data.parent, data
    folder = open_folder(
        data,
        [],
        lambda root: annotations is not None or bool(_candidates(root)),
        title="Own data",
        expected="a file of key-points, such as a .json file of COCO's,",
        advice=_ADVICE,
    )
    if annotations is None:
        candidates = _candidates(folder.root)
        if len(candidates) > 1:
            names = ", ".join(path.name for path in candidates)
            raise folder.error(f"expected one file of key-points in {str(data)!r}, got {names}: name the file itself.")
        annotations = candidates[0]
    file = DataFile(folder=folder, path=annotations)
    coco = format_of(file).name == "coco"
    objects, notes = _objects(file) if coco else _objects_of(read_annotations(annotations))
    if not any(one.visible.any() for one in objects):
        objects = [replace(one, visible=one.marked) for one in objects]
        notes = [*notes, "no point is marked as visible (v = 2), so all that are marked (v = 1) are measured"]
    dataset = _dataset(file, split, setting, objects, notes)
    if all(one.image.box is not None for one in objects):
        return dataset
    # What can be had without a box. Of COCO files the images' sides, as ever; objects are often far smaller.
    return replace(dataset, threshold="image" if coco else "keypoints")


def _dataset(
    file: DataFile, split: str, setting: str | None, objects: Sequence[_Object], notes: Sequence[str]
) -> Dataset:
    """The pairs of these objects, measured by their boxes.

    Raises:
        DatasetError: There are none, or nothing can be measured in them.
    """
    folder = file.folder
    lists = [folder.root / name for name in LISTS if (folder.root / name).is_file()]
    setting = setting or ("listed" if lists else "all")
    if setting == "listed" and not lists:
        raise folder.error(f"expected {' or '.join(LISTS)} in {str(folder.root)!r}, got neither.")
    chosen = _listed(DataFile(folder=folder, path=lists[0]), objects) if setting == "listed" else _all(objects)
    unique = UniqueNames()
    pairs = [_pair(source, target, unique) for source, target in chosen]
    if not pairs:
        left_out = " ".join(f"{note[0].upper()}{note[1:]}." for note in notes)
        raise file.error("images that share a category", "none", advice=left_out)
    if not any(pair.names for pair in pairs):
        raise file.error(
            "key-points that can be seen (v = 2) in both images of a pair",
            "none: covered ones (v = 1) are not measured",
        )
    return Dataset(
        name="own",
        split=split,
        pairs=pairs,
        threshold="target-box",
        root=folder.root,
        setting=setting,
        notes=tuple(notes),
    )


def _candidates(root: Path) -> list[Path]:
    """What may be the file of key-points: .json before others, as COCO's projects have tables and XML beside it."""
    if is_project_path(root):
        return [root]
    tables = [path for path in sorted(root.glob("*.csv")) if path.name not in LISTS]
    jsons = sorted(root.glob("*.json")) or sorted((root / "annotations").glob("*.json"))
    return jsons or [*sorted(root.glob("*.xml")), *tables]


def _objects_of(annotations: Annotations) -> tuple[list[_Object], list[str]]:
    """The largest object of every category in every image of a file of another format, and what is left out."""
    folder = annotation_file(annotations.path, "Own data").folder
    largest: dict[tuple[str, str], _Object] = {}
    for image in annotations.images:
        for instance in image.instances:
            if not instance.annotated:
                continue
            size = image.size or folder.image_size(image.path)
            one = _Object(
                category=instance.category,
                file=image.file,
                image=PairImage(
                    path=image.path, size=size, points=moved_inside(instance.points, size), box=instance.box
                ),
                names=annotations.categories[instance.category].keypoints,
                visible=instance.visibility == VISIBLE,
                marked=instance.visibility > MISSING,
            )
            _keep_largest(largest, one)
    return list(largest.values()), list(annotations.notes)


def _objects(file: DataFile) -> tuple[list[_Object], list[str]]:
    """The largest object of every category in every image, in the order of the annotations; and what is left out."""
    document = CocoDocument(file)
    crowds, predictions = [], []
    chosen: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = []
    for annotation in document.entries("annotations"):
        if not has_marked_points(annotation):
            continue  # COCO files hold boxes and masks of objects without key-points too
        image = document.images[document.image_id(annotation)]
        category = document.categories[document.category_id(annotation)]
        name = file.field(category, "name", str)
        if document.is_crowd(annotation):
            crowds.append(name)
        elif document.is_predicted(annotation):
            predictions.append(name)
        else:
            chosen.append((annotation, image, category))
    _check_names(file, [category for _, _, category in chosen])
    paths = ImagePaths(file.folder, file.folder.root)
    located = paths.find_all(file.field(image, "file_name", str) for _, image, _ in chosen)
    largest: dict[tuple[str, str], _Object] = {}
    for annotation, image, category in chosen:
        _keep_largest(largest, _object(document, annotation, image, category, located[image["file_name"]]))
    notes = [*paths.notes]
    if crowds:
        notes.append(f"annotations of crowds (iscrowd) are ignored: {counted(crowds)}")
    if predictions:
        notes.append(f"predicted objects are no truth and are ignored: {counted(predictions)}")
    return list(largest.values()), notes


def _keep_largest(largest: dict[tuple[str, str], _Object], one: _Object) -> None:
    key = (one.category, one.file)
    if key not in largest or largest[key].area < one.area:
        largest[key] = one


def _check_names(file: DataFile, categories: Sequence[Entry]) -> None:
    known: dict[str, object] = {}
    for category in categories:
        other = known.setdefault(category["name"], category["id"])
        if other != category["id"]:
            got = f"{category['name']!r} for both {other!r} and {category['id']!r}"
            raise file.error("different names of categories", got)


def _object(document: CocoDocument, annotation: Entry, image: Entry, category: Entry, path: Path) -> _Object:
    names = document.keypoint_names(category)
    array = document.keypoints(annotation, names)
    size = size_of(image) or document.file.folder.image_size(path)
    points = pixel_points(array[:, :2], size)
    return _Object(
        category=category["name"],
        file=image["file_name"],
        image=PairImage(path=path, size=size, points=points, box=document.box(annotation)),
        names=names,
        visible=array[:, 2] == VISIBLE,
        marked=array[:, 2] > MISSING,
    )


def _all(objects: Sequence[_Object]) -> Iterator[tuple[_Object, _Object]]:
    groups: dict[str, list[_Object]] = {}
    for one in objects:
        groups.setdefault(one.category, []).append(one)
    for group in groups.values():
        yield from itertools.permutations(group, 2)


def _listed(file: DataFile, objects: Sequence[_Object]) -> Iterator[tuple[_Object, _Object]]:
    by_file: dict[str, dict[str, _Object]] = {}
    for one in objects:
        by_file.setdefault(one.file, {})[one.category] = one
    for number, line in enumerate(file.lines(), start=1):
        names = _columns(file, line)
        if number == 1 and not any(name in by_file or Path(name).suffix for name in names):
            continue  # a line of headings
        unknown = [name for name in names if name not in by_file]
        if len(names) != 2 or unknown:
            got = f"{unknown[0]!r}, which has no key-points in the .json file" if len(names) == 2 else f"{line!r}"
            raise file.error("two file names", got, at=f"line {number}")
        first, second = (by_file[name] for name in names)
        shared = [category for category in first if category in second]
        if not shared:
            raise file.error("images that share a category", repr(line), at=f"line {number}")
        yield from ((first[category], second[category]) for category in shared)


def _columns(file: DataFile, line: str) -> list[str]:
    try:
        for separator in (",", "\t"):
            if separator in line:
                return [name.strip() for name in next(csv.reader([line], delimiter=separator))]
    except csv.Error as error:
        raise file.error("two file names a line", f"something else: {error}") from error
    return line.split()


def _pair(source: _Object, target: _Object, unique: UniqueNames) -> Pair:
    common = source.visible & target.visible
    sides = [replace(one.image, points=one.image.points[common]) for one in (source, target)]
    return Pair(
        id=unique(f"{source.file}-{target.file}:{source.category}"),
        category=source.category,
        source=sides[0],
        target=sides[1],
        names=tuple(source.names[number] for number in np.flatnonzero(common)),
    )


OWN = Benchmark(
    name="own",
    title="A folder of one's own",
    folder="",
    read=lambda data, split, setting, _: load(data, split, setting=setting or None),
    threshold="target-box",
    settings=("", *SETTINGS),
    compare_sizes=True,
    origin="yours: images and a file of key-points",
    terms="yours",
)
