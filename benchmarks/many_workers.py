"""Recorded units played to many workers: where the executor stops scaling, and what writer and head node carry.

``python -m benchmarks.throughput --json FILE``, then ``python -m benchmarks.many_workers FILE [--plot FIGURE]``

What is played is the executor as it is: one process hands units over, one by one, to workers that have one each; its
results go through a pipe to the caller, who alone writes them down. Unit times are drawn from those recorded; what
handing over, the way to a worker and back, and writing take, is as measured.
"""

import heapq
import json
import random
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from benchmarks.command import main, new_app, save_figure, save_json
from benchmarks.speed_figures import short
from semcorr.cli import console
from semcorr.errors import SemcorrError, SettingsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

SCALES = 0.9
"""Of what as many workers could do: below this efficiency more of them are no longer worth their while."""

NOT_MODELLED = (
    "the network between machines; starting workers and loading models; workers that are lost; disks that several "
    "machines share; images that are read more slowly when many are read; memory that runs out"
)

app = new_app("many_workers", "Play recorded units to many workers.")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What was measured of a real run, in seconds: every unit, and what is done for each of them.

    ``hand_over`` is of the process that hands units over, with few workers; ``hand_over_worker`` is what every further
    worker adds to it. ``transit`` is the way to a worker and back, ``write`` what the caller takes to receive a result
    and write it down, ``head`` of a processor in Ray's own processes on the head node. ``record_bytes`` is a record's;
    ``unit_memory`` of a unit in each of the two processes that hold them all, ``finished_memory`` of one that is
    written down, in the caller.
    """

    title: str
    unit_seconds: tuple[float, ...]
    hand_over: float
    hand_over_worker: float
    transit: float
    write: float
    head: float
    record_bytes: float
    unit_memory: float
    finished_memory: float
    real_workers: int
    real_rate: float


@dataclass(frozen=True, kw_only=True)
class Played:
    """So many units on so many workers: seconds by the clock, and of them in which hander-over and writer were busy."""

    workers: int
    units: int
    seconds: float
    handing: float
    writing: float
    in_units: float

    @property
    def speed_up(self) -> float:
        """Times faster than a worker that does nothing but units."""
        return self.in_units / self.seconds

    @property
    def efficiency(self) -> float:
        """The share of the workers' time that goes into units."""
        return self.speed_up / self.workers

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds


@app.default
def simulate(
    file: Path,
    /,
    *,
    units: int = 1_000_000,
    workers: Annotated[tuple[int, ...], Parameter(negative="", consume_multiple=True)] = WORKERS,
    mean: float | None = None,
    seed: int = 0,
    plot: Path | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Play recorded units to many workers.

    Args:
        file: What benchmarks.throughput wrote by --json, Ray included.
        units: How many.
        workers: How many have one each at a time.
        mean: Seconds that recorded units are stretched to on average; as recorded by default.
        seed: Of the draws among recorded units.
        plot: A figure of it.
        json_file: A file that all figures are written to as well.
    """
    if units < 1 or not workers or min(workers) < 1 or not (mean is None or mean > 0):
        raise SettingsError("Expected --units and --workers from 1 on, and a --mean above 0.")
    recording = read(file)
    scale = 1.0 if mean is None else mean / statistics.fmean(recording.unit_seconds)
    played = []
    for count in sorted(set(workers)):
        console.note(f"{count:,} workers")
        played.append(play(recording, count, units, scale=scale, seed=seed))
    again = play(recording, recording.real_workers, len(recording.unit_seconds), seed=seed)
    for part in report(recording, played, again, scale):
        console.show(part) if isinstance(part, Table) else console.say(part)
    if plot is not None:
        save_figure(draw(recording, played, scale), plot)
        console.note(f"Figure: {plot}")
    if json_file is not None:
        save_json({"recording": asdict(recording), "played": [asdict(one) for one in played]}, json_file)
    return 0


def play(recording: Recording, workers: int, units: int, *, scale: float = 1.0, seed: int = 0) -> Played:
    """Do units on workers that get the next one when their result has come in; events in the order of their time.

    Results come to the one who hands over in the order in which they were finished, are passed on to the writer, and
    free the worker for the next unit. Both are servers that serve one request after the other.
    """
    chance = random.Random(seed)  # noqa: S311  # lengths, not secrets
    hand = recording.hand_over + recording.hand_over_worker * max(0, workers - recording.real_workers)
    way = recording.transit / 2
    drawn = iter(chance.choices(recording.unit_seconds, k=units))
    coming: list[float] = []
    in_units = free = written = 0.0
    for length in (scale * length for _, length in zip(range(workers), drawn, strict=False)):
        free += hand
        in_units += length
        heapq.heappush(coming, free + way + length + way)
    for length in (scale * length for length in drawn):
        free = max(free, coming[0]) + hand
        written = max(written, free) + recording.write
        in_units += length
        heapq.heapreplace(coming, free + way + length + way)
    while coming:
        free = max(free, heapq.heappop(coming))
        written = max(written, free) + recording.write
    return Played(
        workers=workers,
        units=units,
        seconds=written,
        handing=units * hand,
        writing=units * recording.write,
        in_units=in_units,
    )


def read(file: Path) -> Recording:
    """What is played, from all repeats.

    Raises:
        SemcorrError: the file cannot be read, is none of ``benchmarks.throughput``, or one without Ray.
    """
    try:
        recorded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        runs = [repeat["Ray"] for repeat in recorded["repeats"]]
        handed = sorted((one for one in recorded["handed"] if one["way"] == "Ray"), key=lambda one: one["workers"])
        few, many = handed[0], handed[-1]
        further = (many["driver"] - few["driver"]) / max(1, many["workers"] - few["workers"])
        return Recording(
            title=recorded["title"],
            unit_seconds=tuple(float(seconds) for run in runs for seconds in run["unit_seconds"]),
            hand_over=few["driver"],
            hand_over_worker=max(0.0, further),
            transit=max(0.0, statistics.median(recorded["stand"]["Ray"]["gaps"]) - few["driver"]),
            write=few["caller"] + recorded["record"]["seconds"],
            head=max(one["head"] for one in handed),
            record_bytes=recorded["record"]["bytes"],
            unit_memory=recorded["kept"]["unit"],
            finished_memory=recorded["kept"]["finished"],
            real_workers=few["workers"],
            real_rate=statistics.median(run["rate"] for run in runs) / 60,
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise SemcorrError(
            f"{file}: expected what python -m benchmarks.throughput --json writes, Ray included "
            f"({type(error).__name__}: {error})."
        ) from error


# --- what is printed --------------------------------------------------------------------------------------------------


def report(recording: Recording, played: Sequence[Played], again: Played, scale: float) -> Iterator[Table | str]:
    """A table, where it stops, and what is carried."""
    mean = scale * statistics.fmean(recording.unit_seconds)
    yield (
        f"Played: {recording.title}, units of {short(mean)} s on average. A unit takes "
        f"{1e3 * recording.hand_over:.2f} ms to hand over with {recording.real_workers} workers and "
        f"{1e3 * recording.hand_over_worker:.4f} ms more for every further one, {1e3 * recording.transit:.2f} ms on "
        f"the way, {1e3 * recording.write:.2f} ms to receive and write down."
    )
    yield table(recording, played)
    last = [one.workers for one in played if one.efficiency >= SCALES]
    yield (
        f"At least {100 * SCALES:.0f} % of the workers' time goes into units up to {max(last):,} workers."
        if last
        else f"Less than {100 * SCALES:.0f} % of the workers' time goes into units throughout."
    )
    yield f"Most units a second: {short(max(one.rate for one in played))}."
    yield (
        f"The same as was measured, on {again.workers} workers: {short(60 * again.rate)} units a minute, measured "
        f"{short(60 * recording.real_rate)}."
    )
    count = played[0].units
    yield (
        f"In memory, {count:,} units take {count * recording.unit_memory / 1e6:,.0f} MB where they are handed over, "
        f"and {count * (recording.unit_memory + recording.finished_memory) / 1e6:,.0f} MB in the caller, with what is "
        "written down. Under way are as many references and results as workers, a result in the memory of the process "
        "that hands over and none in the object store: "
        f"{max(one.workers for one in played) * recording.record_bytes / 1e6:,.1f} MB at most."
    )
    yield f"Not modelled: {NOT_MODELLED}."


def table(recording: Recording, played: Sequence[Played]) -> Table:
    """By number of workers."""
    units = played[0].units
    shown = Table(
        title=f"{units:,} units, a file of {short(units * recording.record_bytes / 1e6)} MB", title_justify="left"
    )
    headings = ("workers", "hours", "speed-up", "efficiency, %", "units/s", "handing over, % busy", "writer, % busy")
    for heading in (*headings, "writer, kB/s", "head node, % of a core"):
        shown.add_column(heading, justify="right")
    for one in played:
        shown.add_row(
            f"{one.workers:,}",
            short(one.seconds / 3600),
            short(one.speed_up),
            f"{100 * one.efficiency:.1f}",
            short(one.rate),
            f"{100 * one.handing / one.seconds:.1f}",
            f"{100 * one.writing / one.seconds:.1f}",
            short(one.rate * recording.record_bytes / 1e3),
            f"{100 * one.rate * recording.head:.1f}",
        )
    return shown


def draw(recording: Recording, played: Sequence[Played], scale: float) -> "Figure":
    """Speed-up against workers beside the ideal, and how busy the two are that all units go through."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    workers = [one.workers for one in played]
    left.plot(workers, workers, color="#6e6e6e", linestyle="--", label="as many times as workers")
    left.plot(workers, [one.speed_up for one in played], color="#0072B2", marker="o", label="played")
    left.set(xlabel="workers", ylabel="speed-up")
    left.set_yscale("log", base=2)
    busy: Mapping[str, tuple[str, list[float]]] = {
        "handing over": ("#D55E00", [one.handing / one.seconds for one in played]),
        "writer": ("#009E73", [one.writing / one.seconds for one in played]),
    }
    for label, (colour, shares) in busy.items():
        right.plot(workers, [100 * share for share in shares], color=colour, marker="o", label=label)
    right.set(xlabel="workers", ylabel="busy, %", ylim=(0, 105))
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.grid(visible=True, color="#dddddd")
        axes.legend(frameon=False)
    mean = scale * statistics.fmean(recording.unit_seconds)
    figure.suptitle(f"{played[0].units:,} units of {short(mean)} s, recorded and played", fontsize=11)
    return figure


if __name__ == "__main__":
    sys.exit(main(app))
