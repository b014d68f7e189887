"""The same matching layer on the toy world, by the features of its model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from benchmarks.kept_features import keep_features
from benchmarks.photograph_sets import pairs
from benchmarks.photograph_sets.configurations import Configuration
from benchmarks.photograph_sets.figures import ALPHAS
from semcorr.datasets.base import Dataset
from semcorr.evaluation.metrics import pck
from semcorr.evaluation.metrics.protocol import named
from semcorr.evaluation.metrics.scores import score
from semcorr.evaluation.report.tables import Column, Row, Table, Value
from semcorr.matchers.features import FeatureMatcher
from semcorr.progress import Progress

_ALPHAS = ALPHAS[:2]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The right points of every pair, of one configuration."""

    configuration: Configuration
    counts: pck.Counts


def measure(dataset: Dataset, configurations: Sequence[Configuration], progress: Progress) -> Iterator[Measured]:
    """Measure every configuration on the pairs; the network runs once for an image."""
    known: dict[str, Tensor] = {}
    total, done = len(configurations) * len(dataset.pairs), 0
    for configuration in configurations:
        matcher = configuration.spec().with_options(calibration="none").load()
        method = matcher.unwrapped
        assert isinstance(method, FeatureMatcher)  # noqa: S101  # all of the toy world's are
        keep_features(method, known)
        records = []
        for record, _ in pairs.predict(dataset, configuration, matcher):
            records.append(record)
            done += 1
            progress("pairs", done, total, now=configuration.name)
        counts = score(records, named(dataset.threshold)).counts(_ALPHAS)
        yield Measured(configuration=configuration, counts=counts)


def table_of(dataset: Dataset, measured: Sequence[Measured]) -> Table:
    """A row for each configuration, with what it gains over the first, the same pairs drawn for both."""
    columns: list[Column] = []
    for alpha in _ALPHAS:
        columns += [
            Column(key=f"@{alpha:g}", heading=f"@{alpha:g}", kind="percent"),
            Column(key=f"@{alpha:g} 95%", heading="95 %", kind="interval"),
            Column(key=f"gain @{alpha:g}", heading="gain", kind="gain"),
            Column(key=f"gain @{alpha:g} 95%", heading="95 %", kind="interval"),
        ]
    rows = [Row(name=one.configuration.name, values=tuple(_values(one, measured))) for one in measured]
    points = sum(len(pair.names) for pair in dataset.pairs)
    return Table(
        title=f"toy {dataset.split}, {len(dataset.pairs)} pairs, {points:,} points: right points in %, per point, with "
        "95 % intervals over pairs, and gains over the first row",
        by="overall",
        dataset="toy",
        protocol=str(named(dataset.threshold)),
        columns=tuple(columns),
        rows=tuple(rows),
    )


def _values(one: Measured, measured: Sequence[Measured]) -> Iterator[Value]:
    first = measured[0]
    own, others = pck.averages(one.counts).per_point, pck.averages(first.counts).per_point
    ends = pck.intervals(one.counts).per_point
    gains = pck.intervals(one.counts, first.counts).per_point
    for index in range(len(_ALPHAS)):
        yield round(100 * float(own[index]), 6)
        yield _rounded(ends[index])
        is_first = one is first
        yield None if is_first else round(100 * float(own[index] - others[index]), 6)
        yield None if is_first else _rounded(gains[index])


def _rounded(ends: Float[np.ndarray, "2"]) -> tuple[float, float]:
    low, high = ends.tolist()
    return round(100 * low, 6), round(100 * high, 6)
