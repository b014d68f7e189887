"""What a peak finer than a cell is worth: PCK on validation drawings by the setting ``peak``, from the same heat maps.

``python -m benchmarks.peak_refinement [--limit 100] [--methods fast attention-dift dift nbb] [--json FILE]``

The networks run once a pair; the settings differ in what is done with their maps alone.
"""

import dataclasses
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import torch
from cyclopts import Parameter
from jaxtyping import Float
from rich.table import Table
from torch import Tensor

from benchmarks.command import FAST, main, new_app, save_json
from benchmarks.kept_features import keep_features
from semcorr.cli import console
from semcorr.cli.evaluate import DataOptions
from semcorr.datasets.base import Dataset, Pair
from semcorr.errors import SettingsError
from semcorr.evaluation.metrics.pck import Counts, averages, count, intervals
from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import scale_points
from semcorr.imaging.heatmaps import Peak
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.attention_dift import AttentionDiftMatcher, AttentionDiftSettings, settings_of
from semcorr.matchers.features import FeatureMatcher
from semcorr.matchers.features import dift as features_of_dift
from semcorr.matchers.features.dift import DiftBuddyMatcher, DiftMatcher
from semcorr.matchers.prompt import PromptMatcher, preset
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.results import Query
from semcorr.models.diffusion import DiffusionModel
from semcorr.progress import Progress

PEAKS: tuple[Peak, ...] = get_args(Peak)
ALPHAS = (0.02, 0.05, 0.1)
METHODS = (FAST, "attention-dift", "dift", "nbb")

Points = dict[tuple[str, Peak], Float[np.ndarray, "_points 2"]]
"""Points by method and kind of peak; pairs have different numbers of them."""

app = new_app("peak_refinement", "PCK by the setting peak, from the same heat maps.")


@app.default
def peaks(
    *,
    split: str = "val",
    limit: int | None = None,
    methods: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = METHODS,
    model: str = "toy",
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """PCK by the setting peak, from the same heat maps.

    Stopped by Ctrl-C, it prints what the finished pairs gave.

    Args:
        split: Of the toy benchmark.
        limit: Only the first so many pairs.
        methods: Of "fast" (the preset of the paper's method), "attention-dift", "dift" and "nbb".
        model: The bundled model, or a folder that `python -m tools.toy_model` wrote.
        json_file: A file that all figures are written to as well.
    """
    for name in methods:
        if name not in METHODS:
            raise SettingsError(f"Expected methods of {', '.join(METHODS)}, got {name!r}.")
    dataset = DataOptions(split=split, limit=limit).read("toy")
    finders = finders_of(DiffusionModel.from_pretrained(model), methods)
    with console.TerminalProgress() as progress:
        pairs_points, stopped = measure(finders, dataset, progress)
    document = {"split": split, "pairs": len(pairs_points), "rows": rows(pairs_points, dataset)}
    console.show(table(document))
    if json_file is not None:
        save_json(document, json_file)
    return 130 if stopped else 0


Finder = Callable[[Pair, Image, Image], Points]


def finders_of(model: DiffusionModel, methods: Sequence[str]) -> list[Finder]:
    """What finds the points of a pair, by method and kind of peak, each with its usual settings."""
    finders: list[Finder] = []
    features: dict[str, Tensor] = {}
    if {FAST, "attention-dift"} & set(methods):
        finders.append(_attention(model, methods))
    published = features_of_dift.published(model.family)
    if "dift" in methods:
        finders.append(_features(DiftMatcher(model, published), features))
    if "nbb" in methods:
        settings = DiftBuddyMatcher.settings_type(**vars(published))
        finders.append(_features(DiftBuddyMatcher(model, settings), features))
    return finders


def _attention(model: DiffusionModel, methods: Sequence[str]) -> Finder:
    """The product's map, and that of the attention in it alone, from one description."""
    both = AttentionDiftMatcher(model, settings_of(FAST, model.family))
    alone = PromptMatcher(model, preset(FAST, model.family))
    grid = AttentionReader(model, alone.settings).grid

    def find(pair: Pair, source: Image, target: Image) -> Points:
        query = (both if "attention-dift" in methods else alone).describe(source, pair.source.points)
        maps = {}
        if "attention-dift" in methods:
            maps["attention-dift"] = both.locate(query, target).heatmaps
            own = AttentionDiftSettings.from_dict(query.settings).prompt()
            query = dataclasses.replace(query, method="prompt", settings=own.to_dict())
        if FAST in methods:
            maps[FAST] = alone.locate(query, target).heatmaps
        return {
            (name, kind): peak_points(some, kind, grid, target.size)
            for (name, some), kind in itertools.product(maps.items(), PEAKS)
        }

    return find


def peak_points(
    maps: Float[np.ndarray, "points height width"], kind: Peak, grid: tuple[int, int], size: tuple[int, int]
) -> Float[np.ndarray, "points 2"]:
    """Where heat maps have their peaks, in pixels of the target, which is ``size``."""
    points = heatmaps.find_peak(torch.from_numpy(np.array(maps)), kind, grid=grid)
    return scale_points(points.double().numpy(), (maps.shape[2], maps.shape[1]), size)


def _features(matcher: FeatureMatcher, known: dict[str, Tensor]) -> Finder:
    """A method on DIFT's features, which are made once for each image and kept in ``known``."""
    keep_features(matcher, known)  # the network is not to run for each kind of peak

    def find(pair: Pair, source: Image, target: Image) -> Points:
        query = matcher.describe(source, pair.source.points)
        return {(matcher.method, kind): matcher.locate(_with(query, kind), target).points for kind in PEAKS}

    return find


def _with(query: Query, kind: Peak) -> Query:
    return dataclasses.replace(query, settings={**query.settings, "peak": kind})


def measure(finders: Sequence[Finder], dataset: Dataset, progress: Progress) -> tuple[list[Points], bool]:
    """The points located in each pair, until all are done or Ctrl-C, and whether it was that."""
    pairs_points: list[Points] = []
    try:
        for number, pair in enumerate(dataset.pairs):
            progress("pairs", number, len(dataset.pairs))
            source, target = load_image(pair.source.path), load_image(pair.target.path)
            one: Points = {}
            for find in finders:
                one |= find(pair, source, target)
            pairs_points.append(one)
    except KeyboardInterrupt:
        return pairs_points, True
    return pairs_points, False


def rows(pairs_points: Sequence[Points], dataset: Dataset) -> list[dict[str, Any]]:
    """For each method and kind of peak the percentages of right points, and what they are over ``cell``'s."""
    counted = {
        key: _counts([one[key] for one in pairs_points], dataset.pairs)
        for key in (pairs_points[0] if pairs_points else ())
    }
    results = []
    for (method, kind), counts in counted.items():
        cell = counted[method, "cell"]
        lead = averages(counts).per_point - averages(cell).per_point
        results.append(
            {
                "method": method,
                "peak": kind,
                "points": int(counts.total.sum()),
                "pck": (100 * averages(counts).per_point).tolist(),
                "lead": (100 * lead).tolist(),
                "lead_interval": (100 * intervals(counts, cell).per_point).tolist(),
            }
        )
    return results


def _counts(pairs_points: Sequence[Float[np.ndarray, "_points 2"]], pairs: Sequence[Pair]) -> Counts:
    errors, numbers = [], []
    for number, (located, pair) in enumerate(zip(pairs_points, pairs, strict=False)):
        assert pair.target.box is not None  # noqa: S101  # the toy world has boxes
        x0, y0, x1, y1 = pair.target.box
        errors.append(np.hypot(*(located - pair.target.points).T) / max(x1 - x0, y1 - y0))
        numbers.append(np.full(len(located), number))
    return count(np.concatenate(errors), np.concatenate(numbers), len(pairs_points), ALPHAS)


def table(document: Mapping[str, Any]) -> Table:
    """The figures that ``--json`` writes."""
    title = f"{document['pairs']} {document['split']} pairs: PCK per point, and over peak=cell with 95 % interval"
    shown = Table(title=title, title_justify="left")
    for heading in ("method", "peak"):
        shown.add_column(heading)
    for alpha in ALPHAS:
        shown.add_column(f"@{alpha:g}", justify="right")
        shown.add_column("over cell", justify="right")
    for row in document["rows"]:
        cells = []
        for pck, lead, (low, high) in zip(row["pck"], row["lead"], row["lead_interval"], strict=True):
            cells += [f"{pck:.1f}", "–" if row["peak"] == "cell" else f"{lead:+.1f} ({low:+.1f} to {high:+.1f})"]
        shown.add_row(row["method"], row["peak"], *cells)
    return shown


if __name__ == "__main__":
    sys.exit(main(app))
