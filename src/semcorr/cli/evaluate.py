"""``semcorr eval``: measure a method on pairs whose truth is known."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App
from rich.table import Table

from semcorr.cli import console
from semcorr.cli.options import Json

if TYPE_CHECKING:
    from semcorr.evaluation.toy_table import TableRow

evaluate_app = App(name="eval", help="Measure a method on pairs whose truth is known.")


@evaluate_app.command
def toy(
    *,
    model: str = "toy",
    preset: str = "paper",
    split: Literal["test", "val"] = "test",
    sources: int = 10,
    targets: int = 8,
    only: str | None = None,
    output: Path = Path("runs/toy"),
    workers: int = 1,
    json: Json = False,
) -> int:
    """The toy benchmark: the method, its ablations and the baselines, with 95 % bootstrap intervals.

    Pairs are held out: the split's pictures are never trained on, and settings were chosen on "val" alone.
    Stopping it loses at most the source pictures in flight; the same command goes on.

    Args:
        model: A bundled model, or any other checkpoint.
        preset: The preset to measure.
        split: Pictures of which split.
        sources: Source pictures of each of the four categories.
        targets: Targets of each source picture.
        only: Run only the variants whose name contains this.
        output: Folder of the results.
        workers: Processes, each with one thread and a model of its own.
        json: Print the table as JSON.
    """
    from semcorr.evaluation.toy_run import Benchmark, ablations, check_benchmark, run_baselines, run_variant
    from semcorr.evaluation.toy_table import build_table

    benchmark = Benchmark(split=split, sources=sources, targets=targets)
    check_benchmark(benchmark)
    variants = [v for v in ablations(model, preset) if only is None or only in v.name]
    with console.TerminalProgress() as progress:
        outcomes = [run_variant(benchmark, v, output, workers=workers, progress=progress) for v in variants]
    rows = build_table(benchmark.pairs(), [*outcomes, *run_baselines(benchmark)])
    if json:
        console.show_json({"benchmark": asdict(benchmark), "model": model, "rows": [asdict(row) for row in rows]})
    else:
        for table in tables(rows):
            console.show(table)
    return 0


def tables(rows: "list[TableRow]") -> list[Table]:
    """The overall figures, and PCK@0.1 in groups."""
    overall = Table(title=f"{rows[0].pairs} pairs, {rows[0].points} points; PCK in %", title_justify="left")
    for heading in (
        "",
        "PCK@.1",
        "95 %",
        "per image",
        "PCK@.05",
        "95 %",
        "over same place in box",
        "95 %",
        "s/point",
        "s/target",
    ):
        overall.add_column(heading, justify="left" if not heading else "right")
    for row in rows:
        overall.add_row(
            row.name,
            _percent(row.pck10),
            _interval(row.interval10),
            _percent(row.pck10_per_image),
            _percent(row.pck05),
            _interval(row.interval05),
            f"{100 * row.lead:+.1f}",
            _interval(row.lead_interval),
            _seconds(row.describe_seconds),
            _seconds(row.locate_seconds),
        )
    grouped = Table(title="PCK@.1 by category, by the way the two objects face, by kind of point", title_justify="left")
    grouped.add_column("")
    for group in rows[0].groups:
        grouped.add_column(group, justify="right")
    for row in rows:
        grouped.add_row(row.name, *(_percent(value) for value in row.groups.values()))
    return [overall, grouped]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
