"""``semcorr score``: predicted key-points against true ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from semcorr.cli import console
from semcorr.cli.options import Json

if TYPE_CHECKING:
    from semcorr.evaluation.metrics.keypoint_ap import KeypointScores

_LISTED = 10
"""So many images with extra objects are listed."""


def score(predicted: Path, truth: Path, /, *, sigma: float = 0.05, json: Json = False) -> int:
    """Compare predicted key-points with true ones: average precision, PCK, and the quality of the confidence.

    Args:
        predicted: COCO file of predicted key-points, as `semcorr transfer` writes it.
        truth: COCO file of true key-points.
        sigma: COCO's constant of how far apart counts as similar, the same for all key-points.
        json: Print one JSON document.
    """
    from semcorr.evaluation.metrics.keypoint_ap import score as compare

    scores = compare(predicted, truth, sigma=sigma)
    if json:
        console.show_json(scores.to_dict())
        return 0
    table = Table(title=f"{predicted} against {truth}", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    for row in _rows(scores):
        table.add_row(*row)
    console.show(table)
    return 0


def _rows(scores: "KeypointScores") -> Iterator[tuple[str, str]]:
    for name, value in scores.precision.items():
        yield f"key-point {name}", f"{100 * value:.1f} %"
    for averaging, pck in (("per point", scores.pck), ("per image", scores.per_image)):
        for alpha, value in pck.items():
            yield f"PCK@{alpha:g} {averaging}", f"{100 * value:.1f} %"
    yield "area under the risk-coverage curve", f"{scores.risk:.3f} (in no order: {scores.overall_risk:.3f})"
    yield "calibration error of the confidence", f"{scores.error:.3f}"
    yield (
        "objects, visible points, of them with a prediction",
        f"{scores.objects}, {scores.points}, {scores.predicted_points}",
    )
    extra = scores.wrong_category + scores.surplus
    yield "predicted objects without a true one", f"{extra} in {len(scores.extra)} of {scores.images} images"
    if extra:
        yield "of them of a category not shown, one too many", f"{scores.wrong_category}, {scores.surplus}"
    for file, kinds in list(scores.extra.items())[:_LISTED]:
        yield f"  {file}", ", ".join(f"{count} {name}" for name, count in kinds.items())
    if len(scores.extra) > _LISTED:
        yield f"  and {len(scores.extra) - _LISTED} images more: all are in --json", ""
