"""What every benchmark is read into: pairs of images with their common visible key-points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import Box


@dataclass(frozen=True, kw_only=True, eq=False)
class PairImage:
    """One side of a pair.

    Attributes:
        path: The image file.
        size: (width, height) in pixels.
        points: The pair's common points, (x, y) in pixels of the upright image (continuous: (0, 0) is the top-left
            corner of the first pixel, its centre is (0.5, 0.5)).
        box: The object's, where the benchmark has one.
        unmatched: The object's further key-points that can be seen here but not on the other side, by name, where the
            benchmark has them.
    """

    path: Path
    size: tuple[int, int]
    points: Float[np.ndarray, "points 2"]
    box: Box | None = None
    unmatched: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A source and a target of one category.

    Attributes:
        id: Unique in its data set and the same on every machine.
        category: Of both images' objects.
        source: The image whose points are given.
        target: The image in which they are searched.
        names: Names of the common points, or their ids.
        flags: What reports are grouped by: ``viewpoint``, ``scale``, ``truncation`` and ``occlusion`` as in SPair-71k,
            and others by data set.
    """

    id: str
    category: str
    source: PairImage
    target: PairImage
    names: tuple[str, ...]
    flags: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Pairs in the benchmark's own order, and the benchmark's default measure.

    Attributes:
        name: The benchmark's.
        split: Which of its splits.
        pairs: The pairs.
        threshold: The default rule of :mod:`semcorr.evaluation.metrics.protocol`, such as "target-box".
        root: The folder of the images.
        setting: Which of several protocols of the benchmark ("" when there is one).
        notes: What was left out or is doubtful, a sentence each.
    """

    name: str
    split: str
    pairs: Sequence[Pair]
    threshold: str
    root: Path
    setting: str = ""
    notes: tuple[str, ...] = ()
