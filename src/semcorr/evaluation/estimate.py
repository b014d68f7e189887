"""How long a run would take on this machine, from a few steps of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from semcorr.datasets.base import Dataset
from semcorr.errors import SettingsError
from semcorr.evaluation.run_folder import Shard
from semcorr.evaluation.runner import units_of
from semcorr.images import Image
from semcorr.prompt import PromptMatcher
from semcorr.prompt.settings import override

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a data set asks for, and what that takes here.

    ``describe_points`` are points of source pictures, ``locate_points`` those of all pairs; ``step_seconds`` is one
    optimisation step of one embedding and ``crop_seconds`` one pass of one embedding over one crop, in batches.
    """

    describe_points: int
    locate_points: int
    step_seconds: float
    crop_seconds: float
    steps_a_point: int
    crops_a_point: int

    @property
    def describe_hours(self) -> float:
        """Learning all points of all source pictures."""
        return self.describe_points * self.steps_a_point * self.step_seconds / 3600

    @property
    def locate_hours(self) -> float:
        """Finding every pair's points in its target."""
        return self.locate_points * self.crops_a_point * self.crop_seconds / 3600


def estimate(dataset: Dataset, matcher: object, *, points: int = 4) -> Estimate:
    """Time a few steps and a few crops of the paper's method on ``points`` points at once, and multiply.

    Time does not depend on what is in the pictures, so noise is used.

    Raises:
        SettingsError: another method than the paper's.
    """
    if not isinstance(matcher, PromptMatcher):
        raise SettingsError("Only the paper's method ('prompt') takes long enough to be estimated.")
    settings, side = matcher.settings, 256
    picture = Image(pixels=np.random.default_rng(0).integers(256, size=(side, side, 3), dtype=np.uint8))
    places = np.random.default_rng(1).uniform(side * 0.3, side * 0.7, size=(points, 2))

    def timed(steps: int, crops: int) -> tuple[float, float]:
        few = override(settings, steps=steps, locate_crops=crops)
        quick = PromptMatcher(matcher.model, few, memory_budget=matcher.memory_budget)
        query, learning = _seconds(lambda: quick.describe(picture, places))
        _, locating = _seconds(lambda: quick.locate(query, picture))
        return learning, locating

    timed(1, 4)  # the first call of anything is slower
    # The difference leaves out what is done once, whatever the number of steps.
    short, long = timed(1, 4), timed(4, 8)
    rows = points * settings.rounds
    units = list(units_of(dataset, Shard(), set()))
    return Estimate(
        describe_points=sum(len(unit.points) for unit in units),
        locate_points=sum(len(pair.names) for pair in dataset.pairs),
        step_seconds=max(0.0, long[0] - short[0]) / (3 * rows),
        crop_seconds=max(0.0, long[1] - short[1]) / (4 * rows),
        steps_a_point=settings.steps * settings.rounds,
        crops_a_point=settings.locate_crops * settings.rounds,
    )


def _seconds(work: Callable[[], Result]) -> tuple[Result, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began
