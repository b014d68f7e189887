"""The heavy work: what a job does with a matcher or a network."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from semcorr.app.workspace import Cell, DescribedPoint, FindResult, Match, Prediction, Workspace
from semcorr.errors import ImageError, PointError
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Query
from semcorr.progress import Progress


def ready(work: Workspace, label: str) -> None:
    """Insist on all that a run needs, and that there is something to find.

    Args:
        work: The workspace.
        label: The method and preset to find with.

    Raises:
        ImageError: No source, or no target.
        PointError: No point, or nothing is left to find.
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
    """Find what is missing: learn the points that are new or were moved, and look for them where they are not found.

    What a method finds for a point does not depend on the other points (:meth:`semcorr.matchers.results.Query.take`).

    Raises:
        SemcorrError: As the method does.
    """
    ready(work, label)
    missing = work.missing(label)
    learned = _learned(matcher, work, label, {point for _, point in missing}, progress)
    matches: dict[Cell, Match] = {}
    remarks: list[str] = []
    targets = [one for one in work.target_ids if any(target == one for target, _ in missing)]
    for number, target in enumerate(targets, start=1):
        told = _Told(progress, f"target {number} of {len(targets)}")
        image = work.targets[work.target_ids.index(target)]
        cells = [cell for cell in missing if cell[0] == target]
        for points, query in joined({point: learned[point] for _, point in cells}):
            found = _find_in(matcher, query, image, told)
            matches |= {(target, one): Match(prediction=found, index=at, label=label) for at, one in enumerate(points)}
            remarks += [*query.remarks, *found.matches.remarks]
    return FindResult(begun=work, label=label, described=learned, matches=matches, remarks=tuple(remarks))


def _learned(
    matcher: Matcher, work: Workspace, label: str, wanted: set[int], progress: Progress
) -> dict[int, DescribedPoint]:
    """What is learned of points, by id: as it is known, or learned now."""
    assert work.source is not None  # noqa: S101  # ready says so
    at = dict(zip(work.ids, zip(work.points, work.labels, strict=True), strict=True))
    known = {
        one: learned
        for one, learned in work.described.items()
        if one in wanted and learned.label == label and learned.point == at[one][0]
    }
    new = [one for one in work.ids if one in wanted and one not in known]
    if new:
        points = np.array([at[one][0] for one in new])
        query = matcher.describe(work.source, points, names=[at[one][1] for one in new], progress=progress)
        known |= {one: DescribedPoint(query=query, index=index, label=label) for index, one in enumerate(new)}
    return known


def _find_in(matcher: Matcher, query: Query, target: Image, progress: Progress) -> Prediction:
    matches = matcher.locate(query, target, progress=progress)
    layers = layer_maps(matcher, query, target, progress) if len(matches.layer_names) > 1 else None
    return Prediction(image=target, matches=matches, layers=layers)


def joined(learned: Mapping[int, DescribedPoint]) -> list[tuple[tuple[int, ...], Query]]:
    """As few queries as hold all that was learned, each with its points' ids: one, if all was learned alike."""
    parts: dict[int, tuple[list[int], list[int], Query]] = {}
    for point, one in learned.items():
        ids, indices, _ = parts.setdefault(id(one.query), ([], [], one.query))
        ids.append(point)
        indices.append(one.index)
    together: list[tuple[tuple[int, ...], Query]] = []
    for ids, indices, query in parts.values():
        taken = query if indices == list(range(len(query.points))) else query.take(indices)
        for number, (others, other) in enumerate(together):
            if _alike(other, taken):
                together[number] = ((*others, *ids), _join(other, taken))
                break
        else:
            together.append((tuple(ids), taken))
    return together


def _alike(one: Query, other: Query) -> bool:
    """Whether two queries differ in nothing but their points."""
    same = ("method", "model_fingerprint", "image_sha256")
    return (
        all(getattr(one, name) == getattr(other, name) for name in same)
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
        remarks=tuple(dict.fromkeys([*one.remarks, *other.remarks])),
    )


def layer_maps(matcher: Matcher, query: Query, target: Image, progress: Progress) -> np.ndarray | None:
    """Each layer's map of each point (points, layers, height, width); None where the method has none to show."""
    if not matcher.capabilities.layer_heatmaps:
        return None
    return matcher.layer_heatmaps(query, target, progress=_Told(progress, "layers"))


@dataclasses.dataclass(frozen=True)
class _Told:
    """Hands progress on, with words that say of what."""

    progress: Progress
    words: str

    def __call__(self, stage: str, done: int, total: int, **info: object) -> None:
        self.progress(f"{stage}, {self.words}", done, total, **info)
