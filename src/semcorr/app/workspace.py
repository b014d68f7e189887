"""What one user has on the table: pictures, points, what was found. Every change gives a new one."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from semcorr.app.limits import Limits
from semcorr.errors import ImageError, PointError
from semcorr.images import Image
from semcorr.matching import Matches, Query

Point = tuple[float, float]
"""(x, y) in pixels of its picture, continuous: (0, 0) is the top-left corner."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What was found in one target.

    Attributes:
        image: the target.
        matches: the method's own result, which corrections leave as it is.
        layers: each layer's map of each point; None where the method has no layers or they were not worked out.
        moved: where a person put points instead, by their index, in pixels of the target.
    """

    image: Image
    matches: Matches
    layers: Float[np.ndarray, "points layers height width"] | None = None
    moved: Mapping[int, Point] = dataclasses.field(default_factory=dict)

    @property
    def points(self) -> Float[np.ndarray, "points 2"]:
        """The points as they are now: corrected where a person did so."""
        points = np.array(self.matches.points)
        for index, place in self.moved.items():
            points[index] = place
        return points


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What a run gave: the query, and what was found in each target. ``label`` says with what it was made."""

    query: Query
    found: tuple[Found, ...]
    label: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Workspace:
    """A source with its points, targets, and the result that belongs to them (None when anything has changed since)."""

    source: Image | None = None
    points: tuple[Point, ...] = ()
    names: tuple[str, ...] = ()
    targets: tuple[Image, ...] = ()
    result: Result | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each point: its own, or its number from 1."""
        given = [*self.names[: len(self.points)], *[""] * (len(self.points) - len(self.names))]
        return tuple(name or str(number) for number, name in enumerate(given, start=1))


_MOST_NAMES = 1000


def with_source(work: Workspace, image: Image) -> Workspace:
    """Another source; the points of the one before are gone."""
    return dataclasses.replace(work, source=image, points=(), names=(), result=None)


def with_targets(work: Workspace, images: Sequence[Image], limits: Limits) -> Workspace:
    """More targets.

    Raises:
        ImageError: there would be too many.
    """
    targets = (*work.targets, *images)
    if len(targets) > limits.targets:
        raise ImageError(
            f"Expected at most {limits.targets} targets, got {len(targets)}. Remove the targets, or send fewer."
        )
    return dataclasses.replace(work, targets=targets, result=None)


def without_targets(work: Workspace) -> Workspace:
    """No targets."""
    return dataclasses.replace(work, targets=(), result=None)


def add_point(work: Workspace, x: float, y: float, limits: Limits) -> Workspace:
    """One more point, in pixels of the source.

    Raises:
        ImageError: there is no source.
        PointError: it is outside, or there are too many.
    """
    source = _source(work)
    _inside(x, y, source)
    if len(work.points) >= limits.points:
        raise PointError(f"Expected at most {limits.points} points, got one more. Undo some, or run these first.")
    return dataclasses.replace(work, points=(*work.points, (x, y)), result=None)


def move_point(work: Workspace, index: int, x: float, y: float) -> Workspace:
    """A point of the source, dragged to another place.

    Raises:
        PointError: there is no such point, or the place is outside.
    """
    _inside(x, y, _source(work))
    _known(index, len(work.points))
    points = (*work.points[:index], (x, y), *work.points[index + 1 :])
    return dataclasses.replace(work, points=points, result=None)


def undo_point(work: Workspace) -> Workspace:
    """Without the last point."""
    last = len(work.points[:-1])
    return dataclasses.replace(work, points=work.points[:last], names=work.names[:last], result=None)


def clear_points(work: Workspace) -> Workspace:
    """Without any point."""
    return dataclasses.replace(work, points=(), names=(), result=None)


def rename(work: Workspace, text: str) -> Workspace:
    """Names of the points, separated by commas; a result keeps its points and gets the new names when exported.

    Raises:
        PointError: a name is there twice, or is too long; or there are too many.
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
    return dataclasses.replace(work, names=names if given else ())


def correct(work: Workspace, target: int, index: int, x: float, y: float) -> Workspace:
    """A match that a person put right: point ``index`` of target ``target``, in pixels of the target.

    Raises:
        PointError: there is no such match, or the place is outside.
    """
    if work.result is None:
        raise PointError("There is no match to move yet: press Find first.")
    _known(target, len(work.result.found))
    found = work.result.found[target]
    _known(index, len(found.matches.points))
    _inside(x, y, found.image)
    changed = dataclasses.replace(found, moved={**found.moved, index: (x, y)})
    return _with_found(work, work.result, target, changed)


def uncorrect(work: Workspace, target: int) -> Workspace:
    """All matches of a target as they were found."""
    if work.result is None:
        return work
    _known(target, len(work.result.found))
    return _with_found(work, work.result, target, dataclasses.replace(work.result.found[target], moved={}))


def _with_found(work: Workspace, result: Result, target: int, changed: Found) -> Workspace:
    found = (*result.found[:target], changed, *result.found[target + 1 :])
    return dataclasses.replace(work, result=dataclasses.replace(result, found=found))


def _source(work: Workspace) -> Image:
    if work.source is None:
        raise ImageError("There is no source picture yet. Send one, or load an example.")
    return work.source


def _inside(x: float, y: float, image: Image) -> None:
    width, height = image.size
    if not (0 <= x <= width and 0 <= y <= height):
        raise PointError(f"Expected a place in the picture of {width} × {height} pixels, got ({x:g}, {y:g}).")


def _known(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise PointError(f"Expected one of the {count} there are, got number {index + 1}.")
