"""The toy benchmark's table: PCK of every method, overall and in groups of pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from semcorr.evaluation import pck
from semcorr.evaluation.toy import WORDLESS, ToyPair
from semcorr.evaluation.toy_run import Outcome
from semcorr.toy.objects import CATEGORIES

REFERENCE_BASELINE = "same position in the true box"


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One method's figures; every PCK is per point unless its name says otherwise, intervals are 95 % over pairs.

    ``groups`` maps a group of pairs or points to its PCK@0.1; ``lead`` is the gain in PCK@0.1 over *same position
    in the true box* with its interval (the same pairs drawn for both).
    """

    name: str
    pairs: int
    points: int
    pck10: float
    interval10: tuple[float, float]
    pck10_per_image: float
    pck05: float
    interval05: tuple[float, float]
    lead: float
    lead_interval: tuple[float, float]
    groups: dict[str, float]
    describe_seconds: float | None
    locate_seconds: float | None


GROUPS: tuple[str, ...] = (*CATEGORIES, "same way", "opposite ways", "frontal", "points with a word", "without a word")


def build_table(pairs: Sequence[ToyPair], outcomes: Sequence[Outcome]) -> list[TableRow]:
    """One row an outcome, in order; the reference baseline must be among them."""
    by_name = {outcome.name: _correct(pairs, outcome, 0.1) for outcome in outcomes}
    reference = by_name[REFERENCE_BASELINE]
    return [_row(pairs, outcome, by_name[outcome.name], reference) for outcome in outcomes]


def _row(pairs: Sequence[ToyPair], outcome: Outcome, right: list[np.ndarray], reference: list[np.ndarray]) -> TableRow:
    finer = _correct(pairs, outcome, 0.05)
    return TableRow(
        name=outcome.name,
        pairs=sum(len(pair.names) > 0 for pair in pairs),
        points=sum(len(pair.names) for pair in pairs),
        pck10=pck.per_point(right),
        interval10=pck.bootstrap(right),
        pck10_per_image=pck.per_image(right),
        pck05=pck.per_point(finer),
        interval05=pck.bootstrap(finer),
        lead=pck.per_point(right) - pck.per_point(reference),
        lead_interval=pck.bootstrap_difference(right, reference),
        groups={name: _group(name, pairs, right) for name in GROUPS},
        describe_seconds=float(np.mean(outcome.describe_seconds)) if outcome.describe_seconds else None,
        locate_seconds=float(np.mean(outcome.locate_seconds)) if outcome.locate_seconds else None,
    )


def _correct(pairs: Sequence[ToyPair], outcome: Outcome, alpha: float) -> list[np.ndarray]:
    return [
        pck.correct(predicted, pair.target_points, pair.size, alpha)
        for pair, predicted in zip(pairs, outcome.predictions, strict=True)
    ]


def _group(name: str, pairs: Sequence[ToyPair], right: list[np.ndarray]) -> float:
    facing = {"same way": "same", "opposite ways": "opposite", "frontal": "front"}
    if name in facing:
        return pck.per_point([r for pair, r in zip(pairs, right, strict=True) if pair.facing == facing[name]])
    if name in CATEGORIES:
        return pck.per_point([r for pair, r in zip(pairs, right, strict=True) if pair.category == name])
    wanted: Callable[[str], bool] = (
        (lambda n: n in WORDLESS) if name == "without a word" else (lambda n: n not in WORDLESS)
    )
    masks = [np.array([wanted(n) for n in pair.names], dtype=bool) for pair in pairs]
    return pck.per_point([r[mask] for r, mask in zip(right, masks, strict=True)])
