"""What the suggestion of images to annotate is worth: five suggested ones against five at random.

``python -m benchmarks.suggest [--toy bird --toy animal] [--split test] [--half held-out] [--draws 20] [--json FILE]``

Each draw divides a set at random into targets and a pool. Of the pool, images are suggested and others drawn at random;
the points of the same targets are predicted from both.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
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
    rows = []
    with tempfile.TemporaryDirectory(prefix="semcorr-suggest-") as folder:
        for known, configuration in _sets(Path(folder), toy, split, mouse=mouse, turns=turns):
            numbers = transfers.numbers_of(len(known.objects), half if known.name == objects.MOUSE else "all")
            rows.append(_measure(known, configuration, numbers, supports, draws, targets))
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
) -> dict[str, Any]:
    matcher = configuration.spec().load()
    keep_features(matcher.unwrapped, {}, by_settings=True)  # type: ignore[arg-type]  # both methods compare features
    images = [load_image(known.objects[number].image.path) for number in numbers]
    distance = suggest.distances(np.stack([suggest.describe(matcher, image) for image in images]))
    right: dict[str, list[float]] = {"suggested": [], "at random": []}
    with console.TerminalProgress() as progress:
        for draw in range(draws):
            order = np.random.default_rng([draw, len(numbers)]).permutation(len(numbers))
            predicted, pool = order[:targets], order[targets:]
            chosen = suggest.choose_spread(distance[np.ix_(pool, pool)], supports)
            for way, choice in {"suggested": pool[chosen].tolist(), "at random": pool[:supports].tolist()}.items():
                one = Draw(half="all", supports=_of(numbers, choice), targets=_of(numbers, predicted.tolist()))
                errors = transfers.predict(known, one, configuration, matcher).errors
                right[way].append(100 * float((errors <= ALPHAS[HEADLINE]).mean()))
            progress("draws", draw + 1, draws, set=known.name)
    difference = np.subtract(right["suggested"], right["at random"])
    return {
        "set": known.name,
        **{way: float(np.mean(values)) for way, values in right.items()},
        "difference": float(difference.mean()),
        "interval": difference_interval(difference.tolist()),
        "worst suggested": min(right["suggested"]),
        "worst at random": min(right["at random"]),
    }


def _of(numbers: Sequence[int], indices: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(numbers[index] for index in indices))


def table(document: Mapping[str, Any]) -> Table:
    """A row for each set."""
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
