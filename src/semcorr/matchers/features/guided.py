"""Points located where their features are similar and the geometric prior expects them."""

import dataclasses
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Size, scale_points
from semcorr.matchers.features import configuration, geometric_prior
from semcorr.matchers.features.settings import FeatureSettings
from semcorr.matchers.features.source_views import View

_DOUBT = 0.25
"""What remains of the confidence of a point that is far from where the prior expects it."""
_AFFINE = 0.3
"""What matches around the points add to the worth of their map, if all of them agree."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guided:
    """Where points are.

    Attributes:
        points: (x, y) in pixels of the target.
        confidence: In [0, 1].
        scores: The similarity of each point with each cell, raised near where the prior expects it.
    """

    points: Float[Tensor, "points 2"]
    confidence: Float[Tensor, " points"]
    scores: Float[Tensor, "points rows columns"]


def locate_guided(
    views: Iterable[View], features: Float[Tensor, "dim rows columns"], size: Size, settings: FeatureSettings
) -> Guided:
    """Locate a query's points by the view of its source, and the map from it, under which they are most similar.

    Maps are the affine one that matches around the points agree with, and the turn, scale and shift that fit the
    configuration of the points.

    Args:
        views: Of the source.
        features: Of the target.
        size: (width, height) of the target in pixels.
        settings: What a peak is, and how much the prior counts.
    """
    unit = F.normalize(features, dim=0)
    positions = geometric_prior.cell_positions((unit.shape[2], unit.shape[1]), size, unit)
    maps = ((view, torch.einsum("pd,dhw->phw", view.vectors, unit)) for view in views)
    best = max((guess(view, own, own, unit, positions) for view, own in maps), key=lambda one: one.worth)
    return guided(best.cosines, best.expected, best.reach, positions, size, settings)


def guided(
    cosines: Float[Tensor, "points rows columns"],
    expected: Float[Tensor, "points 2"] | None,
    reach: float,
    positions: Float[Tensor, "rows columns 2"],
    size: Size,
    settings: FeatureSettings,
) -> Guided:
    """Return the peaks of similarities that are raised near expected positions.

    Args:
        cosines: Of each point with each cell of the target.
        expected: Where the points should be, in units of the longer side; NaN where nothing says so.
        reach: What is near.
        positions: Of the cells.
        size: (width, height) of the target in pixels.
        settings: What a peak is, and how much the prior counts.
    """
    grid = (cosines.shape[2], cosines.shape[1])
    scores, near = cosines, None
    if expected is not None:
        scores = geometric_prior.raise_near(cosines, positions, expected, reach, settings.prior_weight)
        scores = torch.where(scores.isnan(), cosines, scores)
    # A Gaussian peak is as wide as what is near.
    window = reach * max(grid) if settings.peak == "gaussian" else settings.window
    points = heatmaps.find_peak(scores, settings.peak, window=window, temperature=settings.temperature)
    largest = scores.flatten(1).argmax(dim=1, keepdim=True)
    height = cosines.flatten(1).gather(1, largest)[:, 0].clamp(0, 1)
    in_pixels = scale_points(points, grid, size)
    if expected is not None:
        squared = ((in_pixels / max(size) - expected) ** 2).sum(dim=1)
        near = torch.exp(-squared / (2 * reach**2)).nan_to_num(0.0)
    confidence = height * _DOUBT if near is None else height * (_DOUBT + (1 - _DOUBT) * near)
    return Guided(points=in_pixels, confidence=confidence, scores=scores)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guess:
    """What one view says: similarities, expected positions if there are any, and how similar the points are there."""

    worth: float
    cosines: Float[Tensor, "points rows columns"]
    expected: Float[Tensor, "points 2"] | None
    reach: float


def guess(
    view: View,
    cosines: Float[Tensor, "points rows columns"],
    mixed: Float[Tensor, "points rows columns"],
    unit: Float[Tensor, "dim rows columns"],
    positions: Float[Tensor, "rows columns 2"],
) -> Guess:
    """Return what a view says by the better of its two maps.

    Args:
        view: The view.
        cosines: Of its points with each cell of the target.
        mixed: The same, or what else maps are judged by.
        unit: Features of the target, each cell of length 1.
        positions: Of its cells.
    """
    reach = view.source.reach
    fitted = geometric_prior.fit(view.source, unit, positions)
    best: tuple[float, Tensor] | None = configuration.fit_configuration(mixed, positions, view.points)
    if fitted is not None:
        extent = geometric_prior.extent(view.points)
        expected = fitted.expected(view.points)
        worth = float(configuration.score(mixed, positions, expected[None], extent)[0]) + _AFFINE * fitted.share
        if best is None or worth > best[0]:
            return Guess(worth=worth, cosines=cosines, expected=expected, reach=reach)
    if best is None:
        return Guess(worth=0.0, cosines=cosines, expected=None, reach=reach)
    return Guess(worth=best[0], cosines=cosines, expected=geometric_prior.moved(view.points, best[1]), reach=reach)
