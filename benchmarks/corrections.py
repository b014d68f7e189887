"""What corrections are worth: those of the most doubtful objects, and as many at random, each time predicted again.

``python -m benchmarks.corrections [--toy bird --toy animal] [--corrections 10 20] [--supports 5] [--json FILE]``

The mouse of ``SEMCORR_TEST_DATA`` and drawings of the toy world: a few objects are annotated, the points of all others
are predicted; then so many are corrected (they get their true points, as on the page of ``semcorr review``), serve as
supports too, and all others are predicted again.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from jaxtyping import Bool
from rich.table import Table

from benchmarks.command import main, new_app, save_json
from benchmarks.photograph_sets import objects, transfers
from benchmarks.photograph_sets.configurations import Configuration
from benchmarks.photograph_sets.figures import ALPHAS
from benchmarks.photograph_sets.transfers import Draw, ObjectSet
from benchmarks.photographs import data_folder
from semcorr.cli import console
from semcorr.cli.options import Repeated
from semcorr.keypoints.base import Instance
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.toy.coco import write_coco
from semcorr.toy.render import Split

_ALPHA = ALPHAS[1]
_DOUBTFUL = "by confidence"
_RANDOM = 3
"""Draws of objects at random, whose results are averaged."""

app = new_app("corrections", "What corrections of doubtful objects are worth, against as many at random.")


@app.default
def corrections(
    *,
    corrections: Annotated[tuple[int, ...], Parameter(negative="", consume_multiple=True)] = (10, 20),
    supports: int = 5,
    toy: Repeated = (),
    mouse: bool = True,
    every: int = 1,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Predict, correct, and predict again.

    Args:
        corrections: How many objects are corrected.
        supports: How many are annotated before.
        toy: A category of the toy world; repeat for more.
        mouse: Whether the mouse is measured.
        every: Only every so many-th object takes part.
        json_file: A file that all figures are written to as well.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="semcorr-corrections-") as folder:
        for known, configuration in _sets(Path(folder), toy, mouse=mouse, every=every):
            rows += _measure(known, configuration, corrections, supports)
    document = {"alpha": _ALPHA, "draws": _RANDOM, "rows": rows}
    console.show(table(document))
    if json_file is not None:
        save_json(document, json_file)
    return 0


def _sets(folder: Path, toy: Sequence[str], *, mouse: bool, every: int) -> Iterator[tuple[ObjectSet, Configuration]]:
    if mouse:
        known = objects.read(objects.MOUSE, data_folder())
        yield _thinned(known, every), Configuration(name="hypercolumn")
    for category in toy:
        known = drawings(folder / category, category, count=60)
        yield _thinned(known, every), Configuration(name="dift", method="dift", model="toy")


def drawings(folder: Path, category: str, *, count: int, split: Split = "test") -> ObjectSet:
    """Draw objects of a category of the toy world into a new folder, measured by the longer side of their box."""
    world = write_coco(folder, categories=(category,), support=1, targets=count, split=split)
    annotations = read_annotations(world.truth, world.images)
    drawn = [
        transfers.Annotated(image=image, instance=one, threshold=_longer_side(one))
        for image in annotations.images
        for one in image.instances
    ]
    return ObjectSet(name=category, annotations=annotations, objects=drawn, boxes=False)


def _longer_side(one: Instance) -> float:
    x0, y0, x1, y1 = one.box or (0.0, 0.0, 0.0, 0.0)  # the toy world draws all boxes
    return max(x1 - x0, y1 - y0)


def _thinned(known: ObjectSet, every: int) -> ObjectSet:
    return replace(known, objects=known.objects[::every])


def _measure(
    known: ObjectSet, configuration: Configuration, corrections: Sequence[int], supports: int
) -> Iterator[dict[str, Any]]:
    matcher, count = configuration.spec().load(), len(known.objects)
    (first,) = transfers.draws_of(count, supports, 1)
    right, confidence = _predicted(known, first.supports, matcher, configuration)
    yield {"set": known.name, "corrected": 0, "chosen": "", **_figures(known, right, ())}
    doubtful = sorted(first.targets, key=lambda number: confidence[number])
    for number in corrections:
        ways = {_DOUBTFUL: [doubtful[:number]]}
        draws = [np.random.default_rng([draw, number]) for draw in range(_RANDOM)]
        ways["at random"] = [draw.permutation(first.targets)[:number].tolist() for draw in draws]
        for way, choices in ways.items():
            figures = []
            for chosen in choices:
                right, _ = _predicted(known, (*first.supports, *chosen), matcher, configuration)
                figures.append(_figures(known, right, chosen))
            mean = {key: float(np.mean([one[key] for one in figures])) for key in figures[0]}
            yield {"set": known.name, "corrected": number, "chosen": way, **mean}


def _predicted(
    known: ObjectSet, supports: Sequence[int], matcher: Matcher, configuration: Configuration
) -> tuple[dict[int, Bool[np.ndarray, " points"]], dict[int, float]]:
    """Which points of every object that is no support are right, and its confidence."""
    targets = tuple(number for number in range(len(known.objects)) if number not in supports)
    draw = Draw(half="all", supports=tuple(supports), targets=targets)
    right: dict[int, Bool[np.ndarray, " points"]] = {}
    confidence: dict[int, float] = {}
    predictions = transfers.predictions(known, draw, configuration, matcher)
    with console.TerminalProgress() as progress:
        for done, (number, (points, sure, _)) in enumerate(zip(targets, predictions, strict=True), start=1):
            one = known.objects[number]
            distances = np.linalg.norm(points - one.instance.points, axis=1)[one.marked]
            right[number] = np.nan_to_num(distances, nan=np.inf) <= _ALPHA * one.threshold
            confidence[number] = float(sure[np.isfinite(points).all(axis=1)].mean())
            progress("transfer", done, len(targets), supports=len(supports))
    return right, confidence


def _figures(
    known: ObjectSet, right: dict[int, Bool[np.ndarray, " points"]], corrected: Sequence[int]
) -> dict[str, float]:
    """Right points in %: of all objects that were to be predicted, and of those that were predicted in the end."""
    predicted = np.concatenate(list(right.values()))
    given = int(sum(known.objects[number].marked.sum() for number in corrected))
    return {
        "all": 100 * (int(predicted.sum()) + given) / (len(predicted) + given),
        "not corrected": 100 * float(predicted.mean()),
    }


def table(document: Mapping[str, Any]) -> Table:
    """A row for each number of corrections of a set: how they were chosen stands side by side."""
    result = Table(title=f"Right points in %, at {document['alpha']:g}", title_justify="left")
    headings = [f"{of}, {way}" for of in ("of all", "of those not corrected") for way in (_DOUBTFUL, "at random")]
    for heading in ("set", "corrected", *headings):
        result.add_column(heading, justify="left" if heading == "set" else "right")
    rows: dict[tuple[str, int], dict[str, Mapping[str, float]]] = {}
    for row in document["rows"]:
        rows.setdefault((row["set"], row["corrected"]), {})[row["chosen"]] = row
    for (name, corrected), by_way in rows.items():
        # Without corrections nothing is chosen.
        shown = [by_way.get(way) or by_way.get("") for way in (_DOUBTFUL, "at random")]
        cells = [f"{one[key]:.1f}" if one else "–" for key in ("all", "not corrected") for one in shown]
        result.add_row(name, str(corrected), *cells)
    return result


if __name__ == "__main__":
    sys.exit(main(app))
