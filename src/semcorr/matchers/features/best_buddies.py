"""Neural best buddies: sparse mutual matches of the whole images, and moving least squares to carry any point.

After Aberman et al., 2018, with the last step of the baselines that are called "+MLS" in the paper's table.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import QueryError
from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Size, scale_points
from semcorr.imaging.image import Image
from semcorr.imaging.mls import moving_least_squares
from semcorr.matchers.base import Tensors
from semcorr.matchers.features.matcher import FeatureMatcher, Located, refined_targets
from semcorr.matchers.features.mutual_neighbours import Buddies, best_buddies
from semcorr.matchers.features.settings import BuddySettings
from semcorr.matchers.results import Query

_POINTS = 512
"""Points whose distances to all pairs exist at once."""

_WIDTH = 0.05
"""Standard deviation of a heat map's Gaussian, as a part of the target's longer side: there is no map but the point."""


class BuddyMatcher(FeatureMatcher):
    """Points carried along with the best buddies around them, among whatever features a sub-class has.

    A point is not described by its own feature but by its position in the feature map: the query keeps the whole map.
    """

    def _context(
        self,
        image: Image,  # noqa: ARG002
        points: Float[np.ndarray, "points 2"],  # noqa: ARG002
        features: Float[Tensor, "dim height width"],
    ) -> tuple[Tensors, Tensors]:
        return {}, {"features": features.cpu().numpy()}

    def _located(
        self, query: Query, target: Image, settings: BuddySettings, features: Float[Tensor, "dim _h _w"]
    ) -> Located:
        """Find best buddies of a query's image and another, and carry the query's points with them.

        The confidence is the mean cosine of the pairs, each weighted as for the point.

        Raises:
            QueryError: The query belongs to another model or method, or the images have no pair in common.
        """
        theirs, ours = query.shared.get("features"), features
        if theirs is None or theirs.ndim != 3 or len(theirs) != len(ours):
            raise QueryError("The query lacks its image's features. Describe the points again.")
        source = torch.from_numpy(np.array(theirs)).to(ours)
        pairs = _at_least(best_buddies(source, ours, levels=settings.levels, radius=settings.radius), settings.least)
        if not len(pairs.similarity):
            raise QueryError(
                f"{query.image_sha256[:12]} and {target.name} have no best buddies with a cosine of at least "
                f"{settings.least:g}. Lower the setting 'least'."
            )
        sizes = [(features.shape[2], features.shape[1]) for features in (source, ours)]
        refined = refined_targets(pairs, source, ours, settings)
        controls = scale_points(pairs.source.double().cpu().numpy() + 0.5, sizes[0], query.image_size)
        moved = scale_points(refined.double().cpu().numpy(), sizes[1], target.size)
        points = moving_least_squares(query.points, controls, moved, kind=settings.mls, alpha=settings.alpha)
        points = np.clip(points, 0, target.size)
        similar = pairs.similarity.double().cpu().numpy()
        return Located(
            points=points,
            confidence=_confidence(query.points, controls, similar, settings.alpha),
            heatmaps=lambda size: _around(points, target.size, size),
        )


def _at_least(pairs: Buddies, least: float) -> Buddies:
    keep = pairs.similarity >= least
    return Buddies(source=pairs.source[keep], target=pairs.target[keep], similarity=pairs.similarity[keep])


def _confidence(
    points: Float[np.ndarray, "points 2"],
    controls: Float[np.ndarray, "pairs 2"],
    similarity: Float[np.ndarray, " pairs"],
    alpha: float,
) -> Float[np.ndarray, " points"]:
    """The pairs' mean cosine around each point, between 0 and 1."""

    def around(some: np.ndarray) -> np.ndarray:
        squared = ((some[:, None] - controls) ** 2).sum(axis=-1)
        nearest = np.maximum(squared.min(axis=1, keepdims=True), 1e-12)
        weight = (np.maximum(squared, nearest) / nearest) ** -alpha
        return np.clip(weight @ similarity / weight.sum(axis=1), 0, 1)

    parts = [around(points[first : first + _POINTS]) for first in range(0, len(points), _POINTS)]
    return np.concatenate(parts)


def _around(points: Float[np.ndarray, "points 2"], size: Size, shown: Size) -> Float[np.ndarray, "points _h _w"]:
    centres = torch.from_numpy(scale_points(points, size, shown)).float()
    return heatmaps.gaussian(centres, _WIDTH * max(shown), shown).numpy()
