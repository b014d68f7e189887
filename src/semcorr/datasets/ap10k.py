"""AP-10K as a benchmark of correspondence: pairs within a species, across species, and across families."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.datasets.spair import read_pair
from semcorr.imaging.geometry import corner_box, pixel_points
from semcorr.keypoints.file_reader import Folder, open_folder
from semcorr.progress import Progress

SETTINGS = ("intra-species", "cross-species", "cross-family")
POINTS = (
    *("left eye", "right eye", "nose", "neck", "root of tail"),
    *("left shoulder", "left elbow", "left front paw", "right shoulder", "right elbow", "right front paw"),
    *("left hip", "left knee", "left back paw", "right hip", "right knee", "right back paw"),
)
"""The 17 key-points, in the annotations' order."""

_SUFFIX = {"intra-species": "", "cross-species": "_cross_species", "cross-family": "_cross_family"}
_ADVICE = (
    "Prepare it as the benchmark's authors describe: PairAnnotation, ImageAnnotation and JPEGImages in one folder."
)

_Annotations = dict[Path, dict[str, Any]]


def load(
    data: Path, split: str = "test", *, setting: str = "intra-species", progress: Progress | None = None
) -> Dataset:
    """Read the pairs of ``PairAnnotation/<split>`` (``..._cross_species``, ``..._cross_family``), by file name.

    A pair file either is one of SPair-71k's layout, or names two annotations (``src_json_path``, ``trg_json_path``,
    read from "ImageAnnotation" on) that hold bbox (x, y, width, height), width, height and 17 key-points as x, y, v;
    the picture lies in JPEGImages under the same path. Points with v > 0 on both sides are the common ones, as in the
    public code. The category is what stands behind the colon of the pair's file name: a species, a family, or "all".

    Args:
        data: The benchmark's folder, or the one that it lies in (called ap-10k).
        split: "trn", "val" or "test".
        setting: One of ``SETTINGS``.
        progress: Called as ``("read", pairs done, pairs in all)``.

    Raises:
        DatasetError: the folder is something else, or a file is missing or broken.
    """
    folder = open_folder(
        data,
        ["ap-10k", "AP-10K"],
        lambda root: (root / "PairAnnotation").is_dir(),
        title="AP-10K",
        wanted="the folder PairAnnotation",
        advice=_ADVICE,
    )
    place = folder.root / "PairAnnotation" / (split + _SUFFIX[setting])
    paths = sorted(place.glob("*.json"))
    if not paths:
        raise folder.wrong(f"expected .json files of pairs in {str(place)!r}, got none.")
    known: _Annotations = {}
    pairs = []
    for number, path in enumerate(paths):
        record = folder.json(path)
        pairs.append(read_pair(folder, path, record) if "src_kps" in record else _pair(folder, path, record, known))
        if progress and number % 500 == 0:
            progress("read", number, len(paths))
    return Dataset(name="ap10k", split=split, pairs=pairs, threshold="target-box", root=folder.root, setting=setting)


def _pair(folder: Folder, path: Path, record: dict[str, Any], known: _Annotations) -> Pair:
    files = [_annotation_file(folder, path, record, side) for side in ("src", "trg")]
    for file in files:
        if file not in known:
            known[file] = folder.json(file)
    arrays = [_key_points(folder, file, known[file]) for file in files]
    common = (arrays[0][:, 2] > 0) & (arrays[1][:, 2] > 0)
    source, target = (
        _picture(folder, file, known[file], array[common, :2]) for file, array in zip(files, arrays, strict=True)
    )
    names = tuple(POINTS[number] for number in np.flatnonzero(common))
    category = path.stem.rpartition(":")[2]
    return Pair(id=path.stem, category=category, source=source, target=target, names=names)


def _annotation_file(folder: Folder, path: Path, record: dict[str, Any], side: str) -> Path:
    """Pair files hold paths from wherever they were made; what counts begins at ImageAnnotation."""
    text: str = folder.field(record, f"{side}_json_path", str, path)
    parts = PurePosixPath(text.replace("\\", "/")).parts
    if "ImageAnnotation" not in parts or ".." in parts:
        raise folder.wrong(f"expected a path below ImageAnnotation as {side}_json_path in {str(path)!r}, got {text!r}.")
    return folder.below(*parts[parts.index("ImageAnnotation") :])


def _key_points(folder: Folder, file: Path, record: dict[str, Any]) -> np.ndarray:
    values = folder.field(record, "keypoints", list, file)
    return np.array(folder.numbers(values, 3 * len(POINTS), "'keypoints'", file)).reshape(-1, 3)


def _picture(folder: Folder, file: Path, record: dict[str, Any], points: np.ndarray) -> PairImage:
    sides = [folder.field(record, side, int, file) for side in ("width", "height")]
    width, height = folder.size(sides, "'width' and 'height'", file)
    box = corner_box(*folder.numbers(folder.field(record, "bbox", list, file), 4, "'bbox'", file))
    below = file.relative_to(folder.root / "ImageAnnotation").with_suffix(".jpg")
    return PairImage(
        path=folder.root / "JPEGImages" / below,
        size=(width, height),
        points=pixel_points(points, (width, height)),
        box=box,
    )
