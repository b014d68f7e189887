"""A run's records under one protocol: every point's error, groups of points, and their figures."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from semcorr.errors import RunError
from semcorr.evaluation.metrics import pck
from semcorr.evaluation.metrics.protocol import Protocol, target_scales, threshold_sizes
from semcorr.evaluation.runs.records import PairRecord

Select = Callable[[PairRecord], Float[np.ndarray, "predicted 2"] | None]
"""Returns those of a record's predictions that are scored; None if it has no such ones."""

Alternative = Literal["layers", "rounds", "crops"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Every point's error, in the data set's order.

    Attributes:
        protocol: How points are measured.
        records: The pairs.
        failed: The pairs whose points count as wrong.
        errors: Distances divided by the pair's threshold size; infinite where there is no prediction.
        pair: The index in ``records`` of every point's pair.
    """

    protocol: Protocol
    records: tuple[PairRecord, ...]
    failed: Bool[np.ndarray, " pairs"]
    errors: Float[np.ndarray, " points"]
    pair: Int[np.ndarray, " points"]

    @cached_property
    def totals(self) -> Int[np.ndarray, " pairs"]:
        """The number of every pair's points."""
        return np.bincount(self.pair, minlength=len(self.records))

    def counts(self, alphas: Sequence[float], group: Bool[np.ndarray, " points"] | None = None) -> pck.Counts:
        """Right points of every pair, among all its points or those in ``group``."""
        errors, pair = (self.errors, self.pair) if group is None else (self.errors[group], self.pair[group])
        return pck.count(errors, pair, len(self.records), alphas)

    def confidence(self) -> Float[np.ndarray, " points"]:
        """Every point's confidence, 0 where the pair failed or has none."""
        by_pair = [
            record.confidence if len(record.confidence) == total else np.zeros(total)
            for record, total in zip(self.records, self.totals, strict=True)
        ]
        return np.concatenate(by_pair) if by_pair else np.zeros(0)

    def averages(self, alphas: Sequence[float], group: Bool[np.ndarray, " points"] | None = None) -> pck.Averages:
        """PCK of all points, or of a group: its pairs are those with points in it."""
        return pck.averages(self.counts(alphas, group))


def score(records: Sequence[PairRecord], protocol: Protocol, select: Select | None = None) -> Scores:
    """Measure the predictions of a run, or others that its records hold (see :func:`alternative`).

    **All points of a pair that failed count as wrong**, as do those of a pair without the selected predictions: a
    method must not gain by giving up on hard pairs. Their number is reported beside every figure. Coordinates that are
    not finite are wrong too. If the threshold's size is 0, only an exact hit is right. The order of ``records`` has no
    influence.

    Raises:
        SettingsError: The protocol's rule needs a box that a pair does not have.
        RunError: A record has another number of predictions than of points.
    """
    ordered = tuple(sorted(records, key=lambda record: (record.index, record.pair)))
    sizes, scales = threshold_sizes(ordered, protocol), target_scales(ordered, protocol)
    predictions = [_predictions(record, select) for record in ordered]
    totals = np.array([len(record.truth) for record in ordered], dtype=np.int64)
    pair = np.repeat(np.arange(len(ordered)), totals)
    if not len(pair):
        failed = np.array([bool(record.error) for record in ordered], dtype=bool)
        return Scores(protocol=protocol, records=ordered, failed=failed, errors=np.zeros(0), pair=pair)
    truth = np.concatenate([record.truth for record in ordered])
    predicted = np.concatenate(
        [np.full((n, 2), np.nan) if points is None else points for points, n in zip(predictions, totals, strict=True)]
    )
    distances = np.linalg.norm((predicted - truth) * scales[pair], axis=1)
    exact = np.where(distances == 0, 0.0, np.inf)
    errors = np.divide(distances, sizes[pair], out=exact, where=sizes[pair] > 0)
    return Scores(
        protocol=protocol,
        records=ordered,
        failed=np.array([points is None for points in predictions], dtype=bool),
        errors=np.where(np.isfinite(errors), errors, np.inf),
        pair=pair,
    )


def alternative(kind: Alternative, name: str) -> Select:
    """The predictions of one layer alone, or after so many embeddings ("rounds") or crops."""

    def select(record: PairRecord) -> Float[np.ndarray, "predicted 2"] | None:
        predictions: Mapping[str, np.ndarray] = getattr(record, kind)
        return predictions.get(name)

    return select


def alternatives(records: Sequence[PairRecord], kind: Alternative) -> list[str]:
    """Names of a run's alternative predictions: numbers in ascending order, layers as in the records."""
    in_order = sorted(records, key=lambda record: (record.index, record.pair))
    names = list(dict.fromkeys(name for record in in_order for name in getattr(record, kind)))
    return sorted(names, key=int) if kind != "layers" else names


def _predictions(record: PairRecord, select: Select | None) -> Float[np.ndarray, "predicted 2"] | None:
    """The points to score, or None where the pair failed."""
    points = record.predicted if select is None else select(record)
    count, missing = len(record.truth), record.error or points is None or not len(points)
    if len(record.names) != count or (points is not None and not missing and len(points) != count):
        raise RunError(
            f"The record of pair {record.pair} is broken: {0 if points is None else len(points)} predictions and "
            f"{len(record.names)} names for {count} points. Run the pair again, in a new folder."
        )
    if not count and not record.error:
        return np.zeros((0, 2))
    return None if missing else points


# --- groups -----------------------------------------------------------------------------------------------------------


def by_category(scores: Scores) -> dict[str, Bool[np.ndarray, " _"]]:
    """The points of every category that has any, by name."""
    return _by([record.category for record in scores.records], scores)


def by_flag(scores: Scores, flag: str) -> dict[str, Bool[np.ndarray, " _"]]:
    """The points of the pairs with every value of a flag; pairs without the flag are in none."""
    values = [record.flags.get(flag) for record in scores.records]
    # Numbers in their order, not as text: 2 before 10.
    known = sorted({value for value in values if value is not None}, key=lambda v: (isinstance(v, str), v))
    groups = _by([None if value is None else str(value) for value in values], scores)
    return {str(value): groups[str(value)] for value in known if str(value) in groups}


def flags(scores: Scores) -> list[str]:
    """Every flag that any pair has: SPair-71k's four in their usual order, then the others sorted."""
    usual = ["viewpoint", "scale", "truncation", "occlusion"]
    present = {flag for record in scores.records for flag in record.flags}
    return [flag for flag in usual if flag in present] + sorted(present.difference(usual))


def by_point(scores: Scores, sets: Mapping[str, Collection[str]] | None = None) -> dict[str, Bool[np.ndarray, " _"]]:
    """The points of every name, or of every named set of names that has any."""
    names = np.array([name for record in scores.records for name in record.names], dtype=object)
    if sets is None:
        known: set[str] = set(names.tolist())
        # Data sets without names number their points.
        sets = {name: (name,) for name in sorted(known, key=_number_first)}
    groups = {label: np.isin(names, np.array(list(members), dtype=object)) for label, members in sets.items()}
    return {label: group for label, group in groups.items() if group.any()}


def _number_first(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def _by(keys: Sequence[str | None], scores: Scores) -> dict[str, Bool[np.ndarray, " _"]]:
    known = sorted({key for key in keys if key is not None})
    number = {key: index for index, key in enumerate(known)}
    of_point = np.array([-1 if key is None else number[key] for key in keys], dtype=np.int64)[scores.pair]
    groups = {key: of_point == index for key, index in number.items()}
    return {key: group for key, group in groups.items() if group.any()}


# --- figures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """The figures of all pairs. PCK and areas are fractions, and NaN where there are no points.

    Attributes:
        pairs: The number of records.
        points: The number of points.
        empty: The number of pairs without common points, which are in no average.
        failed: The number of pairs that count as wrong.
        averages, intervals: PCK and its intervals at every alpha.
        macro: The mean over categories.
        mean_error, median_error: Errors as fractions of the threshold's size, over the points with a prediction; None
            if there are none.
        area_per_image, area_per_point: The area under the PCK curve, see
            :func:`semcorr.evaluation.metrics.pck.area`.
    """

    pairs: int
    points: int
    empty: int
    failed: int
    averages: pck.Averages
    intervals: pck.Intervals
    macro: pck.Averages
    mean_error: float | None
    median_error: float | None
    area_per_image: float
    area_per_point: float


def summarise(scores: Scores, alphas: Sequence[float], *, highest: float = 0.2) -> Summary:
    """Compute all figures; ``highest`` is the largest alpha of the area under the curve."""
    counts = scores.counts(alphas)
    finite = scores.errors[np.isfinite(scores.errors)]
    area_image, area_point = pck.area(scores.errors, scores.pair, len(scores.records), highest)
    return Summary(
        pairs=len(scores.records),
        points=len(scores.errors),
        empty=int((scores.totals == 0).sum()),
        failed=int(scores.failed.sum()),
        averages=pck.averages(counts),
        intervals=pck.intervals(counts),
        macro=macro(scores, alphas),
        mean_error=float(finite.mean()) if len(finite) else None,
        median_error=float(np.median(finite)) if len(finite) else None,
        area_per_image=area_image,
        area_per_point=area_point,
    )


def macro(scores: Scores, alphas: Sequence[float]) -> pck.Averages:
    """The mean over the categories that have points of each one's PCK, however many pairs each has."""
    each = [scores.averages(alphas, group) for group in by_category(scores).values()]
    if not each:
        return scores.averages(alphas)
    return pck.Averages(
        per_image=np.mean([one.per_image for one in each], axis=0),
        per_point=np.mean([one.per_point for one in each], axis=0),
    )
