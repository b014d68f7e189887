"""One user's workspace: images, points, regions, predictions and corrections. :mod:`semcorr.app.changes` changes it."""

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float

from semcorr.app.painting import DescribedRegions, Painting, TargetRegions
from semcorr.imaging.image import Image
from semcorr.matchers.results import Matches, Query

Point = tuple[float, float]
"""(x, y) in pixels of its image, continuous: (0, 0) is the top-left corner."""

Cell = tuple[int, int]
"""A point in a target: the target's id, the point's id."""

_ID_BITS = 48
"""A number of JavaScript holds 53 of them exactly."""


def new_id() -> int:
    """An id that no other point or target has, not even after an undo or a restart.

    So a result cannot land on a point that it was not made for.
    """
    return secrets.randbits(_ID_BITS)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """A method's result in one target.

    Attributes:
        image: The target.
        matches: The method's own result.
        layers: Each layer's heat map of each point; None where the method has none or they were not computed.
    """

    image: Image
    matches: Matches
    layers: Float[np.ndarray, "points layers height width"] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DescribedPoint:
    """A query point as a run described it.

    Attributes:
        query: The run's query.
        index: The point's row in it.
        label: Method and preset.
    """

    query: Query
    index: int
    label: str

    @property
    def point(self) -> Point:
        """The point's location at that time, in pixels of the source."""
        return _point(self.query.points[self.index])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """One predicted point in one target.

    Attributes:
        prediction: A run's result in the target.
        index: The point's row in it.
        label: Method and preset.
    """

    prediction: Prediction
    index: int
    label: str

    @property
    def point(self) -> Point:
        """The predicted location, in pixels of the target."""
        return _point(self.prediction.matches.points[self.index])

    @property
    def query_point(self) -> Point:
        """The query point that was searched for, in pixels of the source."""
        return _point(self.prediction.matches.query_points[self.index])

    @property
    def confidence(self) -> float:
        """The method's confidence, in [0, 1]."""
        return float(self.prediction.matches.confidence[self.index])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """A person's decision: the location of a point in a target, in its pixels, corrected or accepted."""

    point: Point
    how: Literal["corrected", "accepted"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Workspace:
    """A source with its query points, targets, and the results for each point in each target.

    Attributes:
        source: The image with the query points.
        points: The query points, in pixels of the source.
        ids: Their ids.
        names: Their names; empty, or missing at the end, where the user gave none.
        targets: The images to search.
        target_ids: Their ids.
        described: The points as the last run described them, by the points' ids.
        matches: The last prediction of a point in a target.
        decisions: A person's corrections and acceptances, which no run changes.
        painting: The regions that were painted in the source.
        described_regions: The regions as the last run described them.
        regions: The last prediction of the regions in a target, by its id.
        example: Whether all images are those of one of the page's examples, which are drawings.
    """

    source: Image | None = None
    points: tuple[Point, ...] = ()
    ids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    targets: tuple[Image, ...] = ()
    target_ids: tuple[int, ...] = ()
    described: Mapping[int, DescribedPoint] = dataclasses.field(default_factory=dict)
    matches: Mapping[Cell, Match] = dataclasses.field(default_factory=dict)
    decisions: Mapping[Cell, Decision] = dataclasses.field(default_factory=dict)
    painting: Painting | None = None
    described_regions: DescribedRegions | None = None
    regions: Mapping[int, TargetRegions] = dataclasses.field(default_factory=dict)
    example: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Each point's name, or its number from 1 where it has none."""
        given = [*self.names[: len(self.points)], *[""] * (len(self.points) - len(self.names))]
        return tuple(name or str(number) for number, name in enumerate(given, start=1))

    def location(self, cell: Cell) -> Point | None:
        """A point's location in a target: a person's decision, else the prediction; None where there is neither."""
        if cell in self.decisions:
            return self.decisions[cell].point
        return self.matches[cell].point if cell in self.matches else None

    def outdated(self, cell: Cell) -> bool:
        """Whether the query point was moved since its prediction was made."""
        return cell in self.matches and self.matches[cell].query_point != self.points[self.ids.index(cell[1])]

    def missing(self, label: str) -> list[Cell]:
        """The cells that a run with a method and preset has to find; a person's decisions need no prediction."""
        cells = [
            (target, point) for target in self.target_ids for point in self.ids if (target, point) not in self.decisions
        ]
        return [
            cell
            for cell in cells
            if cell not in self.matches or self.matches[cell].label != label or self.outdated(cell)
        ]

    def regions_outdated(self, target: int) -> bool:
        """Whether the regions were painted anew since they were predicted in a target."""
        painted = "" if self.painting is None else self.painting.labels.sha256
        return target in self.regions and self.regions[target].painted != painted

    def targets_without_regions(self, made_with: str) -> list[int]:
        """The targets in which a run with a method and preset has to find the regions."""
        return [
            target
            for target in self.target_ids
            if target not in self.regions
            or self.regions[target].made_with != made_with
            or self.regions_outdated(target)
        ]

    @property
    def incomplete(self) -> int:
        """The number of points that have no location in at least one target."""
        return sum(any(self.location((target, id_)) is None for target in self.target_ids) for id_ in self.ids)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FindResult:
    """The result of a run.

    Attributes:
        start: The workspace when the run began.
        label: Method and preset.
        described: The points that it described, by the points' ids.
        matches: The predictions.
        warnings: Warnings about how the results were computed.
    """

    start: Workspace
    label: str
    described: Mapping[int, DescribedPoint]
    matches: Mapping[Cell, Match]
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RegionResult:
    """The result of a run on regions.

    Attributes:
        start: The workspace when the run began.
        label: Method and preset.
        described: The regions as it described them.
        regions: What it predicted, by the targets' ids.
        warnings: Warnings about how the results were computed.
    """

    start: Workspace
    label: str
    described: DescribedRegions
    regions: Mapping[int, TargetRegions]
    warnings: tuple[str, ...] = ()


def contents(work: Workspace) -> str:
    """What a user would lose with a workspace, in words; empty where there is nothing."""
    kinds = [decision.how for decision in work.decisions.values()]
    counted = [
        (len(work.points), "point", "points"),
        (len(work.matches), "match", "matches"),
        (kinds.count("corrected"), "correction", "corrections"),
        (kinds.count("accepted"), "acceptance", "acceptances"),
        (0 if work.painting is None else len(work.painting.names), "painted region", "painted regions"),
    ]
    words = [f"{count} {one if count == 1 else many}" for count, one, many in counted if count]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _point(pair: np.ndarray) -> Point:
    return float(pair[0]), float(pair[1])
