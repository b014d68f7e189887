"""PF-WILLOW: from its csv of pairs, or from the raw folders of pictures with .mat annotations beside."""

import codecs
import itertools
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semcorr.datasets import mat
from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.keypoints.file_reader import Folder, Names, open_folder
from semcorr.progress import Progress
from semcorr.storage.files import is_file

POINTS = 10
_NAMES = tuple(str(number + 1) for number in range(POINTS))
_COLUMNS = 2 + 4 * POINTS
_ADVICE = "See what else is wrong: semcorr data check pf-willow FOLDER. Get it: semcorr data download pf-willow."


def load(data: Path, split: str = "test", *, progress: Progress | None = None) -> Dataset:
    """Read all pairs: those of the folder's csv if there is one, else all ordered pairs of a sub-class.

    The csv has a line of headings, then imageA, imageB, 10 x of A, 10 y of A, 10 x of B, 10 y of B. Without it the
    folder holds one sub-folder a sub-class, of .png pictures with .mat files beside (``pts_coord``, 2 x 10).
    Coordinates are real numbers and stay as they are. Both ways give the same pairs under the same ids; their order is
    the csv's, or alphabetical.

    Args:
        data: The benchmark's folder, or the one that it lies in (called pf-willow or PF-dataset).
        split: "test": there is no other.
        progress: Called as ``("read", pictures done, pictures in all)``.

    Raises:
        DatasetError: the folder is something else, or a file is missing or broken.
    """
    folder = open_folder(
        data,
        ["pf-willow", "PF-dataset", "PF-WILLOW"],
        lambda root: bool(_tables(root) or _photographs(root)),
        title="PF-WILLOW",
        wanted="a .csv of pairs, or sub-folders of .png pictures with .mat annotations,",
        advice=_ADVICE,
    )
    tables = _tables(folder.root)
    if len(tables) > 1:
        found = ", ".join(path.name for path in tables)
        raise folder.wrong(f"expected one .csv of pairs in {str(folder.root)!r}, got {found}. Leave one there.")
    pairs = _from_table(folder, tables[0]) if tables else _from_folders(folder, progress)
    return Dataset(name="pf-willow", split=split, pairs=pairs, threshold="keypoints", root=folder.root)


def _tables(root: Path) -> list[Path]:
    """Lists of this benchmark: data of others may lie in the same folder."""
    tables = [path for path in sorted(root.glob("*.csv")) if path.is_file()]  # a pipe would never end
    return [path for path in tables if path.name == "test_pairs_pf.csv" or _headed(path)]


def _headed(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            beginning = stream.read(16)
    except OSError:  # not ours to read
        return False
    return beginning.removeprefix(codecs.BOM_UTF8).lower().startswith(b"imagea,")


def _photographs(root: Path) -> list[Path]:
    return [path for path in sorted(root.glob("*/*.png")) if path.with_suffix(".mat").is_file()]


def _from_folders(folder: Folder, progress: Progress | None) -> list[Pair]:
    groups: dict[str, list[PairImage]] = {}
    photographs = _photographs(folder.root)
    for number, path in enumerate(photographs):
        picture = PairImage(path=path, size=folder.image_size(path), points=_read_mat(folder, path.with_suffix(".mat")))
        groups.setdefault(path.parent.name, []).append(picture)
        if progress:
            progress("read", number + 1, len(photographs))
    return [
        _pair(category, source, target)
        for category, pictures in groups.items()
        for source, target in itertools.permutations(pictures, 2)
    ]


def _pair(category: str, source: PairImage, target: PairImage) -> Pair:
    identity = f"{category}/{source.path.stem}-{target.path.stem}"
    return Pair(id=identity, category=category, source=source, target=target, names=_NAMES)


def _read_mat(folder: Folder, path: Path) -> Float[np.ndarray, "points 2"]:
    try:
        points = mat.read_file(path, "pts_coord")
    except (OSError, ValueError) as error:
        raise folder.wrong(f"expected a MATLAB 5 file in {str(path)!r}, which cannot be read: {error}.") from error
    if points is None or points.shape != (2, POINTS):
        came = "none" if points is None else f"{points.dtype} of shape {points.shape}"
        raise folder.wrong(f"expected 'pts_coord' as 2 x {POINTS} numbers in {str(path)!r}, got {came}.")
    return folder.points(points.T.tolist(), "'pts_coord'", path)


def _from_table(folder: Folder, path: Path) -> list[Pair]:
    rows = folder.rows(path)
    sizes: dict[Path, tuple[int, int]] = {}
    names, pairs = Names(), []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != _COLUMNS:
            raise folder.wrong(f"expected {_COLUMNS} columns in line {number} of {str(path)!r}, got {len(row)}.")
        values = folder.numbers(row[2:], 4 * POINTS, f"line {number}", path)
        points = np.array(values).reshape(2, 2, POINTS).swapaxes(1, 2)
        source, target = (
            PairImage(path=picture, size=_size(folder, picture, sizes), points=side)
            for picture, side in zip((find_picture(folder, name) for name in row[:2]), points, strict=True)
        )
        pair = _pair(source.path.parent.name, source, target)
        pairs.append(Pair(**{**vars(pair), "id": names(pair.id)}))
    if not pairs:
        raise folder.wrong(f"expected a line of headings and then pairs in {str(path)!r}, got {len(rows)} lines.")
    return pairs


def find_picture(folder: Folder, name: str) -> Path:
    """The file of a picture that a csv calls ``name``, whose first part may be the folder's published name.

    Raises:
        DatasetError: the name leads out of the folder.
    """
    parts = Path(name.strip()).parts
    if not parts or ".." in parts or Path(name.strip()).is_absolute():
        raise folder.wrong(f"expected the path of a picture below {str(folder.root)!r}, got {name!r}.")
    whole = folder.root.joinpath(*parts)
    shorter = folder.root.joinpath(*parts[1:])
    return shorter if len(parts) > 1 and not is_file(whole) else whole


def _size(folder: Folder, path: Path, known: dict[Path, tuple[int, int]]) -> tuple[int, int]:
    if path not in known:
        known[path] = folder.image_size(path)
    return known[path]
