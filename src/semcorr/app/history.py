"""Undo and redo: the states of a workspace, each shared with the next as far as it did not change."""

from dataclasses import dataclass

import numpy as np

from semcorr.app.workspace import Workspace, arrays_of

_MOST_STEPS = 200


@dataclass(frozen=True)
class _Step:
    """What was done, and the workspace before it (in the past) or after it (in the future)."""

    words: str
    work: Workspace


class History:
    """A workspace with the steps that led to it.

    Args:
        limit_bytes: What the earlier states may hold beyond the present one; the oldest steps are forgotten first.
    """

    def __init__(self, limit_bytes: float = 500e6) -> None:
        self.now = Workspace()
        self._limit = limit_bytes
        self._past: list[_Step] = []
        self._future: list[_Step] = []

    def do(self, words: str, work: Workspace) -> None:
        """Take a step; ``words`` say what it was."""
        if work is self.now:
            return
        self._past.append(_Step(words, self.now))
        self._future.clear()
        self.now = work
        self._trim()

    def undo(self) -> str | None:
        """Go back by a step and return what it was; None where there is none."""
        return self._go(self._past, self._future)

    def redo(self) -> str | None:
        """Take the step again that was undone last, and return what it was; None where there is none."""
        return self._go(self._future, self._past)

    def _go(self, take: list[_Step], give: list[_Step]) -> str | None:
        if not take:
            return None
        step = take.pop()
        give.append(_Step(step.words, self.now))
        self.now = step.work
        return step.words

    @property
    def undoable(self) -> str | None:
        """The step that an undo takes back, in words."""
        return self._past[-1].words if self._past else None

    @property
    def redoable(self) -> str | None:
        """The step that a redo takes again, in words."""
        return self._future[-1].words if self._future else None

    @property
    def bytes(self) -> int:
        """Bytes of the images, maps and learned tensors of all states, each counted once."""
        return sum(self._arrays([self.now, *(step.work for step in (*self._past, *self._future))]).values())

    def forget(self) -> None:
        """Forget all steps, not the present state."""
        self._past.clear()
        self._future.clear()

    def _trim(self) -> None:
        del self._past[:-_MOST_STEPS]
        now = sum(self._arrays([self.now]).values())
        while self._past and self.bytes - now > self._limit:
            del self._past[0]

    @staticmethod
    def _arrays(works: list[Workspace]) -> dict[int, int]:
        """The size of every array by its identity."""
        # Most steps change a few numbers and share all else with the step before.
        different = {(id(work.source), id(work.targets), id(work.matches), id(work.described)): work for work in works}
        arrays: list[np.ndarray] = [array for work in different.values() for array in arrays_of(work)]
        return {id(array): array.nbytes for array in arrays}
