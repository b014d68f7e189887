"""Pairs of a table, as an example of a new benchmark: source, target and the points' x, y on both sides."""

from pathlib import Path

import numpy as np

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.datasets.benchmark import Benchmark, KnownCounts
from semcorr.keypoints.file_reader import DataFile, open_folder


def load(data: Path, split: str) -> Dataset:
    """Read ``<split>.csv``: source, target, x and y in the source, x and y in the target; a line for each pair."""
    folder = open_folder(
        data,
        ["corner-pairs"],
        lambda root: (root / f"{split}.csv").is_file(),
        title="Corner pairs",
        expected=f"the file {split}.csv",
        advice="Write it by hand.",
    )
    file = folder.file(f"{split}.csv")
    pairs = [_pair(file, number, row) for number, row in enumerate(file.rows(), start=1)]
    return Dataset(name="corner-pairs", split=split, pairs=pairs, threshold="image", root=folder.root)


def _pair(file: DataFile, number: int, row: list[str]) -> Pair:
    if len(row) != 6:
        raise file.error("6 columns", str(len(row)), at=f"line {number}")
    points = np.array(file.numbers(row[2:], 4, f"line {number}")).reshape(2, 1, 2)
    paths = [file.folder.below(name) for name in row[:2]]
    source, target = (
        PairImage(path=path, size=file.folder.image_size(path), points=side)
        for path, side in zip(paths, points, strict=True)
    )
    return Pair(id=f"{number}", category="corner", source=source, target=target, names=("corner",))


BENCHMARK = Benchmark(
    name="corner-pairs",
    title="Corner pairs",
    folder="corner-pairs",
    read=lambda data, split, *_: load(data, split),
    threshold="image",
    known={("test", ""): KnownCounts(pairs=1, categories=1, points_per_pair=1)},
)
