"""The heavy work: what a job does with a matcher or a network."""

import dataclasses
from typing import Any

import numpy as np

from semcorr.app.workspace import Found, Result, Workspace
from semcorr.errors import ImageError, PointError
from semcorr.fallback import on_method
from semcorr.images import Image
from semcorr.matching import Matcher, Query, innermost
from semcorr.progress import Progress


def ready(work: Workspace) -> None:
    """Insist on all that a run needs.

    Raises:
        ImageError: no source, or no target.
        PointError: no point.
    """
    if work.source is None:
        raise ImageError("First send a source picture, or load an example.")
    if not work.points:
        raise PointError("First click at least one point on the source picture.")
    if not work.targets:
        raise ImageError("First send at least one target picture, or load an example.")


def find(matcher: Matcher, work: Workspace, label: str, progress: Progress) -> Result:
    """Learn the points of the source and find them in every target, with each layer's maps where there are layers.

    Raises:
        SemcorrError: as the method does.
    """
    ready(work)
    assert work.source is not None  # noqa: S101  # ready says so
    query = matcher.describe(work.source, np.array(work.points), names=work.labels, progress=progress)
    found = []
    for number, target in enumerate(work.targets):
        told = _Told(progress, f"target {number + 1} of {len(work.targets)}")
        matches = matcher.locate(query, target, progress=told)
        layers = layer_maps(matcher, query, target, told) if len(matches.layer_names) > 1 else None
        found.append(Found(image=target, matches=matches, layers=layers))
    return Result(query=query, found=tuple(found), label=label)


def layer_maps(matcher: Matcher, query: Query, target: Image, progress: Progress) -> np.ndarray | None:
    """Each layer's map of each point (points, layers, height, width); None where the method has none to show."""
    if not hasattr(innermost(matcher), "layer_heatmaps"):
        return None
    told = _Told(progress, "layers")

    def maps(method: Any) -> np.ndarray:
        found: np.ndarray = method.layer_heatmaps(query, target, progress=told)
        return found

    return on_method(matcher, maps, progress=told)


@dataclasses.dataclass(frozen=True)
class _Told:
    """Hands progress on, with words that say of what."""

    progress: Progress
    words: str

    def __call__(self, stage: str, done: int, total: int, **info: object) -> None:
        self.progress(f"{stage}, {self.words}", done, total, **info)
