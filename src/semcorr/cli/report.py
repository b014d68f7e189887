"""``semcorr report``: runs side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from semcorr.cli import console
from semcorr.cli.options import Json, Repeated
from semcorr.errors import SettingsError

if TYPE_CHECKING:
    from semcorr.evaluation.report.plots import Heatmap
    from semcorr.evaluation.report.tables import Report
    from semcorr.evaluation.runs.records import Run

Format = Literal["table", "markdown", "latex", "csv", "json"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which tables are printed, and how.

    Attributes:
        by: overall, category, difficulty, point, layer, rounds, crops, or the name of a flag; repeat for more tables.
        alpha: The part of the threshold's size within which a point is right; repeat for more.
        format: How the tables are printed.
        json: Short for --format json.
    """

    by: Repeated = ("overall",)
    alpha: Annotated[tuple[float, ...], Parameter(negative="")] = (0.05, 0.1)
    format: Format = "table"
    json: Json = False

    def tell(self, report: "Report") -> None:
        """Print a report on standard output."""
        match "json" if self.json else self.format:
            case "table":
                for sheet in report.sheets:
                    console.show(sheet.rich())
                    console.say()
                for remark in report.remarks():
                    console.say(remark)
            case "markdown":
                console.say(report.markdown())
            case "latex":
                console.say(report.latex())
            case "csv":
                console.say(report.csv())
                for remark in report.remarks():
                    console.note(remark)
            case "json":
                console.say(report.json())


_TABLES = TableOptions()


def report(
    *runs: Path,
    tables: TableOptions = _TABLES,
    threshold: str | None = None,
    frame: Literal["original", "squash"] | None = None,
    baseline: str | None = None,
    baselines: bool = True,
    quote: bool = True,
    times: Annotated[bool, Parameter(negative="")] = False,
    plots: Path | None = None,
    heatmaps: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Put the results of runs side by side, with published figures where they belong.

    Every run is measured under the same rule. A failed pair counts as wrong. Quoted rows are so marked, and a warning
    says where figures are not comparable.

    Args:
        runs: Folders that `semcorr eval` wrote.
        tables: Which tables are printed, and how.
        threshold: target-box, source-box, image, keypoints, reference-spair, -willow or -cub; the data set's own
            unless named.
        frame: Distances in the pictures' own pixels, or in pictures squashed to 512 x 512.
        baseline: Also print each run's lead over this one, named like its folder, or over a baseline.
        baselines: Show guesses that need no model, computed from the first run's pairs.
        quote: Show published figures.
        times: Show seconds.
        plots: Draw curves, bars and pairs into this folder.
        heatmaps: Draw the heat maps of the pairs as well; they are made again, which takes as long as it took.
    """
    from semcorr.evaluation.report.build import build_report
    from semcorr.evaluation.report.groups import Wanted, with_baselines
    from semcorr.evaluation.runs.folder import read_run

    if heatmaps and plots is None:
        raise SettingsError("Expected --plots and a folder to draw the heat maps into.")
    read = [read_run(folder) for folder in runs]
    wanted = Wanted(
        by=tables.by,
        alphas=tables.alpha,
        threshold=threshold,
        frame=frame,
        baseline=baseline,
        times=times,
        quote=quote,
    )
    compared = with_baselines(read) if baselines else read
    tables.tell(build_report(compared, wanted))
    if plots is not None:
        from semcorr.evaluation.report.plots import write_plots

        for path in write_plots(compared, plots, wanted, heatmaps=_heatmaps_of if heatmaps else None):
            console.note(f"Picture: {path}")
    return 0


def _heatmaps_of(run: "Run") -> "Heatmap":
    from semcorr.evaluation.runs.heatmaps_of import HeatmapsOf  # Late: what makes the maps takes seconds to import.

    return HeatmapsOf(run)
