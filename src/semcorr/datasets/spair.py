"""SPair-71k, and SPair-U: other key-points on the pairs of its test split, in the same layout."""

from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.datasets.benchmark import Benchmark, KnownCounts, Source
from semcorr.datasets.similar_points import SPAIR as ALIKE
from semcorr.imaging.geometry import Box, pixel_points
from semcorr.keypoints.file_reader import DataFile, DataFolder, open_folder
from semcorr.progress import Progress

_TITLES = {"spair": "SPair-71k", "spair-u": "SPair-U"}
_ADVICE = {
    "spair": "See what else is wrong: semcorr data check spair FOLDER. Get it: semcorr data download spair.",
    "spair-u": (
        "SPair-U is a folder of annotations, with SPair-71k's folder SPair-71k beside it for the images. Get both: "
        "semcorr data download spair-u, semcorr data download spair."
    ),
}
_FLAGS = {
    "viewpoint_variation": "viewpoint",
    "scale_variation": "scale",
    "truncation": "truncation",
    "occlusion": "occlusion",
    "mirror": "mirror",
}


def load(data: Path, split: str = "test", *, name: str = "spair", progress: Progress | None = None) -> Dataset:
    """Read the pairs of ``Layout/large/<split>.txt``, in its order; no image is opened.

    Point names are the ids of ``kps_ids``. Flags: viewpoint, scale, truncation, occlusion, mirror. Key-points that one
    image shows alone are those of ``ImageAnnotation``, where that folder is there. SPair-U is published
    as annotations alone: without a list its pairs are all files of ``PairAnnotation/<split>``, by name, and without
    images of its own they are those of the folder SPair-71k beside it.

    Args:
        data: The benchmark's folder, or the one that it is in.
        split: "trn", "val" or "test".
        name: "spair" or "spair-u".
        progress: Called as ``("read", pairs done, pairs in all)``.

    Raises:
        DatasetError: The folder is something else, or a file is missing or broken.
    """
    expected = "Layout/large" if name == "spair" else "PairAnnotation"
    folder = open_folder(
        data,
        [_TITLES[name]],
        lambda root: (root / expected).is_dir(),
        title=_TITLES[name],
        expected=f"the folder {expected}",
        advice=_ADVICE[name],
    )
    lines = _listed(folder, split, required=name == "spair")
    images = folder if name == "spair" else _images_of(folder)
    others = _Unmatched(folder)
    pairs = []
    for number, line in enumerate(lines):
        file = folder.file("PairAnnotation", split, f"{line}.json")
        pairs.append(read_pair(file, file.json(), images, others))
        if progress and number % 500 == 0:
            progress("read", number, len(lines))
    return Dataset(name=name, split=split, pairs=pairs, threshold="target-box", root=images.root)


def _listed(folder: DataFolder, split: str, *, required: bool) -> Sequence[str]:
    """The names of a split's pairs: those of its list, or of all annotations where a list is not required."""
    file = folder.file("Layout", "large", f"{split}.txt")
    if required or file.path.is_file():
        source, lines = f"Layout/large/{split}.txt", file.lines()
    else:
        source = f"PairAnnotation/{split}"
        lines = sorted(path.stem for path in (folder.root / source).glob("*.json"))
    if not lines:
        raise folder.error(f"expected pairs in {source!r}, got none.")
    return lines


def _images_of(folder: DataFolder) -> DataFolder:
    """The folder of SPair-U's images: SPair-71k's beside it, unless it holds images itself."""
    beside = folder.root.resolve().parent / _TITLES["spair"]
    own = (folder.root / "JPEGImages").is_dir() or not (beside / "JPEGImages").is_dir()
    return folder if own else replace(folder, root=beside)


class _Unmatched:
    """Key-points by image, from ``ImageAnnotation/<category>/<image>.json``; none without the folder."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder if (folder.root / "ImageAnnotation").is_dir() else None
        self._known: dict[tuple[str, str], dict[str, Float[np.ndarray, " 2"]]] = {}

    def __call__(
        self, category: str, image: str, size: tuple[int, int], names: Container[str]
    ) -> dict[str, tuple[float, float]]:
        """The key-points of an image of this size that are not in ``names``, (x, y) in its pixels."""
        if self._folder is None:
            return {}
        if (category, image) not in self._known:
            file = self._folder.file("ImageAnnotation", category, f"{PurePosixPath(image).stem}.json")
            kps = file.field(file.json(), "kps", dict)
            seen = {name: point for name, point in kps.items() if point is not None}
            points = pixel_points(file.points(list(seen.values()), "kps"), size)
            self._known[category, image] = dict(zip(seen, points, strict=True))
        known = self._known[category, image]
        return {name: (float(x), float(y)) for name, (x, y) in known.items() if name not in names}


def read_pair(file: DataFile, record: dict[str, Any], images: DataFolder, unmatched: _Unmatched | None = None) -> Pair:
    """The pair that one file of ``PairAnnotation`` holds; ``record`` is its content, ``images`` has JPEGImages.

    Raises:
        DatasetError: A field is missing or broken.
    """
    category = file.field(record, "category", str)
    names = tuple(map(str, file.field(record, "kps_ids", list)))
    source, target = (_side(file, record, side, category, images) for side in ("src", "trg"))
    if unmatched is not None:
        source, target = (
            replace(side, unmatched=unmatched(category, str(record[key]), side.size, names))
            for side, key in ((source, "src_imname"), (target, "trg_imname"))
        )
    if not len(names) == len(source.points) == len(target.points):
        got = f"{len(source.points)}, {len(target.points)} and {len(names)}"
        raise file.error("as many src_kps and trg_kps as kps_ids", got)
    flags = {flag: record[key] for key, flag in _FLAGS.items() if isinstance(record.get(key), int)}
    return Pair(id=file.path.stem, category=category, source=source, target=target, names=names, flags=flags)


def _side(file: DataFile, record: dict[str, Any], side: str, category: str, images: DataFolder) -> PairImage:
    size = file.size(file.field(record, f"{side}_imsize", list)[:2], f"{side}_imsize")
    x0, y0, x1, y1 = file.numbers(file.field(record, f"{side}_bndbox", list), 4, f"{side}_bndbox")
    # The raw numbers: the field's threshold is the longer of their differences.
    box: Box = (x0, y0, x1, y1)
    points = file.points(file.field(record, f"{side}_kps", list), f"{side}_kps")
    image = images.below("JPEGImages", category, file.field(record, f"{side}_imname", str))
    return PairImage(path=image, size=size, points=pixel_points(points, size), box=box)


_TEST_PAIRS = {
    "aeroplane": 690, "bicycle": 650, "bird": 702, "boat": 702, "bottle": 870, "bus": 644,
    "car": 564, "cat": 600, "chair": 646, "cow": 640, "dog": 600, "horse": 600,
    "motorbike": 702, "person": 650, "pottedplant": 862, "sheep": 664, "train": 756, "tvmonitor": 692,
}  # fmt: skip
_IMAGES = ("JPEGImages/*/*.jpg", 1800)

SPAIR = Benchmark(
    name="spair",
    title="SPair-71k",
    folder="SPair-71k",
    read=lambda data, split, _, progress: load(data, split, progress=progress),
    threshold="target-box",
    splits=("test", "val", "trn"),
    known={
        ("test", ""): KnownCounts(pairs=12_234, by_category=_TEST_PAIRS, categories=18, files=_IMAGES),
        ("val", ""): KnownCounts(categories=18, files=_IMAGES),
        ("trn", ""): KnownCounts(categories=18, files=_IMAGES),
    },
    sources=(
        Source(
            url="https://cvlab.postech.ac.kr/research/SPair-71k/data/SPair-71k.tar.gz",
            size=226_961_117,
            inside="SPair-71k",
        ),
    ),
    similar_points=lambda category: ALIKE.get(category, ()),
    origin="cvlab.postech.ac.kr/research/SPair-71k",
)
SPAIR_U = Benchmark(
    name="spair-u",
    title="SPair-U",
    folder="SPair-U",
    read=lambda data, split, _, progress: load(data, split, name="spair-u", progress=progress),
    threshold="target-box",
    # The address in the README of VICO-UoE/JamaisVu, which does not say how the archive's folder is called.
    sources=(Source(url="https://groups.inf.ed.ac.uk/hbilen-data/data/JamaisVuData/SPair-U.zip", inside="SPair-U"),),
    origin="github.com/VICO-UoE/JamaisVu (annotations; the images are SPair-71k's)",
)
