"""What the suggestion of images to annotate is worth: five suggested ones against five at random.

``python -m benchmarks.suggest [--toy bird --toy animal] [--split test] [--half held-out] [--draws 20] [--json FILE]``

Each draw divides a set at random into targets and a pool. Suggested are images of the pool that resemble all of both;
others of the pool are drawn at random, and the points of the same targets are predicted from both.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from jaxtyping import Integer
from rich.table import Table

from benchmarks.command import main, new_app, save_json
from benchmarks.corrections import drawings
from benchmarks.kept_features import keep_features
from benchmarks.photograph_sets import objects, transfers
from benchmarks.photograph_sets.configurations import Configuration
from benchmarks.photograph_sets.figures import ALPHAS, HEADLINE, Half, difference_interval
from benchmarks.photograph_sets.transfers import Draw, ObjectSet
from benchmarks.photographs import data_folder
from semcorr.cli import console
from semcorr.cli.options import Repeated
from semcorr.imaging.image import load_image
from semcorr.toy.render import Split
from semcorr.transfer import suggest

WAYS = ("suggested", "at random")
Right = dict[str, list[float]]
"""The right points in %, of every draw, by how the supports were chosen."""

app = new_app("suggest", "What suggested images to annotate are worth, against as many at random.")


@app.default
def suggested(
    *,
    supports: int = 5,
    draws: int = 20,
    targets: int = 20,
    toy: Repeated = (),
    split: Split = "test",
    mouse: bool = True,
    half: Half = "held-out",
    turns: bool = True,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Predict from suggested and from random images.

    Args:
        supports: How many images are annotated.
        draws: How many times a set is divided.
        targets: Objects that are predicted in each division; the others are the pool.
        toy: A category of the toy world, of which 100 drawings are made; repeat for more.
        split: Which drawings.
        mouse: Whether the mouse is measured.
        half: Which frames of it: with odd numbers (development), even ones (held-out), or all.
        turns: Whether the mouse is compared in several directions, as by default; without it is quicker.
        json_file: A file that all figures are written to as well.
    """
    sets: dict[str, Right] = {}
    with tempfile.TemporaryDirectory(prefix="semcorr-suggest-") as folder:
        for known, configuration in _sets(Path(folder), toy, split, mouse=mouse, turns=turns):
            numbers = transfers.numbers_of(len(known.objects), half if known.name == objects.MOUSE else "all")
            sets[known.name] = _measure(known, configuration, numbers, supports, draws, targets)
    if len(sets) > 1:
        sets["mean"] = {way: np.mean([right[way] for right in sets.values()], axis=0).tolist() for way in WAYS}
    rows = [_row(name, right) for name, right in sets.items()]
    document = {"alpha": ALPHAS[HEADLINE], "supports": supports, "draws": draws, "rows": rows}
    console.show(table(document))
    if json_file is not None:
        save_json(document, json_file)
    return 0


def _sets(
    folder: Path, toy: Sequence[str], split: Split, *, mouse: bool, turns: bool
) -> Iterator[tuple[ObjectSet, Configuration]]:
    for category in toy:
        yield (
            drawings(folder / category, category, count=100, split=split),
            Configuration(name="dift", method="dift", model="toy"),
        )
    if mouse:
        options = {} if turns else {"turns": 1}
        yield objects.read(objects.MOUSE, data_folder()), Configuration(name="hypercolumn", options=options)


def _measure(
    known: ObjectSet, configuration: Configuration, numbers: Sequence[int], supports: int, draws: int, targets: int
) -> Right:
    matcher = configuration.spec().load()
    keep_features(matcher.unwrapped, {}, by_settings=True)  # type: ignore[arg-type]  # both methods compare features
    images = [load_image(known.objects[number].image.path) for number in numbers]
    described = np.stack([suggest.describe(matcher, image) for image in images])
    right: Right = {way: [] for way in WAYS}
    with console.TerminalProgress() as progress:
        for draw in range(draws):
            order = np.random.default_rng([draw, len(numbers)]).permutation(len(numbers))
            predicted, pool = order[:targets], order[targets:]
            chosen = suggest.choose_representative(suggest.distances(described, described[pool]), supports)
            for way, choice in zip(WAYS, (pool[chosen], pool[:supports]), strict=True):
                one = Draw(half="all", supports=_of(numbers, choice), targets=_of(numbers, predicted))
                errors = transfers.predict(known, one, configuration, matcher).errors
                right[way].append(100 * float((errors <= ALPHAS[HEADLINE]).mean()))
            progress("draws", draw + 1, draws, set=known.name)
    return right


def _row(name: str, right: Right) -> dict[str, Any]:
    suggested, at_random = (right[way] for way in WAYS)
    difference = np.subtract(suggested, at_random)
    return {
        "set": name,
        **{way: float(np.mean(right[way])) for way in WAYS},
        "difference": float(difference.mean()),
        "interval": difference_interval(difference.tolist()),
        **{f"worst {way}": min(right[way]) for way in WAYS},
    }


def _of(numbers: Sequence[int], indices: Integer[np.ndarray, " objects"]) -> tuple[int, ...]:
    return tuple(sorted(numbers[index] for index in indices))


def table(document: Mapping[str, Any]) -> Table:
    """A row for each set, and one for the mean of all sets in each draw."""
    result = Table(
        title=f"Right points in %, at {document['alpha']:g}, from {document['supports']} annotated images, mean of "
        f"{document['draws']} draws",
        title_justify="left",
    )
    ways = ("suggested", "at random", "difference", "worst suggested", "worst at random")
    for heading in ("set", *ways[:3], "95 % interval", *ways[3:]):
        result.add_column(heading, justify="left" if heading == "set" else "right")
    for row in document["rows"]:
        low, high = row["interval"]
        cells = [row["set"], f"{row[ways[0]]:.1f}", f"{row[ways[1]]:.1f}", f"{row[ways[2]]:+.1f}"]
        result.add_row(*cells, f"{low:+.1f} to {high:+.1f}", f"{row[ways[3]]:.1f}", f"{row[ways[4]]:.1f}")
    return result


if __name__ == "__main__":
    sys.exit(main(app))
