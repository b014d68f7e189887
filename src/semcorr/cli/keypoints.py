"""``semcorr eval FOUND.json --truth TRUTH.json``: found key-points against true ones."""

from pathlib import Path

from rich.table import Table

from semcorr.cli import console

_LISTED = 10
"""So many images with extra objects are listed."""


def compare(found: Path, truth: Path, sigma: float | None, *, json: bool) -> int:
    """Print average precision, PCK and what confidence is worth.

    Returns:
        The exit status: 0.

    Raises:
        DatasetError: a file is missing or broken, or nothing in the two belongs together.
    """
    from semcorr.evaluation.metrics.keypoint_ap import SIGMA, score

    scores = score(found, truth, sigma=SIGMA if sigma is None else sigma)
    if json:
        console.show_json(scores.to_dict())
        return 0
    table = Table(title=f"{found} against {truth}", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in scores.precision.items():
        table.add_row(f"key-point {name}", f"{100 * value:.1f} %")
    for alpha, value in scores.pck.items():
        table.add_row(f"PCK@{alpha:g} per point", f"{100 * value:.1f} %")
    for alpha, value in scores.per_image.items():
        table.add_row(f"PCK@{alpha:g} per image", f"{100 * value:.1f} %")
    table.add_row("area under the risk-coverage curve", f"{scores.risk:.3f} (in no order: {scores.overall_risk:.3f})")
    table.add_row("calibration error of the confidence", f"{scores.error:.3f}")
    table.add_row("things, visible points, of them with an answer", f"{scores.things}, {scores.points}, {scores.found}")
    extra = scores.wrong_category + scores.surplus
    table.add_row(
        "objects that belong to no true one",
        f"{extra} in {len(scores.extra)} of {scores.images} images",
    )
    if extra:
        table.add_row("of them of a category not shown, one too many", f"{scores.wrong_category}, {scores.surplus}")
    for file, kinds in list(scores.extra.items())[:_LISTED]:
        table.add_row(f"  {file}", ", ".join(f"{count} {name}" for name, count in kinds.items()))
    if len(scores.extra) > _LISTED:
        table.add_row(f"  and {len(scores.extra) - _LISTED} images more: all are in --json", "")
    console.show(table)
    return 0
