"""What finding regions is worth: mean IoU over the parts of drawings, from 1 and 5 examples.

``python -m benchmarks.engine regions [--split test] [--groups 10] [--method dift] [--variant NAME=VALUE]
[--json FILE]``

Drawings of the toy world come in groups of 5 examples and 5 targets of one category; no two groups share a drawing. The
IoU of a part is counted in each target that shows it, if an example shows it too; a target's figure is the mean over
its parts. Intervals are of the mean over targets, with whole groups drawn again (bootstrap), because targets of a group
share their examples.

A method's lead over a prior, or over dift, is the mean over targets of the difference. Its cost is the seconds of
processor time for an example and for a target, measured on two of the drawings by themselves.

The box priors know no image: the examples' masks are moved from the object's box to the target's object's true box, or
from image to image as they are, and the label that most of them have at a pixel counts.
"""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from jaxtyping import UInt8
from rich.table import Table
from torch import Tensor

from benchmarks.command import save_json
from benchmarks.kept_features import keep_features
from semcorr.cli import console
from semcorr.cli.options import Repeated, parse_settings
from semcorr.imaging.geometry import Box
from semcorr.imaging.image import Image, load_image
from semcorr.imaging.label_map import LabelMap
from semcorr.matchers.base import Matcher
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.matchers.spec import MatcherSpec
from semcorr.settings import override
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.parts import part_map
from semcorr.toy.render import Scene, Split, render_scene

EXAMPLES, TARGETS = 5, 5
SIZE = 256
_FIRST = 70_000
"""Seeds of another range than other benchmarks'."""
_SEEDS_A_CATEGORY = 100_000
_DRAWS = 2000
_SPECS = {
    "dift": MatcherSpec(method="dift", model="toy"),
    "prompt": MatcherSpec(method="prompt", model="toy", preset="fast"),
}
"""Methods whose own model does not know drawings."""
PRIOR = "box prior"
IMAGE_PRIOR = "box prior, whole image"
NEIGHBOURS = "dift"
"""The row that other methods are compared with besides the prior, where it is measured."""

Figures = dict[tuple[str, int], list[list[float]]]
"""By row and number of examples: for each group, the mean IoU of each target."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A drawing, its parts and its object's box."""

    image: Image
    parts: LabelMap
    box: Box


def regions(
    *,
    split: Split = "test",
    groups: int = 10,
    method: Repeated = ("dift", "hypercolumn"),
    variant: Repeated = (),
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Find the parts of drawings.

    Args:
        split: Which drawings: "val" for choices, "test" for figures.
        groups: Of 5 examples and 5 targets, of each category.
        method: One that finds regions; repeat for more.
        variant: NAME=VALUE,...: also with these settings of finding regions; repeat for more.
        json_file: A file that all figures are written to as well.
    """
    variants = {"": RegionSettings(), **{text: _settings(text) for text in variant}}
    matchers = {name: _SPECS.get(name, MatcherSpec(method=name)).load().unwrapped for name in method}
    figures: Figures = {}
    with console.TerminalProgress() as progress:
        for done, drawings in enumerate(_groups(split, groups), start=1):
            measure(drawings, matchers, variants, figures)
            progress("groups", done, groups * len(CATEGORIES))
    document = summary(figures, split=split) | {"seconds": costs(drawings, matchers)}
    console.show(table(document))
    if json_file is not None:
        save_json(document, json_file)
    return 0


def _settings(text: str) -> RegionSettings:
    return override(RegionSettings(), **parse_settings(text.split(",")))


def _groups(split: Split, count: int) -> Iterator[list[Drawing]]:
    for (index, category), group in itertools.product(enumerate(CATEGORIES), range(count)):
        first = index * _SEEDS_A_CATEGORY + _FIRST + group * (EXAMPLES + TARGETS)
        seeds = range(first, first + EXAMPLES + TARGETS)
        yield [drawing(render_scene(seed, SIZE, split=split, category=category)) for seed in seeds]


def drawing(scene: Scene) -> Drawing:
    """A scene as what is measured."""
    return Drawing(image=load_image(scene.image), parts=part_map(scene), box=scene.box)


def measure(
    drawings: Sequence[Drawing],
    matchers: Mapping[str, Matcher],
    variants: Mapping[str, RegionSettings],
    figures: Figures,
) -> None:
    """Add the figures of one group, with its first example and with all, to those of the groups before."""
    targets = drawings[EXAMPLES:]
    for count in (1, EXAMPLES):
        examples = drawings[:count]
        for name, boxes in ((PRIOR, True), (IMAGE_PRIOR, False)):
            guesses = [prior(examples, target, boxes=boxes) for target in targets]
            figures.setdefault((name, count), []).append(_scores(guesses, targets, examples))
    for name, matcher in matchers.items():
        if matcher.capabilities.features:
            keep_features(matcher, dict[str, Tensor]())  # type: ignore[arg-type]  # such methods have features
        for (text, settings), count in itertools.product(variants.items(), (1, EXAMPLES)):
            examples = drawings[:count]
            query = matcher.describe_regions(
                [one.image for one in examples], [one.parts for one in examples], settings=settings
            )
            predicted = [matcher.locate_regions(query, target.image).labels for target in targets]
            row = f"{name} {text}".strip()
            figures.setdefault((row, count), []).append(_scores(predicted, targets, examples))
        if matcher.capabilities.features:
            del matcher.features  # type: ignore[attr-defined]  # the kept ones are of this group


def costs(drawings: Sequence[Drawing], matchers: Mapping[str, Matcher]) -> dict[str, dict[str, float]]:
    """Return the seconds of processor time that each method takes for an example and for a target."""
    seconds = {}
    for name, matcher in matchers.items():
        start = time.process_time()
        query = matcher.describe_regions(drawings[0].image, drawings[0].parts)
        middle = time.process_time()
        matcher.locate_regions(query, drawings[1].image)
        seconds[name] = {"example": middle - start, "target": time.process_time() - middle}
    return seconds


def _scores(
    predicted: Sequence[UInt8[np.ndarray, "height width"]], targets: Sequence[Drawing], examples: Sequence[Drawing]
) -> list[float]:
    known = {label for one in examples for label in one.parts.present}
    return [mean_iou(labels, target.parts, known) for labels, target in zip(predicted, targets, strict=True)]


def mean_iou(predicted: UInt8[np.ndarray, "height width"], truth: LabelMap, known: set[int]) -> float:
    """The mean, over the parts that a target and an example show, of intersection over union; NaN without such a part.

    Args:
        predicted: The predicted labels.
        truth: The target's own.
        known: The labels that an example shows.
    """
    parts = [label for label in truth.present if label in known]
    both = [((predicted == label) & (truth.labels == label)).sum() for label in parts]
    either = [((predicted == label) | (truth.labels == label)).sum() for label in parts]
    return float(np.mean(np.divide(both, either))) if parts else float("nan")


def prior(examples: Sequence[Drawing], target: Drawing, *, boxes: bool) -> UInt8[np.ndarray, "height width"]:
    """The label that most examples have at a pixel, moved from the object's box to the target's, or as they are.

    Of several labels that equally many have, the lowest counts; the background is the lowest of all.
    """
    width, height = target.image.size
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    votes = np.zeros((256, height, width), dtype=np.uint8)
    for example in examples:
        x, y = columns, rows
        inside = np.ones((height, width), dtype=bool)
        if boxes:
            (left, top, right, bottom), own = example.box, target.box
            x = left + (columns - own[0]) / (own[2] - own[0]) * (right - left)
            y = top + (rows - own[1]) / (own[3] - own[1]) * (bottom - top)
            inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        across, down = (np.clip(axis, 0, limit - 1).astype(int) for axis, limit in ((x, width), (y, height)))
        labels = np.where(inside, example.parts.labels[down, across], 0)
        np.put_along_axis(votes, labels[None], np.take_along_axis(votes, labels[None], axis=0) + 1, axis=0)
    return votes.argmax(axis=0).astype(np.uint8)


def summary(figures: Figures, *, split: str) -> dict[str, Any]:
    """The figures of every row: the mean, its interval, and its lead over the box prior with an interval."""
    rows = []
    for name in dict.fromkeys(name for name, _ in figures):
        row: dict[str, Any] = {"row": name}
        for count in (1, EXAMPLES):
            own = figures[name, count]
            row[str(count)] = {"mean": _mean(own), "interval": _interval(own)}
            for key, other in (("lead", PRIOR), (f"over {NEIGHBOURS}", NEIGHBOURS)):
                if (other, count) in figures:
                    pairs = zip(own, figures[other, count], strict=True)
                    leads = [np.subtract(one, two).tolist() for one, two in pairs]
                    row[str(count)] |= {key: _mean(leads), f"{key} interval": _interval(leads)}
        rows.append(row)
    targets = sum(map(len, figures[PRIOR, 1]))
    return {"split": split, "targets": targets, "groups": len(figures[PRIOR, 1]), "rows": rows}


def _mean(groups: Sequence[Sequence[float]]) -> float:
    return 100 * float(np.nanmean(np.concatenate(groups)))


def _interval(groups: Sequence[Sequence[float]]) -> list[float]:
    """95 % of the means over groups that are drawn again, each with all its targets."""
    values = np.array(groups)
    chosen = np.random.default_rng(0).integers(len(values), size=(_DRAWS, len(values)))
    means = 100 * np.nanmean(values[chosen], axis=(1, 2))
    return [float(value) for value in np.quantile(means, (0.025, 0.975))]


def table(document: Mapping[str, Any]) -> Table:
    """A row for each method and prior."""
    result = Table(
        title=f"Mean IoU over parts in %, {document['targets']} drawings of {document['split']}, "
        f"{document['groups']} groups",
        title_justify="left",
    )
    result.add_column("by")
    over = f"over {NEIGHBOURS}"
    leads = {key: other for key, other in (("lead", PRIOR), (over, NEIGHBOURS)) if key in document["rows"][0]["1"]}
    for count in (1, EXAMPLES):
        of = f"{count} example{'s' * (count > 1)}"
        for heading in (of, "95 % interval", *(f"over {'the ' * (other == PRIOR)}{other}" for other in leads.values())):
            result.add_column(heading, justify="right")
    seconds = document.get("seconds", {})
    if seconds:
        result.add_column("s an example, a target", justify="right")
    for row in document["rows"]:
        cells = [row["row"]]
        for count in (1, EXAMPLES):
            one = row[str(count)]
            low, high = one["interval"]
            cells += [f"{one['mean']:.1f}", f"{low:.1f} to {high:.1f}"]
            cells += [
                "" if row["row"] == other else _lead(one[key], one[f"{key} interval"]) for key, other in leads.items()
            ]
        if seconds:
            own = seconds.get(row["row"])
            cells.append(f"{own['example']:.2f}, {own['target']:.2f}" if own else "")
        result.add_row(*cells)
    return result


def _lead(mean: float, interval: Sequence[float]) -> str:
    return f"{mean:+.1f} ({interval[0]:+.1f} to {interval[1]:+.1f})"
