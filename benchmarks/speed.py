"""How fast every preset is, against the published procedure as it stands, on this machine, in one interleaved run.

``python -m benchmarks.speed [--model toy|full-size|FOLDER|HUB-ID] [--presets paper] [--points 1 10] [--repeats 3]``

A repeat is the plain procedure and every preset in turn, and a speed-up compares times of the same repeat, so that
whatever slows the machine slows both. Operations are counted in a first turn of all, which also warms everything up.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from benchmarks import speed_figures as verdict
from benchmarks.command import EXACT, FAST, chosen_presets, main, new_app, save_json, use_threads
from benchmarks.inputs import load
from benchmarks.machine import Machine
from benchmarks.machine import measure as measure_machine
from benchmarks.method_cost import PLAIN, STAGES, Contestant, Measured, Stage, make
from semcorr.cli import console
from semcorr.cli.options import parse_settings
from semcorr.errors import SettingsError
from semcorr.models.diffusion.model import Device, DType
from semcorr.progress import Progress

_MOST_SECONDS_COUNTED = 20.0
"""Counting slows small networks down, and a few steps count as well as all."""

_QUIET = 0.05
"""The part of the processor that other programs may take without a word."""

app = new_app("speed", "Time and count every preset against the published procedure as it stands.")


@dataclass(kw_only=True)
class Results:
    """All that was measured: ``counted`` with operations, ``rounds`` with seconds, one dictionary a repeat."""

    contestants: Sequence[Contestant]
    counts: tuple[int, ...]
    exact: str
    fast: str
    machines: dict[str, Machine] = field(default_factory=dict)
    counted: dict[tuple[str, Stage, int], Measured] = field(default_factory=dict)
    rounds: list[dict[tuple[str, Stage, int], Measured]] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        """Plain, then the presets."""
        return [one.name for one in self.contestants]

    @property
    def steps(self) -> dict[str, int]:
        """Optimisation steps of one point, by method."""
        return {one.name: one.settings.rounds * one.settings.steps for one in self.contestants}

    @property
    def rates(self) -> dict[str, float]:
        """The machine's products a second in the precision of each method's network."""
        return {one.name: self.machines[_dtype(one)].rate for one in self.contestants}

    def verdicts(self) -> list[verdict.Verdict]:
        """What is aimed at, as far as it was measured."""
        return verdict.verdicts(
            self.counted,
            self.rounds,
            exact=self.exact,
            fast=self.fast,
            steps=self.steps,
            rates=self.rates,
            gpu=self.contestants[0].model.device.type != "cpu",
        )

    def quantities(self) -> list[verdict.Quantity]:
        """The rows of the tables of seconds and of speed-ups."""
        return [
            *(verdict.per_step(count, self.steps) for count in self.counts),
            *(verdict.per_point(count) for count in self.counts),
            *(verdict.per_target(count) for count in self.counts),
        ]


@app.default
def speed(
    *,
    model: str = "toy",
    presets: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    points: Annotated[tuple[int, ...], Parameter(negative="", consume_multiple=True)] = (1, 10),
    repeats: int = 3,
    longest: float = 60.0,
    dtype: DType = "float32",
    device: Device = "auto",
    threads: int | None = None,
    memory: float | None = None,
    changes: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Time and count every preset against the published procedure as it stands.

    Stopped by Ctrl-C, it prints what its finished repeats gave.

    Args:
        model: "toy", "full-size" (Stable Diffusion 1.4's topology, random weights), a folder, file or hub id.
        presets: Names of presets; all by default.
        points: Numbers of points that are described and located in one call.
        repeats: How often everything is timed.
        longest: Seconds; a call that is going to take longer is stopped after a few steps and multiplied out.
        dtype: Precision of the presets' network; plain is float32 always.
        device: Where; auto takes a GPU if there is one.
        threads: Of the processor; all cores by default. On a machine that does other work, fewer are more.
        memory: Megabytes that a preset's batch may take; a share of what is free by default.
        changes: NAME=VALUE, repeated: changes one setting of all presets and of plain.
        json_file: A file that everything measured is written to as well.
    """
    names = chosen_presets(presets)
    if not points or min(points) < 1 or repeats < 1:
        raise SettingsError("Expected numbers of points and a number of repeats from 1 on.")
    use_threads(threads)
    budget = None if memory is None else int(memory * 1e6)
    with console.TerminalProgress() as progress:
        progress.busy("load")
        network = load(model, dtype, device)
        whole = network if dtype == "float32" else load(model, "float32", device)
    contestants = make(
        network,
        names,
        plain_model=whole,
        exact=EXACT,
        memory_budget=budget,
        changes=parse_settings(changes or ()),
    )
    results = Results(contestants=contestants, counts=tuple(sorted(set(points))), exact=EXACT, fast=FAST)
    return run(results, repeats=repeats, longest=longest, model=model, json_file=json_file)


def run(results: Results, *, repeats: int, longest: float, model: str, json_file: Path | None = None) -> int:
    """Measure everything, then print what there is; the exit status is 130 if it was stopped."""
    stopped = False
    try:
        _measure(results, repeats, longest)
    except KeyboardInterrupt:
        stopped = True
        console.note(f"Stopped after {len(results.rounds)} of {repeats} repeats.")
    if results.rounds:
        for line in report(results, model):
            if isinstance(line, Table):
                console.show(line)
            else:
                console.say(line)
        if json_file is not None:
            save_json(document(results, model), json_file)
    return 130 if stopped else 0


def _measure(results: Results, repeats: int, longest: float) -> None:
    for one in results.contestants:
        if _dtype(one) not in results.machines:
            results.machines[_dtype(one)] = measure_machine(one.model.device, one.model.dtype)
    with console.TerminalProgress() as progress:
        for measured in _turn(results, min(longest, _MOST_SECONDS_COUNTED), "counting", progress, count_flops=True):
            results.counted[measured.method, measured.stage, measured.points] = measured
        for number in range(repeats):
            label = f"repeat {number + 1} of {repeats}"
            repeat = {(m.method, m.stage, m.points): m for m in _turn(results, longest, label, progress)}
            results.rounds.append(repeat)


def _turn(
    results: Results, longest: float, label: str, progress: Progress, *, count_flops: bool = False
) -> Iterator[Measured]:
    for one in results.contestants:
        for stage in STAGES:
            console.note(f"{label}: {one.name}, {stage}")
            yield from one.measure(stage, results.counts, longest=longest, count_flops=count_flops, progress=progress)


# --- what is printed --------------------------------------------------------------------------------------------------


def report(results: Results, model: str) -> Iterator[Table | str]:
    """Tables, how they came about, and the verdicts."""
    rounds = results.rounds
    times = "1 repeat" if len(rounds) == 1 else f"{len(rounds)} interleaved repeats: median (least to most)"
    yield "\n".join(f"{kind}: {one}" for kind, one in results.machines.items())
    seconds = _table(f"Seconds, model {model}, {times}", results.methods)
    ratios = _table("Times faster than plain in the same repeat", results.methods[1:])
    for quantity in results.quantities():
        seconds.add_row(quantity.label, *(_cell(verdict.seconds(quantity, rounds, m)) for m in results.methods))
        faster = [verdict.times_faster(quantity, rounds, m) for m in results.methods[1:]]
        ratios.add_row(quantity.label, *map(_cell, faster))
    yield seconds
    yield ratios
    yield _work(results)
    yield from _how(results)
    yield ""
    yield from map(str, results.verdicts())
    if results.fast not in results.methods:
        yield f"The recommended preset, {results.fast!r}, was not measured."


def _work(results: Results) -> Table:
    """Operations, encodings, the share of the machine's rate, and memory."""
    table = _table("Work (GFLOP = 10^9 operations) and memory", results.methods)
    counted, methods = results.counted, results.methods
    last = results.counts[-1]

    def row(label: str, stage: Stage, count: int, meter: str, scale: dict[str, float] | None = None) -> None:
        cells = []
        for method in methods:
            measured = counted.get((method, stage, count))
            by = 1.0 if scale is None else scale[method]
            cells.append("–" if measured is None else verdict.short(getattr(measured.cost, meter) * by))
        table.add_row(label, *cells)

    for count in results.counts:
        of = f"{count} point{'s' if count > 1 else ''}"
        a_step = {method: 1 / (count * steps) for method, steps in results.steps.items()}
        row(f"GFLOP a step, {of}", "describe", count, "flops", {m: by / 1e9 for m, by in a_step.items()})
        row(f"encodings a step, {of}", "describe", count, "encodes", a_step)
        row(f"GFLOP a described point, {of}", "describe", count, "flops", dict.fromkeys(methods, 1e-9 / count))
        row(f"GFLOP a target, {of}", "locate", count, "flops", dict.fromkeys(methods, 1e-9))
        row(f"encodings a target, {of}", "locate", count, "encodes")
        row(f"U-Net passes a target, {of}", "locate", count, "passes")
    for label, meter, by in (("GFLOP", "flops", 1e-9), ("U-Net passes", "passes", 1.0)):
        extra = [verdict.extra_point(counted, method, meter) for method in methods]
        table.add_row(
            f"{label} a further point on a target", *("–" if e is None else verdict.short(e * by) for e in extra)
        )
    for stage in STAGES:
        shares = [verdict.share_of_rate(counted, results.rounds, m, stage, last, results.rates) for m in methods]
        table.add_row(f"% of the matrix rate, {stage}, {last} points", *map(_cell, shares))
    for stage in STAGES:
        table.add_row(f"most MB beyond the weights, {stage}", *(_peak(results, m, stage) for m in methods))
    return table


def _peak(results: Results, method: str, stage: Stage) -> str:
    """The most of all repeats, with the number of points that it was seen with."""
    seen = [
        (measured.peak_bytes, measured.points)
        for costs in results.rounds
        for measured in costs.values()
        if (measured.method, measured.stage) == (method, stage) and measured.peak_bytes is not None
    ]
    if not seen:
        return "–"
    most, points = max(seen)
    return f"{most / 1e6:,.0f} ({points})"


def _how(results: Results) -> Iterator[str]:
    """Whether the machine was quiet, which figures were timed whole, and which are multiplied out."""
    worked_out = []
    for (method, stage, points), measured in results.rounds[0].items():
        if not measured.cost.whole:
            unit = "steps" if stage == "describe" else "crops"
            worked_out.append(
                f"  {method}, {stage}, {points} point{'s' if points > 1 else ''}: multiplied out from "
                f"{measured.cost.timed:,} of {measured.cost.units:,} {unit} of all embeddings together"
            )
    busiest = max(measured.others for costs in results.rounds for measured in costs.values())
    if busiest > _QUIET:
        yield (
            f"Other programs took up to {100 * busiest:.0f} % of the processor while a call was timed: these times are "
            "unreliable. Measure again when the machine is quiet, or with fewer --threads."
        )
    yield "All times are of whole calls." if not worked_out else "Times are of whole calls but for:"
    yield from worked_out


def document(results: Results, model: str) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "model": model,
        "machines": {kind: asdict(one) for kind, one in results.machines.items()},
        "settings": {one.name: one.settings.to_dict() for one in results.contestants},
        "dtype": {one.name: _dtype(one) for one in results.contestants},
        "counted": [asdict(one) for one in results.counted.values()],
        "repeats": [[asdict(one) for one in costs.values()] for costs in results.rounds],
        "times_faster": {
            method: {
                quantity.key: measured.to_dict()
                for quantity in results.quantities()
                if (measured := verdict.times_faster(quantity, results.rounds, method)) is not None
            }
            for method in results.methods
            if method != PLAIN
        },
        "verdicts": [one.to_dict() for one in results.verdicts()],
    }


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _cell(value: verdict.Spread | None) -> str:
    return "–" if value is None else str(value)


def _dtype(one: Contestant) -> str:
    return str(one.model.dtype).removeprefix("torch.")


if __name__ == "__main__":
    sys.exit(main(app))
