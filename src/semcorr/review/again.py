"""Predict doubtful objects again, with what a person has accepted as further supports; a job in a thread."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from semcorr.errors import ReviewError, SemcorrError
from semcorr.keypoints.base import AnnotatedImage, Annotations, Instance
from semcorr.keypoints.predictions import PredictedObject, in_declared_frame
from semcorr.keypoints.provenance import PREDICTED
from semcorr.review.journal import Change
from semcorr.review.objects import Prediction, ReviewObject, State, current_instance, predicted_state
from semcorr.review.review import Review
from semcorr.transfer.plan import TransferSettings

if TYPE_CHECKING:
    from semcorr.matchers.base import Matcher

_MOVED = 1.0
"""Pixels; a point that is predicted this far from where it was has changed."""


@dataclass(frozen=True, kw_only=True)
class AgainStatus:
    """How far the job is: ``stage`` is "idle", "running", "done", "stopped" or "failed"."""

    stage: str = "idle"
    done: int = 0
    total: int = 0
    message: str = ""


class _StoppedError(Exception):
    """The person stopped it."""


class PredictAgain:
    """At most one job at a time.

    Args:
        review: The review.
        load: Loads the method when it is needed first.
        settings: How points are carried over.
        min_confidence: From which confidence on a point is marked as visible.
    """

    def __init__(
        self, review: Review, load: Callable[[], "Matcher"], settings: TransferSettings, min_confidence: float
    ) -> None:
        self._review, self._load = review, load
        self._settings, self._min_confidence = replace(settings, redo_below=1.0), min_confidence
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._status = AgainStatus()
        self._matcher: "Matcher | None" = None

    def status(self) -> Mapping[str, Any]:
        """How far the job is, and below which score the more doubtful half of what it may predict is, for JSON."""
        scores = [one.prediction.score or 0.0 for one in self._review.objects if _is_doubtful(one, np.inf)]
        # Rounded up, so that the half is below it.
        suggested = min(1.0, (np.floor(float(np.median(scores)) * 20) + 1) / 20) if scores else 1.0
        return {**asdict(self._status), "suggested": float(suggested), "undoable": len(self._review.undoable())}

    def start(self, below: float) -> None:
        """Start the job.

        Args:
            below: Open objects with a lower score, or none, are predicted again, if no person set any of their points.

        Raises:
            ReviewError: It is running already, or there is no such object.
        """
        with self._lock:
            if self._status.stage == "running":
                raise ReviewError("Objects are being predicted again already. Wait, or stop it.")
            chosen = [one for one in self._review.objects if _is_doubtful(one, below)]
            if not chosen:
                raise ReviewError(
                    f"No open object without a person's points has a score below {below:g}. Name a higher."
                )
            self._stop.clear()
            self._status = AgainStatus(stage="running", total=len(chosen), message="Loading")
            threading.Thread(target=self._run, args=(chosen,), daemon=True).start()

    def undo(self) -> None:
        """Undo the last job, but for objects that were changed since.

        Raises:
            ReviewError: A job is running, or there is nothing to undo.
        """
        with self._lock:
            if self._status.stage == "running":
                raise ReviewError("Objects are being predicted again. Stop it first.")
            undone, kept = self._review.undo_again()
            stay = f" {kept} were changed since, and stay." if kept else ""
            self._status = AgainStatus(stage="done", message=f"{undone} objects are as they were before.{stay}")

    def stop(self) -> None:
        """Stop the job: what was predicted so far is dropped."""
        self._stop.set()

    def _run(self, chosen: list[ReviewObject]) -> None:
        try:
            self._status = AgainStatus(stage="done", message=self._predict(chosen))
        except _StoppedError:
            self._status = AgainStatus(stage="stopped", message="Stopped. Nothing was changed.")
        except SemcorrError as error:
            self._status = AgainStatus(stage="failed", message=str(error))
        except Exception as error:
            self._status = AgainStatus(stage="failed", message=f"{type(error).__name__}: {error}")
            raise

    def _predict(self, chosen: list[ReviewObject]) -> str:
        # Here, because they take seconds to import, and the page is to open before.
        from semcorr.transfer.run import predict
        from semcorr.transfer.targets import select_targets
        from semcorr.transfer.transferrer import Transferrer

        revisions = {one.number: one.revision for one in chosen}
        before = {one.number: one.state for one in chosen}
        known, numbers = _known(self._review, revisions)
        self._matcher = self._matcher or self._load()
        transferrer = Transferrer(self._matcher, known, self._settings)
        selection = select_targets(known, transferrer.categories, images=None, redo_below=self._settings.redo_below)
        records = list(predict(transferrer, selection.targets, progress=self._progress))
        predicted = {
            int(one.id): one
            for record in in_declared_frame(records, known)
            for one in record.objects
            if one.id is not None
        }
        sources = {
            category: tuple(numbers[support.instance] for support in supports)
            for category, supports in transferrer.plan.supports.items()
        }
        changes = self._review.predicted_again(
            [self._change(self._review.all_objects[number], one, sources) for number, one in predicted.items()],
            revisions,
        )
        moved, points = _count(changes, before)
        failed = sum(record.error is not None for record in records)
        supports = sum(transferrer.supports_of.values())
        return (
            f"{moved} of {points} points moved by more than {_MOVED:g} pixel. {len(changes)} objects were predicted "
            f"again from {supports} annotated ones." + (f" {failed} images could not be read." if failed else "")
        )

    def _progress(self, stage: str, done: int, total: int, **_: object) -> None:
        if self._stop.is_set():
            raise _StoppedError
        self._status = AgainStatus(stage="running", done=done, total=total, message=stage)

    def _change(
        self, one: ReviewObject, predicted: PredictedObject, sources: Mapping[str, tuple[tuple[int, int], ...]]
    ) -> Change:
        votes = [] if predicted.votes is None else predicted.votes.T.round(3).tolist()
        prediction = Prediction(
            points={
                name: (float(x), float(y), float(sure))
                for name, (x, y), sure in zip(predicted.names, predicted.points, predicted.confidence, strict=True)
                if np.isfinite(x)
            },
            score=predicted.score,
            votes={
                name: tuple(None if np.isnan(vote) else vote for vote in row)
                for name, row in zip(predicted.names, votes, strict=False)
            },
            sources=sources[predicted.category],
        )
        category = self._review.annotations.categories[one.state.category]
        state = predicted_state(prediction, category, self._min_confidence)
        return Change(number=one.number, state=state, prediction=prediction)


def _count(changes: Sequence[Change], before: Mapping[int, State]) -> tuple[int, int]:
    """How many points moved, appeared or are gone, of all."""
    moved = points = 0
    for change in changes:
        for old, new in zip(before[change.number].points, change.state.points, strict=True):
            points += bool(old or new)
            if old is None or new is None:
                moved += old is not new
            else:
                moved += float(np.hypot(old[0] - new[0], old[1] - new[1])) > _MOVED
    return moved, points


def _is_doubtful(one: ReviewObject, below: float) -> bool:
    if not one.instance.predicted:
        return False
    untouched = all(point is None or point[3] == PREDICTED for point in one.state.points)
    score = one.prediction.score
    return one.state.decision == "open" and untouched and (score is None or score < below)


def _known(review: Review, again: Mapping[int, int]) -> tuple[Annotations, Mapping[Instance, tuple[int, int]]]:
    """What is annotated or accepted by now, and the objects that are predicted again, by their numbers.

    And the number of the image and that in the image of each object that is annotated or accepted.
    """
    numbers: dict[Instance, tuple[int, int]] = {}
    by_position = {(one.image, one.position): one for one in review.all_objects}
    images: list[AnnotatedImage] = []
    for number, image in enumerate(review.annotations.images):
        instances: list[Instance] = []
        for position, instance in enumerate(image.instances):
            one = by_position[number, position]
            category = review.annotations.categories[one.state.category]
            if one.state.decision == "accepted" or not instance.predicted:
                current = current_instance(one, category)
                if current is not None and current.annotated:
                    instances.append(replace(current, box=one.instance.drawn_box))
                    numbers[instances[-1]] = number, position
            elif one.number in again:
                instances.append(_to_predict(one, len(category.keypoints)))
        if instances:
            images.append(replace(image, instances=tuple(instances)))
    return replace(review.annotations, images=images, notes=()), numbers


def _to_predict(one: ReviewObject, keypoints: int) -> Instance:
    return Instance(
        category=one.state.category,
        points=np.full((keypoints, 2), np.nan),
        visibility=np.zeros(keypoints, dtype=np.int64),
        box=one.instance.drawn_box,
        id=one.number,
        predicted=True,
    )
