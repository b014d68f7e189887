"""What one user works on: images, points, predictions, corrections. Every change gives a new workspace."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from semcorr.app.server.limits import Limits
from semcorr.errors import ImageError, PointError
from semcorr.imaging.image import Image
from semcorr.matchers.results import Matches, Query

Point = tuple[float, float]
"""(x, y) in pixels of its image, continuous: (0, 0) is the top-left corner."""

Cell = tuple[int, int]
"""A point in a target: the target's id, the point's id."""

new_id = itertools.count(1).__next__
"""Ids are never used again, not even after an undo: a result cannot land on another point than it was made for."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a method predicts in one target.

    Attributes:
        image: The target.
        matches: The method's own result.
        layers: Each layer's map of each point; None where the method has no layers or they were not computed.
    """

    image: Image
    matches: Matches
    layers: Float[np.ndarray, "points layers height width"] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DescribedPoint:
    """What a run learned of a point: its row ``index`` in the run's query. ``label`` names method and preset."""

    query: Query
    index: int
    label: str

    @property
    def point(self) -> Point:
        """Where the point was, in pixels of the source."""
        return _point(self.query.points[self.index])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """One predicted point in one target: row ``index`` of what a run found. ``label`` names method and preset."""

    prediction: Prediction
    index: int
    label: str

    @property
    def point(self) -> Point:
        """The predicted location, in pixels of the target."""
        return _point(self.prediction.matches.points[self.index])

    @property
    def query_point(self) -> Point:
        """Where the point was in the source when it was looked for, in pixels of the source."""
        return _point(self.prediction.matches.query_points[self.index])

    @property
    def confidence(self) -> float:
        """The method's confidence, in [0, 1]."""
        return float(self.prediction.matches.confidence[self.index])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person decided: where a point is in a target, in pixels of the target, put there or accepted there."""

    point: Point
    how: Literal["corrected", "accepted"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Workspace:
    """A source with its points, targets, and what is known of each point in each target.

    Attributes:
        source: The image with the query points.
        points: The query points, in pixels of the source.
        ids: Their ids.
        names: Their names, as far as there are any.
        targets: The images to look in.
        target_ids: Their ids.
        learned: What the last run learned of a point, by the point's id.
        matches: The last prediction of a point in a target.
        placed: A person's decisions, which no run changes.
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

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each point: its own, or its number from 1."""
        given = [*self.names[: len(self.points)], *[""] * (len(self.points) - len(self.names))]
        return tuple(name or str(number) for number, name in enumerate(given, start=1))

    def location(self, cell: Cell) -> Point | None:
        """Where a point is in a target: as a person decided, else as predicted; None where it is not found yet."""
        if cell in self.decisions:
            return self.decisions[cell].point
        return self.matches[cell].point if cell in self.matches else None

    def outdated(self, cell: Cell) -> bool:
        """Whether a prediction is of an earlier location of its query point, which was moved since."""
        return cell in self.matches and self.matches[cell].query_point != self.points[self.ids.index(cell[1])]

    def missing(self, label: str) -> list[Cell]:
        """What is left to find with a method and preset; what a person placed is the person's."""
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
        """How many points have no location in some target."""
        return sum(any(self.location((target, one)) is None for target in self.target_ids) for one in self.ids)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FindResult:
    """What a run gives: what it learned and found, by id. ``remarks`` say what is to be known about how."""

    begun: Workspace
    label: str
    described: Mapping[int, DescribedPoint]
    matches: Mapping[Cell, Match]
    remarks: tuple[str, ...] = ()


_MOST_NAMES = 1000


def opened(source: Image, points: Mapping[str, Point], targets: Sequence[Image]) -> Workspace:
    """A new workspace with named points."""
    return Workspace(
        source=source,
        points=tuple(points.values()),
        ids=tuple(new_id() for _ in points),
        names=tuple(points),
        targets=tuple(targets),
        target_ids=tuple(new_id() for _ in targets),
    )


def with_source(work: Workspace, image: Image) -> Workspace:
    """Another source; the points of the one before and all that was found for them are gone."""
    return Workspace(source=image, targets=work.targets, target_ids=work.target_ids)


def with_targets(work: Workspace, images: Sequence[Image], limits: Limits) -> Workspace:
    """More targets; what was found in the others stays.

    Raises:
        ImageError: There would be too many.
    """
    targets = (*work.targets, *images)
    if len(targets) > limits.targets:
        raise ImageError(
            f"Expected at most {limits.targets} targets, got {len(targets)}. Remove the targets, or send fewer."
        )
    return dataclasses.replace(work, targets=targets, target_ids=(*work.target_ids, *(new_id() for _ in images)))


def without_targets(work: Workspace) -> Workspace:
    """No targets, and nothing that was found in them."""
    return dataclasses.replace(work, targets=(), target_ids=(), matches={}, decisions={})


def add_point(work: Workspace, x: float, y: float, limits: Limits) -> Workspace:
    """One more point, in pixels of the source; what was found for the others stays.

    Raises:
        ImageError: There is no source.
        PointError: It is outside, or there are too many.
    """
    source = _source(work)
    _inside(x, y, source)
    if len(work.points) >= limits.points:
        raise PointError(f"Expected at most {limits.points} points, got one more. Delete some first.")
    return dataclasses.replace(work, points=(*work.points, (x, y)), ids=(*work.ids, new_id()))


def move_point(work: Workspace, index: int, x: float, y: float) -> Workspace:
    """A point of the source, dragged to another location; what was found for it stays, as outdated.

    Raises:
        PointError: There is no such point, or the location is outside.
    """
    _inside(x, y, _source(work))
    _known(index, len(work.points))
    return dataclasses.replace(work, points=(*work.points[:index], (x, y), *work.points[index + 1 :]))


def delete_point(work: Workspace, index: int) -> Workspace:
    """Without a point, its name, and what was found for it.

    Raises:
        PointError: There is no such point.
    """
    _known(index, len(work.points))
    gone = work.ids[index]
    return dataclasses.replace(
        work,
        points=(*work.points[:index], *work.points[index + 1 :]),
        ids=(*work.ids[:index], *work.ids[index + 1 :]),
        names=(*work.names[:index], *work.names[index + 1 :]),
        described={one: learned for one, learned in work.described.items() if one != gone},
        matches={cell: match for cell, match in work.matches.items() if cell[1] != gone},
        decisions={cell: placed for cell, placed in work.decisions.items() if cell[1] != gone},
    )


def clear_points(work: Workspace) -> Workspace:
    """Without any point, and without what was found."""
    return Workspace(source=work.source, targets=work.targets, target_ids=work.target_ids)


def rename(work: Workspace, text: str) -> Workspace:
    """Names of the points, separated by commas; results keep their points and get the new names when exported.

    Raises:
        PointError: A name is there twice, or is too long; or there are too many.
    """
    names = tuple(part.strip() for part in text.split(","))
    given = [name for name in names if name]
    if len(names) > _MOST_NAMES:
        raise PointError(f"Expected at most {_MOST_NAMES} names, got {len(names)}.")
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        raise PointError(f"Expected every name once, got {twice!r} twice.")
    if any(len(name) > 60 for name in names):
        raise PointError("Expected names of at most 60 letters.")
    names = names if given else ()
    return work if names == work.names else dataclasses.replace(work, names=names)


def merge(work: Workspace, outcome: FindResult) -> tuple[Workspace, int]:
    """A run's outcome put beside what is there; return how many points in targets changed meanwhile and got nothing.

    What a person placed stays, and so does every prediction that the run did not make again.
    """
    begun, same_source = outcome.begun, work.source is outcome.begun.source
    then = dict(zip(begun.ids, begun.points, strict=True))
    now = {one for one, point in zip(work.ids, work.points, strict=True) if same_source and then.get(one) == point}
    fresh = {cell: match for cell, match in outcome.matches.items() if cell[1] in now and cell[0] in work.target_ids}
    merged = dataclasses.replace(
        work,
        described={**work.described, **{one: learned for one, learned in outcome.described.items() if one in now}},
        matches={**work.matches, **fresh},
    )
    return merged, len(outcome.matches) - len(fresh)


def correct(work: Workspace, target: int, index: int, x: float, y: float) -> Workspace:
    """A match that a person put right: point ``index`` of target ``target``, in pixels of the target.

    Raises:
        PointError: There is no such point or target, nothing was found yet, or the location is outside.
    """
    if not work.matches and not work.decisions:
        raise PointError("There is no match to move yet: press Find first.")
    _known(target, len(work.targets))
    _known(index, len(work.points))
    _inside(x, y, work.targets[target])
    cell = (work.target_ids[target], work.ids[index])
    return dataclasses.replace(work, decisions={**work.decisions, cell: Decision(point=(x, y), how="corrected")})


def accept(work: Workspace, index: int | None) -> Workspace:
    """The predictions of a point (None: of all) in all targets, accepted by a person as they are.

    Raises:
        PointError: There is no such prediction.
    """
    accepted = {
        cell: Decision(point=match.point, how="accepted")
        for cell, match in work.matches.items()
        if cell not in work.decisions and not work.outdated(cell) and cell[1] in _chosen(work, index)
    }
    if not accepted:
        raise PointError("There is no prediction to accept: all are accepted or corrected, outdated, or not found yet.")
    return dataclasses.replace(work, decisions={**work.decisions, **accepted})


def discard_decisions(work: Workspace, index: int | None) -> Workspace:
    """Without the corrections and acceptances of a point (None: of all): predictions count again.

    Raises:
        PointError: There are none.
    """
    chosen = _chosen(work, index)
    kept = {cell: placed for cell, placed in work.decisions.items() if cell[1] not in chosen}
    if len(kept) == len(work.decisions):
        raise PointError("Nothing was corrected or accepted here.")
    return dataclasses.replace(work, decisions=kept)


def contents(work: Workspace) -> str:
    """What would be lost with a workspace, in words; empty where it has nothing that a person or a run made."""
    kinds = [one.how for one in work.decisions.values()]
    counted = [
        (len(work.points), "point", "points"),
        (len(work.matches), "match", "matches"),
        (kinds.count("corrected"), "correction", "corrections"),
        (kinds.count("accepted"), "acceptance", "acceptances"),
    ]
    words = [f"{count} {one if count == 1 else many}" for count, one, many in counted if count]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def arrays_of(work: Workspace) -> Iterable[np.ndarray]:
    """All the large arrays that a workspace holds; one that is held twice comes twice."""
    for image in (work.source, *work.targets):
        if image is not None:
            yield image.pixels
    for found in {id(match.prediction): match.prediction for match in work.matches.values()}.values():
        yield found.matches.heatmaps
        if found.layers is not None:
            yield found.layers
    for query in {id(learned.query): learned.query for learned in work.described.values()}.values():
        yield from query.tensors.values()
        yield from query.shared.values()


def _chosen(work: Workspace, index: int | None) -> tuple[int, ...]:
    if index is None:
        return work.ids
    _known(index, len(work.points))
    return (work.ids[index],)


def _point(pair: np.ndarray) -> Point:
    return float(pair[0]), float(pair[1])


def _source(work: Workspace) -> Image:
    if work.source is None:
        raise ImageError("There is no source image yet. Send one, or load an example.")
    return work.source


def _inside(x: float, y: float, image: Image) -> None:
    width, height = image.size
    if not (0 <= x <= width and 0 <= y <= height):
        raise PointError(f"Expected a location in the image of {width} × {height} pixels, got ({x:g}, {y:g}).")


def _known(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise PointError(f"Expected one of the {count} there are, got number {index + 1}.")
