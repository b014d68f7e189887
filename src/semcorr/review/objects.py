"""What is reviewed: objects of a file, and the state that a person has brought each of them to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from semcorr.errors import ReviewError
from semcorr.keypoints.base import MISSING, VISIBLE, Annotations, Category, Instance
from semcorr.keypoints.provenance import ACCEPTED, PLACED, PREDICTED
from semcorr.keypoints.shapes import extent

Decision = Literal["open", "accepted", "rejected"]
Origin = Literal["predicted", "accepted", "placed", "annotated"]
ANNOTATED: Final = "annotated"
"""The origin of a point of an annotated object that is where the file has it."""

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


def review_objects(annotations: Annotations) -> Iterator[ReviewObject]:
    """All objects of a file: the predicted ones first, then the annotated ones, each in the order of the file.

    So their numbers, which the journal holds, depend on the file alone, and are those of versions that reviewed
    predicted objects only.
    """
    where = [
        (image, position) for image, one in enumerate(annotations.images) for position in range(len(one.instances))
    ]
    instances = [annotations.images[image].instances[position] for image, position in where]
    order = sorted(range(len(where)), key=lambda index: not instances[index].predicted)
    for number, index in enumerate(order):
        (image, position), instance = where[index], instances[index]
        category = annotations.categories[instance.category]
        prediction = (
            prediction_of(instance, category) if instance.predicted or instance.origins else Prediction(points={})
        )
        yield ReviewObject(
            number=number,
            image=image,
            position=position,
            instance=instance,
            prediction=prediction,
            state=first_state(instance, prediction, category),
        )


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
    origins = _origins(instance)
    points: list[StatePoint | None] = []
    for number, name in enumerate(category.keypoints):
        predicted = prediction.points.get(name)
        if instance.visibility[number] > MISSING:
            x, y = instance.points[number].tolist()
            points.append((x, y, int(instance.visibility[number]), origins[number]))
        else:
            shown = predicted if instance.predicted else None
            points.append(None if shown is None else (shown[0], shown[1], MISSING, PREDICTED))
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

    A point is the program's only where the program predicted it, and the file's only where the file has it. To accept
    an object is to accept all its points as they are shown; once every point of a predicted one is accepted or placed,
    the object is. An annotated one is accepted by a person alone. Without points an object is rejected, unless it is an
    annotated box.

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
    for number, (name, point) in enumerate(zip(category.keypoints, state.points, strict=True)):
        if point is None:
            points.append(None)
            continue
        x, y, mark, origin = point
        annotated, known = _annotated_at(one, state, number), one.prediction.points.get(name)
        if annotated is not None and _is_at(x, y, annotated[:2]):
            x, y, origin = annotated
        elif origin not in (PLACED, ANNOTATED) and known is not None and _is_at(x, y, known[:2]):
            x, y = known[:2]
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
    if not any(points) and (one.instance.predicted or one.instance.box is None):
        decision = "rejected"
    elif (
        decision == "open"
        and one.instance.predicted
        and all(point is None or point[3] != PREDICTED for point in points)
    ):
        decision = "accepted"
    return State(category=category.name, decision=decision, points=tuple(points))


def _is_at(x: float, y: float, known: tuple[float, ...]) -> bool:
    return max(abs(x - known[0]), abs(y - known[1])) <= _SAME


def _annotated_at(one: ReviewObject, state: State, number: int) -> tuple[float, float, Origin] | None:
    """Where the file has an annotated point, and who set it; None for none, and in another category."""
    instance = one.instance
    if instance.predicted or state.category != instance.category or instance.visibility[number] == MISSING:
        return None
    x, y = instance.points[number].tolist()
    return x, y, _origins(instance)[number]


def _origins(instance: Instance) -> tuple[Origin, ...]:
    """Who set each point of an object, as its file has it."""
    usual: Origin = PREDICTED if instance.predicted else ANNOTATED
    listed = instance.origins or (None,) * len(instance.points)
    return tuple(origin or usual for origin in listed)  # type: ignore[misc]  # origins are read as these


def is_changed(one: ReviewObject, category: Category) -> bool:
    """Whether a file would hold an object in another way than the reviewed one does.

    Args:
        one: The object.
        category: The category that the reviewed file has it in.
    """
    if one.instance.predicted or not one.revision:
        return one.revision > 0
    first = first_state(one.instance, one.prediction, category)
    return one.state.decision == "rejected" or (one.state.category, one.state.points) != (first.category, first.points)


def current_instance(one: ReviewObject, category: Category) -> Instance | None:
    """The object as a file is to hold it; None if it is to be taken out.

    Of a rejected object that was predicted only a box stays that was drawn for it. An annotated object stays one.
    """
    if not one.instance.predicted:
        return _current_annotated(one, category)
    count, box = len(category.keypoints), one.instance.drawn_box
    if one.state.decision == "rejected":
        if box is None:
            return None
        nothing = np.full((count, 2), np.nan), np.zeros(count, dtype=np.int64)
        return Instance(category=category.name, points=nothing[0], visibility=nothing[1], box=box, id=one.instance.id)
    xy, marks, origins = _rows(one.state)
    marked = xy[marks > MISSING]
    accepted = one.state.decision == "accepted"
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


def _current_annotated(one: ReviewObject, category: Category) -> Instance | None:
    """An annotated object as it is now; a box that is but the extent of what a program predicted follows its points."""
    if one.state.decision == "rejected":
        return None
    xy, marks, origins = _rows(one.state)
    same, box, marked = category.name == one.instance.category, one.instance.box, xy[marks > MISSING]
    if one.instance.drawn_box is None and box is not None and len(marked):
        box = extent(marked)
    return replace(
        one.instance,
        category=category.name,
        points=np.where(marks[:, None] > MISSING, xy, np.nan),
        visibility=marks,
        box=box,
        origins=None if one.instance.origins is None else tuple(PLACED if by == ANNOTATED else by for by in origins),
        predicted_points=one.instance.predicted_points if same else None,
        votes=one.instance.votes if same else None,
    )


def _rows(state: State) -> tuple[np.ndarray, np.ndarray, tuple[Origin | None, ...]]:
    """The locations of a state's points, NaN where there is none, their marks, and who set them."""
    shown = [point or (np.nan, np.nan, MISSING, None) for point in state.points]
    xy = np.array([point[:2] for point in shown], dtype=np.float64).reshape(-1, 2)
    return xy, np.array([point[2] for point in shown], dtype=np.int64), tuple(point[3] for point in shown)


def _predicted_points(one: ReviewObject, category: Category) -> np.ndarray | None:
    """x, y and confidence of every point that was predicted and not taken away."""
    if all(sure is None for _, _, sure in one.prediction.points.values()):
        return None
    rows = [
        one.prediction.points.get(name, (np.nan, np.nan, 0)) if point else (np.nan, np.nan, 0)
        for name, point in zip(category.keypoints, one.state.points, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)
