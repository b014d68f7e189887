"""Undo and redo: the states of a workspace, each shared with the next as far as it did not change."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from semcorr.app.workspace import Workspace

_MAX_STEPS = 200


@dataclass(frozen=True)
class _Step:
    """A step's name, and the workspace before it (in the past) or after it (in the future)."""

    name: str
    work: Workspace


class History:
    """A workspace with the steps that led to it.

    Args:
        limit_bytes: How much memory the earlier states may take beyond the present one; the oldest steps are
            forgotten first.
        now: The workspace to begin with.
    """

    def __init__(self, limit_bytes: float = 500e6, now: Workspace | None = None) -> None:
        self.now = now or Workspace()
        self._limit = limit_bytes
        self._past: list[_Step] = []
        self._future: list[_Step] = []

    def do(self, name: str, work: Workspace) -> None:
        """Take a step to another state of the workspace; its ``name`` is shown by undo and redo."""
        if work is self.now:
            return
        self._past.append(_Step(name, self.now))
        self._future.clear()
        self.now = work
        self._trim()

    def next(self, *, back: bool) -> Workspace | None:
        """The workspace that an undo (or a redo) would lead to; None where there is none."""
        steps = self._past if back else self._future
        return steps[-1].work if steps else None

    def undo(self) -> str | None:
        """Undo the last step and return its name; None where there is none."""
        return self._go(self._past, self._future)

    def redo(self) -> str | None:
        """Redo the step that was undone last and return its name; None where there is none."""
        return self._go(self._future, self._past)

    def _go(self, take: list[_Step], give: list[_Step]) -> str | None:
        if not take:
            return None
        step = take.pop()
        give.append(_Step(step.name, self.now))
        self.now = step.work
        return step.name

    @property
    def undoable(self) -> str | None:
        """The name of the step that an undo takes back."""
        return self._past[-1].name if self._past else None

    @property
    def redoable(self) -> str | None:
        """The name of the step that a redo takes again."""
        return self._future[-1].name if self._future else None

    @property
    def states(self) -> list[Workspace]:
        """The present workspace, and all that an undo or a redo can lead to."""
        return [self.now, *(step.work for step in (*self._past, *self._future))]

    @property
    def bytes(self) -> int:
        """Bytes of the arrays of all states, each array counted once."""
        return _bytes(self.states)

    def _trim(self) -> None:
        del self._past[:-_MAX_STEPS]
        now = _bytes([self.now])
        while self._past and self.bytes - now > self._limit:
            del self._past[0]


def _bytes(works: list[Workspace]) -> int:
    # Most steps change a few numbers and share all else with the step before.
    parts = ("source", "targets", "matches", "described", "painting", "described_regions", "regions")
    different = {tuple(id(getattr(work, part)) for part in parts): work for work in works}
    arrays = [array for work in different.values() for array in _arrays(work)]
    return sum({id(array): _size(array) for array in arrays}.values())


def _size(array: np.ndarray | bytes) -> int:
    return array.nbytes if isinstance(array, np.ndarray) else len(array)


def _arrays(work: Workspace) -> Iterator[np.ndarray | bytes]:
    """All that is large in a workspace: images, heat maps, queries, labels; what is held twice comes twice."""
    for image in (work.source, *work.targets):
        if image is not None:
            yield image.pixels
    for prediction in {id(match.prediction): match.prediction for match in work.matches.values()}.values():
        yield prediction.matches.heatmaps
        if prediction.layers is not None:
            yield prediction.layers
    for query in {id(point.query): point.query for point in work.described.values()}.values():
        yield from query.tensors.values()
        yield from query.shared.values()
    if work.painting is not None:
        yield work.painting.labels.packed
    if work.described_regions is not None:
        yield from work.described_regions.query.tensors.values()
    for regions in work.regions.values():
        yield regions.labels.packed
