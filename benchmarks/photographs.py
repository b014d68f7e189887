"""How right points are on photographs, without a checkpoint: every part of the method, on three sets, and how long.

``python -m benchmarks.photographs [--part willow mouse faces time confidence] [--only NAME] [--json FILE]``

The environment variable ``SEMCORR_TEST_DATA`` names the folder of the sets: ``pf-willow``, ``mouse-open-field`` (a
project of DeepLabCut) and ``faces-68`` (dlib's files). Choices are made on the development half: of PF-WILLOW the
sub-classes of :data:`benchmarks.photograph_sets.pairs.DEVELOPMENT`, of the mouse the frames with odd numbers.

``python -m benchmarks.photographs --toy validation`` measures the same matching layer on the toy world.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import torch
from cyclopts import Parameter

from benchmarks.command import main, new_app, save_json, use_threads
from benchmarks.meters import OtherWork
from benchmarks.photograph_sets import drawings, objects, pairs
from benchmarks.photograph_sets.configurations import CONFIGURATIONS, MAIN, TOY_CONFIGURATIONS, Configuration, chosen
from benchmarks.photograph_sets.figures import Figures
from benchmarks.photograph_sets.tables import tables_of
from benchmarks.photograph_sets.tasks import SETS, SetJob, measure_times
from benchmarks.photograph_sets.times import Seconds
from semcorr.cli import console
from semcorr.cli.evaluate import DataOptions
from semcorr.cli.options import Repeated
from semcorr.errors import SettingsError
from semcorr.evaluation.report.tables import Report
from semcorr.executors import run_units

Part = Literal["willow", "mouse", "faces", "time", "confidence"]
DATA = "SEMCORR_TEST_DATA"

_SETS: dict[Part, str] = {"willow": pairs.NAME, "mouse": objects.MOUSE, "faces": objects.FACES}
_TIMED_PAIRS = 11
_BUSY = 0.1
"""The part of the processor's time that other programs may take before it is said."""

app = new_app("photographs", "Measure matching on photographs: every part of the method, on three sets.")


@app.default
def photographs(
    *,
    part: Annotated[tuple[Part, ...], Parameter(negative="", consume_multiple=True)] = get_args(Part),
    only: Repeated = (),
    limit: int | None = None,
    draws: int = 5,
    threads: int = 2,
    workers: int = 2,
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
        threads: Of the processor, divided among the workers.
        workers: Processes that measure sets; times are measured in one.
        toy: Measure on drawings of the toy world instead, of this split.
        json_file: A file that all tables are written to as well.
    """
    if min(draws, workers) < 1 or (limit is not None and limit < 2):
        raise SettingsError(
            f"Expected --draws and --workers of at least 1, --limit of at least 2: got {draws}, {workers} and {limit}."
        )
    use_threads(threads)
    report = on_drawings(toy, only, limit) if toy else on_photographs(part, only, limit, draws, workers)
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


def on_photographs(parts: Sequence[Part], only: Sequence[str], limit: int | None, draws: int, workers: int) -> Report:
    """Measure the configurations on all sets that the parts need."""
    configurations = chosen(CONFIGURATIONS, only)
    folder = data_folder()
    names = [name for part, name in _SETS.items() if part in parts]
    measured = configurations
    if "confidence" in parts and not names:
        names, measured = list(_SETS.values()), [one for one in configurations if one.name == MAIN]
    job = SetJob(folder=folder, configurations=tuple(measured), limit=limit, draws=draws, thorough=bool(only))
    results = on_sets(job, names, workers)
    timed = [one for one in configurations if (one.timed or only) and not one.is_baseline] if "time" in parts else []
    seconds, notes = timed_here(folder, timed, limit or _TIMED_PAIRS) if timed else ([], [])
    # Processes finish in any order.
    order = [one.name for one in configurations]
    results.sort(key=lambda one: (order.index(one.configuration), SETS.index(one.images)))
    return Report(tables=tuple(tables_of(results, seconds)), notes=tuple(notes))


def on_sets(job: SetJob, names: Sequence[str], workers: int) -> list[Figures]:
    """Measure sets, each in one process."""
    total, done, results = sum(job.images(name) for name in names), 0, list[Figures]()
    with console.TerminalProgress() as progress:
        for step in run_units(job, names, workers=min(workers, len(names))) if names else ():
            results += step.figures
            done += step.images
            progress("images", done, total, now=f"{step.name}, {step.configuration}")
    return results


def timed_here(folder: Path, configurations: Sequence[Configuration], count: int) -> tuple[list[Seconds], list[str]]:
    """Measure times with nothing else in this process, and what to know about them."""
    with OtherWork() as others, console.TerminalProgress() as progress:
        seconds = list(measure_times(folder, configurations, count, progress))
    notes = [f"Times with {torch.get_num_threads()} threads."]
    if others.share > _BUSY:
        notes.append(f"Other programs took {100 * others.share:.0f} % of the processor's time meanwhile.")
    return seconds, notes


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


if __name__ == "__main__":
    sys.exit(main(app))
