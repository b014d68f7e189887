"""The heavy work of *Find*: describe the points that need it, and locate them where they are missing."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from semcorr.app.workspace import Cell, DescribedPoint, FindResult, Match, Prediction, Workspace
from semcorr.errors import ImageError, PointError
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Query
from semcorr.progress import Progress


def check_ready(work: Workspace, label: str) -> None:
    """Check that a run has all it needs, and something to find.

    Args:
        work: The workspace.
        label: The method and preset to find with.

    Raises:
        ImageError: There is no source, or no target.
        PointError: There is no point, or nothing is left to find.
    """
    if work.source is None:
        raise ImageError("First send a source image, or load an example.")
    if not work.points:
        raise PointError("First click at least one point on the source image.")
    if not work.targets:
        raise ImageError("First send at least one target image, or load an example.")
    if not work.missing(label):
        kept = " What you corrected or accepted is kept; Discard corrections lets it be found again."
        raise PointError(
            f"Nothing is left to find with {label}: every point has a location in every target."
            + (kept if work.decisions else " Add a point or a target, or choose another method.")
        )


def find(matcher: Matcher, work: Workspace, label: str, progress: Progress) -> FindResult:
    """Describe the points that are new or were moved, and locate every point where it is missing.

    Where a method locates points together (:attr:`semcorr.matchers.base.Matcher.points_together`), all points are
    described with a new one, and located with it; what was found for the others before stays.

    Raises:
        SemcorrError: As the method does.
    """
    check_ready(work, label)
    missing = work.missing(label)
    needed = set(work.ids) if matcher.points_together else {point for _, point in missing}
    described = _describe(matcher, work, label, needed, progress)
    matches: dict[Cell, Match] = {}
    warnings: list[str] = []
    targets = [target for target in work.target_ids if any(cell[0] == target for cell in missing)]
    for number, target in enumerate(targets, start=1):
        target_progress = LabelledProgress(progress, f"target {number} of {len(targets)}")
        image = work.targets[work.target_ids.index(target)]
        points = {point for cell_target, point in missing if cell_target == target}
        located = {
            point: described[point]
            for point in work.ids
            if point in points or (matcher.points_together and point in described)
        }
        for ids, query in join_queries(located):
            prediction = predict(matcher, query, image, target_progress)
            matches |= {
                (target, point): Match(prediction=prediction, index=row, label=label)
                for row, point in enumerate(ids)
                if point in points
            }
            warnings += [*query.warnings, *prediction.matches.warnings]
    return FindResult(start=work, label=label, described=described, matches=matches, warnings=tuple(warnings))


def _describe(
    matcher: Matcher, work: Workspace, label: str, ids: set[int], progress: Progress
) -> dict[int, DescribedPoint]:
    """The described points of the ids: as an earlier run described them, or described now."""
    assert work.source is not None  # noqa: S101  # check_ready made sure
    points = dict(zip(work.ids, work.points, strict=True))
    names = dict(zip(work.ids, work.labels, strict=True))
    described = {
        id_: point
        for id_, point in work.described.items()
        if id_ in ids and point.label == label and point.point == points[id_]
    }
    if matcher.points_together and not _are_all_of_one_query(described, len(ids)):
        described = {}
    new = [id_ for id_ in work.ids if id_ in ids and id_ not in described]
    if new:
        query = matcher.describe(
            work.source, np.array([points[id_] for id_ in new]), names=[names[id_] for id_ in new], progress=progress
        )
        described |= {id_: DescribedPoint(query=query, index=row, label=label) for row, id_ in enumerate(new)}
    return described


def _are_all_of_one_query(described: Mapping[int, DescribedPoint], count: int) -> bool:
    queries = {id(point.query): point.query for point in described.values()}
    return len(described) == count and all(len(query.points) == count for query in queries.values())


def predict(matcher: Matcher, query: Query, target: Image, progress: Progress) -> Prediction:
    """Locate a query's points in a target, with each layer's heat maps where the method has several layers.

    Raises:
        SemcorrError: As the method does.
    """
    matches = matcher.locate(query, target, progress=progress)
    layers = None
    if len(matches.layer_names) > 1 and matcher.capabilities.layer_heatmaps:
        layers = matcher.layer_heatmaps(query, target, progress=LabelledProgress(progress, "layers"))
    return Prediction(image=target, matches=matches, layers=layers)


def join_queries(described: Mapping[int, DescribedPoint]) -> list[tuple[tuple[int, ...], Query]]:
    """As few queries as hold all points, each with its points' ids: one, if all were described alike."""
    rows: dict[int, tuple[Query, list[int], list[int]]] = {}
    for id_, point in described.items():
        _, ids, indices = rows.setdefault(id(point.query), (point.query, [], []))
        ids.append(id_)
        indices.append(point.index)
    joined: list[tuple[tuple[int, ...], Query]] = []
    for query, ids, indices in rows.values():
        taken = query if indices == list(range(len(query.points))) else query.take(indices)
        for number, (other_ids, other) in enumerate(joined):
            if _differ_in_points_only(other, taken):
                joined[number] = ((*other_ids, *ids), _join(other, taken))
                break
        else:
            joined.append((tuple(ids), taken))
    return joined


def _differ_in_points_only(one: Query, other: Query) -> bool:
    names = ("method", "model_fingerprint", "image_sha256")
    return (
        all(getattr(one, name) == getattr(other, name) for name in names)
        and dict(one.settings) == dict(other.settings)
        and _shapes(one) == _shapes(other)
        and one.shared.keys() == other.shared.keys()
        and all(np.array_equal(one.shared[name], other.shared[name]) for name in one.shared)
    )


def _shapes(query: Query) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape[1:] for name, tensor in query.tensors.items()}


def _join(one: Query, other: Query) -> Query:
    names = None if one.names is None or other.names is None else (*one.names, *other.names)
    return dataclasses.replace(
        one,
        points=np.concatenate([one.points, other.points]),
        names=names,
        tensors={name: np.concatenate([tensor, other.tensors[name]]) for name, tensor in one.tensors.items()},
        warnings=tuple(dict.fromkeys([*one.warnings, *other.warnings])),
    )


@dataclasses.dataclass(frozen=True)
class LabelledProgress:
    """Passes progress on, with a label after the stage's name."""

    progress: Progress
    label: str

    def __call__(self, stage: str, done: int, total: int, **info: object) -> None:
        """Report progress."""
        self.progress(f"{stage}, {self.label}", done, total, **info)
