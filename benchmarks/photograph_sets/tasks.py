"""What is measured: each configuration on each set, and each set in a process of its own."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.photograph_sets import objects, pairs, times, transfers
from benchmarks.photograph_sets.configurations import MAIN, Configuration, RememberedFeatures
from benchmarks.photograph_sets.figures import Figures, Half
from benchmarks.photograph_sets.times import Seconds
from semcorr.datasets.base import Pair
from semcorr.evaluation.runs.runner import calibration_holds
from semcorr.matchers.base import Matcher
from semcorr.matchers.wrappers.calibration import for_data_set
from semcorr.progress import Progress

SETS = (pairs.NAME, objects.MOUSE, objects.FACES)

SUPPORTS: Mapping[str, tuple[int, ...]] = {objects.MOUSE: (1, 2, 5, 10), objects.FACES: (1, 5)}
"""Numbers of annotated objects."""

OVERVIEW = {objects.MOUSE: 5, objects.FACES: 1}
"""The number of the overview, which every configuration gets."""

HALVES: tuple[Half, ...] = ("development", "held-out")

_SOME = 3
"""With other numbers than the overview's, every so many-th object is a target."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """In how many further images of a set a configuration located points, and what that gave."""

    images: int
    name: str
    configuration: str
    figures: tuple[Figures, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SetJob:
    """All configurations on a set, as a worker process does them (:class:`semcorr.executors.Job`).

    Attributes:
        folder: Of all sets.
        configurations: What is measured.
        limit: The number of pairs of each sub-class, or of objects; None for all.
        draws: How often supports are drawn.
        thorough: Whether every configuration is measured as the main one is: with all numbers of supports.
    """

    folder: Path
    configurations: tuple[Configuration, ...]
    limit: int | None = None
    draws: int = 5
    thorough: bool = False

    def start(self) -> Callable[[str, Progress | None], Iterator[Step]]:
        """Return what measures a set by its name."""
        return self.measure

    def images(self, name: str) -> int:
        """Return in how many images of a set points are located.

        Raises:
            DatasetError: The set is not there, or broken.
        """
        if name == pairs.NAME:
            return len(pairs.read(self.folder, self.limit).pairs) * len(self.on(name))
        count = len(objects.read(name, self.folder, self.limit).objects)
        return sum(_targets(self.draws_of(name, count, one)) for one in self.on(name))

    def on(self, name: str) -> list[Configuration]:
        """Return the configurations that are measured on a set."""
        return [one for one in self.configurations if not one.only_on or name in one.only_on]

    def measure(self, name: str, progress: Progress | None = None) -> Iterator[Step]:  # noqa: ARG002  # as a job is called
        """Measure all configurations on a set, step by step; they share the network's passes.

        Raises:
            DatasetError: The set is not there, or broken.
        """
        known = RememberedFeatures()
        work = self._on_pairs() if name == pairs.NAME else self._on_objects(name)
        for configuration in self.on(name):
            matcher = None if configuration.is_baseline else known.attach(configuration.spec().load())
            for images, figures in work(configuration, matcher):
                yield Step(images=images, name=name, configuration=configuration.name, figures=tuple(figures))

    def draws_of(self, name: str, count: int, configuration: Configuration) -> list[list[transfers.Draw]]:
        """Return the draws of a configuration on a set of so many objects; those of one kind are one figure.

        The main configuration has draws of every number of supports, and of the mouse those of each half and those
        spread over the video; the others have the overview's, with fewer targets.
        """
        usual = OVERVIEW[name]
        if not (self.thorough or configuration.name == MAIN or configuration.is_baseline):
            draws = transfers.draws_of(count, usual, self.draws, every=configuration.every) if usual < count else []
            return [draws] if draws else []
        numbers = [(number, 1 if number == usual else _SOME) for number in SUPPORTS[name] if number < count]
        kinds = [transfers.draws_of(count, number, self.draws, every=every) for number, every in numbers]
        if name == objects.MOUSE:
            kinds += [
                [transfers.spread_draw(count, number, every=every)] for number, every in numbers if number <= usual
            ]
            kinds += [transfers.draws_of(count, usual, self.draws, half=one) for one in HALVES if usual < count // 2]
        return kinds

    def _on_pairs(self) -> "Work":
        """PF-WILLOW, with the confidence that ``semcorr eval`` gives."""
        dataset = pairs.read(self.folder, self.limit)

        def work(configuration: Configuration, matcher: Matcher | None) -> Iterator[tuple[int, list[Figures]]]:
            holds = calibration_holds(matcher, dataset)
            predicted = []
            for one in pairs.predict(dataset, configuration, for_data_set(matcher, holds)):
                predicted.append(one)
                yield 1, []
            yield 0, pairs.figures(predicted, configuration)

        return work

    def _on_objects(self, name: str) -> "Work":
        known = objects.read(name, self.folder, self.limit)

        def work(configuration: Configuration, matcher: Matcher | None) -> Iterator[tuple[int, list[Figures]]]:
            for kind in self.draws_of(name, len(known.objects), configuration):
                outcomes = []
                for draw in kind:
                    outcomes.append(transfers.predict(known, draw, configuration, matcher))
                    yield len(draw.targets), []
                yield 0, [transfers.figures(outcomes, kind, name, configuration)]

        return work


Work = Callable[[Configuration, Matcher | None], Iterator[tuple[int, list[Figures]]]]
"""Measures a configuration on a set: yields how many images are done, and figures where they are known."""


def measure_times(
    folder: Path, configurations: Sequence[Configuration], count: int, progress: Progress
) -> Iterator[Seconds]:
    """Measure seconds, on ``count`` pairs of images of PF-WILLOW that are all different, and as many frames.

    In the precision that the command chooses for the machine.

    Raises:
        DatasetError: A set is not there, or broken.
    """
    mouse = objects.read(objects.MOUSE, folder)
    chosen = different(pairs.read(folder).pairs)[:count]
    total, done = 2 * len(chosen) * len(configurations), itertools.count(1)
    for configuration in configurations:

        def step(name: str = configuration.name) -> None:
            progress("time", min(next(done), total), total, now=name)

        spec = configuration.spec().with_options(dtype="auto")
        yield times.measure(chosen, mouse, configuration, spec.load(), step)


def different(every: Sequence[Pair]) -> list[Pair]:
    """Return pairs of which no two share an image."""
    used: set[Path] = set()
    result = []
    for pair in every:
        if not used & {pair.source.path, pair.target.path}:
            used |= {pair.source.path, pair.target.path}
            result.append(pair)
    return result


def _targets(kinds: Sequence[Sequence[transfers.Draw]]) -> int:
    return sum(len(draw.targets) for kind in kinds for draw in kind)
