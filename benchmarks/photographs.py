"""How right points are on photographs, without a checkpoint: every part of the method, on three sets, and how long.

``python -m benchmarks.photographs [--part willow mouse faces time confidence] [--only NAME] [--json FILE]``

The environment variable ``SEMCORR_TEST_DATA`` names the folder of the sets: ``pf-willow``, ``mouse-open-field`` (a
project of DeepLabCut) and ``faces-68`` (dlib's files). Choices are made on the development half: of PF-WILLOW the
sub-classes of :data:`benchmarks.photograph_sets.pairs.DEVELOPMENT`, of the mouse the frames with odd numbers.

``python -m benchmarks.photographs --toy validation`` measures the same matching layer on the toy world.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import torch
from cyclopts import Parameter

from benchmarks.command import main, new_app, save_json, use_threads
from benchmarks.meters import OtherWork
from benchmarks.photograph_sets import drawings, objects, pairs, times, transfers
from benchmarks.photograph_sets.configurations import (
    CONFIGURATIONS,
    MAIN,
    TOY_CONFIGURATIONS,
    Configuration,
    RememberedFeatures,
    chosen,
)
from benchmarks.photograph_sets.figures import Figures, Half
from benchmarks.photograph_sets.tables import tables_of
from benchmarks.photograph_sets.times import Seconds
from semcorr.cli import console
from semcorr.cli.evaluate import DataOptions
from semcorr.cli.options import Repeated
from semcorr.datasets.base import Dataset, Pair
from semcorr.errors import SettingsError
from semcorr.evaluation.report.tables import Report
from semcorr.matchers.base import Matcher
from semcorr.matchers.wrappers.calibration import for_data_set

Part = Literal["willow", "mouse", "faces", "time", "confidence"]
PARTS: tuple[Part, ...] = get_args(Part)
DATA = "SEMCORR_TEST_DATA"

SUPPORTS = {objects.MOUSE: (1, 2, 5, 10), objects.FACES: (1, 5)}
"""Numbers of annotated objects; configurations other than the main one get the one of the overview alone."""

OVERVIEW = {objects.MOUSE: 5, objects.FACES: 1}

HALVES: tuple[Half, ...] = ("development", "held-out")

_TIMED_PAIRS = 11
_BUSY = 0.1
"""The part of the processor's time that other programs may take before it is said."""

app = new_app("photographs", "Measure matching on photographs: every part of the method, on three sets.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One configuration on one set.

    Attributes:
        configuration: What is measured.
        images: The number of images in which points are located, for the progress.
        measure: Takes the loaded matcher (None for a baseline), and is given what to call after every image.
        remembered: Whether the network's passes are shared with other configurations; not where time is measured.
    """

    configuration: Configuration
    images: int
    measure: Callable[[Matcher | None, pairs.Step], Sequence[Figures | Seconds]]
    remembered: bool = True


@app.default
def photographs(
    *,
    part: Annotated[tuple[Part, ...], Parameter(negative="", consume_multiple=True)] = PARTS,
    only: Repeated = (),
    limit: int | None = None,
    draws: int = 5,
    threads: int = 2,
    toy: Literal["validation", "test"] | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Measure matching on photographs: every part of the method, on three sets.

    Args:
        part: Which tables: of PF-WILLOW, the mouse, the faces, of times, of confidence (the main configuration alone).
        only: Only the configuration of this name, with all numbers of supports; repeat for more.
        limit: Only so many pairs of each sub-class and so many annotated objects of the others, the first ones; of the
            toy world only so many pairs.
        draws: How often supports are drawn.
        threads: Of the processor.
        toy: Measure on drawings of the toy world instead, of this split.
        json_file: A file that all tables are written to as well.
    """
    if draws < 1 or (limit is not None and limit < 2):
        raise SettingsError(f"Expected --draws of at least 1 and --limit of at least 2, got {draws} and {limit}.")
    use_threads(threads)
    report = on_drawings(toy, only, limit) if toy else on_photographs(part, only, limit, draws)
    for table in report.tables:
        console.show(table.rich())
    for note in report.footnotes():
        console.say(note)
    if json_file is not None:
        save_json(report.document(), json_file)
    return 0


def on_drawings(split: str, only: Sequence[str], limit: int | None) -> Report:
    """Measure the configurations of the toy world."""
    configurations = chosen(TOY_CONFIGURATIONS, only)
    dataset = DataOptions(split="val" if split == "validation" else split, limit=limit).read("toy")
    with console.TerminalProgress() as progress:
        measured = list(drawings.measure(dataset, configurations, progress))
    return Report(tables=(drawings.table_of(dataset, measured),))


def on_photographs(parts: Sequence[Part], only: Sequence[str], limit: int | None, draws: int) -> Report:
    """Measure the configurations on all sets that the parts need."""
    configurations = chosen(CONFIGURATIONS, only)
    folder = data_folder()
    if "confidence" in parts and set(parts) <= {"confidence", "time"}:
        parts = (*PARTS[:3], *parts)
        measured = [one for one in configurations if one.name == MAIN]
    else:
        measured = configurations
    groups: list[list[Task]] = []
    if "willow" in parts:
        groups.append(pair_tasks(pairs.read(folder, limit), measured))
    groups += [
        transfer_tasks(objects.read(name, folder, limit), measured, draws, thorough=bool(only))
        for name in (objects.MOUSE, objects.FACES)
        if name in parts
    ]
    if "time" in parts:
        timed = [one for one in configurations if one.timed or only]
        groups.append(time_tasks(pairs.read(folder), objects.read(objects.MOUSE, folder), timed, limit))
    with OtherWork() as others:
        results = measure(groups)
    notes = [f"Times with {torch.get_num_threads()} threads."] if "time" in parts else []
    if "time" in parts and others.share > _BUSY:
        notes.append(f"Other programs took {100 * others.share:.0f} % of the processor's time meanwhile.")
    tables = tables_of(
        [one for one in results if isinstance(one, Figures)], [one for one in results if isinstance(one, Seconds)]
    )
    return Report(tables=tuple(tables), notes=tuple(notes))


def data_folder() -> Path:
    """The folder of photographs.

    Raises:
        SettingsError: The environment variable names none.
    """
    name = os.environ.get(DATA)
    if not name or not Path(name).is_dir():
        raise SettingsError(
            f"Expected the environment variable {DATA} to name a folder with pf-willow, mouse-open-field and faces-68, "
            f"got {name!r}. They are not part of the repository: docs/benchmarks.md says where they come from."
        )
    return Path(name)


def pair_tasks(dataset: Dataset, configurations: Sequence[Configuration]) -> list[Task]:
    """Every configuration on PF-WILLOW, with the confidence that ``semcorr eval`` gives."""

    def task(configuration: Configuration) -> Task:
        def work(matcher: Matcher | None, step: pairs.Step) -> list[Figures]:
            holds = matcher is not None and matcher.calibration is not None
            used = for_data_set(matcher, holds)
            return pairs.figures(pairs.predict(dataset, configuration, used, step), configuration, calibrated=holds)

        return Task(configuration=configuration, images=len(dataset.pairs), measure=work)

    return [task(configuration) for configuration in configurations]


def transfer_tasks(
    object_set: transfers.ObjectSet, configurations: Sequence[Configuration], draws: int, *, thorough: bool
) -> list[Task]:
    """Every configuration on a set of annotated objects, the main one (and all if ``thorough``) on all its draws."""

    def task(configuration: Configuration) -> Task:
        whole = thorough or configuration.name == MAIN or configuration.is_baseline
        kinds = draws_for(object_set, draws, whole=whole, every=configuration.every)

        def work(matcher: Matcher | None, step: pairs.Step) -> list[Figures]:
            return [
                transfers.figures(
                    [transfers.predict(object_set, draw, configuration, matcher, step) for draw in kind],
                    kind,
                    object_set.name,
                    configuration,
                )
                for kind in kinds
            ]

        images = sum(len(draw.targets) for kind in kinds for draw in kind)
        return Task(configuration=configuration, images=images, measure=work)

    return [task(configuration) for configuration in configurations]


def draws_for(object_set: transfers.ObjectSet, draws: int, *, whole: bool, every: int) -> list[list[transfers.Draw]]:
    """The draws of one configuration: of each number of supports that leaves targets, of each half, and spread.

    Of the ``whole`` all objects are targets with the number of supports of the overview, otherwise a third of them.
    """
    count, name = len(object_set.objects), object_set.name
    usual = OVERVIEW[name]
    if not whole:
        return [transfers.draws_of(count, usual, draws, every=every)] if usual < count else []
    numbers = [(number, 1 if number == usual else 3) for number in SUPPORTS[name] if number < count]
    kinds = [transfers.draws_of(count, number, draws, every=part) for number, part in numbers]
    if name == objects.MOUSE:
        kinds += [[transfers.spread_draw(count, number, every=part)] for number, part in numbers]
        kinds += [transfers.draws_of(count, usual, draws, half=half) for half in HALVES if usual < count // 2]
    return kinds


def time_tasks(
    dataset: Dataset, mouse: transfers.ObjectSet, configurations: Sequence[Configuration], limit: int | None
) -> list[Task]:
    """The timed configurations, on pairs of images that are all different."""
    count = _TIMED_PAIRS if limit is None else limit
    different: dict[Path, Pair] = {}
    for pair in dataset.pairs:
        if not {pair.source.path, pair.target.path} & different.keys():
            different |= {pair.source.path: pair, pair.target.path: pair}
    chosen_pairs = list(dict.fromkeys(different.values()))[:count]

    def task(configuration: Configuration) -> Task:
        def work(matcher: Matcher | None, step: pairs.Step) -> list[Seconds]:
            return [] if matcher is None else [times.measure(chosen_pairs, mouse, configuration, matcher, step)]

        return Task(configuration=configuration, images=2 * len(chosen_pairs), measure=work, remembered=False)

    return [task(configuration) for configuration in configurations if not configuration.is_baseline]


def measure(groups: Sequence[Sequence[Task]]) -> list[Figures | Seconds]:
    """Do all tasks, group after group; tasks of a group share the network's passes."""
    total, done, results = sum(task.images for group in groups for task in group), 0, list[Figures | Seconds]()
    known = RememberedFeatures()
    with console.TerminalProgress() as progress:

        def step(name: str) -> None:
            nonlocal done
            done += 1
            progress("images", min(done, total), total, now=name)

        for group in groups:
            known.clear()
            for task in group:
                matcher = None if task.configuration.is_baseline else task.configuration.spec().load()
                if matcher is not None and task.remembered:
                    known.attach(matcher)
                results += task.measure(matcher, step)
    return results


if __name__ == "__main__":
    sys.exit(main(app))
