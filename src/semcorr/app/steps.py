"""The steps that the page can take with a work: what a request for each must say, and what it does."""

# ruff: noqa: ARG002  # all steps have one signature

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from semcorr.app import changes
from semcorr.app.images import original_size, to_held
from semcorr.app.limits import Limits
from semcorr.app.workspace import Point, Workspace, contents
from semcorr.errors import ImageError, PointError
from semcorr.imaging.image import Image


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question before a step that loses something.

    Attributes:
        text: The question.
        yes: The label of the button that confirms the step.
    """

    text: str
    yes: str


class Step(BaseModel):
    """A request for a step.

    Attributes:
        base: The revision of the work that the page showed.
        sure: Whether the question was answered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    said: ClassVar[str]
    """The name of the step, for undo and redo."""

    base: int = Field(ge=0)
    sure: bool = False

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        """The workspace after the step.

        Raises:
            SemcorrError: It cannot be taken.
        """
        raise NotImplementedError

    def question(self, work: Workspace) -> Question | None:
        """The question before it; None where nothing would be lost."""
        return None


class _Located(Step):
    x: FiniteFloat
    y: FiniteFloat


class _AddPoint(_Located):
    said = "point added"

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        x, y = in_held(work.source, (self.x, self.y))
        return changes.add_point(work, x, y, limits)


class _MovePoint(_Located):
    said = "point moved"
    point: int

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        x, y = in_held(work.source, (self.x, self.y))
        return changes.move_point(work, point_index(work, self.point), x, y)


class _DeletePoint(Step):
    said = "point deleted"
    point: int

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        return changes.delete_point(work, point_index(work, self.point))

    def question(self, work: Workspace) -> Question | None:
        count = sum(cell[1] == self.point for cell in work.decisions)
        text = f"With the point {count} corrections or acceptances are lost. Undo brings them back."
        return Question(text=text, yes="Delete the point") if count else None


class _ClearPoints(Step):
    said = "points cleared"

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        return changes.clear_points(work)

    def question(self, work: Workspace) -> Question | None:
        return question_before_loss(dataclasses.replace(work, painting=None), "This removes your", "Clear the points")


class _NamePoint(Step):
    said = "name changed"
    point: int
    name: str

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        return changes.name_point(work, point_index(work, self.point), self.name)


class _NamePoints(Step):
    said = "names changed"
    text: str

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        return changes.name_points(work, self.text)


class _Correct(_Located):
    said = "match corrected"
    target: int
    point: int

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        target = target_index(work, self.target)
        x, y = in_held(work.targets[target], (self.x, self.y))
        return changes.correct(work, target, point_index(work, self.point), x, y)


class _Accept(Step):
    said = "matches accepted"
    point: int | None = None
    target: int | None = None

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        target = None if self.target is None else target_index(work, self.target)
        return changes.accept(work, _index_or_all(work, self.point), target)


class _Discard(Step):
    said = "corrections discarded"
    point: int | None = None

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        return changes.discard_decisions(work, _index_or_all(work, self.point))

    def question(self, work: Workspace) -> Question | None:
        whose = "all points" if self.point is None else f"point {point_index(work, self.point) + 1}"
        text = (
            f"This removes your corrections and acceptances of {whose}; predictions count again, and Find may find "
            "them anew. Undo brings them back."
        )
        return Question(text=text, yes="Discard")


class _RemoveTarget(Step):
    said = "target removed"
    target: int

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        return changes.remove_target(work, target_index(work, self.target))

    def question(self, work: Workspace) -> Question | None:
        text = "Its matches, corrections and regions are lost with the target. Undo brings them back."
        lost = self.target in work.regions or any(cell[0] == self.target for cell in (*work.matches, *work.decisions))
        return Question(text=text, yes="Remove it") if lost else None


class _RemoveTargets(Step):
    said = "targets removed"

    def change(self, work: Workspace, limits: Limits) -> Workspace:
        return changes.remove_targets(work)

    def question(self, work: Workspace) -> Question | None:
        text = "All matches, corrections and regions in the targets are lost with them. Undo brings them back."
        return Question(text=text, yes="Remove them") if work.matches or work.decisions or work.regions else None


STEPS: dict[str, type[Step]] = {
    "add-point": _AddPoint,
    "move-point": _MovePoint,
    "delete-point": _DeletePoint,
    "clear-points": _ClearPoints,
    "name-point": _NamePoint,
    "name-points": _NamePoints,
    "correct": _Correct,
    "accept": _Accept,
    "discard": _Discard,
    "remove-target": _RemoveTarget,
    "remove-targets": _RemoveTargets,
}
"""The steps by the last part of their address."""


def question_before_loss(work: Workspace, start: str, yes: str) -> Question | None:
    """The question before a whole workspace is lost; None where it holds nothing."""
    lost = contents(work)
    return Question(text=f"{start} {lost}. Undo brings them back.", yes=yes) if lost else None


def point_index(work: Workspace, point: int) -> int:
    """The index of a point, counted from 0.

    Raises:
        PointError: There is no such point.
    """
    return _index(work.ids, point, "point")


def target_index(work: Workspace, target: int) -> int:
    """The index of a target, counted from 0.

    Raises:
        PointError: There is no such target.
    """
    return _index(work.target_ids, target, "target")


def _index(ids: tuple[int, ...], id_: int, kind: str) -> int:
    if id_ not in ids:
        raise PointError(f"Expected one of the {len(ids)} {kind}s, got one that is not there any more.")
    return ids.index(id_)


def _index_or_all(work: Workspace, point: int | None) -> int | None:
    return None if point is None else point_index(work, point)


def in_held(image: Image | None, point: Point) -> Point:
    """A point in pixels of an original image, in those of the held one.

    Raises:
        ImageError: There is no image.
        PointError: It is outside.
    """
    if image is None:
        raise ImageError("There is no source image yet. Send one, or load an example.")
    width, height = original_size(image)
    if not (0 <= point[0] <= width and 0 <= point[1] <= height):
        raise PointError(
            f"Expected a location in the image of {width} × {height} pixels, got ({point[0]:g}, {point[1]:g})."
        )
    return to_held(image, point)


def plain(question: Question) -> dict[str, Any]:
    """A question as the page gets it."""
    return {"question": {"text": question.text, "yes": question.yes}}


Ask = Callable[[Workspace], Question | None]
"""The question before a step; None where nothing would be lost."""
