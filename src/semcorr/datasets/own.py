"""A folder of one's own: pictures, and their key-points as COCO writes them."""

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.imaging.geometry import Box, pixel_points
from semcorr.keypoints.base import VISIBLE
from semcorr.keypoints.coco.document import (
    box_of,
    by_id,
    counted,
    has_marked_points,
    is_crowd,
    key_points,
    predicted,
    records,
    referred,
    size_of,
)
from semcorr.keypoints.file_reader import Folder, Names, open_folder
from semcorr.keypoints.image_paths import ImagePaths

SETTINGS = ("all", "listed")
LISTS = ("pairs.csv", "pairs.txt")
"""Where the pairs of setting "listed" stand."""

_ADVICE = "Correct it, and see whether anything else is wrong: semcorr data check own FOLDER."


@dataclass(frozen=True, kw_only=True, eq=False)
class _Thing:
    """One annotated object: all points of its category, and which of them can be seen."""

    category: str
    file: str
    picture: PairImage
    names: tuple[str, ...]
    visible: Bool[np.ndarray, " all"]


def load(data: Path, split: str = "test", *, setting: str | None = None, annotations: Path | None = None) -> Dataset:
    """Read one COCO key-points file and make pairs of the objects in it.

    Pictures lie in the .json file's folder; ``file_name`` says where, see :mod:`semcorr.keypoints.image_paths`. Sizes
    are the file's ``width`` and ``height`` where it has them; :func:`semcorr.datasets.registry.load` compares them with
    the pictures. Common points are those that can be seen on both sides (v = 2); crowds and predicted objects are left
    out. Where a picture shows several objects of a category, the largest stands for them (by box, else by points).

    "all": all ordered pairs of pictures that share a category. "listed": the pairs of pairs.csv or pairs.txt, one a
    line: two file names between a comma, a tab or blanks; in every category they share. Without ``setting`` it is
    "listed" if there is such a file.

    Args:
        data: The folder, or its .json file.
        split: Goes into the result only.
        setting: "all" or "listed".
        annotations: The .json file, if the folder holds several.

    Raises:
        DatasetError: a file is missing or broken, or nothing makes a pair.
    """
    if annotations is None and data.suffix == ".json":
        data, annotations = data.parent, data
    folder = open_folder(
        data, [], lambda root: bool(_candidates(root)), title="Own data", wanted="a .json file", advice=_ADVICE
    )
    found = _candidates(folder.root)
    if annotations is None and len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise folder.wrong(f"expected one .json file in {str(data)!r}, got {names}: name the file itself instead.")
    things, notes = _things(folder, annotations or found[0])
    lists = [folder.root / name for name in LISTS if (folder.root / name).is_file()]
    setting = setting or ("listed" if lists else "all")
    if setting == "listed" and not lists:
        raise folder.wrong(f"expected {' or '.join(LISTS)} in {str(data)!r}, got neither.")
    chosen = _listed(folder, lists[0], things) if setting == "listed" else _all(things)
    unique = Names()
    pairs = [_pair(source, target, unique) for source, target in chosen]
    if not pairs:
        left_out = "".join(f" {note[0].upper()}{note[1:]}." for note in notes)
        raise folder.wrong(
            f"expected pictures that share a category in {str(annotations or found[0])!r}, got none.{left_out}"
        )
    if not any(pair.names for pair in pairs):
        raise folder.wrong(
            f"expected key-points that can be seen (v = 2) in both images of a pair in "
            f"{str(annotations or found[0])!r}, got none: covered ones (v = 1) are not measured."
        )
    boxed = all(thing.picture.box is not None for thing in things)
    threshold = "target-box" if boxed else "image"
    return Dataset(
        name="own", split=split, pairs=pairs, threshold=threshold, root=folder.root, setting=setting, notes=tuple(notes)
    )


def _candidates(root: Path) -> list[Path]:
    return sorted(root.glob("*.json")) or sorted((root / "annotations").glob("*.json"))


def _things(folder: Folder, path: Path) -> tuple[list[_Thing], list[str]]:
    """The largest object of every category in every picture, in the order of the annotations; and what is left out."""
    content = folder.json(path)
    images = by_id(folder, path, records(folder, path, content, "images"), "image")
    categories = by_id(folder, path, records(folder, path, content, "categories"), "category")
    crowds, predictions = [], []
    chosen: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = []
    for record in records(folder, path, content, "annotations"):
        if not has_marked_points(record):
            continue  # COCO files hold boxes and masks of objects without key-points too
        image = images[referred(folder, path, record, "image_id", images)]
        category = categories[referred(folder, path, record, "category_id", categories)]
        name = str(folder.field(category, "name", str, path))
        if is_crowd(folder, path, record):
            crowds.append(name)
        elif predicted(folder, path, record):
            predictions.append(name)
        else:
            chosen.append((record, image, category))
    _check_names(folder, path, [category for _, _, category in chosen])
    paths = ImagePaths(folder, folder.root)
    place = paths.find_all(str(folder.field(image, "file_name", str, path)) for _, image, _ in chosen)
    best: dict[tuple[str, str], tuple[float, _Thing]] = {}
    for record, image, category in chosen:
        thing = _thing(folder, path, record, image, category, place[image["file_name"]])
        x0, y0, x1, y1 = thing.picture.box or _extent(thing.picture.points[thing.visible])
        key, area = (thing.category, thing.file), (x1 - x0) * (y1 - y0)
        if key not in best or best[key][0] < area:
            best[key] = (area, thing)
    notes = [*paths.notes]
    if crowds:
        notes.append(f"annotations of crowds (iscrowd) are ignored: {counted(crowds)}")
    if predictions:
        notes.append(f"predicted objects are no truth and are ignored: {counted(predictions)}")
    return [thing for _, thing in best.values()], notes


def _check_names(folder: Folder, path: Path, categories: Sequence[dict[str, Any]]) -> None:
    known: dict[str, object] = {}
    for category in categories:
        if known.setdefault(category["name"], category["id"]) != category["id"]:
            raise folder.wrong(
                f"expected different names of categories in {str(path)!r}, got {category['name']!r} for both "
                f"{known[category['name']]!r} and {category['id']!r}."
            )


def _thing(
    folder: Folder, path: Path, record: dict[str, Any], image: dict[str, Any], category: dict[str, Any], place: Path
) -> _Thing:
    names = tuple(map(str, folder.field(category, "keypoints", list, path)))
    array = key_points(folder, path, record, names)
    size = size_of(image) or folder.image_size(place)
    picture = PairImage(
        path=place, size=size, points=pixel_points(array[:, :2], size), box=box_of(folder, path, record)
    )
    return _Thing(
        category=category["name"],
        file=image["file_name"],
        picture=picture,
        names=names,
        visible=array[:, 2] == VISIBLE,
    )


def _extent(points: Float[np.ndarray, "points 2"]) -> Box:
    if not len(points):
        return 0.0, 0.0, 0.0, 0.0
    return (*map(float, points.min(axis=0)), *map(float, points.max(axis=0)))  # type: ignore[return-value]


def _all(things: list[_Thing]) -> Iterator[tuple[_Thing, _Thing]]:
    groups: dict[str, list[_Thing]] = {}
    for thing in things:
        groups.setdefault(thing.category, []).append(thing)
    for group in groups.values():
        yield from itertools.permutations(group, 2)


def _listed(folder: Folder, path: Path, things: list[_Thing]) -> Iterator[tuple[_Thing, _Thing]]:
    by_file: dict[str, dict[str, _Thing]] = {}
    for thing in things:
        by_file.setdefault(thing.file, {})[thing.category] = thing
    for number, line in enumerate(folder.lines(path), start=1):
        names = _columns(folder, path, line)
        if number == 1 and not any(name in by_file or Path(name).suffix for name in names):
            continue  # a line of headings
        unknown = [name for name in names if name not in by_file]
        if len(names) != 2 or unknown:
            came = f"{unknown[0]!r}, which has no key-points in the .json file" if len(names) == 2 else f"{line!r}"
            raise folder.wrong(f"expected two file names in line {number} of {str(path)!r}, got {came}.")
        first, second = (by_file[name] for name in names)
        shared = [category for category in first if category in second]
        if not shared:
            raise folder.wrong(
                f"expected pictures that share a category in line {number} of {str(path)!r}, got {line!r}."
            )
        yield from ((first[category], second[category]) for category in shared)


def _columns(folder: Folder, path: Path, line: str) -> list[str]:
    try:
        for separator in (",", "\t"):
            if separator in line:
                return [name.strip() for name in next(csv.reader([line], delimiter=separator))]
    except csv.Error as error:
        raise folder.wrong(f"expected two file names a line in {str(path)!r}, got something else: {error}.") from error
    return line.split()


def _pair(source: _Thing, target: _Thing, unique: Names) -> Pair:
    common = source.visible & target.visible
    sides = [
        PairImage(path=s.picture.path, size=s.picture.size, points=s.picture.points[common], box=s.picture.box)
        for s in (source, target)
    ]
    return Pair(
        id=unique(f"{source.file}-{target.file}:{source.category}"),
        category=source.category,
        source=sides[0],
        target=sides[1],
        names=tuple(source.names[number] for number in np.flatnonzero(common)),
    )
