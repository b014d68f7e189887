"""Which category an object is of where no box says it: objects of wrong categories, and images that stay doubtful.

``python -m benchmarks.category_choice [--split val] [--category animal --category bird] [--support 5] [--targets 10]``

Drawings of several categories, of each the first so many annotated, are one transfer. "Before" is an object of every
category in every image, which is what a transfer without a choice writes.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from benchmarks.command import main, new_app
from semcorr.cli import console
from semcorr.cli.options import Output, Repeated
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.load import load_matcher
from semcorr.toy.coco import ToyWorld, write_coco
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import Split
from semcorr.transfer.plan import TransferSettings
from semcorr.transfer.targets import select_targets
from semcorr.transfer.transferrer import Transferrer

app = new_app("category_choice", "Objects of wrong categories where no box says which category is right.")


@app.default
def categories(
    *,
    category: Repeated = (),
    support: int = 5,
    targets: int = 10,
    method: str = "attention-dift",
    preset: str | None = None,
    split: Split = "val",
    output: Output = Path("runs/categories"),
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Transfer drawings of several categories at once, and count what is written for the wrong ones.

    Args:
        category: Only these categories; by default all of the toy world.
        support: Annotated drawings of each.
        targets: Other drawings of each.
        method: What matches.
        preset: Its settings by name.
        split: Which drawings.
        output: Folder for drawings.
        json_file: A file that all figures are written to as well.
    """
    names = tuple(category) or tuple(CATEGORIES)
    world = _drawn(output / f"{'-'.join(names)}-{split}-{support}-{targets}", names, support, targets, split)
    known = read_annotations(world.annotations, world.images)
    work = Transferrer(load_matcher(method, "toy", preset), known, TransferSettings(support=support))
    chosen: dict[str, list[tuple[str, ...]]] = {name: [] for name in names}
    images = select_targets(known, work.categories, images=world.images).targets
    with console.TerminalProgress() as progress:
        for number, target in enumerate(images, start=1):
            record = work.predict(target)
            true = next(name for name in names if target.file.startswith(f"{name}-"))
            chosen[true].append(tuple(one.category for one in record.objects))
            progress("transfer", number, len(images))
    rows = [_row(name, objects, len(names)) for name, objects in chosen.items()]
    rows.append({"category": "mean", **{key: sum(row[key] for row in rows) / len(rows) for key in list(rows[0])[1:]}})
    console.show(_table(rows))
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _drawn(folder: Path, names: tuple[str, ...], support: int, targets: int, split: Split) -> ToyWorld:
    world = ToyWorld(annotations=folder / "annotations.json", truth=folder / "truth.json", images=folder / "images")
    if not world.annotations.exists():  # it is written last
        write_coco(folder, categories=names, support=support, targets=targets, split=split)
    return world


def _row(name: str, predicted: list[tuple[str, ...]], categories: int) -> dict[str, Any]:
    images = len(predicted)
    return {
        "category": name,
        "wrong before": float(categories - 1),
        "wrong": sum(one != name for objects in predicted for one in objects) / images,
        "right": sum(name in objects for objects in predicted) / images,
        "doubtful": sum(not objects for objects in predicted) / images,
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    shown = Table(title="Objects per image, and the share of doubtful images", title_justify="left")
    for column in rows[0]:
        shown.add_column(column, justify="left" if column == "category" else "right")
    for row in rows:
        shown.add_row(row["category"], *(f"{value:.2f}" for key, value in row.items() if key != "category"))
    return shown


if __name__ == "__main__":
    sys.exit(main(app))
