"""``semcorr report``: runs side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from semcorr.cli import console

if TYPE_CHECKING:
    from semcorr.evaluation.sheets import Report

Format = Literal["table", "markdown", "latex", "csv", "json"]
_Repeated = Annotated[tuple[str, ...], Parameter(negative="")]


def report(
    *runs: Path,
    by: _Repeated = ("overall",),
    format: Format = "table",  # noqa: A002  # the option's name
    alpha: Annotated[tuple[float, ...], Parameter(negative="")] = (0.05, 0.1),
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
        by: overall, category, difficulty, point, layer, rounds, crops, or the name of a flag; repeat for more tables.
        format: How the tables are printed.
        alpha: The part of the threshold's size within which a point is right; repeat for more.
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
    from semcorr.evaluation.measured import Wanted, with_baselines
    from semcorr.evaluation.report import build_report
    from semcorr.evaluation.run_folder import read_run

    read = [read_run(folder) for folder in runs]
    wanted = Wanted(by=by, alphas=alpha, threshold=threshold, frame=frame, baseline=baseline, times=times, quote=quote)
    compared = with_baselines(read) if baselines else read
    tell(build_report(compared, wanted), format)
    if plots is not None:
        from semcorr.evaluation.heatmaps_of import HeatmapsOf
        from semcorr.evaluation.plots import write_plots

        for path in write_plots(compared, plots, wanted, heatmaps=HeatmapsOf if heatmaps else None):
            console.note(f"Picture: {path}")
    return 0


def tell(report: "Report", format: Format) -> None:  # noqa: A002  # as the option
    """Print a report on standard output."""
    match format:
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
