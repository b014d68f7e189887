"""Look at a copy of a benchmark before a day of compute is spent on it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semcorr.datasets.base import Dataset, PairImage
from semcorr.datasets.registry import Known, find, load
from semcorr.errors import ImageError
from semcorr.progress import Progress

_NAMED = 3
"""How many examples a finding names."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to know about a copy. ``broken``: it is not whole; otherwise it is only worth knowing."""

    message: str
    broken: bool = True


@dataclass(frozen=True, kw_only=True)
class CategoryCount:
    """What a category's pairs hold."""

    pairs: int
    points: int
    pictures: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a copy holds, in all and by category, and what was found."""

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
    """Count pictures, pairs and points, compare them with what is known, and see whether every picture is there.

    Args:
        name: The benchmark.
        data: Its folder, or the one that it lies in.
        split: The benchmark's default if None.
        setting: The benchmark's default if None.
        deep: Also open and decode every picture, and compare its size with the annotation's.
        progress: Called while files are read.

    Raises:
        DatasetError: as :func:`semcorr.datasets.registry.load`: what makes reading the pairs impossible.
    """
    dataset = load(name, data, split=split, setting=setting, progress=progress)
    known = find(name).known.get((dataset.split, dataset.setting))
    pictures: dict[Path, PairImage] = {}
    for pair in dataset.pairs:
        pictures.setdefault(pair.source.path, pair.source)
        pictures.setdefault(pair.target.path, pair.target)
    categories, total = _count(dataset)
    findings = [
        *(_compare(dataset, categories, known) if known else [Finding(message=_UNKNOWN, broken=False)]),
        *(Finding(message=f"{note[0].upper()}{note[1:]}.", broken=False) for note in dataset.notes),
        *_missing(dataset, list(pictures)),
        *_points(dataset),
        *(_decoded(dataset, pictures, progress) if deep else ()),
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
        category: CategoryCount(pairs=pairs[category], points=points[category], pictures=len(paths[category]))
        for category in sorted(pairs)
    }
    pictures = len(set().union(*paths.values()))
    return categories, CategoryCount(pairs=pairs.total(), points=points.total(), pictures=pictures)


def _compare(dataset: Dataset, categories: Mapping[str, CategoryCount], known: Known) -> Iterator[Finding]:
    if known.pairs is not None and len(dataset.pairs) != known.pairs:
        yield Finding(message=f"Expected {known.pairs} pairs, got {len(dataset.pairs)}.")
    if known.categories is not None and len(categories) != known.categories:
        yield Finding(message=f"Expected {known.categories} categories, got {len(categories)}.")
    for category in sorted({*known.by_category, *categories} if known.by_category else ()):
        wanted = known.by_category.get(category, 0)
        came = categories[category].pairs if category in categories else 0
        if wanted != came:
            yield Finding(message=f"{category}: expected {wanted} pairs, got {came}.")
    if known.points_a_pair is not None:
        other = [pair.id for pair in dataset.pairs if len(pair.names) != known.points_a_pair]
        if other:
            yield Finding(message=f"Expected {known.points_a_pair} points in every pair, not so in {_few(other)}.")
    if known.files is not None:
        pattern, wanted = known.files
        came = sum(1 for _ in dataset.root.glob(pattern))
        if wanted != came:
            yield Finding(message=f"Expected {wanted} files {pattern}, got {came}.")


def _missing(dataset: Dataset, paths: Sequence[Path]) -> Iterator[Finding]:
    sizes = {path: path.stat().st_size if path.is_file() else None for path in paths}
    for what, wanted in (("are not there", None), ("are empty", 0)):
        found = [_short(dataset, path) for path, size in sizes.items() if size == wanted]
        if found:
            yield Finding(message=f"{len(found)} of {len(paths)} pictures {what}: {_few(found)}.")


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
        message = f"{len(outside)} pairs have points outside their picture; a run moves a source's onto its edge: "
        message += f"{_few(outside)}."
        yield Finding(message=message, broken=False)


def _decoded(dataset: Dataset, pictures: Mapping[Path, PairImage], progress: Progress | None) -> Iterator[Finding]:
    from semcorr.imaging.image import load_image

    broken, other = [], []
    for number, (path, picture) in enumerate(pictures.items()):
        if progress:
            progress("open", number + 1, len(pictures))
        if not path.is_file() or path.stat().st_size == 0:
            continue  # told already
        try:
            size = load_image(path).size
        except ImageError:
            broken.append(_short(dataset, path))
            continue
        if size != picture.size:
            name, (width, height), (wide, high) = _short(dataset, path), size, picture.size
            other.append(f"{name} ({width} x {height}, not {wide} x {high})")
    if broken:
        yield Finding(message=f"{len(broken)} pictures cannot be read: {_few(broken)}.")
    if other:
        yield Finding(message=f"{len(other)} pictures are not as large as their annotation says: {_few(other)}.")


def _short(dataset: Dataset, path: Path) -> str:
    return path.relative_to(dataset.root).as_posix() if path.is_relative_to(dataset.root) else str(path)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
