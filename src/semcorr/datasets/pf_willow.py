"""PF-WILLOW: from its csv of pairs, or from the raw folders of images with .mat annotations beside."""

import codecs
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semcorr.datasets import mat
from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.datasets.benchmark import Benchmark, KnownCounts, Source
from semcorr.keypoints.file_reader import DataFile, DataFolder, UniqueNames, open_folder
from semcorr.progress import Progress
from semcorr.storage.files import is_file

POINTS = 10
_NAMES = tuple(str(number + 1) for number in range(POINTS))
_COLUMNS = 2 + 4 * POINTS
_SUB_CLASSES = (
    *("car(G)", "car(M)", "car(S)", "duck(S)", "motorbike(G)", "motorbike(M)", "motorbike(S)"),
    *("winebottle(M)", "winebottle(wC)", "winebottle(woC)"),
)
ORIGIN = "www.di.ens.fr/willow/research"
_ADVICE = "See what else is wrong: semcorr data check pf-willow FOLDER. Get it: semcorr data download pf-willow."


def load(data: Path, split: str = "test", *, progress: Progress | None = None) -> Dataset:
    """Read all pairs: those of the folder's csv if there is one, else all ordered pairs of a sub-class.

    The csv has a line of headings, then imageA, imageB, 10 x of A, 10 y of A, 10 x of B, 10 y of B. Without it the
    folder holds one sub-folder a sub-class, of .png images with .mat files beside (``pts_coord``, 2 x 10).
    Coordinates are real numbers and are not changed. Both ways give the same pairs under the same ids; their order is
    the csv's, or alphabetical.

    Args:
        data: The benchmark's folder, or the one that it is in (called pf-willow or PF-dataset).
        split: "test": there is no other.
        progress: Called as ``("read", images done, images in all)``.

    Raises:
        DatasetError: The folder is something else, or a file is missing or broken.
    """
    folder = open_folder(
        data,
        ["pf-willow", "PF-dataset", "PF-WILLOW"],
        lambda root: bool(_tables(root) or _photographs(root)),
        title="PF-WILLOW",
        expected="a .csv of pairs, or sub-folders of .png images with .mat annotations,",
        advice=_ADVICE,
    )
    tables = _tables(folder.root)
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise folder.error(f"expected one .csv of pairs in {str(folder.root)!r}, got {names}. Leave one there.")
    pairs = _from_table(DataFile(folder=folder, path=tables[0])) if tables else _from_folders(folder, progress)
    return Dataset(name="pf-willow", split=split, pairs=pairs, threshold="keypoints", root=folder.root)


def _tables(root: Path) -> list[Path]:
    """Lists of this benchmark: data of others may be in the same folder."""
    tables = [path for path in sorted(root.glob("*.csv")) if path.is_file()]  # reading a pipe would never end
    return [path for path in tables if path.name == "test_pairs_pf.csv" or _has_headings(path)]


def _has_headings(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            beginning = stream.read(16)
    except OSError:  # a file that may not be read is another's
        return False
    return beginning.removeprefix(codecs.BOM_UTF8).lower().startswith(b"imagea,")


def _photographs(root: Path) -> list[Path]:
    return [path for path in sorted(root.glob("*/*.png")) if path.with_suffix(".mat").is_file()]


def _from_folders(folder: DataFolder, progress: Progress | None) -> list[Pair]:
    groups: dict[str, list[PairImage]] = {}
    photographs = _photographs(folder.root)
    for number, path in enumerate(photographs):
        points = _read_mat(DataFile(folder=folder, path=path.with_suffix(".mat")))
        image = PairImage(path=path, size=folder.image_size(path), points=points)
        groups.setdefault(path.parent.name, []).append(image)
        if progress:
            progress("read", number + 1, len(photographs))
    return [
        _pair(category, source, target)
        for category, images in groups.items()
        for source, target in itertools.permutations(images, 2)
    ]


def _pair(category: str, source: PairImage, target: PairImage) -> Pair:
    identity = f"{category}/{source.path.stem}-{target.path.stem}"
    return Pair(id=identity, category=category, source=source, target=target, names=_NAMES)


def _read_mat(file: DataFile) -> Float[np.ndarray, "points 2"]:
    try:
        points = mat.read_file(file.path, "pts_coord")
    except (OSError, ValueError) as error:
        raise file.folder.error(
            f"expected a MATLAB 5 file in {str(file.path)!r}, which cannot be read: {error}."
        ) from error
    if points is None or points.shape != (2, POINTS):
        got = "none" if points is None else f"{points.dtype} of shape {points.shape}"
        raise file.error(f"'pts_coord' as 2 x {POINTS} numbers", got)
    return file.points(points.T.tolist(), "'pts_coord'")


def _from_table(file: DataFile) -> list[Pair]:
    rows = file.rows()
    sizes: dict[Path, tuple[int, int]] = {}
    unique, pairs = UniqueNames(), []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != _COLUMNS:
            raise file.error(f"{_COLUMNS} columns", str(len(row)), at=f"line {number}")
        values = file.numbers(row[2:], 4 * POINTS, f"line {number}")
        points = np.array(values).reshape(2, 2, POINTS).swapaxes(1, 2)
        sides = []
        for name, side in zip(row[:2], points, strict=True):
            path = find_image(file.folder, name)
            if path not in sizes:
                sizes[path] = file.folder.image_size(path)
            sides.append(PairImage(path=path, size=sizes[path], points=side))
        pair = _pair(sides[0].path.parent.name, *sides)
        pairs.append(replace(pair, id=unique(pair.id)))
    if not pairs:
        raise file.error("a line of headings and then pairs", f"{len(rows)} lines")
    return pairs


def find_image(folder: DataFolder, name: str) -> Path:
    """The file of an image that a csv calls ``name``, whose first part may be the folder's published name.

    Raises:
        DatasetError: The name leads out of the folder.
    """
    parts = Path(name.strip()).parts
    if not parts or ".." in parts or Path(name.strip()).is_absolute():
        raise folder.error(f"expected the path of an image below {str(folder.root)!r}, got {name!r}.")
    whole = folder.root.joinpath(*parts)
    shorter = folder.root.joinpath(*parts[1:])
    return shorter if len(parts) > 1 and not is_file(whole) else whole


PF_WILLOW = Benchmark(
    name="pf-willow",
    title="PF-WILLOW",
    folder="pf-willow",
    read=lambda data, split, _, progress: load(data, split, progress=progress),
    threshold="keypoints",
    known={
        ("test", ""): KnownCounts(
            pairs=900,
            by_category=dict.fromkeys(_SUB_CLASSES, 90),
            categories=10,
            points_per_pair=POINTS,
            files=("*/*.png", 100),
        )
    },
    sources=(Source(url=f"https://{ORIGIN}/proposalflow/dataset/PF-dataset.zip", inside="PF-dataset"),),
    origin=f"{ORIGIN}/proposalflow",
)
