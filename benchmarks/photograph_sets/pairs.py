"""PF-WILLOW: every ordered pair of the images of a sub-class, as the benchmark has them."""

import functools
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.photograph_sets.configurations import Configuration
from benchmarks.photograph_sets.figures import ALPHAS, HEADLINE, Figures, Half, confidence_of, image_intervals
from semcorr.datasets import registry
from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.errors import SemcorrError
from semcorr.evaluation.metrics.pck import averages, is_correct
from semcorr.evaluation.metrics.protocol import Protocol
from semcorr.evaluation.metrics.scores import score
from semcorr.evaluation.runs.baselines import BASELINES, guessed
from semcorr.evaluation.runs.records import PairRecord
from semcorr.evaluation.runs.units import units_of
from semcorr.imaging.image import Image, load_image
from semcorr.keypoints.shapes import extent
from semcorr.matchers.base import Matcher
from semcorr.matchers.wrappers.calibration import CalibratedMatcher
from semcorr.storage.record_store import Shard

NAME = "PF-WILLOW"
DEVELOPMENT = ("car(M)", "car(S)", "duck(S)", "motorbike(G)", "winebottle(M)")
"""The sub-classes that choices are made on; the other half is held out."""

PROTOCOL = Protocol(threshold="keypoints")


def read(folder: Path, limit: int | None = None) -> Dataset:
    """Read the pairs; with a limit so many of every sub-class, the first ones.

    Raises:
        DatasetError: The folder holds no PF-WILLOW.
    """
    dataset = registry.load("pf-willow", folder)
    numbers: dict[str, int] = {}
    pairs = []
    for pair in dataset.pairs:
        numbers[pair.category] = numbers.get(pair.category, 0) + 1
        if limit is None or numbers[pair.category] <= limit:
            pairs.append(pair)
    return replace(dataset, pairs=pairs)


def in_half(category: str, half: Half) -> bool:
    """Whether a sub-class is in a half."""
    return half == "all" or (category in DEVELOPMENT) == (half == "development")


def predict(
    dataset: Dataset, configuration: Configuration, matcher: Matcher | None
) -> Iterator[tuple[PairRecord, bool]]:
    """Match all pairs, each source described once: records, and whether their confidence is calibrated.

    A pair that fails becomes a record with its error.

    Args:
        dataset: The pairs.
        configuration: What is measured.
        matcher: What was loaded for it; None for a baseline.
    """
    for unit in units_of(dataset, Shard(), set()):
        query = None if matcher is None else matcher.describe(_image(unit.pairs[0].source.path), unit.points)
        for index, pair, rows in zip(unit.indices, unit.pairs, unit.rows, strict=True):
            record = _unpredicted(index, pair)
            try:
                if matcher is None or query is None:
                    yield guessed(record, BASELINES[configuration.method]), False
                else:
                    target = _image(pair.target.path)
                    points, confidence = matcher.locate_points(query.take(rows), target)
                    holds = isinstance(matcher, CalibratedMatcher) and matcher.holds(query, target)
                    yield replace(record, predicted=points, confidence=confidence), holds
            except SemcorrError as error:
                yield replace(record, error=str(error)), False


def figures(predicted: Sequence[tuple[PairRecord, bool]], configuration: Configuration) -> list[Figures]:
    """Measure what :func:`predict` gave for one configuration: each half that has pairs, and all."""
    halves: tuple[Half, ...] = ("development", "held-out", "all")
    calibrated = {record.index for record, holds in predicted if holds}
    parts = [(half, [one for one, _ in predicted if in_half(one.category, half)]) for half in halves]
    return [_figures(part, configuration, half, calibrated) for half, part in parts if part]


def _figures(records: Sequence[PairRecord], configuration: Configuration, half: Half, calibrated: Set[int]) -> Figures:
    scores = score(records, PROTOCOL)
    counts = scores.counts(ALPHAS)
    images = {name: number for number, name in enumerate(sorted({n for r in records for n in (r.source, r.target)}))}
    groups = {name: number for number, name in enumerate(sorted({record.category for record in records}))}
    intervals = image_intervals(
        counts,
        np.array([images[record.source] for record in scores.records]),
        np.array([images[record.target] for record in scores.records]),
        np.array([groups[record.category] for record in scores.records]),
    )
    right = is_correct(scores.errors, ALPHAS[HEADLINE])
    sure = None
    if not configuration.is_baseline:
        numbers = zip(scores.records, scores.totals, strict=True)
        holds = np.concatenate([np.full(total, record.index in calibrated) for record, total in numbers])
        sure = confidence_of(scores.confidence(), right, holds)
    return Figures(
        configuration=configuration.name,
        images=NAME,
        half=half,
        pck=tuple((100 * averages(counts).per_image).tolist()),
        intervals=tuple(intervals),
        points=len(right),
        confidence=sure,
    )


def _unpredicted(index: int, pair: Pair) -> PairRecord:
    """A pair's record before its points are located; where there are no boxes, they are the extents of key-points."""
    return PairRecord(
        index=index,
        pair=pair.id,
        category=pair.category,
        names=pair.names,
        source=_name(pair.source),
        target=_name(pair.target),
        source_size=pair.source.size,
        target_size=pair.target.size,
        source_box=pair.source.box or extent(pair.source.points),
        target_box=pair.target.box or extent(pair.target.points),
        source_points=pair.source.points,
        truth=pair.target.points,
        predicted=np.zeros((0, 2)),
        confidence=np.zeros(0),
    )


def _name(side: PairImage) -> str:
    return f"{side.path.parent.name}/{side.path.name}"


@functools.lru_cache(maxsize=256)
def _image(path: Path) -> Image:
    return load_image(path)
