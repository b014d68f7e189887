"""Whether a calibration knows its own kind of images: drawings that it refuses, and photographs that it takes.

``python -m benchmarks.calibration_domain [--photographs FOLDER] [--json FILE]``

A calibration holds where source and target are like the images that it was fitted on (:mod:`semcorr.imaging.domain`).
Drawings of the toy world's test split, whole, cut to their object as `semcorr transfer` cuts them, and of other sizes,
should all be like its validation drawings, and no photograph should be.

``--write FOLDER`` gives the calibrations in FOLDER that were fitted to the toy world, but do not say what kind of
images it has, the statistics of its validation drawings; their curves stay as they are.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from benchmarks.command import main, new_app, save_json
from semcorr.cli import console
from semcorr.datasets import toy_world
from semcorr.errors import ImageError, SettingsError
from semcorr.imaging.domain import Domain, statistics
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.wrappers.calibration import Calibration
from semcorr.toy.render import render_scene
from semcorr.transfer.support_queries import crop_to_box

app = new_app("calibration_domain", "Which images a calibration of the toy world takes for drawings of it.")

_ENDINGS = (".png", ".jpg", ".jpeg")
_ROOM = 0.2
"""Around an object, as `semcorr transfer` cuts it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Images of one kind: how many there are, and how many are taken for drawings of the toy world."""

    images: str
    count: int
    like: int


@app.default
def domain(
    *,
    drawings: int = 400,
    photographs: Path | None = None,
    write: Path | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Which images a calibration of the toy world takes for drawings of it.

    Args:
        drawings: How many test drawings of each kind.
        photographs: Folder with a folder for each kind of photographs, such as SEMCORR_TEST_DATA.
        write: Folder of calibrations that are given the statistics.
        json_file: Also write the figures into this file.
    """
    if drawings < 1:
        raise SettingsError(f"Expected --drawings to be at least 1, got {drawings}.")
    seen = of_validation()
    if write is not None:
        for path in complete(write, seen):
            console.say(f"Written: {path}")
    outcomes = list(measure(seen, drawings, photographs))
    console.show(table(outcomes))
    if json_file is not None:
        save_json({"outcomes": [asdict(one) for one in outcomes]}, json_file)
    return 0


def of_validation() -> Domain:
    """The kind of images that the toy world's validation drawings are."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = toy_world.load(Path(folder), "val").pairs
        files = sorted({side.path for pair in pairs for side in (pair.source, pair.target)})
        return Domain.of([statistics(load_image(file)) for file in files])


def complete(folder: Path, seen: Domain) -> Iterator[Path]:
    """Give the toy world's calibrations in a folder their domain, where they have none."""
    for path in sorted(folder.glob("*.json")):
        calibration = Calibration.load(path)
        source = calibration.source
        if calibration.domain is None and (source.get("dataset"), source.get("split")) == ("toy", "val"):
            yield dataclasses.replace(calibration, domain=seen).save(path)


def measure(seen: Domain, drawings: int, photographs: Path | None) -> Iterator[Outcome]:
    """Images of every kind, drawings first."""
    for size in (256, 64, 512):
        whole = (load_image(render_scene(seed, size, split="test").image) for seed in range(drawings))
        yield _outcome(f"drawings of {size} pixels", whole, seen)
    yield _outcome("drawings of 256 pixels, cut to their object", (_cut(seed) for seed in range(drawings)), seen)
    for folder in sorted(path for path in photographs.iterdir() if path.is_dir()) if photographs else ():
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in _ENDINGS)
        if files:
            yield _outcome(f"photographs: {folder.name}", _readable(files), seen)


def table(outcomes: Sequence[Outcome]) -> Table:
    """A row for each kind of images."""
    shown = Table(title="Taken for drawings of the toy world", title_justify="left")
    shown.add_column("images")
    for heading in ("count", "taken for drawings", "%"):
        shown.add_column(heading, justify="right")
    for one in outcomes:
        shown.add_row(one.images, f"{one.count:,}", f"{one.like:,}", f"{100 * one.like / one.count:.1f}")
    return shown


def _outcome(name: str, images: Iterator[Image], seen: Domain) -> Outcome:
    like = [seen.contains(statistics(image)) for image in images]
    return Outcome(images=name, count=len(like), like=sum(like))


def _cut(seed: int) -> Image:
    scene = render_scene(seed, 256, split="test")
    return crop_to_box(load_image(scene.image), scene.box, _ROOM)[0]


def _readable(files: Sequence[Path]) -> Iterator[Image]:
    for file in files:
        try:
            yield load_image(file)
        except ImageError as error:
            console.note(str(error))


if __name__ == "__main__":
    sys.exit(main(app))
