"""AP-10K as a benchmark of correspondence: pairs within a species, across species, and across families."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.datasets.benchmark import Benchmark
from semcorr.datasets.similar_points import AP10K as ALIKE
from semcorr.datasets.spair import read_pair
from semcorr.imaging.geometry import corner_box, pixel_points
from semcorr.keypoints.file_reader import DataFile, open_folder
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

_Annotations = dict[DataFile, dict[str, Any]]


def load(
    data: Path, split: str = "test", *, setting: str = "intra-species", progress: Progress | None = None
) -> Dataset:
    """Read the pairs of ``PairAnnotation/<split>`` (``..._cross_species``, ``..._cross_family``), by file name.

    A pair file either has SPair-71k's layout, or names two annotations (``src_json_path``, ``trg_json_path``,
    read from "ImageAnnotation" on) that hold bbox (x, y, width, height), width, height and 17 key-points as x, y, v;
    the image is in JPEGImages under the same path. Points with v > 0 on both sides are the common ones, as in the
    public code. The category follows the colon in the pair's file name: a species, a family, or "all".

    Args:
        data: The benchmark's folder, or the one that it is in (called ap-10k).
        split: "trn", "val" or "test".
        setting: One of ``SETTINGS``.
        progress: Called as ``("read", pairs done, pairs in all)``.

    Raises:
        DatasetError: The folder is something else, or a file is missing or broken.
    """
    folder = open_folder(
        data,
        ["ap-10k", "AP-10K"],
        lambda root: (root / "PairAnnotation").is_dir(),
        title="AP-10K",
        expected="the folder PairAnnotation",
        advice=_ADVICE,
    )
    pair_folder = folder.root / "PairAnnotation" / (split + _SUFFIX[setting])
    paths = sorted(pair_folder.glob("*.json"))
    if not paths:
        raise folder.error(f"expected .json files of pairs in {str(pair_folder)!r}, got none.")
    known: _Annotations = {}
    pairs = []
    for number, path in enumerate(paths):
        file = DataFile(folder=folder, path=path)
        record = file.json()
        pairs.append(read_pair(file, record, folder) if "src_kps" in record else _pair(file, record, known))
        if progress and number % 500 == 0:
            progress("read", number, len(paths))
    return Dataset(name="ap10k", split=split, pairs=pairs, threshold="target-box", root=folder.root, setting=setting)


def _pair(file: DataFile, record: dict[str, Any], known: _Annotations) -> Pair:
    files = [_annotation_file(file, record, side) for side in ("src", "trg")]
    for one in files:
        if one not in known:
            known[one] = one.json()
    arrays = [_key_points(one, known[one]) for one in files]
    common = (arrays[0][:, 2] > 0) & (arrays[1][:, 2] > 0)
    source, target = (_image(one, known[one], array, common) for one, array in zip(files, arrays, strict=True))
    names = tuple(POINTS[number] for number in np.flatnonzero(common))
    category = file.path.stem.rpartition(":")[2]
    return Pair(id=file.path.stem, category=category, source=source, target=target, names=names)


def _annotation_file(file: DataFile, record: dict[str, Any], side: str) -> DataFile:
    """The annotation that a pair file names; of its path on another machine, what follows ImageAnnotation counts."""
    text: str = file.field(record, f"{side}_json_path", str)
    parts = PurePosixPath(text.replace("\\", "/")).parts
    if "ImageAnnotation" not in parts or ".." in parts:
        raise file.error(f"a path below ImageAnnotation as {side}_json_path", repr(text))
    return file.folder.file(*parts[parts.index("ImageAnnotation") :])


def _key_points(file: DataFile, record: dict[str, Any]) -> np.ndarray:
    values = file.field(record, "keypoints", list)
    return np.array(file.numbers(values, 3 * len(POINTS), "'keypoints'")).reshape(-1, 3)


def _image(file: DataFile, record: dict[str, Any], array: np.ndarray, common: np.ndarray) -> PairImage:
    size = file.size([file.field(record, side, int) for side in ("width", "height")], "'width' and 'height'")
    box = corner_box(*file.numbers(file.field(record, "bbox", list), 4, "'bbox'"))
    root = file.folder.root
    name = file.path.relative_to(root / "ImageAnnotation").with_suffix(".jpg")
    points = pixel_points(array[:, :2], size)
    alone = np.flatnonzero((array[:, 2] > 0) & ~common)
    return PairImage(
        path=root / "JPEGImages" / name,
        size=size,
        points=points[common],
        box=box,
        unmatched={POINTS[number]: (float(points[number, 0]), float(points[number, 1])) for number in alone},
    )


AP10K = Benchmark(
    name="ap10k",
    title="AP-10K",
    folder="ap-10k",
    read=lambda data, split, setting, progress: load(data, split, setting=setting, progress=progress),
    threshold="target-box",
    splits=("test", "val", "trn"),
    settings=SETTINGS,
    similar_points=lambda _: ALIKE,
)
