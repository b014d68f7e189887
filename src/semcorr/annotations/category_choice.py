"""Which category an object is of where no box says it: the one whose supports explain the image best.

The mean confidence of points does not tell categories apart: it is calibrated for points of the right category. Two
other measures do, and both are compared with what the same category's supports give on annotated images of others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from semcorr.annotations.supports import DescribedSupport, Support, Vote, vote
from semcorr.images import Image
from semcorr.matching import Matches

MARGIN = 0.5
"""By how much the first category must lead, in units of the gap between images of a category and images of others."""

_WEIGHTS = (1.0, 0.5)
"""Of similarity and shape. They and the margin were chosen on validation drawings of the toy world."""

_LEAST = 1e-3

Evidence = Float[np.ndarray, "2"]
"""How well the supports of a category explain an image: similarity and shape; larger is better, NaN where unknown."""


def evidence(supports: Sequence[DescribedSupport], matches: Sequence[Matches], result: Vote) -> Evidence:
    """Similarity and shape of a category in an image.

    Similarity is the mean over supports and key-points of a heat map's highest value. Shape is minus the mean over
    supports of the part of the predicted points' spread that no similarity transform (turned, scaled, moved, mirrored)
    of the support's points explains, each point weighted by its confidence.
    """
    similarity = np.concatenate([found.heatmaps.max(axis=(1, 2)) for found in matches]).mean()
    residuals = [
        _unexplained(support.query.points, result.points[support.keypoints], result.confidence[support.keypoints])
        for support in supports
    ]
    known = [residual for residual in residuals if residual is not None]
    return np.array([float(similarity), -float(np.mean(known)) if known else np.nan])


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """What evidence is compared with.

    Attributes:
        others: By category, the mean evidence on annotated images of other categories.
        gap: How much more there is on annotated images of the category itself, the mean over categories; NaN where that
            cannot be known, as nowhere two supports are of one category, and where it is not so in every category.
    """

    others: Mapping[str, Evidence]
    gap: Evidence

    def score(self, category: str, found: Evidence) -> float:
        """0 as on images of other categories; 1.5 as on images of this one, where both measures count; NaN: unknown."""
        parts = [
            weight * (value - level) / gap
            for weight, value, level, gap in zip(_WEIGHTS, found, self.others[category], self.gap, strict=True)
            if gap > _LEAST and np.isfinite(value) and np.isfinite(level)
        ]
        return float(sum(parts)) if parts else float("nan")

    def choose(self, groups: Sequence[Sequence[str]], found: Mapping[str, Evidence]) -> tuple[str, ...] | None:
        """The group of categories that leads by :data:`MARGIN`; None: it is doubtful."""
        scores = [float(np.mean([self.score(category, found[category]) for category in group])) for group in groups]
        if not np.isfinite(scores).all():
            return None
        order = np.argsort(scores)
        return tuple(groups[order[-1]]) if scores[order[-1]] - scores[order[-2]] >= MARGIN else None


def exclusive_groups(supports: Mapping[str, Sequence[Support]]) -> list[tuple[str, ...]]:
    """Categories, put together where an annotated image shows them together: between groups one is to be chosen."""
    groups = [{category} for category in supports]
    shown: dict[str, set[str]] = {}
    for category, chosen in supports.items():
        for support in chosen:
            together = {one.category for one in support.picture.instances if one.annotated} & set(supports)
            shown.setdefault(category, set()).update(together)
    for together in shown.values():
        joined = set().union(*(group for group in groups if group & together))
        groups = [group for group in groups if not group & together] + [joined]
    order = list(supports)
    return sorted((tuple(sorted(group, key=order.index)) for group in groups), key=lambda group: order.index(group[0]))


def measure_levels(
    supports: Mapping[str, Sequence[Support]],
    described: Mapping[str, Sequence[DescribedSupport]],
    locate: Callable[[Image, Sequence[DescribedSupport]], Sequence[Matches]],
    load: Callable[[Support], Image],
) -> Levels:
    """Transfer supports to each other: every category's to every annotated image, never an image's to itself.

    Args:
        supports: By category.
        described: The same, in the same order.
        locate: Locates the points of described supports in an image.
        load: Reads a support's image.
    """
    own: dict[str, list[Evidence]] = {category: [] for category in supports}
    others: dict[str, list[Evidence]] = {category: [] for category in supports}
    images = {support.picture.path: support for chosen in supports.values() for support in chosen}
    for path, source in images.items():
        shown = {one.category for one in source.picture.instances if one.annotated}
        used = {
            category: [
                one for one, support in zip(described[category], chosen, strict=True) if support.picture.path != path
            ]
            for category, chosen in supports.items()
        }
        image = load(source)
        matches = iter(locate(image, [one for group in used.values() for one in group]))
        for category, group in used.items():
            found = [next(matches) for _ in group]
            if group:
                keypoints = len(supports[category][0].instance.points)
                value = evidence(group, found, vote(group, found, keypoints, image.size))
                (own if category in shown else others)[category].append(value)
    gaps = [
        np.mean(own[category], axis=0) - np.mean(others[category], axis=0)
        for category in supports
        if own[category] and others[category]
    ]
    unknown = np.full(2, np.nan)
    # A measure that is no larger on any one category's own images would choose others in its place.
    tells = (np.array(gaps).reshape(-1, 2) > 0).all(axis=0)
    return Levels(
        others={category: np.mean(values, axis=0) if values else unknown for category, values in others.items()},
        gap=np.where(tells, np.mean(gaps, axis=0), np.nan) if gaps else unknown,
    )


def _unexplained(
    source: Float[np.ndarray, "points 2"], target: Float[np.ndarray, "points 2"], weights: Float[np.ndarray, " points"]
) -> float | None:
    """The part, in [0, 1], of a target's spread that the best similarity transform of the source leaves unexplained.

    In complex numbers the best rotation and scale of centred points a to b is sum(w conj(a) b) / sum(w |a|^2), and of
    mirrored ones the same with conj(a) for a. None where fewer than three points are known, or all lie in one place.
    """
    known = np.isfinite(target).all(axis=1)
    if known.sum() < 3:
        return None
    weights = (weights[known] + _LEAST) / (weights[known] + _LEAST).sum()
    a, b = source[known] @ (1, 1j), target[known] @ (1, 1j)
    a, b = a - weights @ a, b - weights @ b
    spread, size = weights @ np.abs(b) ** 2, weights @ np.abs(a) ** 2
    if spread <= 0 or size <= 0:
        return None
    explained = max(abs(weights @ (a.conj() * b)), abs(weights @ (a * b))) ** 2 / (size * spread)
    return float(np.sqrt(max(0.0, 1 - explained)))
