"""Measures of key-points that look alike, such as left and right paws, which the usual PCK hides."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from semcorr.datasets.registry import BENCHMARKS
from semcorr.datasets.similar_points import Groups
from semcorr.errors import SettingsError
from semcorr.evaluation.metrics.protocol import target_scales
from semcorr.evaluation.metrics.scores import Scores
from semcorr.evaluation.runs.records import PairRecord


def geometry_aware(scores: Scores, dataset: str) -> Bool[np.ndarray, " points"]:
    """The points of the geometry-aware subset: those whose target shows another key-point that looks alike.

    As Zhang et al. (CVPR 2024) define it, by the groups of :mod:`semcorr.datasets.similar_points`: a common point is in
    the subset if its group has at least two key-points that can be seen in the target, whether or not the source shows
    them. Their code renumbers the grouped key-points in the order of its list before it looks them up, which groups
    other points than are listed in the categories bus, car, pottedplant and tvmonitor and in AP-10K; here they are as
    listed, so figures of those categories differ from published ones.

    Args:
        scores: A run's points.
        dataset: The name of the run's data set.

    Raises:
        SettingsError: Its key-points are in no published groups.
    """
    groups_of = similar_points(dataset)
    masks = [_ambiguous(record, groups_of(record.category)) for record in scores.records]
    return np.array([value for mask in masks for value in mask], dtype=bool)


def similar_points(dataset: str) -> Callable[[str], Groups]:
    """The groups of each category of a data set.

    Raises:
        SettingsError: None are published.
    """
    benchmark = BENCHMARKS.get(dataset)
    if benchmark is None or benchmark.similar_points is None:
        having = [one.name for one in BENCHMARKS.values() if one.similar_points]
        raise SettingsError(
            f"There are no published groups of key-points that look alike for {dataset!r}, so it has no geometry-aware "
            f"subset. Data sets that have one: {', '.join(having)}."
        )
    return benchmark.similar_points


def _ambiguous(record: PairRecord, groups: Groups) -> Sequence[bool]:
    """For every common point whether the target shows another one of its group."""
    seen = {*record.names, *record.target_unmatched}
    ambiguous = {name for group in groups if len(seen.intersection(group)) > 1 for name in group}
    return [name in ambiguous for name in record.names]


def nearest_only(scores: Scores) -> Scores:
    """The scores in which a point that is nearer to another key-point is wrong, however near to its own it is: PCK†.

    As in *Demystifying Unsupervised Semantic Correspondence Estimation* (Aygün and Mac Aodha, ECCV 2022), by the code
    of Jamais Vu (VICO-UoE/JamaisVu, ``--PCKD``): the other key-points are those that both images of the pair show. A
    point as near to its own as to another is right. Distances are in the protocol's frame.
    """
    scales = target_scales(scores.records, scores.protocol)
    rows = [
        np.zeros(len(record.truth), dtype=bool) if failed else _is_nearest(record, scale)
        for record, scale, failed in zip(scores.records, scales, scores.failed, strict=True)
    ]
    nearest = np.concatenate(rows) if rows else np.zeros(0, dtype=bool)
    return replace(scores, errors=np.where(nearest, scores.errors, np.inf))


def _is_nearest(record: PairRecord, scale: Float[np.ndarray, " 2"]) -> Bool[np.ndarray, " points"]:
    distances = np.linalg.norm((record.predicted[:, None] - record.truth[None]) * scale, axis=2)
    nearest: Bool[np.ndarray, " points"] = np.diag(distances) <= distances.min(axis=1, initial=np.inf)
    return nearest
