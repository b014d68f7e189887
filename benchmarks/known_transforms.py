"""Pairs whose truth is known exactly: an image against its crop, turned by 90 degrees, mirrored, and in other colours.

``python -m benchmarks.known_transforms [--methods dift attention-dift] [--photographs FOLDER] [--images 12]``

A grid of points is described in the image and located in the other (``dense``), and what the two have in common is
matched without points (``mutual``, methods on features alone). An error is a part of the other image's longer side.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float
from rich.table import Table

from benchmarks.command import cells_of, main, new_app, save_json
from semcorr.cli import console
from semcorr.cli.options import Device
from semcorr.errors import SettingsError
from semcorr.evaluation.metrics.pck import is_correct
from semcorr.evaluation.report.tables import NOTHING
from semcorr.imaging.geometry import mirror_points
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features.mutual_matches import mutual_matches
from semcorr.matchers.load import load_matcher
from semcorr.matchers.wrappers.mirror import mirror
from semcorr.toy.render import render_scene

app = new_app("known_transforms", "Match images with changed copies of themselves, whose truth is known.")

Points = Float[np.ndarray, "points 2"]
_KEPT = 0.7
"""Part of each side that the crop keeps."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One way to change an image, and where its points go; NaN where they are not in the changed one."""

    name: str
    apply: Callable[[Image], Image]
    points: Callable[[Points, tuple[int, int]], Points]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Errors of one method on one change, as parts of the changed image's longer side; None where no point is."""

    images: str
    change: str
    method: str
    mode: str
    points: int
    median: float | None
    within_5: float | None
    within_10: float | None


@app.default
def known_pairs(
    *,
    methods: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = ("dift", "attention-dift"),
    model: str = "toy",
    images: int = 12,
    grid: int = 8,
    photographs: Path | None = None,
    device: Device = "auto",
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Match images with changed copies of themselves, whose truth is known.

    Args:
        methods: Names of methods.
        model: What is matched with.
        images: How many drawings, and how many photographs.
        grid: Points along each side.
        photographs: A folder with photographs (.png, .jpg) below it, such as PF-WILLOW's.
        device: Where; auto takes a GPU if there is one.
        json_file: A file that the table is written to as well.
    """
    if images < 1 or grid < 1:
        raise SettingsError(f"Expected at least 1 image and 1 point a side, got {images} and {grid}.")
    sets = {"drawings": drawings(images)}
    if photographs is not None:
        sets["photographs"] = read_photographs(photographs, images)
    outcomes: list[Outcome] = []
    for method in methods:
        matcher = load_matcher(method, model, device=device, dtype="float32", **cells_of(method))
        for kind, chosen in sets.items():
            with console.TerminalProgress() as progress:
                for number, change in enumerate(CHANGES):
                    progress(f"{method}, {kind}", number, len(CHANGES))
                    outcomes += measure(matcher, method, kind, chosen, change, grid)
    console.show(table(outcomes))
    if json_file is not None:
        save_json({"outcomes": [asdict(one) for one in outcomes]}, json_file)
    return 0


def drawings(count: int) -> list[Image]:
    """Drawings of the toy world that the bundled model was not trained on."""
    return [load_image(render_scene(seed, 256, split="test").image, name=f"drawing {seed}") for seed in range(count)]


def read_photographs(folder: Path, count: int) -> list[Image]:
    """Photographs evenly spread over those below a folder.

    Raises:
        SettingsError: there are none.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not files:
        raise SettingsError(f"Expected photographs (.png, .jpg) below {folder}, found none.")
    indices = np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)
    return [load_image(files[index]) for index in indices]


def measure(
    matcher: Matcher, method: str, kind: str, images: Sequence[Image], change: Change, grid: int
) -> Iterator[Outcome]:
    """Match each image with its changed copy, by a grid of points and, where the method has features, without."""
    dense, mutual = [], []
    for image in images:
        other = change.apply(image)
        points = _grid(image.size, grid)
        truth = change.points(points, image.size)
        there = np.isfinite(truth).all(axis=1)
        points_there = matcher.locate(matcher.describe(image, points[there]), other).points
        dense.append(_errors(points_there, truth[there], other.size))
        if matcher.capabilities.features:
            pairs = mutual_matches(matcher, image, other)
            mutual.append(_errors(pairs.target, change.points(pairs.source, image.size), other.size))
    for mode, parts in (("dense", dense), ("mutual", mutual)):
        if parts:
            # What the change has cut away has no truth: a mutual match of it is wrong.
            errors = np.nan_to_num(np.concatenate(parts), nan=np.inf)
            yield Outcome(
                images=kind,
                change=change.name,
                method=method,
                mode=mode,
                points=len(errors),
                median=float(np.median(errors)) if len(errors) else None,
                within_5=100 * float(is_correct(errors, 0.05).mean()) if len(errors) else None,
                within_10=100 * float(is_correct(errors, 0.1).mean()) if len(errors) else None,
            )


def table(outcomes: Sequence[Outcome]) -> Table:
    """A row for each outcome."""
    shown = Table(title="Images against changed copies: errors as parts of the longer side", title_justify="left")
    for heading in ("images", "change", "method", "mode"):
        shown.add_column(heading)
    for heading in ("points", "median error", "% within 0.05", "% within 0.1"):
        shown.add_column(heading, justify="right")
    for one in outcomes:
        figures = ((one.median, ".3f"), (one.within_5, ".1f"), (one.within_10, ".1f"))
        numbers = (NOTHING if value is None else format(value, form) for value, form in figures)
        shown.add_row(one.images, one.change, one.method, one.mode, f"{one.points:,}", *numbers)
    return shown


def _grid(size: tuple[int, int], count: int) -> Points:
    across, down = ((np.arange(count) + 0.5) / count * side for side in size)
    return np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)


def _errors(points: Points, truth: Points, size: tuple[int, int]) -> Float[np.ndarray, " points"]:
    errors: Float[np.ndarray, " points"] = np.linalg.norm(points - truth, axis=1) / max(size)
    return errors


def _box(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the crop: in the middle."""
    width, height = (max(2, round(side * _KEPT)) for side in size)
    return (size[0] - width) // 2, (size[1] - height) // 2, width, height


def _cropped(image: Image) -> Image:
    left, top, width, height = _box(image.size)
    return Image(pixels=image.pixels[top : top + height, left : left + width])


def _in_crop(points: Points, size: tuple[int, int]) -> Points:
    left, top, width, height = _box(size)
    moved = points - (left, top)
    inside = np.all((moved >= 0) & (moved <= np.array([width, height])), axis=1)
    return np.where(inside[:, None], moved, np.nan)


def _turned(image: Image) -> Image:
    """By 90 degrees, against the clock."""
    return Image(pixels=np.rot90(image.pixels))


def _in_turned(points: Points, size: tuple[int, int]) -> Points:
    return np.stack((points[:, 1], size[0] - points[:, 0]), axis=1)


def _recoloured(image: Image) -> Image:
    """Red, green and blue are exchanged."""
    return Image(pixels=image.pixels[..., [1, 2, 0]])


CHANGES = (
    Change(name="crop", apply=_cropped, points=_in_crop),
    Change(name="turned by 90°", apply=_turned, points=_in_turned),
    Change(name="mirrored", apply=mirror, points=mirror_points),
    Change(name="other colours", apply=_recoloured, points=lambda points, _: points),
)


if __name__ == "__main__":
    sys.exit(main(app))
