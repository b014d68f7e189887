"""What a run leaves behind: one record a pair, complete enough to be scored later under any protocol."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import Box
from semcorr.storage.safetensors import warnings_of

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "index": int,
    **dict.fromkeys(("pair", "category", "source", "target", "error"), str),
    **dict.fromkeys(("names", "source_size", "target_size"), list),
    **dict.fromkeys(("source_box", "target_box"), (list, NoneType)),
    **dict.fromkeys(("describe_seconds", "locate_seconds"), (int, float)),
    **dict.fromkeys(("flags", "layers", "rounds", "crops"), dict),
}
_ARRAYS = ("source_points", "truth", "predicted", "confidence")
_ARRAY_MAPS = ("layers", "rounds", "crops")

UNUSED = "calibration_unused"
"""In a run's settings of its method: the calibration that there was, and that is not of the run's data set."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairRecord:
    """One pair's truth and what a method found.

    Points are (x, y) in pixels of their own picture (see :class:`semcorr.datasets.base.Picture`). ``index`` is
    the pair's place in the data set. ``layers`` maps a layer's name to the peaks of its map alone; ``rounds`` maps
    "1" … "R" to the peaks after that many embeddings, ``crops`` "1" … "K" to those after that many crops: empty
    for methods that have none. ``describe_seconds`` is what describing the source took, on the first pair that was
    done after it (the others have 0); both seconds are the method's own, without reading pictures. ``error`` says why
    a pair failed; its ``predicted`` then has no rows. ``remarks`` are the query's and the matches'.
    """

    index: int
    pair: str
    category: str
    names: tuple[str, ...]
    flags: Mapping[str, int | str] = field(default_factory=dict)
    source: str
    target: str
    source_size: tuple[int, int]
    target_size: tuple[int, int]
    source_box: Box | None
    target_box: Box | None
    source_points: Float[np.ndarray, "points 2"]
    truth: Float[np.ndarray, "points 2"]
    predicted: Float[np.ndarray, "found 2"]
    confidence: Float[np.ndarray, " found"]
    layers: Mapping[str, Float[np.ndarray, "found 2"]] = field(default_factory=dict)
    rounds: Mapping[str, Float[np.ndarray, "found 2"]] = field(default_factory=dict)
    crops: Mapping[str, Float[np.ndarray, "found 2"]] = field(default_factory=dict)
    describe_seconds: float = 0.0
    locate_seconds: float = 0.0
    error: str = ""
    remarks: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line of JSON; what was found keeps four decimals."""
        row: dict[str, Any] = dict(self.__dict__)
        # The points given keep all: draws are seeded by them, so that a pair can be done again.
        row |= {name: row[name].tolist() for name in ("source_points", "truth")}
        row |= {name: np.round(row[name], 4).tolist() for name in ("predicted", "confidence")}
        row |= {name: {k: np.round(v, 4).tolist() for k, v in row[name].items()} for name in _ARRAY_MAPS}
        row["flags"] = dict(self.flags)
        return json.dumps(row, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> "PairRecord":
        """Read what ``to_json`` wrote; ``ValueError``, ``KeyError`` or ``TypeError`` when it is something else."""
        try:
            return cls._of(json.loads(line))
        except (RecursionError, OverflowError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    @classmethod
    def _of(cls, row: Any) -> "PairRecord":
        for name, kind in _KINDS.items():
            if not isinstance(row[name], kind):
                raise TypeError(f"{name} is {row[name]!r}")
        for name in _ARRAYS:
            row[name] = _array(row[name], flat=name == "confidence")
        for name in _ARRAY_MAPS:
            row[name] = {k: _array(v) for k, v in row[name].items()}
        for name, kind, count in (("size", int, 2), ("box", (int, float), 4)):
            for value in (row[f"source_{name}"], row[f"target_{name}"]):
                if value is not None and not (len(value) == count and all(isinstance(side, kind) for side in value)):
                    raise TypeError(f"{name} is {value!r:.60}")
        for name in ("source_size", "target_size", "source_box", "target_box", "names"):
            row[name] = None if row[name] is None else tuple(row[name])
        row["remarks"] = warnings_of(row)
        points, found = len(row["names"]), len(row["predicted"])
        if not (points == len(row["truth"]) == len(row["source_points"]) and found == len(row["confidence"])):
            raise ValueError(f"{points} names and {found} points found, with other numbers of points or confidences")
        if any(len(array) != found for name in _ARRAY_MAPS for array in row[name].values()):
            raise ValueError(f"{found} points found, and others in a layer, a round or a crop")
        return cls(**row)


_FARTHEST = 1e12
"""Pixels: what lies beyond is no place in a picture, and its square no number."""


def _array(values: list[Any], *, flat: bool = False) -> np.ndarray:
    array = np.array(values, dtype=np.float64).reshape((-1,) if flat else (-1, 2))
    if (np.isfinite(array) & (np.abs(array) > _FARTHEST)).any():
        raise ValueError("numbers that are no places in a picture")
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run as read from its folder, finished or not.

    ``settings`` holds ``dataset`` (name, split, setting, threshold, root, ...) and ``method`` (name, and what its
    results depend on). ``records`` are in the data set's order; ``expected`` is how many there are when it is done.
    """

    name: str
    folder: Path
    settings: dict[str, Any]
    records: list[PairRecord]
    expected: int

    @cached_property
    def done(self) -> set[int]:
        """The places of the pairs that need not be done again: those that did not fail."""
        return {record.index for record in self.records if not record.error}
