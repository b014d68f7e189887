"""The changes of a workspace: every one returns a new workspace."""

import dataclasses
from collections.abc import Mapping, Sequence

from semcorr.app.limits import Limits
from semcorr.app.workspace import Decision, FindResult, Point, Workspace, new_id
from semcorr.errors import ImageError, PointError
from semcorr.imaging.image import Image

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
    """Replace the source; its points, its regions and their results are removed."""
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
    return dataclasses.replace(work, targets=(), target_ids=(), matches={}, decisions={}, regions={})


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
        regions={target: regions for target, regions in work.regions.items() if target != removed},
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
    return dataclasses.replace(work, points=(), ids=(), names=(), described={}, matches={}, decisions={})


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
    if len(names) > _MOST_NAMES:
        raise PointError(f"Expected at most {_MOST_NAMES} names, got {len(names)}.")
    check_names(names)
    names = names if any(names) else ()
    return work if names == work.names else dataclasses.replace(work, names=names)


def check_names(names: Sequence[str]) -> None:
    """Check names of points or regions, empty ones among them.

    Raises:
        PointError: One occurs twice, or is too long.
    """
    given = [name for name in names if name]
    repeated = next((name for name in given if given.count(name) > 1), None)
    if repeated is not None:
        raise PointError(f"Expected every name once, got {repeated!r} twice.")
    if any(len(name) > 60 for name in names):
        raise PointError("Expected names of at most 60 letters.")


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


def _chosen(work: Workspace, index: int | None) -> tuple[int, ...]:
    if index is None:
        return work.ids
    _check_index(index, len(work.points))
    return (work.ids[index],)


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
