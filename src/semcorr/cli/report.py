"""``semcorr report``: compare runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.options import Json, Repeated
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    from semcorr.evaluation.report.groups import ReportOptions
    from semcorr.evaluation.report.tables import Report
    from semcorr.evaluation.runs.records import Run

Format = Literal["table", "markdown", "latex", "csv", "json"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which tables are printed, and in which format.

    Attributes:
        by: overall, category, difficulty, point, layer, rounds, crops, the name of a flag, geo (key-points alone that
            look like another of the target, of SPair-71k and AP-10K), or pck-dagger (a point nearer to another
            key-point is wrong); repeat for more tables.
        alpha: The fraction of the threshold's size within which a point is right; repeat for more. Published figures
            are at 0.01, 0.05 and 0.1, of PF-PASCAL also at 0.15.
        baselines: Show guesses that need no model, computed from the first run's pairs.
        quote: Show published figures.
        details: Print tables of errors, confidence and leads as well; csv and json always have them.
        format: The format of the tables. latex compiles as it is, and has the best in bold.
        json: Short for --format json.
    """

    by: Repeated = ("overall",)
    alpha: Annotated[tuple[float, ...], Parameter(negative="")] = (0.05, 0.1)
    baselines: bool = True
    quote: bool = True
    details: bool = True
    format: Format = "table"
    json: Json = False

    def compared(self, runs: Sequence["Run"]) -> list["Run"]:
        """Return the runs, with the baselines if they are shown."""
        from semcorr.evaluation.report.groups import with_baselines

        return with_baselines(runs) if self.baselines else list(runs)

    def options(self, **further: Any) -> "ReportOptions":
        """Return what a report shows."""
        from semcorr.evaluation.report.groups import ReportOptions

        details = self.details or self.json or self.format in ("csv", "json")
        return replace(ReportOptions(by=self.by, alphas=self.alpha, quote=self.quote, details=details), **further)

    def show(self, report: "Report") -> None:
        """Print a report on standard output."""
        match "json" if self.json else self.format:
            case "table":
                for table in report.tables:
                    console.show(table.rich())
                    console.say()
                for note in report.footnotes():
                    console.say(note)
            case "markdown":
                console.say(report.markdown())
            case "latex":
                console.say(report.latex())
            case "csv":
                console.say(report.csv())
                for note in report.footnotes():
                    console.note(note)
            case "json":
                console.say(report.json())


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """Which figures are drawn.

    Attributes:
        plots: Draw PCK curves, bars by category, and the best, worst and random pairs of each run into this folder.
        heatmaps: Draw the pairs' heat maps as well; they are computed again, which takes as long as it did.
    """

    plots: Path | None = None
    heatmaps: Annotated[bool, Parameter(negative="")] = False

    def check(self) -> None:
        """Check the options before a run begins.

        Raises:
            SettingsError: Heat maps without a folder.
        """
        if self.heatmaps and self.plots is None:
            raise SettingsError("Expected --plots and a folder to draw the heat maps into.")

    def draw(self, runs: Sequence["Run"], options: "ReportOptions") -> None:
        """Draw the figures, and name their files on standard error."""
        if self.plots is None:
            return
        # Late: matplotlib, and what computes heat maps, take seconds to import.
        from semcorr.evaluation.report.plots import write_plots

        if self.heatmaps:
            from semcorr.evaluation.runs.recompute import HeatmapsOf
        for path in write_plots(runs, self.plots, options, heatmaps=HeatmapsOf if self.heatmaps else None):
            console.note(f"Figure: {path}")


_TABLES = TableOptions()
_PLOTS = PlotOptions()


def report(
    *runs: Path,
    tables: TableOptions = _TABLES,
    threshold: str | None = None,
    frame: Literal["original", "squash"] | None = None,
    baseline: str | None = None,
    times: Annotated[bool, Parameter(negative="")] = False,
    plots: PlotOptions = _PLOTS,
    kap: Annotated[bool, Parameter(negative="")] = False,
    card: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Compare the results of runs, with published figures where they are comparable.

    All runs are measured under the same rule. A failed pair counts as wrong. Quoted rows are marked as such, and a
    warning says which figures are not comparable.

    Args:
        runs: Folders that `semcorr eval` or `ablate` wrote, or folders with such folders in them.
        tables: Which tables are printed, and in which format.
        threshold: target-box, source-box, image, keypoints, reference-spair, -willow or -cub. [default: the data
            set's own]
        frame: Measure distances in the images' own pixels, or in images squashed to 512 x 512.
        baseline: Also print each run's lead over this run, named like its folder, or over a baseline.
        times: Show seconds.
        plots: Which figures are drawn.
        kap: Also print the key-point average precision of the runs. Heat maps are computed again for it, which takes as
            long as the runs did.
        card: Print the card of one run instead, for others to cite and check: model, settings, data, protocol,
            versions, hardware, cost and figures, as Markdown or, with --json, as JSON.
    """
    from semcorr.evaluation.report.build import build_report
    from semcorr.evaluation.report.tables import joined
    from semcorr.evaluation.runs.folder import read_run, run_folders

    plots.check()
    if card:
        from semcorr.evaluation.report.card import make_card

        folders = [folder for path in runs for folder in run_folders(path)]
        if len(folders) != 1 or tables.format not in ("table", "markdown", "json"):
            raise SettingsError(
                f"Expected one run and Markdown or JSON for a card, got {len(folders)} runs and --format "
                f"{tables.format}. Name the folder of one run."
            )
        made = make_card(read_run(folders[0]), threshold=threshold, frame=frame)
        console.say(made.json() if tables.json or tables.format == "json" else made.markdown())
        return 0
    options = tables.options(threshold=threshold, frame=frame, baseline=baseline, times=times)
    compared = tables.compared([read_run(folder) for path in runs for folder in run_folders(path)])
    reports = [build_report(compared, options)]
    if kap:
        reports.append(_kap(compared, options))
    tables.show(joined(reports))
    plots.draw(compared, options)
    return 0


def _kap(runs: Sequence["Run"], options: "ReportOptions") -> "Report":
    from semcorr.evaluation.report.kap import kap_report
    from semcorr.evaluation.runs.recompute import HeatmapsOf

    with console.TerminalProgress() as progress:
        return kap_report(runs, options, lambda run: HeatmapsOf(run).with_unmatched, progress=progress)
