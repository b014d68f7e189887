"""What every benchmark is read into: pairs of pictures with their common visible key-points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import Box


@dataclass(frozen=True, kw_only=True, eq=False)
class PairImage:
    """One side of a pair.

    ``points`` are the pair's common points, (x, y) in pixels of the file as a person sees it (continuous: (0, 0) is
    the top-left corner of the first pixel, its middle is (0.5, 0.5)). ``size`` is (width, height). ``box`` is the
    object's, where the benchmark has one.
    """

    path: Path
    size: tuple[int, int]
    points: Float[np.ndarray, "points 2"]
    box: Box | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A source and a target of one category.

    ``id`` is unique in its data set and the same on every machine. ``names`` are those of the common points, or
    their ids. ``flags`` hold what breakdowns are made by: ``viewpoint``, ``scale``, ``truncation`` and
    ``occlusion`` as in SPair-71k, and others by data set.
    """

    id: str
    category: str
    source: PairImage
    target: PairImage
    names: tuple[str, ...]
    flags: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Pairs in the benchmark's own order, and how the benchmark is measured unless one says otherwise.

    ``setting`` is which of several protocols of the benchmark this is ("" when there is one). ``threshold`` names
    the default rule of :mod:`semcorr.evaluation.metrics.protocol`, such as "target-box".
    ``root`` is the folder that picture paths lie in. ``notes`` say what was left out or is doubtful, a sentence each.
    """

    name: str
    split: str
    pairs: Sequence[Pair]
    threshold: str
    root: Path
    setting: str = ""
    notes: tuple[str, ...] = ()
