"""CUB-200-2011, by two of the protocols of published figures, which cannot be compared with each other."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from jaxtyping import Bool, Float

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.datasets.benchmark import Benchmark, KnownCounts, Source
from semcorr.errors import DatasetError
from semcorr.imaging.geometry import Box, corner_box, pixel_points
from semcorr.imaging.image import known_formats, quiet, save_image
from semcorr.keypoints.file_reader import DataFile, DataFolder, open_folder
from semcorr.progress import Progress

PARTS = 15
SETTINGS = ("released", "asic")
CLASSES = (1, 2, 3)
"""Pairs are made within each of these classes."""

_ADVICE = "See what else is wrong: semcorr data check cub FOLDER. Get it: semcorr data download cub."
_CROP_SIDE = 256
_CROP_PADDING = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class _Bird:
    """One annotated image: all parts as continuous points, and which of them are visible."""

    path: Path
    category: str
    size: tuple[int, int]
    box: Box
    parts: Float[np.ndarray, "parts 2"]
    visible: Bool[np.ndarray, " parts"]


def load(data: Path, split: str = "test", *, setting: str = "released", progress: Progress | None = None) -> Dataset:
    """Read the pairs of classes 1 to 3 of a split, by one protocol.

    "released", the paper's authors' code: unordered pairs (the earlier image is the source) of whole images,
    threshold ``reference-cub``.

    "asic", as ASIC measures: all ordered pairs of square crops of 256 x 256 around the box padded by 5 %, threshold by
    the crop's side, averaged per point. The crops are written into the benchmark's folder ``asic-256`` once. Where
    a crop reaches beyond the image, the image's edge is repeated. ASIC's own code takes images and boxes from a cleaned
    list that is not part of CUB, and one class at a time; here they are CUB's own, of the same classes as above.

    A pair's category is its class's folder, such as "001.Black_footed_Albatross".

    Args:
        data: The benchmark's folder, or the one that it is in (called CUB_200_2011).
        split: "train" or "test", as train_test_split.txt has it.
        setting: One of ``SETTINGS``.
        progress: Called as ``("read", images done, images in all)``.

    Raises:
        DatasetError: The folder is something else, or a file is missing or broken.
    """
    folder = open_folder(
        data,
        ["CUB_200_2011"],
        lambda root: (root / "images.txt").is_file(),
        title="CUB-200-2011",
        expected="the file images.txt",
        advice=_ADVICE,
    )
    names = _part_names(folder)
    groups: dict[str, list[_Bird]] = {}
    for bird in _birds(folder, split, progress):
        groups.setdefault(bird.category, []).append(bird if setting == "released" else _cropped(folder, bird))
    pairs = [
        _pair(group[first], group[second], names)
        for group in groups.values()
        for first, second in itertools.permutations(range(len(group)), 2)
        if setting == "asic" or first < second
    ]
    if not pairs:
        raise folder.error(f"expected pairs of {split} images of classes 1 to 3 in images.txt, got none.")
    threshold = "reference-cub" if setting == "released" else "image"
    return Dataset(name="cub", split=split, pairs=pairs, threshold=threshold, root=folder.root, setting=setting)


def _birds(folder: DataFolder, split: str, progress: Progress | None) -> list[_Bird]:
    names = _table(folder, "images.txt", 1)
    labels = _table(folder, "image_class_labels.txt", 1, names)
    train = _table(folder, "train_test_split.txt", 1, names)
    boxes = _table(folder, "bounding_boxes.txt", 4, names)
    kept = {str(label) for label in CLASSES}
    chosen = [image for image in names if labels[image][0] in kept and (train[image][0] == "1") == (split == "train")]
    parts = _parts(folder.file("parts", "part_locs.txt"), chosen)
    box_file = folder.file("bounding_boxes.txt")
    birds = []
    for number, image in enumerate(chosen):
        path = folder.below("images", names[image][0])
        size = folder.image_size(path)
        numbers = box_file.numbers(boxes[image], 4, f"the box of image {image}")
        birds.append(
            _Bird(
                path=path,
                category=path.parent.name,
                size=size,
                box=corner_box(*numbers),
                parts=pixel_points(parts[image][:, :2], size),
                visible=parts[image][:, 2] == 1,
            )
        )
        if progress:
            progress("read", number + 1, len(chosen))
    return birds


def _table(
    folder: DataFolder, name: str, columns: int, images: Collection[str] | None = None
) -> Mapping[str, list[str]]:
    """The lines of a file by their first column; every one of ``images`` must have a line."""
    file = folder.file(name)
    rows: dict[str, list[str]] = {}
    for number, line in enumerate(file.lines(), start=1):
        image, *values = line.split()
        if len(values) != columns:
            raise file.error(f"{columns + 1} columns", str(len(values) + 1), at=f"line {number}")
        rows[image] = values
    missing = [image for image in images or () if image not in rows]
    if missing:
        got = f"none for {len(missing)}, the first of them image {missing[0]}"
        raise file.error("a line for every image of images.txt", got)
    return rows


def _parts(file: DataFile, images: Collection[str]) -> dict[str, Float[np.ndarray, "parts 3"]]:
    """x, y and visible of every part of every image."""
    parts = {image: np.full((PARTS, 3), np.nan) for image in images}
    for number, line in enumerate(file.lines(), start=1):
        image, *values = line.split()
        if image not in parts:
            continue
        part, *location = file.numbers(values, 4, f"part, x, y, visible in line {number}")
        if part not in range(1, PARTS + 1):
            raise file.error(f"a part from 1 to {PARTS}", f"{part:g}", at=f"line {number}")
        parts[image][int(part) - 1] = location
    for image, locations in parts.items():
        missing = int(np.isnan(locations[:, 0]).sum())
        if missing:
            raise file.error(f"{PARTS} parts of image {image}", str(PARTS - missing))
    return parts


def _part_names(folder: DataFolder) -> tuple[str, ...]:
    """The parts' names where the folder has them, else their ids."""
    file = folder.file("parts", "parts.txt")
    ids = tuple(str(part + 1) for part in range(PARTS))
    if not file.path.is_file():
        return ids
    named = dict(line.split(maxsplit=1) for line in file.lines() if " " in line)
    return tuple(named.get(part, part) for part in ids)


def _pair(source: _Bird, target: _Bird, names: tuple[str, ...]) -> Pair:
    common = source.visible & target.visible
    sides = [PairImage(path=s.path, size=s.size, points=s.parts[common], box=s.box) for s in (source, target)]
    return Pair(
        id=f"{source.category}/{source.path.stem}-{target.path.stem}",
        category=source.category,
        source=sides[0],
        target=sides[1],
        names=tuple(names[part] for part in np.flatnonzero(common)),
    )


def _cropped(folder: DataFolder, bird: _Bird) -> _Bird:
    """The bird in a square crop around its padded box, written as an image of its own if it is missing."""
    x0, y0, x1, y1 = bird.box
    # Real boxes reach beyond their images by a few pixels at most; a crop of any size would fill the memory.
    if not (max(x1 - x0, y1 - y0) <= 2 * max(bird.size) and all(abs(edge) <= 4 * max(bird.size) for edge in bird.box)):
        raise folder.error(f"expected a box in the image {str(bird.path)!r}, got {bird.box}.")
    side = max(1, round(max(x1 - x0, y1 - y0) * (1 + 2 * _CROP_PADDING)))
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    path = folder.root / f"asic-{_CROP_SIDE}" / bird.category / f"{bird.path.stem}.png"
    if not path.is_file():
        _write_crop(folder, bird.path, (left, top, side), path)
    scale = _CROP_SIDE / side
    box: Box = ((x0 - left) * scale, (y0 - top) * scale, (x1 - left) * scale, (y1 - top) * scale)
    return replace(bird, path=path, size=(_CROP_SIDE, _CROP_SIDE), box=box, parts=(bird.parts - (left, top)) * scale)


def _write_crop(folder: DataFolder, source: Path, square: tuple[int, int, int], path: Path) -> None:
    left, top, side = square
    try:
        with quiet(), PIL.Image.open(source, formats=known_formats()) as image:
            pixels = np.asarray(PIL.ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # Decoders raise whatever their code stumbles over in a broken file.
        raise folder.error(f"expected an image in {str(source)!r}, got something unreadable.") from error
    height, width = pixels.shape[:2]
    # The nearest column and row of the image: beyond its edge, the edge again.
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    crop = PIL.Image.fromarray(pixels[rows[:, None], columns])
    save_image(crop.resize((_CROP_SIDE, _CROP_SIDE), PIL.Image.Resampling.LANCZOS), path, error=DatasetError)


CUB = Benchmark(
    name="cub",
    title="CUB-200-2011",
    folder="CUB_200_2011",
    read=lambda data, split, setting, progress: load(data, split, setting=setting, progress=progress),
    threshold="reference-cub",
    splits=("test", "train"),
    settings=SETTINGS,
    known={
        (split, setting): KnownCounts(categories=len(CLASSES), files=("images/*/*.jpg", 11_788))
        for split in ("test", "train")
        for setting in SETTINGS
    },
    sources=(
        Source(
            url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            md5="97eceeb196236b17998738112f37df78",
            inside="CUB_200_2011",
        ),
    ),
    origin="data.caltech.edu/records/65de6-vp158",
)
