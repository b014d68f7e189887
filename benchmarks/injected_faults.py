"""How many faults in annotations ``semcorr check`` lists first: points exchanged, points moved, and objects shifted.

``python -m benchmarks.injected_faults [--toy face] [--match faces] [--faults 20] [--draws 5] [--json FILE]``

Sets of ``SEMCORR_TEST_DATA`` and drawings of the toy world, whose annotations are taken as right: in some objects
two points are exchanged (left and right of one pair where the names say a side, else any two), or one is moved, and
the list of the whole set is made. Its first entries should be these objects.

With ``--match`` sets of photographs are measured with a network as well, as ``semcorr check --match`` does, and with
a third fault: all points of an object are shifted alike, which its shape cannot show.
"""

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float
from rich.table import Table

from benchmarks.command import main, new_app, save_json
from benchmarks.kept_features import keep_features
from benchmarks.photographs import data_folder
from semcorr.cli import console
from semcorr.cli.options import Repeated
from semcorr.errors import SettingsError, suggest
from semcorr.imaging.image import image_size
from semcorr.keypoints.base import MISSING, Annotations, Instance
from semcorr.keypoints.check import Finding
from semcorr.keypoints.check.shape_findings import shape_findings, usable
from semcorr.keypoints.declared_size import outside
from semcorr.keypoints.read import read_annotations
from semcorr.keypoints.sides import mirrored
from semcorr.matchers.spec import MatcherSpec
from semcorr.toy.coco import write_coco
from semcorr.transfer.check_matches import match_findings

Fault = Literal["exchanged", "moved", "shifted"]
FAULTS: tuple[Fault, ...] = ("exchanged", "moved", "shifted")
_PART = 5
"""At most one of so many objects gets a fault: a set in which most are wrong shows nothing."""
_MOVED = 0.3
"""How far points are moved, as a part of the largest distance between the object's points."""
_TRIES = 100
"""Directions that are tried for a shift that leaves all points inside the image."""

_LISTINGS = {"geometry": "geometry", "match": "geometry and --match"}

Listing = Callable[[Annotations], Iterable[Finding]]
"""What lists faults."""

app = new_app("injected_faults", "How many faults in annotations semcorr check lists first.")


@app.default
def injected_faults(
    *,
    faults: int = 20,
    draws: int = 5,
    toy: Repeated = (),
    photographs: bool = True,
    match: Repeated = (),
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Inject faults, make the list, and count.

    Args:
        faults: Objects with a fault, at most; fewer in sets of fewer than five times as many.
        draws: Draws of objects and faults.
        toy: A category of the toy world, of 60 drawings; repeat for more.
        photographs: Whether the photographs' sets are measured.
        match: A set of photographs, such as faces, that is measured with `hypercolumn` as well; repeat for more.
            Nothing else is measured then.
        json_file: A file that all figures are written to as well.
    """
    rows: list[dict[str, Any]] = []
    if match:
        listings = {"geometry": shape_findings, "match": _with_matches()}
        sets = dict(_photographs())
        if unknown := [name for name in match if name not in sets]:
            raise SettingsError(f"Unknown set {unknown[0]!r}.{suggest(unknown[0], list(sets))}")
        for name in match:
            rows += measure(name, sets[name], faults, draws, listings, FAULTS)
        return _report({"moved": _MOVED, "draws": draws, "rows": rows}, json_file)
    with tempfile.TemporaryDirectory(prefix="semcorr-faults-") as folder:
        for name, annotations in _sets(Path(folder), toy, photographs=photographs):
            rows += measure(name, annotations, faults, draws)
    return _report({"moved": _MOVED, "draws": draws, "rows": rows}, json_file)


def _report(document: Mapping[str, Any], json_file: Path | None) -> int:
    console.show(table(document))
    if json_file is not None:
        save_json(document, json_file)
    return 0


def _with_matches() -> Listing:
    """Lists by geometry and by what a network predicts, whose features are kept from one draw to the next."""
    matcher = MatcherSpec(method="hypercolumn").load()
    keep_features(matcher.unwrapped, {}, by_settings=True)  # type: ignore[arg-type]  # it compares features

    def listing(annotations: Annotations) -> Iterator[Finding]:
        yield from shape_findings(annotations)
        with console.TerminalProgress() as progress:
            yield from match_findings(annotations, matcher, progress=progress)

    return listing


def measure(
    name: str,
    annotations: Annotations,
    faults: int,
    draws: int,
    listings: Mapping[str, Listing] = MappingProxyType({"geometry": shape_findings}),
    kinds: Sequence[Fault] = FAULTS[:2],
) -> Iterator[dict[str, Any]]:
    """A row for each listing and kind of fault.

    How many there are, and how many of them stand as far up in the list, a mean over draws.

    Args:
        name: What the set is called.
        annotations: The set.
        faults: Objects with a fault, at most.
        draws: Draws of objects and faults.
        listings: What lists faults, by name.
        kinds: The faults.
    """
    where = [
        (image, position)
        for image, one in enumerate(annotations.images)
        for position, instance in enumerate(one.instances)
        if usable(instance)
    ]
    count = min(faults, len(where) // _PART)
    for by, listing in listings.items():
        before = len(list(listing(annotations)))
        for kind in kinds:
            listed, first = [], []
            for draw in range(draws):
                rng = np.random.default_rng([draw, FAULTS.index(kind)])
                chosen = [where[number] for number in rng.permutation(len(where))[:count]]
                findings = sorted(listing(injected(annotations, chosen, kind, rng)), key=lambda one: -one.suspicion)
                expected = {(annotations.images[image].file, position) for image, position in chosen}
                # Of several findings about an object the first counts.
                entries = list(dict.fromkeys((one.file, one.position) for one in findings))
                listed.append(len(expected & {*entries}))
                first.append(len(expected & {*entries[:count]}))
            yield {
                "set": name,
                "objects": len(where),
                "by": by,
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
        if kind == "exchanged":
            points = _exchanged(one, annotations.categories[one.category].keypoints, rng)
        elif kind == "moved":
            points = _moved(one, rng)
        else:
            points = _shifted(one, image_size(images[image].path), rng)
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


def _moved(one: Instance, rng: np.random.Generator) -> Float[np.ndarray, "keypoints 2"]:
    step, points = _step(one, rng), one.points.copy()
    points[rng.choice(np.flatnonzero(one.visibility > MISSING))] += step
    return points


def _shifted(one: Instance, size: tuple[int, int], rng: np.random.Generator) -> Float[np.ndarray, "keypoints 2"]:
    """All points moved alike, in the first direction that leaves them inside the image, else in the last tried."""
    for _ in range(_TRIES):
        points = one.points + _step(one, rng)
        if not outside(points, size).any():
            break
    return points


def _step(one: Instance, rng: np.random.Generator) -> Float[np.ndarray, " 2"]:
    marked = one.points[one.visibility > MISSING]
    largest = np.linalg.norm(marked[:, None] - marked, axis=2).max()
    turn = rng.uniform(0, 2 * np.pi)
    return np.asarray(_MOVED * largest * np.array([np.cos(turn), np.sin(turn)]))


def _sets(folder: Path, toy: Repeated, *, photographs: bool) -> Iterator[tuple[str, Annotations]]:
    if photographs:
        yield from _photographs()
    for category in toy:
        world = write_coco(folder / category, categories=(category,), support=1, targets=60, size=64)
        yield f"toy {category}", read_annotations(world.truth, world.images)


def _photographs() -> Iterator[tuple[str, Annotations]]:
    root = data_folder()
    yield "mouse", read_annotations(root / "mouse-open-field")
    faces = [read_annotations(file) for file in sorted((root / "faces-68").glob("*_with_face_landmarks.xml"))]
    yield "faces", replace(faces[0], images=[image for one in faces for image in one.images])
    yield "COCO persons", read_annotations(root / "animals" / "coco" / "test_coco.json")


def table(document: Mapping[str, Any]) -> Table:
    """A row for each set and listing, with all kinds of fault side by side."""
    rows: Sequence[Mapping[str, Any]] = document["rows"]
    kinds = dict.fromkeys(row["fault"] for row in rows)
    by = dict.fromkeys(row["by"] for row in rows)
    result = Table(title="Faults that stand first in the list, and that are in it at all", title_justify="left")
    names = ["set", *(["listed by"] if len(by) > 1 else [])]
    figures = [heading for kind in kinds for heading in (f"{kind}: first", "in all")]
    for heading in (*names, "objects", "listed without faults", "faults", *figures):
        result.add_column(heading, justify="left" if heading in names else "right")
    grouped: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["set"], row["by"]), {})[row["fault"]] = row
    for key, row in grouped.items():
        any_row = next(iter(row.values()))
        counts = [str(any_row[name]) for name in ("objects", "listed before", "faults")]
        means = [f"{row[kind][name]:.1f}" for kind in kinds for name in ("first", "listed")]
        result.add_row(key[0], *([_LISTINGS[key[1]]] if len(by) > 1 else []), *counts, *means)
    return result


if __name__ == "__main__":
    sys.exit(main(app))
