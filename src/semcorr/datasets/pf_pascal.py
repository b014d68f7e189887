"""PF-PASCAL: pairs of a csv, images in a folder."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.datasets.benchmark import Benchmark, KnownCounts, Source
from semcorr.datasets.pf_willow import ORIGIN, find_image
from semcorr.imaging.geometry import pixel_points
from semcorr.keypoints.file_reader import DataFile, UniqueNames, open_folder

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""PASCAL VOC's classes, in the order that the csv numbers them from 1."""

_ADVICE = "See what else is wrong: semcorr data check pf-pascal FOLDER. Get it: semcorr data download pf-pascal."
_COLUMNS = 7
_WITHOUT_POINTS = 4
"""Columns of the lists for training: source, target, class, and whether the pair is mirrored."""


def load(data: Path, split: str = "test") -> Dataset:
    """Read the pairs of ``<split>_pairs_pf_pascal.csv`` (or ``<split>_pairs.csv``), in its order.

    After a line of headings: source, target, class (from 1), x of the source's points joined by ";", their y, then
    those of the target. The points have no names: they are numbered from 1 within each pair. Sizes come from the
    images' headers.

    Args:
        data: The benchmark's folder, or the one that it is in (called PF-dataset-PASCAL).
        split: "test" or "val"; the lists of training and validation pairs that are published with NCNet hold no points.

    Raises:
        DatasetError: The folder is something else, or a file is missing or broken.
    """
    names = (f"{split}_pairs_pf_pascal.csv", f"{split}_pairs.csv")
    folder = open_folder(
        data,
        ["PF-dataset-PASCAL", "PF-PASCAL", "pf-pascal"],
        lambda root: any((root / name).is_file() for name in names),
        title="PF-PASCAL",
        expected=f"the file {names[0]}",
        advice=_ADVICE,
    )
    file = folder.file(next(name for name in names if (folder.root / name).is_file()))
    rows = file.rows()
    unique = UniqueNames()
    pairs = [_pair(file, number, row, unique) for number, row in enumerate(rows[1:], start=2) if row]
    if not pairs:
        raise file.error("a line of headings and then pairs", f"{len(rows)} lines")
    return Dataset(name="pf-pascal", split=split, pairs=pairs, threshold="image", root=folder.root)


def _pair(file: DataFile, number: int, row: list[str], unique: UniqueNames) -> Pair:
    line = f"line {number}"
    if len(row) != _COLUMNS:
        why = ": a list without points, for training" if len(row) == _WITHOUT_POINTS else ""
        raise file.error(f"{_COLUMNS} columns", f"{len(row)}{why}", at=line)
    classes = dict(enumerate(CLASSES, start=1))
    label = int(row[2]) if row[2].strip().isdecimal() and len(row[2]) < 10 else 0
    if label not in classes:
        raise file.error(f"a class from 1 to {len(CLASSES)}", f"{row[2]:.40}", at=line)
    source, target = _image(file, line, row[0], row[3:5]), _image(file, line, row[1], row[5:7])
    if len(source.points) != len(target.points):
        raise file.error("as many points on both sides", f"{len(source.points)} and {len(target.points)}", at=line)
    return Pair(
        id=unique(f"{classes[label]}/{source.path.stem}-{target.path.stem}"),
        category=classes[label],
        source=source,
        target=target,
        names=tuple(str(point + 1) for point in range(len(source.points))),
    )


def _image(file: DataFile, line: str, name: str, columns: list[str]) -> PairImage:
    path = find_image(file.folder, name)
    size = file.folder.image_size(path)
    return PairImage(path=path, size=size, points=pixel_points(_points(file, line, columns), size))


def _points(file: DataFile, line: str, columns: list[str]) -> Float[np.ndarray, "points 2"]:
    xs, ys = ([value for value in column.split(";") if value.strip()] for column in columns)
    if len(xs) != len(ys):
        raise file.error("as many x as y", f"{len(xs)} and {len(ys)}", at=line)
    values = file.numbers([*xs, *ys], 2 * len(xs), line)
    return np.array(values, dtype=np.float64).reshape(2, -1).T


_TEST_PAIRS = (15, 30, 10, 6, 8, 32, 19, 27, 13, 3, 8, 24, 9, 27, 12, 7, 1, 13, 20, 15)
"""Of the published test list, by class."""

PF_PASCAL = Benchmark(
    name="pf-pascal",
    title="PF-PASCAL",
    folder="PF-dataset-PASCAL",
    read=lambda data, split, *_: load(data, split),
    threshold="image",
    splits=("test", "val"),
    known={
        ("test", ""): KnownCounts(pairs=299, by_category=dict(zip(CLASSES, _TEST_PAIRS, strict=True)), categories=20),
    },
    sources=(
        Source(url=f"https://{ORIGIN}/proposalflow/dataset/PF-dataset-PASCAL.zip", inside="PF-dataset-PASCAL"),
        Source(url=f"https://{ORIGIN}/cnngeometric/other_resources/test_pairs_pf_pascal.csv"),
    ),
    origin=f"{ORIGIN}/proposalflow",
)
