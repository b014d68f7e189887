"""One user's workspace: images, points, predictions and corrections. Every change returns a new workspace."""

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from semcorr.app.limits import Limits
from semcorr.errors import ImageError, PointError
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


_MOST_NAMES = 1000


def new_workspace(source: Image, points: Mapping[str, Point], targets: Sequence[Image]) -> Workspace:
    """A new workspace with named points."""
    return Workspace(
        source=source,
        points=tuple(points.values()),
        ids=tuple(new_id() for _ in points),
        names=tuple(points),
        targets=tuple(targets),
        target_ids=tuple(new_id() for _ in targets),
    )


def replace_source(work: Workspace, image: Image) -> Workspace:
    """Replace the source; its points and their results are removed."""
    return Workspace(source=image, targets=work.targets, target_ids=work.target_ids)


def add_targets(work: Workspace, images: Sequence[Image], limits: Limits) -> Workspace:
    """Add targets; the results in the others stay.

    Raises:
        ImageError: There would be too many.
    """
    targets = (*work.targets, *images)
    if len(targets) > limits.targets:
        raise ImageError(
            f"Expected at most {limits.targets} targets, got {len(targets)}. Remove the targets, or send fewer."
        )
    ids = (*work.target_ids, *(new_id() for _ in images))
    return dataclasses.replace(work, targets=targets, target_ids=ids, example=False)


def remove_targets(work: Workspace) -> Workspace:
    """Remove all targets and the results in them."""
    return dataclasses.replace(work, targets=(), target_ids=(), matches={}, decisions={})


def remove_target(work: Workspace, index: int) -> Workspace:
    """Remove a target, counted from 0, and the results in it.

    Raises:
        PointError: There is no such target.
    """
    _check_index(index, len(work.targets))
    removed = work.target_ids[index]
    return dataclasses.replace(
        work,
        targets=(*work.targets[:index], *work.targets[index + 1 :]),
        target_ids=(*work.target_ids[:index], *work.target_ids[index + 1 :]),
        matches={cell: match for cell, match in work.matches.items() if cell[0] != removed},
        decisions={cell: decision for cell, decision in work.decisions.items() if cell[0] != removed},
    )


def add_point(work: Workspace, x: float, y: float, limits: Limits) -> Workspace:
    """Add a point, in pixels of the source; the results of the others stay.

    Raises:
        ImageError: There is no source.
        PointError: It is outside, or there are too many.
    """
    source = _source(work)
    _check_inside(x, y, source)
    if len(work.points) >= limits.points:
        raise PointError(f"Expected at most {limits.points} points, got one more. Delete some first.")
    return dataclasses.replace(work, points=(*work.points, (x, y)), ids=(*work.ids, new_id()))


def move_point(work: Workspace, index: int, x: float, y: float) -> Workspace:
    """Move a point of the source; its results stay, as outdated.

    Raises:
        PointError: There is no such point, or the location is outside.
    """
    _check_inside(x, y, _source(work))
    _check_index(index, len(work.points))
    return dataclasses.replace(work, points=(*work.points[:index], (x, y), *work.points[index + 1 :]))


def delete_point(work: Workspace, index: int) -> Workspace:
    """Delete a point, its name and its results.

    Raises:
        PointError: There is no such point.
    """
    _check_index(index, len(work.points))
    deleted = work.ids[index]
    return dataclasses.replace(
        work,
        points=(*work.points[:index], *work.points[index + 1 :]),
        ids=(*work.ids[:index], *work.ids[index + 1 :]),
        names=(*work.names[:index], *work.names[index + 1 :]),
        described={point: described for point, described in work.described.items() if point != deleted},
        matches={cell: match for cell, match in work.matches.items() if cell[1] != deleted},
        decisions={cell: decision for cell, decision in work.decisions.items() if cell[1] != deleted},
    )


def clear_points(work: Workspace) -> Workspace:
    """Delete all points and their results."""
    return Workspace(source=work.source, targets=work.targets, target_ids=work.target_ids, example=work.example)


def name_points(work: Workspace, text: str) -> Workspace:
    """Name the points, in a text separated by commas; exported results have the new names.

    Raises:
        PointError: A name occurs twice or is too long, or there are too many.
    """
    return _named(work, tuple(part.strip() for part in text.split(",")))


def name_point(work: Workspace, index: int, name: str) -> Workspace:
    """Name one point; an empty name takes its name away.

    Raises:
        PointError: Another point has the name, or it is too long or has a comma.
    """
    _check_index(index, len(work.points))
    if "," in name:
        raise PointError("Expected a name without a comma, which separates names.")
    names = [*work.names, *[""] * (len(work.points) - len(work.names))]
    names[index] = name.strip()
    while names and not names[-1]:
        del names[-1]
    return _named(work, tuple(names))


def _named(work: Workspace, names: tuple[str, ...]) -> Workspace:
    given = [name for name in names if name]
    if len(names) > _MOST_NAMES:
        raise PointError(f"Expected at most {_MOST_NAMES} names, got {len(names)}.")
    repeated = next((name for name in given if given.count(name) > 1), None)
    if repeated is not None:
        raise PointError(f"Expected every name once, got {repeated!r} twice.")
    if any(len(name) > 60 for name in names):
        raise PointError("Expected names of at most 60 letters.")
    names = names if given else ()
    return work if names == work.names else dataclasses.replace(work, names=names)


def merge(work: Workspace, result: FindResult) -> tuple[Workspace, int]:
    """Add a run's result to the workspace, as far as its points and targets are still the same.

    Decisions stay, and so does every prediction that the run did not compute again.

    Returns:
        The workspace, and the number of predictions that were dropped because their point or target had changed.
    """
    start, same_source = result.start, work.source is result.start.source
    before = dict(zip(start.ids, start.points, strict=True))
    same = {id_ for id_, point in zip(work.ids, work.points, strict=True) if same_source and before.get(id_) == point}
    matches = {cell: match for cell, match in result.matches.items() if cell[1] in same and cell[0] in work.target_ids}
    merged = dataclasses.replace(
        work,
        described={**work.described, **{id_: point for id_, point in result.described.items() if id_ in same}},
        matches={**work.matches, **matches},
    )
    return merged, len(result.matches) - len(matches)


def correct(work: Workspace, target: int, index: int, x: float, y: float) -> Workspace:
    """Set the location of a point in a target, whether it was predicted or not.

    Args:
        work: The workspace.
        target: The target, counted from 0.
        index: The point, counted from 0.
        x: Its true location, in pixels of the target.
        y: The same.

    Raises:
        PointError: There is no such point or target, or the location is outside the target.
    """
    _check_index(target, len(work.targets))
    _check_index(index, len(work.points))
    _check_inside(x, y, work.targets[target])
    cell = (work.target_ids[target], work.ids[index])
    return dataclasses.replace(work, decisions={**work.decisions, cell: Decision(point=(x, y), how="corrected")})


def accept(work: Workspace, index: int | None, target: int | None = None) -> Workspace:
    """Accept the predictions of a point (None: of all) in a target (None: in all), both counted from 0.

    Raises:
        PointError: There is no such prediction.
    """
    targets = work.target_ids
    if target is not None:
        _check_index(target, len(targets))
        targets = (targets[target],)
    accepted = {
        cell: Decision(point=match.point, how="accepted")
        for cell, match in work.matches.items()
        if cell not in work.decisions
        and not work.outdated(cell)
        and cell[0] in targets
        and cell[1] in _chosen(work, index)
    }
    if not accepted:
        raise PointError("There is no prediction to accept: all are accepted or corrected, outdated, or not found yet.")
    return dataclasses.replace(work, decisions={**work.decisions, **accepted})


def discard_decisions(work: Workspace, index: int | None) -> Workspace:
    """Discard the corrections and acceptances of a point (None: of all): predictions count again.

    Raises:
        PointError: There are none.
    """
    chosen = _chosen(work, index)
    kept = {cell: decision for cell, decision in work.decisions.items() if cell[1] not in chosen}
    if len(kept) == len(work.decisions):
        raise PointError("Nothing was corrected or accepted here.")
    return dataclasses.replace(work, decisions=kept)


def contents(work: Workspace) -> str:
    """What a user would lose with a workspace, in words; empty where there is nothing."""
    kinds = [decision.how for decision in work.decisions.values()]
    counted = [
        (len(work.points), "point", "points"),
        (len(work.matches), "match", "matches"),
        (kinds.count("corrected"), "correction", "corrections"),
        (kinds.count("accepted"), "acceptance", "acceptances"),
    ]
    words = [f"{count} {one if count == 1 else many}" for count, one, many in counted if count]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _chosen(work: Workspace, index: int | None) -> tuple[int, ...]:
    if index is None:
        return work.ids
    _check_index(index, len(work.points))
    return (work.ids[index],)


def _point(pair: np.ndarray) -> Point:
    return float(pair[0]), float(pair[1])


def _source(work: Workspace) -> Image:
    if work.source is None:
        raise ImageError("There is no source image yet. Send one, or load an example.")
    return work.source


def _check_inside(x: float, y: float, image: Image) -> None:
    width, height = image.size
    if not (0 <= x <= width and 0 <= y <= height):
        raise PointError(f"Expected a location in the image of {width} × {height} pixels, got ({x:g}, {y:g}).")


def _check_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise PointError(f"Expected one of the {count} there are, got number {index + 1}.")
