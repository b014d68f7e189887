"""Work units of a run: the pairs of one source image, whose points are described together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.storage.record_store import Shard


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The pairs of one source image that are still to be done.

    Attributes:
        indices: The pairs' indices in the data set.
        pairs: The pairs.
        points: The points of all pairs of the source, done or not, so that a continued run describes the same.
        names: The names of these points.
        rows: For every pair, the indices of its own points in ``points``.
    """

    indices: tuple[int, ...]
    pairs: tuple[Pair, ...]
    points: Float[np.ndarray, "points 2"]
    names: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]


def units_of(dataset: Dataset, shard: Shard, done: set[int]) -> Iterator[Unit]:
    """The shard's sources that have pairs left, in the data set's order."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, pair in enumerate(dataset.pairs):
        groups.setdefault((str(pair.source.path), pair.category), []).append(index)
    for indices in shard.of(list(groups.values())):
        left = [index for index in indices if index not in done]
        if not left:
            continue
        row_of: dict[tuple[float, float], int] = {}
        names: list[str] = []
        for index in indices:
            pair = dataset.pairs[index]
            for point, name in zip(_inside(pair.source), pair.names, strict=True):
                if row_of.setdefault(point, len(row_of)) == len(names):
                    names.append(name)
        yield Unit(
            indices=tuple(left),
            pairs=tuple(dataset.pairs[index] for index in left),
            points=np.array(list(row_of), dtype=np.float64).reshape(-1, 2),
            names=tuple(names),
            rows=tuple(tuple(row_of[point] for point in _inside(dataset.pairs[index].source)) for index in left),
        )


def _inside(image: PairImage) -> list[tuple[float, float]]:
    """The points; those that annotators set just beyond the edge are moved onto it."""
    clipped = np.clip(image.points, 0, image.size)
    return [(float(x), float(y)) for x, y in clipped]
