"""What is reviewed: predicted objects, and the state that a person has brought each of them to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from semcorr.errors import ReviewError
from semcorr.keypoints.base import MISSING, VISIBLE, Category, Instance
from semcorr.keypoints.provenance import ACCEPTED, PLACED, PREDICTED
from semcorr.keypoints.shapes import extent

Decision = Literal["open", "accepted", "rejected"]
Origin = Literal["predicted", "accepted", "placed"]

_Coordinate = Annotated[float, Field(allow_inf_nan=False)]
StatePoint = tuple[_Coordinate, _Coordinate, Annotated[int, Field(ge=MISSING, le=VISIBLE)], Origin]
"""x, y in the file's frame (continuous), COCO's mark (0: predicted with too little confidence to be marked), and who
set it."""

_SAME = 0.011
"""Pixels; a predicted point that comes back rounded to two decimals is the same point."""


class State(BaseModel):
    """What a person can change of an object; ``points`` has an entry for every key-point, None for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: str
    decision: Decision
    points: tuple[StatePoint | None, ...]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a program predicted of an object.

    Attributes:
        points: By key-point: x, y, and the confidence or None where the file does not say.
        score: The object's score, or None.
        votes: By key-point, how much each source speaks for it, None for one that lacks it; empty if that is not known.
        sources: The objects that points came from, each by its image's number in the annotations and its own in the
            image; None for those that the file names for the category.
    """

    points: Mapping[str, tuple[float, float, float | None]]
    score: float | None = None
    votes: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    sources: tuple[tuple[int, int], ...] | None = None


@dataclass(kw_only=True)
class ReviewObject:
    """An object under review.

    Attributes:
        number: Its number in the review, from 0.
        image: Its image's number in the annotations.
        position: Its number in the image.
        instance: As the file has it.
        prediction: What a program predicted, perhaps anew since then.
        state: As it is now.
        revision: The review's revision that it was changed in last; 0 for never.
    """

    number: int
    image: int
    position: int
    instance: Instance
    prediction: Prediction
    state: State
    revision: int = 0


def prediction_of(instance: Instance, category: Category) -> Prediction:
    """What a file says that a program predicted."""
    points: dict[str, tuple[float, float, float | None]] = {}
    origins = instance.origins or (PREDICTED,) * len(category.keypoints)
    for number, name in enumerate(category.keypoints):
        if instance.predicted_points is not None:
            x, y, sure = instance.predicted_points[number].tolist()
            if np.isfinite(x):
                points[name] = x, y, sure if np.isfinite(sure) else None
        elif instance.visibility[number] > MISSING and origins[number] != PLACED:
            x, y = instance.points[number].tolist()
            points[name] = x, y, None
    votes = {name: tuple(row) for name, row in zip(category.keypoints, instance.votes or (), strict=False)}
    return Prediction(points=points, score=instance.score, votes=votes)


def first_state(instance: Instance, prediction: Prediction, category: Category) -> State:
    """The state of an object as the file has it."""
    origins = instance.origins or (PREDICTED,) * len(category.keypoints)
    points: list[StatePoint | None] = []
    for number, name in enumerate(category.keypoints):
        predicted = prediction.points.get(name)
        if instance.visibility[number] > MISSING:
            x, y = instance.points[number].tolist()
            own: Origin = origins[number] or PREDICTED  # type: ignore[assignment]  # origins are read as these
            points.append((x, y, int(instance.visibility[number]), own))
        else:
            points.append(None if predicted is None else (predicted[0], predicted[1], MISSING, PREDICTED))
    return State(category=instance.category, decision="open", points=tuple(points))


def predicted_state(prediction: Prediction, category: Category, min_confidence: float) -> State:
    """The state of an object that a program has predicted anew."""
    points: list[StatePoint | None] = []
    for name in category.keypoints:
        x, y, sure = prediction.points.get(name, (np.nan, np.nan, None))
        marked = sure is not None and sure >= min_confidence
        points.append(None if np.isnan(x) else (x, y, VISIBLE if marked else MISSING, PREDICTED))
    return State(category=category.name, decision="open", points=tuple(points))


def settled(state: State, one: ReviewObject, category: Category, size: tuple[int, int] | None) -> State:
    """A state as a person asked for it, with what follows from it.

    A point is the program's only where the program predicted it. To accept an object is to accept all its points as
    they are shown; once every point is accepted or placed, the object is. Without points it is rejected.

    Args:
        state: The state.
        one: The object.
        category: The state's category.
        size: (width, height) of the frame that points must lie in; None if it is unknown.

    Raises:
        ReviewError: The state is not one that an object of the category can have.
    """
    if len(state.points) != len(category.keypoints):
        raise ReviewError(
            f"Expected {len(category.keypoints)} points of {category.name!r}, got {len(state.points)}. Reload the page."
        )
    points: list[StatePoint | None] = []
    for name, point in zip(category.keypoints, state.points, strict=True):
        if point is None:
            points.append(None)
            continue
        x, y, mark, origin = point
        predicted = one.prediction.points.get(name)
        if origin != PLACED and predicted is not None and max(abs(x - predicted[0]), abs(y - predicted[1])) <= _SAME:
            x, y = predicted[:2]
        else:
            origin = PLACED
            if size is not None and not (0 <= x <= size[0] and 0 <= y <= size[1]):
                raise ReviewError(f"Expected {name!r} inside the image of {size[0]} x {size[1]}, got ({x:g}, {y:g}).")
        if mark == MISSING and (state.decision == "accepted" or origin != PREDICTED):
            mark = VISIBLE
        if state.decision == "accepted" and origin == PREDICTED:
            origin = ACCEPTED
        points.append((x, y, mark, origin))
    decision: Decision = state.decision
    if not any(points):
        decision = "rejected"
    elif decision == "open" and all(point is None or point[3] != PREDICTED for point in points):
        decision = "accepted"
    return State(category=category.name, decision=decision, points=tuple(points))


def current_instance(one: ReviewObject, category: Category) -> Instance | None:
    """The object as a file is to hold it; None if it is to be taken out.

    Of a rejected object only a box stays that was drawn for it.
    """
    count, box = len(category.keypoints), one.instance.drawn_box
    if one.state.decision == "rejected":
        if box is None:
            return None
        nothing = np.full((count, 2), np.nan), np.zeros(count, dtype=np.int64)
        return Instance(category=category.name, points=nothing[0], visibility=nothing[1], box=box, id=one.instance.id)
    shown = [point or (np.nan, np.nan, MISSING, None) for point in one.state.points]
    xy = np.array([point[:2] for point in shown], dtype=np.float64).reshape(-1, 2)
    marks = np.array([point[2] for point in shown], dtype=np.int64)
    marked = xy[marks > MISSING]
    accepted = one.state.decision == "accepted"
    origins = tuple(point[3] for point in shown)
    return Instance(
        category=category.name,
        points=np.where(marks[:, None] > MISSING, xy, np.nan),
        visibility=marks,
        box=box or extent(marked if len(marked) else xy[np.isfinite(xy).all(axis=1)]),
        id=one.instance.id,
        predicted=not accepted,
        score=one.prediction.score,
        predicted_points=_predicted_points(one, category),
        origins=origins if accepted or {*origins} - {None, PREDICTED} else None,
        votes=one.instance.votes if one.prediction.sources is None and category.name == one.instance.category else None,
    )


def _predicted_points(one: ReviewObject, category: Category) -> np.ndarray | None:
    """x, y and confidence of every point that was predicted and not taken away."""
    if all(sure is None for _, _, sure in one.prediction.points.values()):
        return None
    rows = [
        one.prediction.points.get(name, (np.nan, np.nan, 0)) if point else (np.nan, np.nan, 0)
        for name, point in zip(category.keypoints, one.state.points, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)
