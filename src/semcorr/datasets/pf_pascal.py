"""PF-PASCAL: pairs of a csv, pictures in a folder."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.datasets.pf_willow import find_picture
from semcorr.imaging.geometry import pixel_points
from semcorr.keypoints.file_reader import Folder, Names, open_folder

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""PASCAL VOC's classes, in the order that the csv numbers them from 1."""

_ADVICE = "See what else is wrong: semcorr data check pf-pascal FOLDER. Get it: semcorr data download pf-pascal."
_COLUMNS = 7


def load(data: Path, split: str = "test") -> Dataset:
    """Read the pairs of ``<split>_pairs_pf_pascal.csv`` (or ``<split>_pairs.csv``), in its order.

    After a line of headings: source, target, class (from 1), x of the source's points joined by ";", their y, then
    those of the target. Points have no names there: they are numbered from 1 within each pair. Sizes come from the
    pictures' headers.

    Args:
        data: The benchmark's folder, or the one that it lies in (called PF-dataset-PASCAL).
        split: "test" or "val"; the published csv of training pairs holds no points.

    Raises:
        DatasetError: the folder is something else, or a file is missing or broken.
    """
    names = (f"{split}_pairs_pf_pascal.csv", f"{split}_pairs.csv")
    folder = open_folder(
        data,
        ["PF-dataset-PASCAL", "PF-PASCAL", "pf-pascal"],
        lambda root: any((root / name).is_file() for name in names),
        title="PF-PASCAL",
        wanted=f"the file {names[0]}",
        advice=_ADVICE,
    )
    path = next(folder.root / name for name in names if (folder.root / name).is_file())
    rows = folder.rows(path)
    unique = Names()
    pairs = [_pair(folder, path, number, row, unique) for number, row in enumerate(rows[1:], start=2) if row]
    if not pairs:
        raise folder.wrong(f"expected a line of headings and then pairs in {str(path)!r}, got {len(rows)} lines.")
    return Dataset(name="pf-pascal", split=split, pairs=pairs, threshold="image", root=folder.root)


def _pair(folder: Folder, path: Path, number: int, row: list[str], unique: Names) -> Pair:
    if len(row) != _COLUMNS:
        raise folder.wrong(f"expected {_COLUMNS} columns in line {number} of {str(path)!r}, got {len(row)}.")
    known = dict(enumerate(CLASSES, start=1))
    label = int(row[2]) if row[2].strip().isdecimal() and len(row[2]) < 10 else 0
    if label not in known:
        raise folder.wrong(
            f"expected a class from 1 to {len(CLASSES)} in line {number} of {str(path)!r}, got {row[2]:.40}."
        )
    source = _picture(folder, path, number, row[0], row[3:5])
    target = _picture(folder, path, number, row[1], row[5:7])
    if len(source.points) != len(target.points):
        came = f"{len(source.points)} and {len(target.points)}"
        raise folder.wrong(f"expected as many points on both sides in line {number} of {str(path)!r}, got {came}.")
    return Pair(
        id=unique(f"{known[label]}/{source.path.stem}-{target.path.stem}"),
        category=known[label],
        source=source,
        target=target,
        names=tuple(str(point + 1) for point in range(len(source.points))),
    )


def _picture(folder: Folder, path: Path, number: int, name: str, columns: list[str]) -> PairImage:
    picture = find_picture(folder, name)
    size = folder.image_size(picture)
    return PairImage(path=picture, size=size, points=pixel_points(_points(folder, path, number, columns), size))


def _points(folder: Folder, path: Path, number: int, columns: list[str]) -> Float[np.ndarray, "points 2"]:
    xs, ys = ([value for value in column.split(";") if value.strip()] for column in columns)
    if len(xs) != len(ys):
        raise folder.wrong(f"expected as many x as y in line {number} of {str(path)!r}, got {len(xs)} and {len(ys)}.")
    values = folder.numbers([*xs, *ys], 2 * len(xs), f"line {number}", path)
    return np.array(values, dtype=np.float64).reshape(2, -1).T
