"""Checking a copy of a benchmark before a day of compute is spent on it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semcorr.datasets.base import Dataset, PairImage
from semcorr.datasets.benchmark import KnownCounts
from semcorr.datasets.registry import find, load
from semcorr.errors import ImageError
from semcorr.imaging.image import load_image
from semcorr.keypoints.file_reader import first_few
from semcorr.progress import Progress

_EXAMPLES = 3
"""How many examples a finding names."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding about a copy; ``broken``: the copy is not whole; otherwise it is for information only."""

    message: str
    broken: bool = True


@dataclass(frozen=True, kw_only=True)
class CategoryCount:
    """The number of a category's pairs, of their points, and of their images."""

    pairs: int
    points: int
    images: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a copy holds, in all and by category, and the findings."""

    name: str
    split: str
    setting: str
    root: Path
    total: CategoryCount
    categories: Mapping[str, CategoryCount]
    findings: Sequence[Finding]

    @property
    def whole(self) -> bool:
        """Whether nothing is broken."""
        return not any(finding.broken for finding in self.findings)


def check(
    name: str,
    data: Path,
    *,
    split: str | None = None,
    setting: str | None = None,
    deep: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Count images, pairs and points, compare them with what is known, and check that every image is there.

    Args:
        name: The benchmark.
        data: Its folder, or the one that it is in.
        split: The benchmark's default if None.
        setting: The benchmark's default if None.
        deep: Also open and decode every image, and compare its size with the annotation's.
        progress: Called while files are read.

    Raises:
        DatasetError: As :func:`semcorr.datasets.registry.load`: the pairs cannot be read.
    """
    dataset = load(name, data, split=split, setting=setting, progress=progress)
    known = find(name).known.get((dataset.split, dataset.setting))
    images: dict[Path, PairImage] = {}
    for pair in dataset.pairs:
        images.setdefault(pair.source.path, pair.source)
        images.setdefault(pair.target.path, pair.target)
    categories, total = _count(dataset)
    findings = [
        *(_compare(dataset, categories, known) if known else [Finding(message=_UNKNOWN, broken=False)]),
        *(Finding(message=f"{note[0].upper()}{note[1:]}.", broken=False) for note in dataset.notes),
        *_missing(dataset, list(images)),
        *_points(dataset),
        *(_undecodable(dataset, images, progress) if deep else ()),
    ]
    return Report(
        name=name,
        split=dataset.split,
        setting=dataset.setting,
        root=dataset.root,
        total=total,
        categories=categories,
        findings=findings,
    )


_UNKNOWN = "How many pairs there should be is not known here: only what is there was checked."


def _count(dataset: Dataset) -> tuple[dict[str, CategoryCount], CategoryCount]:
    pairs, points = Counter[str](), Counter[str]()
    paths: dict[str, set[Path]] = {}
    for pair in dataset.pairs:
        pairs[pair.category] += 1
        points[pair.category] += len(pair.names)
        paths.setdefault(pair.category, set()).update((pair.source.path, pair.target.path))
    categories = {
        category: CategoryCount(pairs=pairs[category], points=points[category], images=len(paths[category]))
        for category in sorted(pairs)
    }
    images = len(set().union(*paths.values()))
    return categories, CategoryCount(pairs=pairs.total(), points=points.total(), images=images)


def _compare(dataset: Dataset, categories: Mapping[str, CategoryCount], known: KnownCounts) -> Iterator[Finding]:
    if known.pairs is not None and len(dataset.pairs) != known.pairs:
        yield Finding(message=f"Expected {known.pairs} pairs, got {len(dataset.pairs)}.")
    if known.categories is not None and len(categories) != known.categories:
        yield Finding(message=f"Expected {known.categories} categories, got {len(categories)}.")
    for category in sorted({*known.by_category, *categories} if known.by_category else ()):
        expected = known.by_category.get(category, 0)
        got = categories[category].pairs if category in categories else 0
        if expected != got:
            yield Finding(message=f"{category}: expected {expected} pairs, got {got}.")
    if known.points_per_pair is not None:
        other = [pair.id for pair in dataset.pairs if len(pair.names) != known.points_per_pair]
        if other:
            yield Finding(message=f"Expected {known.points_per_pair} points in every pair, not so in {_few(other)}.")
    if known.files is not None:
        pattern, expected = known.files
        got = sum(1 for _ in dataset.root.glob(pattern))
        if expected != got:
            yield Finding(message=f"Expected {expected} files {pattern}, got {got}.")


def _missing(dataset: Dataset, paths: Sequence[Path]) -> Iterator[Finding]:
    sizes = {path: path.stat().st_size if path.is_file() else None for path in paths}
    for problem, value in (("are missing", None), ("are empty", 0)):
        names = [_short(dataset, path) for path, size in sizes.items() if size == value]
        if names:
            yield Finding(message=f"{len(names)} of {len(paths)} images {problem}: {_few(names)}.")


def _points(dataset: Dataset) -> Iterator[Finding]:
    bare = [pair.id for pair in dataset.pairs if not pair.names]
    if bare:
        yield Finding(message=f"{len(bare)} pairs have no common points and count in no figure.", broken=False)
    outside = [
        pair.id
        for pair in dataset.pairs
        if any(((s.points < 0) | (s.points > np.array(s.size))).any() for s in (pair.source, pair.target))
    ]
    if outside:
        message = f"{len(outside)} pairs have points outside their image; a run moves a source's onto its edge"
        yield Finding(message=f"{message}: {_few(outside)}.", broken=False)


def _undecodable(dataset: Dataset, images: Mapping[Path, PairImage], progress: Progress | None) -> Iterator[Finding]:
    broken, other = [], []
    for number, (path, image) in enumerate(images.items()):
        if progress:
            progress("open", number + 1, len(images))
        if not path.is_file() or path.stat().st_size == 0:
            continue  # a finding of _missing
        try:
            size = load_image(path).size
        except ImageError:
            broken.append(_short(dataset, path))
            continue
        if size != image.size:
            (width, height), (wide, high) = size, image.size
            other.append(f"{_short(dataset, path)} ({width} x {height}, not {wide} x {high})")
    if broken:
        yield Finding(message=f"{len(broken)} images cannot be read: {_few(broken)}.")
    if other:
        yield Finding(
            message=f"{len(other)} images do not have the size that their annotation declares: {_few(other)}."
        )


def _short(dataset: Dataset, path: Path) -> str:
    return path.relative_to(dataset.root).as_posix() if path.is_relative_to(dataset.root) else str(path)


def _few(names: Sequence[str]) -> str:
    return first_few(names, _EXAMPLES)
