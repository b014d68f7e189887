"""The same targets in one process, in several and on Ray: targets a minute, and where the workers' time goes.

``python -m benchmarks.throughput [--method attention-dift] [--targets 60] [--workers 2] [--repeats 3] [--json FILE]``

A repeat is every way in turn, and ratios are of the same repeat, so that whatever slows the machine slows all. The
clock of a way runs in two parts. *Starting*: from the call to a worker's first unit, and from the last result until
all processes have ended. *Steady*: from a worker's first unit to the last result; what a worker does then that is not
the method's own call counts as time not in the method, also waiting for the last unit of another worker.
"""

import pickle
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter
from rich.table import Table

from benchmarks.command import main, new_app, save_json
from benchmarks.executor_timing import WAYS, HandOver, Ran, Stand, Transfers, Way, hand_over, measure
from benchmarks.machine import Machine
from benchmarks.machine import measure as measure_machine
from benchmarks.meters import OtherWork
from benchmarks.speed_figures import spread
from benchmarks.transfer_accuracy import drawn_world
from semcorr.cli import console
from semcorr.cli.options import Output, parse_settings
from semcorr.errors import SettingsError
from semcorr.keypoints.predictions import TransferRecord
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.diffusion.model import find_device
from semcorr.transfer.journal import Journal
from semcorr.transfer.plan import TransferSettings
from semcorr.transfer.run import TransferJob
from semcorr.transfer.targets import Target, select_targets

AIMED_AT = 0.10
"""The share of the workers' time that may go elsewhere than into the method, at 200 units a minute."""

_QUIET = 0.05
_WRITTEN = 200

app = new_app("throughput", "The same targets in one process, in several and on Ray.")


@dataclass(kw_only=True)
class Results:
    """All that was measured.

    ``stand`` are units of a known length, one run a way. ``others`` is the part of the processor that other programs
    took while one process worked, a repeat, ``written`` seconds and bytes of a record written down, ``kept`` bytes of
    memory of a unit and of a finished one.
    """

    title: str
    workers: int
    unit_seconds: float
    machine: Machine
    repeats: list[dict[Way, Ran]] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    stand: dict[Way, Ran] = field(default_factory=dict)
    handed: list[HandOver] = field(default_factory=list)
    written: tuple[float, float] = (0.0, 0.0)
    kept: tuple[float, float] = (0.0, 0.0)


@app.default
def throughput(
    *,
    method: str = "attention-dift",
    preset: str | None = None,
    targets: int = 60,
    workers: int = 2,
    repeats: int = 3,
    unit: float = 0.3,
    ways: Annotated[tuple[Way, ...], Parameter(name="--way", negative="")] = WAYS,
    changes: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    output: Output = Path("runs/throughput"),
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Carry points over to the same toy drawings in one process, in several and on Ray, and tell where time goes.

    Stopped by Ctrl-C, it prints what its finished repeats gave.

    Args:
        method: What matches, with the bundled model.
        preset: Its settings by name.
        targets: Drawings.
        workers: Processes, and workers of Ray.
        repeats: How often every way runs.
        unit: Seconds of units that stand in for a method: 0.3 is 200 a minute for a worker.
        ways: Only these; "one thread" is what others are compared with.
        changes: NAME=VALUE, repeated: changes one setting of the preset.
        output: Folder for drawings and descriptions.
        json_file: A file for benchmarks.many_workers, with everything measured.
    """
    if repeats < 1 or workers < 2 or targets < workers or unit <= 0:
        raise SettingsError("Expected repeats from 1, workers from 2, as many targets or more, and a --unit above 0.")
    world = drawn_world(output, "face", 2, targets, "test")
    job = TransferJob(
        matcher=MatcherSpec(method=method, model="toy", preset=preset, options=parse_settings(changes or ())),
        annotations=world.annotations,
        images=world.images,
        settings=TransferSettings(support=2),
        supports=output / "supports",
    )
    work = job.transferrer()
    units = select_targets(work.annotations, work.categories, images=world.images).targets
    work.prepare(units)
    record = work.predict(units[0])
    results = Results(
        title=f"{method}, {targets} targets",
        workers=workers,
        unit_seconds=unit,
        machine=measure_machine(find_device("cpu"), torch.float32, seconds=0.5),
    )
    del work
    stopped = False
    try:
        _measure(results, job, units, record, ways, repeats)
    except KeyboardInterrupt:
        stopped = True
        console.note(f"Stopped after {len(results.repeats)} of {repeats} repeats.")
    if results.repeats:
        for part in report(results):
            console.show(part) if isinstance(part, Table) else console.say(part)
        if json_file is not None:
            save_json(document(results), json_file)
    return 130 if stopped else 0


def _measure(
    results: Results,
    job: TransferJob,
    units: Sequence[Target],
    record: TransferRecord,
    ways: Sequence[Way],
    repeats: int,
) -> None:
    for number in range(repeats):
        ran: dict[Way, Ran] = {}
        for way in ways:
            console.note(f"repeat {number + 1} of {repeats}: {way}")
            with OtherWork() as others:
                ran[way] = measure(way, Transfers(job), units, results.workers)
            if way in ("one thread", "all threads"):  # workers would count as others
                results.others.append(others.share)
        results.repeats.append(ran)
    spread_out = [way for way in ways if way in ("processes", "Ray")]
    for way in spread_out:
        console.note(f"units of {results.unit_seconds} s: {way}")
        results.stand[way] = measure(way, Stand(results.unit_seconds, record), units, results.workers)
    for way in spread_out:
        for workers, count in _hand_overs(way, results.workers):
            console.note(f"{count:,} units of no length: {way}, {workers} workers")
            some = [units[number % len(units)] for number in range(count)]
            results.handed.append(hand_over(way, record, some, workers))
    results.written = written(record)
    results.kept = kept(units, record)


def _hand_overs(way: Way, workers: int) -> Iterator[tuple[int, int]]:
    """Workers and units: on Ray what more workers cost, for processes what more units cost."""
    if way == "Ray":
        yield from ((count, 1500) for count in (workers, 3 * workers))
    else:
        yield from ((workers, count) for count in (500, 2000))


def kept(units: Sequence[Target], record: TransferRecord) -> tuple[float, float]:
    """Bytes of memory that a unit takes in a process that has them all, and a finished one in the journal."""
    some = [replace(unit, file=f"{number}-{unit.file}") for number, unit in enumerate(units)]
    pickled = pickle.dumps(some)
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal", {}).open() as journal:
        journal.add(record)
        tracemalloc.start()
        try:
            began = tracemalloc.get_traced_memory()[0]
            copies = pickle.loads(pickled)  # noqa: S301  # as another process gets them
            loaded = tracemalloc.get_traced_memory()[0]
            for unit in some:
                journal.add(replace(record, file=unit.file))
            ended = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    return (loaded - began) / len(copies), (ended - loaded) / len(some)


def written(record: TransferRecord) -> tuple[float, float]:
    """Seconds and bytes that a record takes in the journal of a transfer, the disk waited for now and then."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal", {})
        with journal.open():
            began = time.monotonic()
            for _ in range(_WRITTEN):
                journal.add(record)
            seconds = time.monotonic() - began
        size = sum(path.stat().st_size for path in (Path(folder) / "journal" / "records").glob("*.jsonl"))
    return seconds / _WRITTEN, size / _WRITTEN


# --- what is printed --------------------------------------------------------------------------------------------------


def report(results: Results) -> Iterator[Table | str]:
    """Tables, and what is aimed at."""
    yield str(results.machine)
    count = len(results.repeats)
    times = "1 repeat" if count == 1 else f"{count} interleaved repeats: median (least to most)"
    recorded = document(results)
    title = f"{results.title}, {results.workers} workers of one thread, {times}"
    yield table(recorded["repeats"], title, compared=True)
    if results.stand:
        each = results.unit_seconds
        title = f"Units of {each:g} s without a method: {60 / each:,.0f} a minute and worker"
        yield table([recorded["stand"]], title, compared=False)
    if results.handed:
        yield _handed(results.handed)
        seconds, size = results.written
        yield f"A record of {size:,.0f} bytes is written down in {1e3 * seconds:.3f} ms, the disk waited for included."
    if max(results.others, default=0.0) > _QUIET:
        yield (
            f"Other programs took up to {100 * max(results.others):.0f} % of the processor meanwhile: these times "
            "are unreliable. Measure again when the machine is quiet."
        )
    for way, ran in results.stand.items():
        share = 1 - ran.in_method
        yield (
            f"{way}: {100 * share:.1f} % of the workers' time not in units, at {ran.rate / results.workers:,.0f} units "
            f"a minute and worker; {100 * AIMED_AT:.0f} % is aimed at: {'reached' if share <= AIMED_AT else 'missed'}."
        )


def table(repeats: Sequence[Mapping[str, Any]], title: str | None = None, *, compared: bool) -> Table:
    """A column for each way, over repeats as :func:`document` has them; ``compared`` with one thread."""
    ways = list(repeats[0])
    shown = Table(title=title, title_justify="left")
    for heading in ("", *ways):
        shown.add_column(heading, justify="right" if heading else "left")

    def row(label: str, value: Callable[[Mapping[str, Any], Mapping[str, Any]], float]) -> None:
        """``value`` is of a way and of one thread."""
        cells = (spread([value(repeat[way], repeat.get("one thread", {})) for repeat in repeats]) for way in ways)
        shown.add_row(label, *map(str, cells))

    row("targets a minute, steady", lambda ran, _: ran["rate"])
    if compared and "one thread" in ways:
        row("times one thread's", lambda ran, one: ran["rate"] / one["rate"])
    row("% of the workers' time in the method", lambda ran, _: 100 * ran["in_method"])
    if compared:
        row("% in the rest of a unit", lambda ran, _: 100 * (ran["in_units"] - ran["in_method"]))
    row("% between units and waiting for the last", lambda ran, _: 100 * (1 - ran["in_units"]))
    row("% not in the method", lambda ran, _: 100 * (1 - ran["in_method"]))
    row("seconds to start", lambda ran, _: ran["starting"])
    row("seconds to end", lambda ran, _: ran["ending"])
    row("seconds in all", lambda ran, _: _whole(ran))
    if compared and "one thread" in ways:
        row("times one thread's, in all", lambda ran, one: _whole(one) / _whole(ran))
    return shown


def _whole(ran: Mapping[str, Any]) -> float:
    return float(ran["starting"] + ran["steady"] + ran["ending"])


def _handed(handed: Sequence[HandOver]) -> Table:
    table = Table(title="Units that take no time: milliseconds a unit", title_justify="left")
    headings = ("", "workers", "units", "by the clock", "handing over", "the caller", "Ray's own processes")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for one in handed:
        cells = (f"{1e3 * value:.3f}" for value in (one.wall, one.driver, one.caller, one.head))
        table.add_row(one.way, str(one.workers), f"{one.units:,}", *cells)
    return table


def document(results: Results) -> dict[str, Any]:
    """Everything but what was found, for JSON; ``unit_seconds`` are of the last repeat, by way."""

    def figures_of(ran: Ran) -> dict[str, Any]:
        names = ("workers", "starting", "steady", "ending", "rate", "in_method", "in_units", "gaps")
        spans = sorted(ran.spans, key=lambda span: span.began)
        return {
            **{name: getattr(ran, name) for name in names},
            "unit_seconds": [span.ended - span.began for span in spans],
        }

    return {
        "title": results.title,
        "workers": results.workers,
        # Without its name: recorded results are published.
        "machine": {key: value for key, value in asdict(results.machine).items() if key != "name"},
        "repeats": [{way: figures_of(ran) for way, ran in repeat.items()} for repeat in results.repeats],
        "others": results.others,
        "stand": {way: figures_of(ran) for way, ran in results.stand.items()},
        "handed": [asdict(one) for one in results.handed],
        "record": {"seconds": results.written[0], "bytes": results.written[1]},
        "kept": {"unit": results.kept[0], "finished": results.kept[1]},
    }


if __name__ == "__main__":
    sys.exit(main(app))
