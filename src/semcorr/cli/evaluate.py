"""``semcorr eval``: measure a method on pairs whose truth is known."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App
from rich.table import Table

from semcorr.cli import console
from semcorr.errors import SettingsError

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
    format: Literal["table", "markdown", "json"] = "table",  # noqa: A002  # the option's name
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
        format: How the tables are printed.
    """
    from semcorr.evaluation.toy_run import Benchmark, ablations, check_benchmark, run_baselines, run_variant
    from semcorr.evaluation.toy_table import build_table

    benchmark = Benchmark(split=split, sources=sources, targets=targets)
    check_benchmark(benchmark)
    known = ablations(model, preset)
    variants = [variant for variant in known if only is None or only in variant.name]
    if not variants:
        names = ", ".join(variant.name for variant in known)
        raise SettingsError(f"No variant's name contains {only!r}. There are: {names}.")
    with console.TerminalProgress() as progress:
        outcomes = [run_variant(benchmark, v, output, workers=workers, progress=progress) for v in variants]
    rows = build_table(benchmark.pairs(), [*outcomes, *run_baselines(benchmark)])
    if format == "json":
        console.show_json({"benchmark": asdict(benchmark), "model": model, "rows": [asdict(row) for row in rows]})
    for sheet in sheets(rows) if format != "json" else ():
        if format == "table":
            console.show(sheet.rich())
        else:
            console.say(sheet.markdown())
    return 0


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One table as text: a title, the headings, and rows of cells; the first column is to the left."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def rich(self) -> Table:
        """For a terminal."""
        table = Table(title=self.title, title_justify="left")
        for index, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if index else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For a document."""
        rule = ("---", *("---:",) * (len(self.headings) - 1))
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.headings, rule, *self.rows)]
        return "\n".join([self.title, "", *lines, ""])


_OVERALL = (
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
)


def sheets(rows: "list[TableRow]") -> list[Sheet]:
    """The overall figures, and PCK@0.1 in groups."""
    title = f"{rows[0].pairs} pairs, {rows[0].points} points; PCK in %, per point unless the heading says otherwise"
    overall = [
        (
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
        for row in rows
    ]
    grouped = [(row.name, *(_percent(value) for value in row.groups.values())) for row in rows]
    groups = "PCK@.1 by category, by the way the two objects face, and by kind of point"
    return [
        Sheet(title=title, headings=_OVERALL, rows=overall),
        Sheet(title=groups, headings=("", *rows[0].groups), rows=grouped),
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
