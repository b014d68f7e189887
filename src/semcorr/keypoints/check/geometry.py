"""How an object's points lie, compared with the other objects of its category.

Another object is shifted, turned and scaled onto it (Procrustes' problem; with points as complex numbers z and b the
least squares factor is Σ b̄ z / Σ |b|², both centred), and those that fit best count: objects have poses. All residuals
follow from a few sums over points, so that a point left out, or two exchanged, cost no further fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float

LEAST_OBJECTS = 8
"""Fewer objects of a category do not show what is usual."""
LEAST_POINTS = 4
"""Of fewer points nothing is left to compare when one is left out: three are a shift, a turn, a scale, and a little."""

_NEAREST = 5
"""How many of the other objects count, those that fit best."""
_MOST_OTHERS = 200
"""How many others an object is compared with at most, drawn once for all."""
_LEAST_COMMON = 3
_EXACT = 0.005
"""Residuals below it are equal: nobody marks points more exactly, and rounding would decide."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How an object fits the others.

    A gain says how many times larger the residual is as its points are than it would be: the median over the quarter of
    the others that fit best either way, so that others with the same error do not hide it while they are the fewer.

    Attributes:
        mirrored: The gain of its mirror image.
        permuted: The gain of its points in each of the given orders.
        exchanged: The gain of two points exchanged, by their numbers; 0 where either is not marked, and for i ≥ j.
        deviations: How far each point lies from where the others, fitted without it, have it, in units of the object's
            median distance between two points; NaN where unknown.
    """

    mirrored: float
    permuted: tuple[float, ...]
    exchanged: Float[np.ndarray, "keypoints keypoints"]
    deviations: Float[np.ndarray, " keypoints"]


class Shapes:
    """The objects of a category.

    Args:
        points: (x, y) of the key-points of each; NaN where nobody marked one.
        orders: Orders that its key-points may have been confused in: the key-point that each would be.
    """

    def __init__(self, points: Float[np.ndarray, "objects keypoints 2"], orders: Sequence[list[int]] = ()) -> None:
        self._orders = orders
        self._marked = np.isfinite(points).all(axis=2)
        # The median of both coordinates and of distances: one wrong point hardly moves them.
        units = [_unit(one[marked]) for one, marked in zip(points, self._marked, strict=True)]
        self._marked &= np.array([0 < scale < np.inf for _, scale in units])[:, None]
        scaled = [(one - centre) / (scale or 1.0) for one, (centre, scale) in zip(points, units, strict=True)]
        self._shapes = np.where(self._marked, np.stack(scaled) @ np.array([1, 1j]), 0)
        drawn = np.random.default_rng(0).permutation(len(points))
        self._others = drawn[self._marked[drawn].any(axis=1)][: _MOST_OTHERS + 1]

    def compare(self, number: int) -> Comparison:
        """Compare an object with the others."""
        others = self._others[self._others != number]
        own, marked = self._shapes[number], self._marked[number]
        known, their = self._marked[others], self._shapes[others]
        sums = _Sums.over(own, marked & known, their)
        residuals = sums.residuals()
        orders = []
        for order in self._orders:
            other = _Sums.over(own[order], marked[order] & known, their)
            # Fewer common points fit better whatever they are.
            orders.append(np.where(other.count >= sums.count, other.residuals(), np.inf))
        return Comparison(
            mirrored=float(_gain(residuals, _Sums.over(own.conj(), marked & known, their).residuals())),
            permuted=tuple(float(_gain(residuals, one)) for one in orders),
            exchanged=_exchanged(sums, own, marked & known, their),
            deviations=_deviations(sums, own, marked & known, their),
        )


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Sums over the common points of an object (z) and of others (b), of any shape."""

    count: Float[np.ndarray, "*#fits"]
    z: Complex[np.ndarray, "*#fits"]
    b: Complex[np.ndarray, "*#fits"]
    zz: Float[np.ndarray, "*#fits"]
    bb: Float[np.ndarray, "*#fits"]
    bz: Complex[np.ndarray, "*#fits"]

    @classmethod
    def over(
        cls,
        own: Complex[np.ndarray, " keypoints"],
        common: Bool[np.ndarray, "others keypoints"],
        their: Complex[np.ndarray, "others keypoints"],
    ) -> "_Sums":
        terms = cls.of(own, common, their)
        return cls(**{name: value.sum(axis=1) for name, value in vars(terms).items()})

    @classmethod
    def of(
        cls,
        own: Complex[np.ndarray, " keypoints"],
        common: Bool[np.ndarray, "others keypoints"],
        their: Complex[np.ndarray, "others keypoints"],
    ) -> "_Sums":
        """The terms of each point."""
        z, b = np.where(common, own, 0), np.where(common, their, 0)
        return cls(count=common.astype(float), z=z, b=b, zz=np.abs(z) ** 2, bb=np.abs(b) ** 2, bz=b.conj() * z)

    def without(self, terms: "_Sums") -> "_Sums":
        """The sums without each of the points."""
        return _Sums(**{name: getattr(self, name)[:, None] - value for name, value in vars(terms).items()})

    def factor(self) -> Complex[np.ndarray, "..."]:
        """The turn and scale that fit best; NaN where all of the other's points are at one location."""
        spread = self.bb - np.abs(self.b) ** 2 / self.count
        return (self.bz - self.b.conj() * self.z / self.count) / np.where(spread > 1e-9, spread, np.nan)

    def residuals(self) -> Float[np.ndarray, "..."]:
        """Root mean squares; infinite for too few common points."""
        with np.errstate(divide="ignore", invalid="ignore"):
            explained = np.abs(self.factor()) ** 2 * (self.bb - np.abs(self.b) ** 2 / self.count)
            squares = self.zz - np.abs(self.z) ** 2 / self.count - explained
            result = np.sqrt(np.maximum(squares, 0) / self.count)
        return np.where((self.count >= _LEAST_COMMON) & np.isfinite(result), result, np.inf)


def _exchanged(
    sums: _Sums,
    own: Complex[np.ndarray, " keypoints"],
    common: Bool[np.ndarray, "others keypoints"],
    their: Complex[np.ndarray, "others keypoints"],
) -> Float[np.ndarray, "keypoints keypoints"]:
    """The gain of two points exchanged: only Σ b̄ z changes, by (b̄ⱼ - b̄ᵢ)(zᵢ - zⱼ)."""
    result = np.zeros((len(own), len(own)))
    before = sums.residuals()[:, None]
    wide = {name: value[:, None] for name, value in vars(sums).items()}
    for first in range(len(own) - 1):
        later = slice(first + 1, None)
        change = (their[:, later] - their[:, first, None]).conj() * (own[first] - own[later])
        both = common[:, first, None] & common[:, later]
        residuals = _Sums(**{**wide, "bz": sums.bz[:, None] + change}).residuals()
        result[first, later] = _gain(before, np.where(both, residuals, np.inf))
    return result


def _deviations(
    sums: _Sums,
    own: Complex[np.ndarray, " keypoints"],
    common: Bool[np.ndarray, "others keypoints"],
    their: Complex[np.ndarray, "others keypoints"],
) -> Float[np.ndarray, " keypoints"]:
    """The median distance of each point to where those others have it that fit the other points best."""
    rest = sums.without(_Sums.of(own, common, their))
    residuals = np.where(common, rest.residuals(), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = rest.z / rest.count + rest.factor() * (their - rest.b / rest.count)
    nearest = residuals.argsort(axis=0, kind="stable")[:_NEAREST]
    distances = np.take_along_axis(np.abs(own - expected), nearest, axis=0)
    fits = np.isfinite(np.take_along_axis(residuals, nearest, axis=0)).all(axis=0)
    return np.where(fits, np.median(distances, axis=0), np.nan)


def _gain(
    before: Float[np.ndarray, "others *#changes"], after: Float[np.ndarray, "others *changes"]
) -> Float[np.ndarray, "*changes"]:
    """See :class:`Comparison`; 0 where too few others can be compared."""
    count = max(_NEAREST, len(after) // 4)
    before = np.broadcast_to(before, after.shape)
    either = np.where(np.isfinite(before) & np.isfinite(after), np.minimum(before, after), np.inf)
    nearest = either.argsort(axis=0, kind="stable")[:count]
    fits = np.isfinite(np.take_along_axis(either, nearest, axis=0)).sum(axis=0) >= _NEAREST
    known = np.isfinite(either)
    gains = np.where(known, np.maximum(before, _EXACT), 0) / np.where(known, np.maximum(after, _EXACT), 1)
    gains = np.take_along_axis(gains, nearest, axis=0)
    return np.where(fits, np.median(gains, axis=0), 0.0)


def _unit(points: Float[np.ndarray, "points 2"]) -> tuple[Float[np.ndarray, " 2"], float]:
    """A centre, and the median distance between two points; 0 where they are too few."""
    if len(points) < _LEAST_COMMON:
        return np.zeros(2), 0.0
    return np.median(points, axis=0), median_distance(points)


def median_distance(points: Float[np.ndarray, "points 2"]) -> float:
    """The median distance between two points, which one wrong point hardly changes; 0 for a single one."""
    first, second = np.triu_indices(len(points), 1)
    return float(np.median(np.linalg.norm(points[first] - points[second], axis=1))) if len(first) else 0.0
