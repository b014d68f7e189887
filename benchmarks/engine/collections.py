"""Whether a canonical grid beats the features that it was trained from: part (d) of what is measured of the engine.

``python -m benchmarks.engine collections [--data FOLDER] [--half development] [--toy val] [-o runs/collections]``

Of every collection all ordered pairs are matched: by the nearest neighbour of the features, by their best buddies and
moving least squares, and through the grid that was trained from them. The toy categories have exact truth; those of
PF-WILLOW need its folder. Trained collections are kept, so that the same command continues where it was stopped.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import PIL.Image
from cyclopts import Parameter
from jaxtyping import Float
from rich.table import Table
from torch import Tensor

from benchmarks.command import save_json, use_threads
from benchmarks.kept_features import keep_features
from benchmarks.photograph_sets.figures import Half, image_intervals
from benchmarks.photograph_sets.pairs import in_half
from semcorr.cli import console
from semcorr.cli.options import Output, parse_settings
from semcorr.datasets import pf_willow
from semcorr.evaluation.metrics import pck
from semcorr.imaging.image import load_image, save_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.collection.collect import collect
from semcorr.matchers.collection.settings import CollectionSettings
from semcorr.matchers.features import FeatureMatcher
from semcorr.matchers.results import Query
from semcorr.matchers.spec import MatcherSpec
from semcorr.settings import override
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import render_scene

ALPHAS = (0.05, 0.1, 0.2)
PLAIN, BUDDIES = "nearest neighbour", "best buddies, MLS"
GRID = ("published", "guided")
"""Presets of asic."""

_FIRST_SEED = 50_000
"""Of the drawings: none of them is in the toy benchmark."""


@dataclass(frozen=True, kw_only=True)
class Photo:
    """An image of a collection: its visible key-points by name, and the size that errors are measured in."""

    path: Path
    points: dict[str, tuple[float, float]]
    size: float


@dataclass(frozen=True, kw_only=True)
class World:
    """Collections by name, and what features they are matched with: by themselves, and by best buddies."""

    name: str
    collections: dict[str, list[Photo]]
    plain: MatcherSpec
    buddies: MatcherSpec
    training: CollectionSettings


def measure(
    *,
    data: Path | None = None,
    half: Half = "development",
    toy: Literal["val", "test", "none"] = "val",
    images: int = 10,
    train: Annotated[list[str] | None, Parameter(name="--train", negative="")] = None,
    buddies: bool = True,
    only: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    output: Output = Path("runs/collections"),  # a path cannot change
    threads: int | None = None,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Train a collection of every toy category and of every sub-class of PF-WILLOW, and match all its pairs.

    Args:
        data: Folder of PF-WILLOW; without it only the toy world is measured.
        half: The sub-classes that choices were made on, the others, or all.
        toy: The drawings that choices were made on, the others, or none.
        images: Drawings in a toy collection.
        train: NAME=VALUE, repeated: changes a setting of the training.
        buddies: Match by best buddies and moving least squares as well, which takes longest.
        only: These categories and sub-classes alone.
        output: Folder of the collections, of the drawings and of what was counted.
        threads: Threads of the processor.
        json_file: Write all figures to this file as well.
    """
    use_threads(threads)
    worlds = [] if toy == "none" else [toy_world(output / "drawings", toy, images)]
    if data is not None:
        worlds.append(photographs(data, half))
    document: dict[str, Any] = {"toy": toy, "half": half, "alphas": ALPHAS, "worlds": {}}
    for world in worlds:
        training = override(world.training, **parse_settings(train or ()))
        rows = compare(world, training, output, buddies=buddies, only=only)
        document["worlds"][world.name] = {"training": training.to_dict(), "rows": rows}
        console.show(_table(world.name, rows))
    if json_file is not None:
        save_json(document, json_file)
    return 0


def toy_world(folder: Path, split: Literal["val", "test"], images: int) -> World:
    """Draw the collections: one of every category."""
    collections: dict[str, list[Photo]] = {}
    for category, seed in itertools.product(CATEGORIES, range(_FIRST_SEED, _FIRST_SEED + images)):
        scene = render_scene(seed, split=split, category=category)
        path = save_image(PIL.Image.fromarray(scene.image), folder / split / category / f"{seed}.png")
        left, top, right, bottom = scene.box
        photo = Photo(
            path=path,
            points={name: scene.keypoints[name] for name in sorted(scene.visible)},
            size=max(right - left, bottom - top),
        )
        collections.setdefault(category, []).append(photo)
    return World(
        name=f"toy {split}",
        collections=collections,
        plain=MatcherSpec(method="dift", model="toy"),
        buddies=MatcherSpec(method="nbb", model="toy"),
        training=CollectionSettings(grid=16),
    )


def photographs(data: Path, half: Half) -> World:
    """Read the sub-classes of PF-WILLOW that are in a half; errors are measured by the key-points' extent."""
    collections: dict[str, dict[Path, Photo]] = {}
    for pair in pf_willow.load(data).pairs:
        if in_half(pair.category, half):
            points = {name: (float(x), float(y)) for name, (x, y) in zip(pair.names, pair.source.points, strict=True)}
            size = float(np.ptp(pair.source.points, axis=0).max())
            photo = Photo(path=pair.source.path, points=points, size=size)
            collections.setdefault(pair.category, {})[photo.path] = photo
    return World(
        name=f"PF-WILLOW {half}",
        collections={name: list(photos.values()) for name, photos in collections.items()},
        plain=MatcherSpec(method="hypercolumn", options={"prior": "none", "enlarge": 1, "peak": "cell"}),
        buddies=MatcherSpec(method="nbb-hypercolumn"),
        training=CollectionSettings(),
    )


def compare(
    world: World, training: CollectionSettings, output: Path, *, buddies: bool, only: Sequence[str]
) -> list[dict[str, Any]]:
    """Match all ordered pairs by every method; a row for each collection, and one for all of them.

    What was counted is kept beside the collections, and is not counted again.
    """
    methods = _Methods(world, training, output / world.name.replace(" ", "-"), buddies=buddies)
    every: dict[str, list[_Counts]] = {}
    rows = []
    for number, (name, photos) in enumerate(world.collections.items()):
        if only and name not in only:
            continue
        counts = {key: _Counts.read(values, photos, number) for key, values in methods.counted(name, photos).items()}
        for key, one in counts.items():
            every.setdefault(key, []).append(one)
        rows.append({"collection": name, **_figures(counts)})
        pcks = ", ".join(f"{key} {one['pck']}" for key, one in rows[-1].items() if key != "collection")
        console.note(f"{world.name}, {name}: {pcks}")
    joined = {key: _Counts.joined(parts) for key, parts in every.items()}
    return [*rows, {"collection": "all", **_figures(joined)}]


class _Methods:
    """All methods on one world, loaded when there is something to count."""

    def __init__(self, world: World, training: CollectionSettings, folder: Path, *, buddies: bool) -> None:
        self._world, self._training, self._folder = world, training, folder
        self._specs = {PLAIN: world.plain} | ({BUDDIES: world.buddies} if buddies else {})
        self._known: dict[str, Tensor] = {}

    @cached_property
    def _loaded(self) -> dict[str, Matcher]:
        loaded = {key: spec.load() for key, spec in self._specs.items()}
        for matcher in loaded.values():
            assert isinstance(matcher.unwrapped, FeatureMatcher)  # noqa: S101  # both are
            keep_features(matcher.unwrapped, self._known)
        return loaded

    def counted(self, name: str, photos: Sequence[Photo]) -> dict[str, Any]:
        """Return the numbers of right points and of all, of every pair, by method."""
        file = self._folder / f"{name}.json"
        keys = [*self._specs, *(f"asic {one}" for one in GRID)]
        identity = {"training": self._training.to_dict(), "photos": [str(one.path) for one in photos]}
        stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        results = stored["counts"] if stored.get("identity") == identity else {}
        if not results.keys() >= set(keys):
            with console.TerminalProgress() as progress:
                paths = [one.path for one in photos]
                plain = self._loaded[PLAIN]
                collect(plain, self._world.plain, paths, self._folder / name, self._training, progress=progress)
            for key in keys:
                if key not in results:
                    results[key] = _counted(self._matcher(key, name), photos)
                    save_json({"identity": identity, "counts": results}, file)
            self._known.clear()
        return {key: results[key] for key in keys}

    def _matcher(self, key: str, name: str) -> Matcher:
        if key in self._loaded:
            return self._loaded[key]
        return MatcherSpec(method="asic", model=self._folder / name, preset=key.removeprefix("asic ")).load()


def _counted(matcher: Matcher, photos: Sequence[Photo]) -> dict[str, Any]:
    errors, numbers, pairs = [], [], _pairs(len(photos))
    for number, (first, second) in enumerate(pairs):
        source = photos[first]
        if second == (1 if first == 0 else 0):  # the first pair of this source
            query = matcher.describe(load_image(source.path), list(source.points.values()), names=list(source.points))
        errors.append(_errors(matcher, query, photos[second]))
        numbers.append(np.full(len(errors[-1]), number))
    counts = pck.count(np.concatenate(errors), np.concatenate(numbers), len(pairs), ALPHAS)
    return {"right": counts.right.tolist(), "total": counts.total.tolist()}


def _pairs(count: int) -> list[tuple[int, int]]:
    return list(itertools.permutations(range(count), 2))


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """Right points of every pair, and the numbers of its images and of its collection."""

    counts: pck.Counts
    source: np.ndarray
    target: np.ndarray
    group: np.ndarray

    @classmethod
    def read(cls, values: dict[str, Any], photos: Sequence[Photo], group: int) -> "_Counts":
        pairs = _pairs(len(photos))
        source, target = (np.array(pairs) + 1000 * group).T
        counts = pck.Counts(right=np.array(values["right"]), total=np.array(values["total"]))
        return cls(counts=counts, source=source, target=target, group=np.full(len(pairs), group))

    @classmethod
    def joined(cls, parts: Sequence["_Counts"]) -> "_Counts":
        counts = pck.Counts(
            right=np.concatenate([one.counts.right for one in parts]),
            total=np.concatenate([one.counts.total for one in parts]),
        )
        arrays = {name: np.concatenate([getattr(one, name) for one in parts]) for name in ("source", "target", "group")}
        return cls(counts=counts, **arrays)


def _errors(matcher: Matcher, query: Query, target: Photo) -> Float[np.ndarray, " points"]:
    """Distances of the common points from the truth, over the target's size."""
    names = query.names or ()
    common = [number for number, name in enumerate(names) if name in target.points]
    if not common:
        return np.zeros(0)
    points, _ = matcher.locate_points(query.take(common), load_image(target.path))
    truth = np.array([target.points[names[number]] for number in common])
    return np.asarray(np.linalg.norm(points - truth, axis=1) / target.size)


def _figures(counts: dict[str, _Counts]) -> dict[str, Any]:
    """PCK per image in % of every method at every alpha, its interval, and that of the difference to the features'."""
    plain, result = counts[PLAIN], {}
    for key, one in counts.items():
        where = (one.source, one.target, one.group)
        lead = None if key == PLAIN else _lead(one, plain)
        result[key] = {
            "pck": (100 * pck.averages(one.counts).per_image).round(2).tolist(),
            "interval": np.round(image_intervals(one.counts, *where), 2).tolist(),
            "lead": lead,
        }
    return result


def _lead(one: _Counts, plain: _Counts) -> list[list[float]]:
    """Intervals of one method's PCK minus the features', the same images drawn for both."""
    # image_intervals divides by the total; a difference of right points is between minus and plus it.
    difference = pck.Counts(right=one.counts.right - plain.counts.right, total=one.counts.total)
    ends = image_intervals(difference, one.source, one.target, one.group)
    return np.round(ends, 2).tolist()


def _table(world: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=f"{world}: PCK per image in %, 95 % intervals over images", title_justify="left")
    methods = [key for key in rows[0] if key != "collection"]
    for name in ("collection", "method", *(f"PCK@{alpha:g}" for alpha in ALPHAS), "minus nearest neighbour @0.1"):
        table.add_column(name, justify="left" if name in ("collection", "method") else "right")
    for row, key in itertools.product(rows, methods):
        one = row[key]
        cells = [
            f"{value:.1f} ({low:.1f} to {high:.1f})"
            for value, (low, high) in zip(one["pck"], one["interval"], strict=True)
        ]
        lead = "" if one["lead"] is None else "{:+.1f} to {:+.1f}".format(*one["lead"][1])
        table.add_row(row["collection"], key, *cells, lead)
    return table
