"""How long a run would take on this machine, from a few steps of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from semcorr.datasets.base import Dataset
from semcorr.errors import SettingsError
from semcorr.evaluation.run_folder import Shard
from semcorr.evaluation.runner import units_of
from semcorr.images import Image
from semcorr.matching import innermost
from semcorr.progress import Progress
from semcorr.prompt import PromptMatcher
from semcorr.settings import override

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a data set asks for, and what that takes here.

    ``describe_points`` are points of source pictures, ``locate_points`` those of all pairs; ``step_seconds`` is one
    optimisation step of one embedding and ``crop_seconds`` one reading of one crop by one embedding, in batches.
    ``source_seconds`` and ``target_seconds`` are what each picture takes once, whatever its points: the crops that are
    shared by them.
    """

    sources: int
    targets: int
    describe_points: int
    locate_points: int
    source_seconds: float
    target_seconds: float
    step_seconds: float
    crop_seconds: float
    steps_a_point: int
    crops_a_point: int

    @property
    def describe_hours(self) -> float:
        """Learning all points of all source pictures."""
        points = self.describe_points * self.steps_a_point * self.step_seconds
        return (self.sources * self.source_seconds + points) / 3600

    @property
    def locate_hours(self) -> float:
        """Finding every pair's points in its target."""
        points = self.locate_points * self.crops_a_point * self.crop_seconds
        return (self.targets * self.target_seconds + points) / 3600


def estimate(dataset: Dataset, matcher: object, *, points: int = 4) -> Estimate:
    """Time a few steps and a few crops of the paper's method on ``points`` points at once, and multiply.

    Time does not depend on what is in the pictures, so noise is used.

    Raises:
        SettingsError: another method than the paper's.
    """
    matcher = innermost(matcher)
    if not isinstance(matcher, PromptMatcher):
        raise SettingsError("Only the paper's method ('prompt') takes long enough to be estimated.")
    # Without a cache of latents: the times are those of images that are met for the first time.
    matcher = PromptMatcher(
        matcher.model,
        matcher.settings,
        memory_budget=matcher.memory_budget,
        gradient_checkpointing=matcher.gradient_checkpointing,
    )
    settings, side = matcher.settings, 256
    picture = Image(pixels=np.random.default_rng(0).integers(256, size=(side, side, 3), dtype=np.uint8))
    places = np.random.default_rng(1).uniform(side * 0.3, side * 0.7, size=(points, 2))

    rows = points * settings.rounds
    units = list(units_of(dataset, Shard(), set()))
    measure = _frozen if settings.queries == "frozen" else _live
    return Estimate(
        sources=len(units),
        targets=len(dataset.pairs),
        describe_points=sum(len(unit.points) for unit in units),
        locate_points=sum(len(pair.names) for pair in dataset.pairs),
        steps_a_point=settings.steps * settings.rounds,
        crops_a_point=settings.locate_crops * settings.rounds,
        **measure(matcher, picture, places, rows),
    )


def _live(matcher: PromptMatcher, picture: Image, places: np.ndarray, rows: int) -> dict[str, float]:
    settings = matcher.settings

    def timed(steps: int, crops: int) -> tuple[float, float]:
        # With one shared crop nothing is encoded after the first step; fresh ones are encoded with their steps.
        shared = None if settings.learn_crops is None else 1
        few = override(settings, steps=steps, locate_crops=crops, learn_crops=shared)
        quick = PromptMatcher(
            matcher.model,
            few,
            memory_budget=matcher.memory_budget,
            gradient_checkpointing=matcher.gradient_checkpointing,
        )
        query, learning = _seconds(lambda: quick.describe(picture, places))
        _, locating = _seconds(lambda: quick.locate(query, picture))
        return learning, locating

    timed(1, 4)  # the first call of anything is slower
    # The difference leaves out what is done once, whatever the number of steps.
    short, long = timed(1, 4), timed(4, 8)
    side = settings.resolution or matcher.model.resolution
    _, encode = _seconds(lambda: matcher.model.encode(torch.zeros(1, 3, side, side)))
    return {
        "source_seconds": encode * (settings.learn_crops or 0),
        "target_seconds": 0.0,
        "step_seconds": max(0.0, long[0] - short[0]) / (3 * rows),
        "crop_seconds": max(0.0, long[1] - short[1]) / (4 * rows),
    }


def _frozen(matcher: PromptMatcher, picture: Image, places: np.ndarray, rows: int) -> dict[str, float]:
    """One call of each kind as it is; the progress tells when the shared crops are done."""
    settings = matcher.settings

    def timed(call: Callable[[Progress], Result]) -> tuple[Result, float, float]:
        """The result, and the seconds until the shared crops were done and after that."""
        began = shared = time.perf_counter()

        def progress(stage: str, *_: object, **__: object) -> None:
            nonlocal shared
            if stage == "queries":
                shared = time.perf_counter()

        result = call(progress)
        return result, shared - began, time.perf_counter() - shared

    # The first call of anything is slower, and loads the text encoder.
    quick = PromptMatcher(matcher.model, override(settings, steps=1), memory_budget=matcher.memory_budget)
    quick.describe(picture, places[:1])
    query, source, learning = timed(lambda told: matcher.describe(picture, places, progress=told))
    _, target, locating = timed(lambda told: matcher.locate(query, picture, progress=told))
    return {
        "source_seconds": source,
        "target_seconds": target,
        "step_seconds": learning / (settings.steps * rows),
        "crop_seconds": locating / (settings.locate_crops * rows),
    }


def _seconds(work: Callable[[], Result]) -> tuple[Result, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began
