"""What a run leaves behind: one record per pair, complete enough to be scored later under any protocol."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
from jaxtyping import Float
from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, TypeAdapter

from semcorr.imaging.geometry import Box

UNUSED = "calibration_unused"
"""In a run's settings of its method: a calibration that was left out because it is of another data set."""

_FARTHEST = 1e12
"""Pixels: what lies beyond is no position in an image, and its square overflows."""


def _array(value: Any, *, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    try:
        array = np.asarray(value, dtype=np.float64).reshape(shape)
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    if (np.isfinite(array) & (np.abs(array) > _FARTHEST)).any():
        raise ValueError("numbers that are no positions in an image")
    return array


Points = Annotated[np.ndarray, BeforeValidator(partial(_array, shape=(-1, 2)))]
"""(N, 2): x and y of N points."""
Values = Annotated[np.ndarray, BeforeValidator(partial(_array, shape=(-1,)))]
"""(N,): a number for each of N points."""


@pydantic.dataclasses.dataclass(
    frozen=True,
    kw_only=True,
    eq=False,
    config=ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True),
)
class PairRecord:
    """One pair's truth and a method's predictions.

    Points are (x, y) in pixels of their own image (see :class:`semcorr.datasets.base.PairImage`).

    Attributes:
        index: The pair's index in the data set.
        pair: Its id.
        category: Its category.
        names: The names of its points.
        flags: What breakdowns are made by, such as ``viewpoint``.
        source, target: The paths of its images, relative to the data set's root.
        source_size, target_size: (width, height) of the images.
        source_box, target_box: The object's boxes, if the data set has them.
        source_points, truth: The true points in the source and in the target.
        source_unmatched, target_unmatched: By name, further key-points that only the source, or only the target, shows;
            empty for data sets that do not say so, and in records of version 0.1.
        predicted: The predicted points in the target; no rows if the pair failed.
        confidence: The confidence of each of them.
        layers: By layer name, the peaks of that layer's heat maps alone; empty for methods without layers.
        rounds: By "1" … "R", the peaks after that many embeddings; empty for methods without embeddings.
        crops: By "1" … "K", the peaks after that many crops; empty for methods without crops.
        describe_seconds: Time to describe the source, in the first pair done after it; 0 in the others.
        locate_seconds: Time to locate the points. Neither time includes reading images.
        error: Why the pair failed; empty if it did not.
        warnings: Those of the query and of the matches.
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
    source_points: Points
    truth: Points
    source_unmatched: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    target_unmatched: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    predicted: Points
    confidence: Values
    layers: Mapping[str, Points] = field(default_factory=dict)
    rounds: Mapping[str, Points] = field(default_factory=dict)
    crops: Mapping[str, Points] = field(default_factory=dict)
    describe_seconds: float = 0.0
    locate_seconds: float = 0.0
    error: str = ""
    # Version 0.1 wrote them as "remarks".
    warnings: tuple[str, ...] = Field(default=(), validation_alias=AliasChoices("warnings", "remarks"))

    def to_json(self) -> str:
        """The record as one line of JSON; predictions are rounded to four decimals."""
        row: dict[str, Any] = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        # True points are not rounded: random numbers are seeded by them, so that a pair can be repeated.
        row |= {name: row[name].tolist() for name in ("source_points", "truth")}
        row |= {name: np.round(row[name], 4).tolist() for name in ("predicted", "confidence")}
        for name in ("layers", "rounds", "crops"):
            row[name] = {key: np.round(points, 4).tolist() for key, points in row[name].items()}
        row["flags"] = dict(self.flags)
        for name in ("source_unmatched", "target_unmatched"):
            if not row[name]:
                del row[name]
        return json.dumps(row, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> "PairRecord":
        """Read a line that :meth:`to_json` wrote.

        Raises:
            ValueError: The line is something else, or the numbers of its points do not agree.
        """
        record = _LINE.validate_json(line)
        points, predicted = len(record.names), len(record.predicted)
        if not (points == len(record.truth) == len(record.source_points) and predicted == len(record.confidence)):
            raise ValueError(f"{points} names and {predicted} predictions, with other numbers of points or confidences")
        others = (points for by_name in (record.layers, record.rounds, record.crops) for points in by_name.values())
        if any(len(other) != predicted for other in others):
            raise ValueError(f"{predicted} predictions, with another number of them in a layer, a round or a crop")
        return record


_LINE = TypeAdapter(PairRecord)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run as read from its folder, finished or not.

    Attributes:
        name: The name of its folder.
        folder: Its folder.
        settings: ``dataset`` (name, split, setting, threshold, root, ...) and ``method`` (name, and what its results
            depend on).
        records: One per pair that is done, in the data set's order.
        expected: How many records there are when it is finished.
        environments: The different ones of :func:`semcorr.models.environment.environment` that processes worked on it
            in; none in runs of earlier versions.
    """

    name: str
    folder: Path
    settings: dict[str, Any]
    records: list[PairRecord]
    expected: int
    environments: tuple[dict[str, Any], ...] = ()

    @cached_property
    def done(self) -> set[int]:
        """The indices of the pairs that need not be done again: those that did not fail."""
        return {record.index for record in self.records if not record.error}
