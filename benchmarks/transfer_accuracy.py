"""Annotate once, transfer everywhere, on the toy world: how good it is, and what more annotated images are worth.

``python -m benchmarks.transfer_accuracy [--support 1 2 5] [--targets 200] [--category animal] [-o runs/transfer]``

For each category, points of the first so many annotated drawings are carried over to the same other drawings, and the
result is compared with the truth, exactly as ``semcorr transfer`` and ``semcorr score FOUND TRUTH`` do it. What
is finished stays: the same command goes on.
"""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from rich.table import Table

from benchmarks.command import cells_of, main, new_app
from semcorr.cli import console
from semcorr.cli.options import Output, Repeated
from semcorr.errors import SettingsError
from semcorr.evaluation.metrics.keypoint_ap import score
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.spec import MatcherSpec
from semcorr.toy.coco import ToyWorld, write_coco
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import Split
from semcorr.transfer.file_transfer import FileTransfer, TransferOutput
from semcorr.transfer.plan import TransferSettings
from semcorr.transfer.run import TransferJob

app = new_app("transfer_accuracy", "Carry points of a few annotated drawings over to many others.")


@app.default
def transfer(
    *,
    support: Annotated[tuple[int, ...], Parameter(negative="", consume_multiple=True)] = (1, 2, 5),
    targets: int = 200,
    category: Repeated = (),
    method: str = "attention-dift",
    preset: str | None = None,
    split: Split = "test",
    output: Output = Path("runs/transfer"),
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Carry points of a few annotated drawings over to many others, and compare with the truth.

    Args:
        support: Numbers of annotated drawings of each category.
        targets: Other drawings of each category.
        category: Only this category; repeat for more.
        method: What matches.
        preset: Its settings by name.
        split: Which drawings.
        output: Folder for drawings and results.
        json_file: A file that all figures are written to as well.
    """
    if not support or min(support) < 1:
        raise SettingsError("Expected numbers of supports from 1 on.")
    # The answer is the mean location around a peak in any case (:func:`semcorr.transfer.fusion.fuse`).
    matcher = load_matcher(method, "toy", preset, **cells_of(method))
    rows: list[dict[str, Any]] = []
    for name in category or tuple(CATEGORIES):
        for count in support:
            world = drawn_world(output, name, max(support), targets, split)
            seconds = None  # of what was there already nobody knows them
            output_file = output / f"{name}-{split}-{method}-{preset or 'usual'}-{count}-of-{targets}.json"
            if not output_file.exists():
                began = time.perf_counter()
                _transfer(matcher, world, count, output_file)
                seconds = time.perf_counter() - began
            rows.append(
                {"category": name, "support": count, "seconds": seconds, **score(output_file, world.truth).to_dict()}
            )
            console.note(f"{name}, {count} annotated: PCK@0.1 {100 * rows[-1]['pck']['0.1']:.1f} %")
    console.show(table(rows))
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def drawn_world(folder: Path, category: str, support: int, targets: int, split: Split) -> ToyWorld:
    """Drawings of a category below ``folder``, drawn unless they are there."""
    root = folder / f"{category}-{split}-{support}-{targets}"
    world = ToyWorld(annotations=root / "annotations.json", truth=root / "truth.json", images=root / "images")
    if not world.annotations.exists():  # it is written last
        with console.TerminalProgress() as progress:
            write_coco(root, categories=(category,), support=support, targets=targets, split=split, progress=progress)
    return world


def _transfer(matcher: Matcher, world: ToyWorld, support: int, output_file: Path) -> None:
    job = TransferJob(
        matcher=MatcherSpec(method=matcher.method),
        annotations=world.annotations,
        images=world.images,
        settings=TransferSettings(support=support),
    )
    with console.TerminalProgress() as progress:
        FileTransfer(job, TransferOutput(path=output_file)).run(matcher, progress=progress)


def table(rows: list[dict[str, Any]]) -> Table:
    """The figures that ``--json`` writes, and their means over categories."""
    shown = Table(title="Percent; risk is the area under the risk-coverage curve", title_justify="left")
    columns = ("category", "annotated", "AP", "AP50", "PCK@0.05", "PCK@0.1", "risk", "in no order", "calibration error")
    for column in columns:
        shown.add_column(column, justify="left" if column == "category" else "right")
    for row in rows:
        shown.add_row(row["category"], str(row["support"]), *_cells(_figures(row)))
    for count in dict.fromkeys(row["support"] for row in rows):
        mean = np.mean([_figures(row) for row in rows if row["support"] == count], axis=0)
        shown.add_row("mean", str(count), *_cells(mean.tolist()))
    return shown


def _figures(values: dict[str, Any]) -> list[float]:
    shares = [values["precision"]["AP"], values["precision"]["AP50"], values["pck"]["0.05"], values["pck"]["0.1"]]
    return [*(100 * share for share in shares), values["risk"], values["overall_risk"], values["error"]]


def _cells(figures: list[float]) -> list[str]:
    return [*(f"{value:.1f}" for value in figures[:4]), *(f"{value:.3f}" for value in figures[4:])]


if __name__ == "__main__":
    sys.exit(main(app))
