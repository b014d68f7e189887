"""Annotated objects of one category: some are supports, and the points of the others are predicted from them.

Points are predicted by :class:`semcorr.transfer.transferrer.Transferrer`, as ``semcorr transfer`` does it.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.photograph_sets.configurations import Configuration
from benchmarks.photograph_sets.figures import ALPHAS, HEADLINE, Figures, Half, confidence_of, mean_interval
from semcorr.errors import SettingsError
from semcorr.evaluation.metrics.pck import is_correct
from semcorr.evaluation.runs.baselines import BASELINES
from semcorr.evaluation.runs.records import PairRecord
from semcorr.imaging.image import image_size
from semcorr.keypoints.base import VISIBLE, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.shapes import extent
from semcorr.matchers.base import Matcher
from semcorr.transfer.plan import Plan, TransferSettings
from semcorr.transfer.supports import Support
from semcorr.transfer.targets import Region, Target
from semcorr.transfer.transferrer import Transferrer


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotated:
    """One annotated object and the image that it is in.

    Attributes:
        image: The image.
        instance: The object.
        threshold: What alpha is a fraction of, in pixels.
    """

    image: AnnotatedImage
    instance: Instance
    threshold: float

    @property
    def marked(self) -> Bool[np.ndarray, " keypoints"]:
        """Which key-points are visible."""
        return self.instance.visibility == VISIBLE


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectSet:
    """The annotated objects of a set.

    Attributes:
        name: The set's name in tables.
        annotations: What the file holds.
        objects: In the order of the file.
        boxes: Whether an object's box is given, as `semcorr transfer` has it; otherwise whole images are searched.
    """

    name: str
    annotations: Annotations
    objects: Sequence[Annotated]
    boxes: bool

    @property
    def category(self) -> Category:
        """The category of all objects."""
        return next(iter(self.annotations.categories.values()))


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The numbers of the supports, and of the objects whose points are predicted from them."""

    half: Half
    supports: tuple[int, ...]
    targets: tuple[int, ...]
    spread: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """All points of a draw's targets: errors as fractions of the threshold's size, confidence, whether calibrated."""

    errors: Float[np.ndarray, " points"]
    confidence: Float[np.ndarray, " points"]
    calibrated: Bool[np.ndarray, " points"]


def draws_of(count: int, supports: int, draws: int, *, half: Half = "all", every: int = 1) -> list[Draw]:
    """Draw supports at random, the same for every configuration; all other objects of the half are targets.

    A draw of more supports has those of one of fewer and further ones, and that of a half begins with those of the
    whole set that are in the half: networks run for fewer supports, and numbers of them are compared with each other.

    Objects with odd numbers (counted from 0) are the development half, even ones the held-out half: supports and
    targets are of the same half.

    Args:
        count: The number of objects.
        supports: The number of supports.
        draws: The number of draws.
        half: Which objects take part.
        every: Only every so many-th of the others is a target.

    Raises:
        SettingsError: There are not more objects than supports.
    """
    numbers = numbers_of(count, half)
    _check(len(numbers), supports)
    results = []
    for number in range(draws):
        order = np.random.default_rng([number, count]).permutation(count).tolist()
        chosen = tuple(sorted([one for one in order if one in numbers][:supports]))
        results.append(Draw(half=half, supports=chosen, targets=_others(numbers, chosen, every)))
    return results


def spread_draw(count: int, supports: int, *, every: int = 1) -> Draw:
    """Choose supports in the middle of equally long parts of the set, such as of a video.

    Raises:
        SettingsError: There are not more objects than supports.
    """
    _check(count, supports)
    chosen = tuple(int((number + 0.5) * count / supports) for number in range(supports))
    targets = _others(range(count), chosen, every)
    return Draw(half="all", supports=chosen, targets=targets, spread=True)


def numbers_of(count: int, half: Half) -> range:
    """Return the numbers of a half's objects, of so many in all."""
    return range(count) if half == "all" else range(1 if half == "development" else 0, count, 2)


def _check(objects: int, supports: int) -> None:
    if objects <= supports:
        raise SettingsError(f"Expected more objects than the {supports} supports, got {objects}. Raise --limit.")


def _others(numbers: Sequence[int], chosen: Sequence[int], every: int) -> tuple[int, ...]:
    return tuple([number for number in numbers if number not in chosen][::every])


Prediction = tuple[Float[np.ndarray, "keypoints 2"], Float[np.ndarray, " keypoints"], bool]


def predictions(
    objects: ObjectSet, draw: Draw, configuration: Configuration, matcher: Matcher | None
) -> Iterator[Prediction]:
    """Predict the points of a draw's targets: points, confidence, and whether that is calibrated.

    Args:
        objects: The set.
        draw: Supports and targets.
        configuration: What is measured.
        matcher: What was loaded for it; None for a baseline.
    """
    return _guesses(objects, draw, configuration) if matcher is None else _transferred(objects, draw, matcher)


def predict(objects: ObjectSet, draw: Draw, configuration: Configuration, matcher: Matcher | None) -> Outcome:
    """Predict the points of all targets of a draw, as :func:`predictions`, and measure them."""
    errors, confidence, calibrated = [], [], []
    each = zip(draw.targets, predictions(objects, draw, configuration, matcher), strict=True)
    for number, (points, sure, is_calibrated) in each:
        target = objects.objects[number]
        distances = np.linalg.norm(points - target.instance.points, axis=1)[target.marked]
        errors.append(np.nan_to_num(distances / target.threshold, nan=np.inf))
        confidence.append(sure[target.marked])
        calibrated.append(np.full(len(distances), is_calibrated))
    return Outcome(
        errors=np.concatenate(errors), confidence=np.concatenate(confidence), calibrated=np.concatenate(calibrated)
    )


def _transferred(objects: ObjectSet, draw: Draw, matcher: Matcher) -> Iterator[Prediction]:
    chosen = [objects.objects[number] for number in draw.supports]
    supports = [Support(image=one.image, instance=one.instance, keypoints=np.flatnonzero(one.marked)) for one in chosen]
    name, keypoints = objects.category.name, len(objects.category.keypoints)
    plan = Plan(supports={name: supports}, unreadable={}, notes=())
    transferrer = Transferrer(matcher, objects.annotations, TransferSettings(support=len(supports)), plan=plan)
    for number in draw.targets:
        one = objects.objects[number]
        region = Region(category=name, box=one.instance.box if objects.boxes else None, id=number)
        record = transferrer.predict(Target(file=one.image.file, path=one.image.path, regions=(region,)))
        if record.error is not None:
            yield np.full((keypoints, 2), np.nan), np.zeros(keypoints), False
        else:
            (predicted,) = record.objects
            yield predicted.points, predicted.confidence, record.calibration is not None


def _guesses(objects: ObjectSet, draw: Draw, configuration: Configuration) -> Iterator[Prediction]:
    """The mean over supports of what a baseline says for each."""
    guess, keypoints = BASELINES[configuration.method], len(objects.category.keypoints)
    for number in draw.targets:
        pairs = [_record(objects.objects[support], objects.objects[number]) for support in draw.supports]
        yield np.mean([guess(pair) for pair in pairs], axis=0), np.zeros(keypoints), False


def _record(source: Annotated, target: Annotated) -> PairRecord:
    """The pair of two objects, as baselines take it; without a box, the extent of the visible points is it."""

    def box(one: Annotated) -> tuple[float, float, float, float]:
        return one.instance.box or extent(one.instance.points[one.marked])

    return PairRecord(
        index=0,
        pair=f"{source.image.file}-{target.image.file}",
        category=source.instance.category,
        names=(),
        source=source.image.file,
        target=target.image.file,
        source_size=_size(source.image.path),
        target_size=_size(target.image.path),
        source_box=box(source),
        target_box=box(target),
        source_points=source.instance.points,
        truth=target.instance.points,
        predicted=np.zeros((0, 2)),
        confidence=np.zeros(0),
    )


@functools.cache
def _size(path: Path) -> tuple[int, int]:
    return image_size(path)


def figures(outcomes: Sequence[Outcome], draws: Sequence[Draw], images: str, configuration: Configuration) -> Figures:
    """Measure draws of the same kind: means over draws, and Student's intervals of these means.

    All draws have targets of the same set, so an interval says what other supports would change, and not what other
    images would.
    """
    each = [[100 * float(is_correct(one.errors, alpha).mean()) for one in outcomes] for alpha in ALPHAS]
    errors = np.concatenate([one.errors for one in outcomes])
    sure = None
    if not configuration.is_baseline:
        sure = confidence_of(
            np.concatenate([one.confidence for one in outcomes]),
            is_correct(errors, ALPHAS[HEADLINE]),
            np.concatenate([one.calibrated for one in outcomes]),
        )
    return Figures(
        configuration=configuration.name,
        images=images,
        half=draws[0].half,
        supports=len(draws[0].supports),
        spread=draws[0].spread,
        pck=tuple(float(np.mean(values)) for values in each),
        intervals=tuple(mean_interval(values) for values in each),
        points=len(errors),
        confidence=sure,
    )
