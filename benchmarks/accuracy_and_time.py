"""What accuracy every saving costs: all presets over the toy benchmark, one table, one plot of accuracy against time.

``python -m benchmarks.accuracy_and_time [--limit N] [--presets paper ...] [-o runs/frontier] [--plot FILE]``

Runs are folders, as those of ``semcorr eval``: the same command goes on with what a stop left. Other methods than the
paper's are measured too where there are any; those that want a vision transformer get a small one with random weights,
which shows what they cost here and not what they find.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from benchmarks.command import EXACT, cells_of, chosen_presets, main, new_app, save_figure, save_json, use_threads
from benchmarks.random_networks import write_dino
from benchmarks.speed_figures import short
from semcorr.cli import console
from semcorr.cli.evaluate import DataOptions, running
from semcorr.cli.options import Device, DType, Output
from semcorr.datasets.base import Dataset
from semcorr.errors import RunError
from semcorr.evaluation.report.build import build_report
from semcorr.evaluation.report.groups import ReportOptions
from semcorr.evaluation.report.tables import Value
from semcorr.evaluation.runs.records import Run
from semcorr.evaluation.runs.runner import run
from semcorr.matchers.registry import methods as all_methods
from semcorr.matchers.spec import MatcherSpec
from semcorr.models.names import BUNDLED_PHOTO_MODEL, COLLECTION, PHOTO_MODEL
from semcorr.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHA = 0.1
WITHIN = 1.5
"""Points of PCK that the recommended preset may lose."""

_CLOSE = 3
"""Points of PCK between two names that would run into each other."""

app = new_app("accuracy_and_time", "Run every preset over the toy benchmark, and show accuracy against time.")


@dataclass(frozen=True, kw_only=True)
class MethodScore:
    """Accuracy and time of one method: percentages of right points, and seconds; None where records lack them."""

    name: str
    pck: float
    interval: tuple[float, float]
    lead: float | None
    lead_interval: tuple[float, float] | None
    point_seconds: float | None
    target_seconds: float | None
    pairs: int
    failed: int


@app.default
def frontier(
    *,
    presets: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    limit: int | None = None,
    model: str = "toy",
    output: Output = Path("runs/frontier"),  # a path cannot change
    plot: Path = Path("docs/images/frontier.png"),
    workers: int = 1,
    dtype: DType = "float32",
    device: Device = "auto",
    threads: int | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Run every preset over the toy benchmark, and show accuracy against time.

    Args:
        presets: Names of presets; all, and all other methods, by default.
        limit: Only the first so many of the 312 pairs.
        model: What is matched with.
        output: Folder of the runs.
        plot: The figure.
        workers: Processes; times are each process's own, so use as many for all presets.
        dtype: Precision of the network.
        device: Where; auto takes a GPU if there is one.
        threads: Of the processor; all cores by default.
        json_file: A file that the table is written to as well.
    """
    names = chosen_presets(presets)
    use_threads(threads)
    dataset = DataOptions(limit=limit).read("toy")
    options = {"dtype": dtype, "device": device}
    cells = {**options, **cells_of("prompt")}
    methods = {name: MatcherSpec(method="prompt", model=model, preset=name, options=cells) for name in names}
    if not presets:
        methods |= others(model, options, output)
    with running(output) as progress:
        runs = list(run_all(dataset, methods, output, workers=workers, progress=progress))
    scores = scores_of(runs)
    for part in report(scores, f"toy benchmark, {len(dataset.pairs)} pairs, model {model}"):
        if isinstance(part, Table):
            console.show(part)
        else:
            console.say(part)
    save_figure(draw(scores), plot)
    console.note(f"Figure: {plot}")
    if json_file is not None:
        save_json({"scores": [asdict(one) for one in scores]}, json_file)
    return 0


def others(model: str, options: Mapping[str, Any], folder: Path) -> dict[str, MatcherSpec]:
    """Every method on ``model`` but the paper's, and on vision transformers, whose names say that they are random."""
    methods = {}
    for name, known in all_methods().items():
        # A network for photographs, and one that is trained on the images before.
        if name == "prompt" or known.default_model in (BUNDLED_PHOTO_MODEL, COLLECTION):
            continue
        vision = str(write_dino(folder / "random-dino")) if "dino" in name else None
        if vision is None:
            methods[name] = MatcherSpec(method=name, model=model, options={**options, **cells_of(name)})
        elif known.default_model != PHOTO_MODEL:
            methods[f"{name}, random"] = MatcherSpec(method=name, model=vision, options=options)
        else:
            methods[f"{name}, random"] = MatcherSpec(method=name, model=model, options={**options, "vision": vision})
    return methods


def run_all(
    dataset: Dataset,
    methods: Mapping[str, MatcherSpec],
    folder: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Iterator[Run]:
    """Run each method in a folder of its own, or read what is there."""
    for name, method in methods.items():
        console.note(f"{name} ...")
        yield replace(
            run(dataset, method, folder / name.replace(", ", "-"), workers=workers, progress=progress), name=name
        )


def scores_of(runs: Sequence[Run], baseline: str | None = EXACT) -> list[MethodScore]:
    """Score runs of the same pairs: per point, and what each leads over a baseline by, the same pairs drawn for both.

    There are no leads without a run of the baseline's name.

    Raises:
        RunError: a report without the figures, that is of no pairs.
    """
    baseline = baseline if any(one.name == baseline for one in runs) else None
    options = ReportOptions(alphas=(ALPHA,), baseline=baseline, times=True, quote=False)
    values: dict[str, dict[str, Value]] = {one.name: {} for one in runs}
    for table in build_report(runs, options).tables:
        for row in table.rows:
            values[row.name] |= {column.key: value for column, value in zip(table.columns, row.values, strict=True)}
    return [_score(name, row) for name, row in values.items()]


def _score(name: str, row: Mapping[str, Any]) -> MethodScore:
    key = f"@{ALPHA:g} per point"
    if f"pck{key}" not in row:
        raise RunError(f"The run {name!r} has no figures: it has no pairs.")
    return MethodScore(
        name=name,
        pck=row[f"pck{key}"],
        interval=row[f"pck{key} 95%"],
        lead=row.get(f"lead{key}"),
        lead_interval=row.get(f"lead{key} 95%"),
        point_seconds=row.get("s to describe a point"),
        target_seconds=row.get("s to locate a pair"),
        pairs=row["pairs"],
        failed=row["failed pairs"],
    )


def report(scores: Sequence[MethodScore], title: str) -> Iterator[Table | str]:
    """The table, and which presets are as good as ``paper``."""
    yield table(scores, f"Accuracy and time, {title}")
    good = [one for one in scores if one.lead is not None and one.lead >= -WITHIN and one.name != EXACT]
    if any(one.lead is not None for one in scores):
        close = ", ".join(f"{one.name} ({one.lead:+.1f})" for one in good) or "none"
        yield f"Within {WITHIN:g} points of {EXACT}, or better: {close}"


def table(scores: Sequence[MethodScore], title: str | None = None) -> Table:
    """A row for each way of matching."""
    shown = Table(title=title, title_justify="left")
    for heading in ("", f"PCK@{ALPHA:g} per point", "95 %", f"over {EXACT}", "95 %"):
        shown.add_column(heading, justify="left" if not heading else "right")
    for heading in ("s a described point", "s a located target", "failed pairs"):
        shown.add_column(heading, justify="right")
    for one in scores:
        shown.add_row(
            one.name,
            f"{one.pck:.1f}",
            _interval(one.interval),
            "–" if one.lead is None else f"{one.lead:+.1f}",
            _interval(one.lead_interval),
            _seconds(one.point_seconds),
            _seconds(one.target_seconds),
            str(one.failed),
        )
    return shown


def draw(scores: Sequence[MethodScore]) -> "Figure":
    """PCK with its interval against seconds a described point and a located target, time on a logarithmic axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, which, label in (
        (left, "point_seconds", "seconds to describe a point"),
        (right, "target_seconds", "seconds to locate a target's points"),
    ):
        timed = [(getattr(one, which), one) for one in scores if getattr(one, which)]
        for time, one in timed:
            below, above = one.pck - one.interval[0], one.interval[1] - one.pck
            axes.errorbar([time], [one.pck], yerr=[[below], [above]], fmt="o", color="#0072B2", capsize=3)
            under = any(0 < other.pck - one.pck < _CLOSE and 0.5 < there / time < 2 for there, other in timed)
            offset = (6, -12 if under else 4)
            axes.annotate(one.name, (time, one.pck), xytext=offset, textcoords="offset points", fontsize=9)
        axes.set(xscale="log", xlabel=label)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())  # its labels run into each other
        axes.margins(x=0.25)
        axes.grid(visible=True, color="#dddddd")
    left.set_ylabel(f"PCK@{ALPHA:g} per point, %, with 95 % intervals")
    return figure


def _interval(ends: tuple[float, float] | None) -> str:
    return "–" if ends is None else f"{ends[0]:.1f} to {ends[1]:.1f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else short(value)


if __name__ == "__main__":
    sys.exit(main(app))
