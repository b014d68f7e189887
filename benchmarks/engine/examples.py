"""One, two or five annotated drawings: a query each and a vote, or one query that is optimized over all of them.

``python -m benchmarks.engine examples [--draws 3] [--targets 6] [--split test] [--json FILE]``

Points are predicted as ``semcorr transfer --fuse vote`` and ``--fuse optimize`` predict them, from the same annotated
drawings in the same targets.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float
from rich.table import Table

from benchmarks.command import save_json
from benchmarks.corrections import drawings
from benchmarks.photograph_sets.figures import difference_interval, mean_interval
from benchmarks.photograph_sets.transfers import Annotated as AnnotatedObject
from benchmarks.photograph_sets.transfers import ObjectSet, draws_of
from semcorr.cli import console
from semcorr.cli.options import Repeated
from semcorr.errors import SettingsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import Split
from semcorr.transfer.fusion import fuse, locate_supports
from semcorr.transfer.support_queries import DescribedSupport, SupportQueries
from semcorr.transfer.supports import Support

ALPHAS = (0.05, 0.1)
WAYS = ("vote", "optimize")

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class _Way:
    """A number of supports and what they become: some of all described queries.

    Attributes:
        name: One of :data:`WAYS`.
        supports: The number of supports.
        queries: The numbers of its queries.
    """

    name: str
    supports: int
    queries: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Described:
    """All queries of a draw, and the processor time that each took."""

    queries: Sequence[DescribedSupport]
    seconds: Sequence[float]
    ways: Sequence[_Way]


def measure(
    *,
    method: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = ("prompt", "attention-dift"),
    preset: str = "fast",
    support: Annotated[tuple[int, ...], Parameter(negative="", consume_multiple=True)] = (1, 2, 5),
    draws: int = 3,
    targets: int = 6,
    category: Repeated = (),
    split: Split = "test",
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
) -> int:
    """Compare a vote of several annotated drawings with one query that is optimized over all of them.

    Args:
        method: What matches; several for more.
        preset: Its settings by name.
        support: Numbers of annotated drawings.
        draws: How many times supports are drawn in each category.
        targets: Drawings that points are predicted in, of each draw.
        category: Only this category; repeat for more.
        split: Which drawings.
        json_file: A file that all figures are written to as well.
    """
    if not support or min(support) < 1 or min(draws, targets) < 1:
        raise SettingsError("Expected at least 1 support, 1 draw and 1 target.")
    counts = tuple(sorted(set(support)))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="semcorr-engine-") as folder, console.TerminalProgress() as progress:
        sets = [
            drawings(Path(folder) / name, name, count=max(counts) + targets * draws, split=split)
            for name in category or tuple(CATEGORIES)
        ]
        for name in method:
            matcher = load_matcher(name, "toy", preset, calibration="none")
            measured = []
            for number, (known, draw) in enumerate((one, draw) for one in sets for draw in range(draws)):
                measured.append(_draw(known, draw, matcher, counts, draws, targets))
                progress("draws", number + 1, len(sets) * draws, method=name)
            rows += _rows(f"{name}:{preset}", measured)
    document = {"split": split, "draws": draws, "targets": targets, "categories": len(sets), "rows": rows}
    console.show(table(document))
    if json_file is not None:
        save_json(document, json_file)
    return 0


Outcome = Mapping[_Way, tuple[Float[np.ndarray, " alphas"], float, float]]
"""Right points in %, and processor seconds of describing, and of locating in one target."""


def _draw(known: ObjectSet, number: int, matcher: Matcher, counts: Sequence[int], draws: int, targets: int) -> Outcome:
    """One draw of supports: all queries are located in a target at once, and each way fuses its own."""
    draw = draws_of(len(known.objects), max(counts), draws)[number]
    # Supports are sorted there; which of them are the first few is drawn as well.
    order = np.random.default_rng([number, len(known.objects)]).permutation(list(draw.supports)).tolist()
    described = _describe(matcher, known, order, counts)
    chosen = [known.objects[one] for one in draw.targets[number * targets : (number + 1) * targets]]
    right: dict[_Way, list[Float[np.ndarray, "alphas points"]]] = {way: [] for way in described.ways}
    for one in chosen:
        image = load_image(one.image.path)
        matches = locate_supports(matcher, described.queries, image)
        for way in described.ways:
            queries = [described.queries[index] for index in way.queries]
            fused = fuse(queries, [matches[index] for index in way.queries], len(known.category.keypoints), image.size)
            right[way].append(_right(one, fused.points))
    first = load_image(chosen[0].image.path)
    return {
        way: (
            100 * np.concatenate(right[way], axis=1).mean(axis=1),
            sum(described.seconds[index] for index in way.queries),
            _locating(matcher, [described.queries[index] for index in way.queries], first),
        )
        for way in described.ways
    }


def _describe(matcher: Matcher, known: ObjectSet, order: Sequence[int], counts: Sequence[int]) -> _Described:
    category = known.category.name
    supports = [
        Support(image=one.image, instance=one.instance, keypoints=np.flatnonzero(one.marked))
        for one in (known.objects[number] for number in order)
    ]
    queries: list[DescribedSupport] = []
    seconds: list[float] = []
    for support in supports:
        alone = SupportQueries(matcher, {category: [support]}, margin=0)
        (query,), spent = _timed(lambda alone=alone: alone.described(category, cut=False))  # type: ignore[misc]
        queries.append(query)
        seconds.append(spent)
    ways = [_Way(name="vote", supports=count, queries=tuple(range(count))) for count in counts]
    for count in (one for one in counts if one > 1):
        group = SupportQueries(matcher, {category: supports[:count]}, margin=0)
        query, spent = _timed(lambda group=group: group.together(category, cut=False))  # type: ignore[misc]
        ways.append(_Way(name="optimize", supports=count, queries=(len(queries),)))
        queries.append(query)
        seconds.append(spent)
    return _Described(queries=queries, seconds=seconds, ways=ways)


def _locating(matcher: Matcher, queries: Sequence[DescribedSupport], image: Image) -> float:
    _, seconds = _timed(lambda: locate_supports(matcher, queries, image))
    return seconds


def _timed(work: Callable[[], R]) -> tuple[R, float]:
    """The result, and the processor time: other work on the machine does not count."""
    began = time.process_time()
    return work(), time.process_time() - began


def _right(target: AnnotatedObject, points: Float[np.ndarray, "keypoints 2"]) -> Float[np.ndarray, "alphas points"]:
    """Which visible points are right, at every alpha; a key-point that no support shows is wrong."""
    distances = np.linalg.norm(points - target.instance.points, axis=1)[target.marked]
    return np.array([np.nan_to_num(distances, nan=np.inf) <= alpha * target.threshold for alpha in ALPHAS], dtype=float)


def _rows(name: str, measured: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    """A row for each way: means over draws, Student's intervals, and what optimizing gains over the vote."""
    ways = sorted(measured[0], key=lambda way: (way.supports, WAYS.index(way.name)))
    for way in ways:
        values = np.array([one[way][0] for one in measured])
        gains = None
        if way.name == "optimize":
            (vote,) = (other for other in ways if (other.name, other.supports) == ("vote", way.supports))
            gains = values - np.array([one[vote][0] for one in measured])
        yield {
            "method": name,
            "supports": way.supports,
            "fuse": way.name if way.supports > 1 else "",
            "pck": values.mean(axis=0).tolist(),
            "intervals": [mean_interval(column) for column in values.T.tolist()],
            "gain": None if gains is None else gains.mean(axis=0).tolist(),
            "gain intervals": None if gains is None else [difference_interval(column) for column in gains.T.tolist()],
            "describe": float(np.mean([one[way][1] for one in measured])),
            "locate": float(np.mean([one[way][2] for one in measured])),
        }


def table(document: Mapping[str, Any]) -> Table:
    """A row for each method, number of annotated drawings and way to fuse them."""
    result = Table(
        title=f"toy {document['split']}, {document['categories']} categories, {document['draws']} draws of annotated "
        f"drawings each, {document['targets']} targets a draw: right points in %, with 95 % intervals over draws; "
        "processor seconds",
        title_justify="left",
    )
    gains = [heading for alpha in ALPHAS for heading in (f"@{alpha:g}", "95 %")]
    headings = ("method", "annotated", "fuse", *gains, f"optimize − vote @{ALPHAS[-1]:g}", "95 %", "describe", "locate")
    for heading in headings:
        result.add_column(heading, justify="left" if heading in ("method", "fuse") else "right")
    for row in document["rows"]:
        cells = [row["method"], str(row["supports"]), row["fuse"]]
        for value, interval in zip(row["pck"], row["intervals"], strict=True):
            cells += [f"{value:.1f}", _interval(interval, "")]
        if row["gain"] is None:
            cells += ["", ""]
        else:
            cells += [f"{row['gain'][-1]:+.1f}", _interval(row["gain intervals"][-1], "+")]
        result.add_row(*cells, f"{row['describe']:.1f}", f"{row['locate']:.2f}")
    return result


def _interval(ends: Sequence[float] | None, sign: str) -> str:
    return "" if ends is None else f"{ends[0]:{sign}.1f} to {ends[1]:{sign}.1f}"
