"""Discovered key-points against annotated ones: how well a linear map of them says where those are.

Key-points are discovered on drawings of a category, without their labels. A linear map (least squares with an
intercept) from the discovered points to the annotated ones is fitted on the same drawings and measured on as many
others. Beside it: as many points drawn at random in each drawing; as many on a regular grid, which are the same in
every drawing, so that the map can only say the mean; and a nearest discovered token would be no fairer, since which
token is which annotated point is not known.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float
from rich.table import Table

from benchmarks.command import save_json
from benchmarks.photograph_sets.figures import difference_interval
from semcorr.cli import console
from semcorr.cli.options import Repeated, parse_settings
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.prompt.discovery import KeypointTokens, discover_keypoints
from semcorr.models.diffusion import DiffusionModel
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import Scene, Split, render_scene

WAYS = ("discovered", "grid", "random")


def measure(
    *,
    categories: Repeated = (),
    images: int = 100,
    count: int = 10,
    split: Split = "test",
    seed: int = 0,
    set: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,  # noqa: A002  # as commands have it
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Discover key-points on drawings, and predict annotated ones from them on others.

    Args:
        categories: Categories of the toy world; all by default.
        images: Drawings on which key-points are discovered and the map is fitted; it is measured on as many others.
        count: How many key-points.
        split: Which drawings.
        seed: Seed of the discovery.
        set: NAME=VALUE, repeated: changes one setting of the discovery.
        json_file: A file that all figures are written to as well.
    """
    model = DiffusionModel.from_pretrained("toy", device="cpu")
    settings = {"seed": seed, **parse_settings(set or ())}
    rows = [_measure(model, one, images, count, split, settings) for one in categories or tuple(CATEGORIES)]
    document = {"images": images, "count": count, "split": split, "settings": settings, "rows": rows}
    console.show(table(document))
    if json_file is not None:
        save_json(document, json_file)
    return 0


def _measure(
    model: DiffusionModel, category: str, images: int, count: int, split: Split, settings: Mapping[str, Any]
) -> dict[str, Any]:
    scenes = [render_scene(number, 128, split=split, category=category) for number in range(2 * images)]
    loaded = [load_image(scene.image) for scene in scenes]
    with console.TerminalProgress() as progress:
        tokens = discover_keypoints(model, loaded[:images], count, progress=progress, **settings)
        discovered = np.stack(list(_located(model, tokens, loaded, progress)))
    names = [name for name in scenes[0].keypoints if all(name in scene.keypoints for scene in scenes)]
    known = np.array([[scene.keypoints[name] for name in names] for scene in scenes])
    sides = np.array([_longer_side(scene) for scene in scenes])
    points = {
        "discovered": discovered,
        "grid": np.broadcast_to(grid(count) * 128, discovered.shape),
        "random": np.random.default_rng(0).uniform(0, 128, discovered.shape),
    }
    errors = {way: 100 * held_out_errors(points[way], known, images) / sides[images:] for way in WAYS}
    return {
        "category": category,
        "keypoints": len(names),
        "deviation": 100 * float(tokens.deviations.mean()),
        **{way: {"mean": float(values.mean()), "interval": difference_interval(values.tolist())}
           for way, values in errors.items()},
    }  # fmt: skip


def _located(
    model: DiffusionModel, tokens: KeypointTokens, images: Sequence[Image], progress: console.TerminalProgress
) -> Any:
    for done, image in enumerate(images, start=1):
        points, _ = tokens.locate(model, image)
        yield points
        progress("locate", done, len(images))


def _longer_side(scene: Scene) -> float:
    x0, y0, x1, y1 = scene.box
    return max(x1 - x0, y1 - y0)


def grid(count: int) -> Float[np.ndarray, "{count} 2"]:
    """Return points of a regular grid, row by row, as fractions of an image's side."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cells = [((column + 0.5) / columns, (row + 0.5) / rows) for row in range(rows) for column in range(columns)]
    return np.array(cells[:count])


def held_out_errors(
    points: Float[np.ndarray, "images points 2"], known: Float[np.ndarray, "images keypoints 2"], fitted: int
) -> Float[np.ndarray, " others"]:
    """Return each further image's mean distance between its key-points and a linear map of its points.

    The map is fitted on the first ``fitted`` images.
    """
    inputs = np.concatenate([points.reshape(len(points), -1), np.ones((len(points), 1))], axis=1)
    outputs = known.reshape(len(known), -1)
    map_, *_ = np.linalg.lstsq(inputs[:fitted], outputs[:fitted], rcond=None)
    predicted = (inputs[fitted:] @ map_).reshape(-1, *known.shape[1:])
    return np.linalg.norm(predicted - known[fitted:], axis=-1).mean(axis=1)


def table(document: Mapping[str, Any]) -> Table:
    """A row for each category."""
    result = Table(
        title=f"Mean distance from the annotated key-points, in % of the object's longer side: a linear map of "
        f"{document['count']} points, fitted on {document['images']} drawings and measured on as many others",
        title_justify="left",
    )
    for heading in ("category", "annotated points", *(head for way in WAYS for head in (way, "95 % interval"))):
        result.add_column(heading, justify="left" if heading == "category" else "right")
    for row in document["rows"]:
        cells = []
        for way in WAYS:
            low, high = row[way]["interval"]
            cells += [f"{row[way]['mean']:.1f}", f"{low:.1f} to {high:.1f}"]
        result.add_row(row["category"], str(row["keypoints"]), *cells)
    return result
