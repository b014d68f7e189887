"""How many faults in annotations ``semcorr check`` lists first: points exchanged, and points moved.

``python -m benchmarks.injected_faults [--toy face --toy animal] [--faults 20] [--draws 5] [--json FILE]``

Sets of ``SEMCORR_TEST_DATA`` and drawings of the toy world, whose annotations are taken as right: in some objects
two points are exchanged (left and right of one pair where the names say a side, else any two), or one is moved, and
the list of the whole set is made. Its first entries should be these objects.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float
from rich.table import Table

from benchmarks.command import main, new_app, save_json
from benchmarks.photographs import data_folder
from semcorr.cli import console
from semcorr.cli.options import Repeated
from semcorr.keypoints.base import MISSING, Annotations, Instance
from semcorr.keypoints.check.shape_findings import shape_findings, usable
from semcorr.keypoints.read import read_annotations
from semcorr.keypoints.sides import mirrored
from semcorr.toy.coco import write_coco

Fault = Literal["exchanged", "moved"]
_PART = 5
"""At most one of so many objects gets a fault: a set in which most are wrong shows nothing."""
_MOVED = 0.3
"""How far a point is moved, as a part of the largest distance between the object's points."""

app = new_app("injected_faults", "How many faults in annotations semcorr check lists first.")


@app.default
def injected_faults(
    *,
    faults: int = 20,
    draws: int = 5,
    toy: Repeated = (),
    photographs: bool = True,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Inject faults, make the list, and count.

    Args:
        faults: Objects with a fault, at most; fewer in sets of fewer than five times as many.
        draws: Draws of objects and faults.
        toy: A category of the toy world, of 60 drawings; repeat for more.
        photographs: Whether the photographs' sets are measured.
        json_file: A file that all figures are written to as well.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="semcorr-faults-") as folder:
        for name, annotations in _sets(Path(folder), toy, photographs=photographs):
            rows += measure(name, annotations, faults, draws)
    document = {"moved": _MOVED, "draws": draws, "rows": rows}
    console.show(table(document))
    if json_file is not None:
        save_json(document, json_file)
    return 0


def measure(name: str, annotations: Annotations, faults: int, draws: int) -> Iterator[dict[str, Any]]:
    """A row for each kind of fault: how many there are, and how many of them stand as far up in the list, a mean."""
    where = [
        (image, position)
        for image, one in enumerate(annotations.images)
        for position, instance in enumerate(one.instances)
        if usable(instance)
    ]
    count = min(faults, len(where) // _PART)
    before = len(list(shape_findings(annotations)))
    for kind in ("exchanged", "moved"):
        listed, first = [], []
        for draw in range(draws):
            rng = np.random.default_rng([draw, kind == "moved"])
            chosen = [where[number] for number in rng.permutation(len(where))[:count]]
            findings = sorted(shape_findings(injected(annotations, chosen, kind, rng)), key=lambda one: -one.suspicion)
            expected = {(annotations.images[image].file, position) for image, position in chosen}
            entries = [(one.file, one.position) for one in findings]
            listed.append(len(expected & {*entries}))
            first.append(len(expected & {*entries[:count]}))
        yield {
            "set": name,
            "objects": len(where),
            "listed before": before,
            "fault": kind,
            "faults": count,
            "first": float(np.mean(first)),
            "listed": float(np.mean(listed)),
        }


def injected(
    annotations: Annotations, chosen: list[tuple[int, int]], kind: Fault, rng: np.random.Generator
) -> Annotations:
    """Annotations with a fault in each of some objects, which are given by their image's number and their own."""
    images = list(annotations.images)
    for image, position in chosen:
        instances = list(images[image].instances)
        one = instances[position]
        change = _exchanged if kind == "exchanged" else _moved
        points = change(one, annotations.categories[one.category].keypoints, rng)
        instances[position] = replace(one, points=points)
        images[image] = replace(images[image], instances=tuple(instances))
    return replace(annotations, images=images)


def _exchanged(one: Instance, names: tuple[str, ...], rng: np.random.Generator) -> Float[np.ndarray, "keypoints 2"]:
    marked = np.flatnonzero(one.visibility > MISSING).tolist()
    sides = mirrored(names) or range(len(names))
    pairs = [(left, sides[left]) for left in marked if left < sides[left] and sides[left] in marked]
    pair = list(pairs[rng.integers(len(pairs))] if pairs else rng.choice(marked, 2, replace=False))
    points = one.points.copy()
    points[pair] = points[pair[::-1]]
    return points


def _moved(one: Instance, names: tuple[str, ...], rng: np.random.Generator) -> Float[np.ndarray, "keypoints 2"]:
    del names
    marked = one.points[one.visibility > MISSING]
    largest = np.linalg.norm(marked[:, None] - marked, axis=2).max()
    turn = rng.uniform(0, 2 * np.pi)
    points = one.points.copy()
    points[rng.choice(np.flatnonzero(one.visibility > MISSING))] += (
        _MOVED * largest * np.array([np.cos(turn), np.sin(turn)])
    )
    return points


def _sets(folder: Path, toy: Repeated, *, photographs: bool) -> Iterator[tuple[str, Annotations]]:
    if photographs:
        root = data_folder()
        yield "mouse", read_annotations(root / "mouse-open-field")
        faces = [read_annotations(file) for file in sorted((root / "faces-68").glob("*_with_face_landmarks.xml"))]
        yield "faces", replace(faces[0], images=[image for one in faces for image in one.images])
        yield "COCO persons", read_annotations(root / "animals" / "coco" / "test_coco.json")
    for category in toy:
        world = write_coco(folder / category, categories=(category,), support=1, targets=60, size=64)
        yield f"toy {category}", read_annotations(world.truth, world.images)


def table(document: Mapping[str, Any]) -> Table:
    """A row for each set, with both kinds of fault side by side."""
    result = Table(title="Faults that stand first in the list, and that are in it at all", title_justify="left")
    headings = (
        "set",
        "objects",
        "listed without faults",
        "faults",
        "exchanged: first",
        "in all",
        "moved: first",
        "in all",
    )
    for heading in headings:
        result.add_column(heading, justify="left" if heading == "set" else "right")
    by_set: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in document["rows"]:
        by_set.setdefault(row["set"], {})[row["fault"]] = row
    for name, row in by_set.items():
        any_row = row["exchanged"]
        counts = [str(any_row[key]) for key in ("objects", "listed before", "faults")]
        figures = [f"{row[kind][key]:.1f}" for kind in ("exchanged", "moved") for key in ("first", "listed")]
        result.add_row(name, *counts, *figures)
    return result


if __name__ == "__main__":
    sys.exit(main(app))
