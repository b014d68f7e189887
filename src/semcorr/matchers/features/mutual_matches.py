"""Matches between two images without a query: the pairs of points that both images have in common."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.errors import SettingsError
from semcorr.imaging.geometry import scale_points
from semcorr.imaging.image import ImageSource, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features.matcher import refined_targets
from semcorr.matchers.features.mutual_neighbours import best_buddies
from semcorr.matchers.keypoint_matches import records_of
from semcorr.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MutualMatches:
    """Pairs of points that are each other's best match.

    Attributes:
        source: (x, y) in pixels of the source image; the middles of feature cells.
        target: The same in pixels of the target image; with the method's setting ``peak``, finer than a cell.
        similarity: The cosine of each pair's features; not a probability.
        source_size, target_size: (width, height).
    """

    source: Float[np.ndarray, "pairs 2"]
    target: Float[np.ndarray, "pairs 2"]
    similarity: Float[np.ndarray, " pairs"]
    source_size: tuple[int, int]
    target_size: tuple[int, int]

    def most_similar(self, count: int) -> "MutualMatches":
        """The ``count`` most similar pairs, the best first."""
        order = np.argsort(-self.similarity, kind="stable")[:count]
        return dataclasses.replace(
            self, source=self.source[order], target=self.target[order], similarity=self.similarity[order]
        )

    def to_keypoint_matches(self) -> list[dict[str, Any]]:
        """A record for each pair as transformers' key-point matching pipeline has it, the most similar first.

        See :mod:`semcorr.matchers.keypoint_matches`. ``score`` is the similarity.
        """
        return records_of(self.source, self.target, self.similarity)

    def to_dict(self) -> dict[str, Any]:
        """As plain lists and numbers, for JSON."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else list(value) for name, value in vars(self).items()
        }


def mutual_matches(
    matcher: Matcher,
    source: "ImageSource",
    target: "ImageSource",
    *,
    levels: int = 1,
    radius: int = 1,
    progress: Progress | None = None,
) -> MutualMatches:
    """Return the cells of two images that are mutual nearest neighbours among a method's features.

    Args:
        matcher: A method on features, such as DIFT.
        source: One image.
        target: The other.
        levels: As for :func:`semcorr.matchers.features.mutual_neighbours.best_buddies`.
        radius: The same.
        progress: As for :meth:`semcorr.Matcher.describe`, once for each image.

    Raises:
        SettingsError: The method has no features; or ``levels`` or ``radius`` is out of range.
        ImageError: An image cannot be used.
    """
    if not matcher.capabilities.features:
        raise SettingsError(
            "Mutual matches need a method on features: without a query there is nothing to optimise a prompt for. "
            "Choose one, for instance --method dift."
        )
    if levels < 1 or radius < 0:
        raise SettingsError(f"Expected at least 1 level and a radius of at least 0, got {levels} and {radius}.")
    images = [load_image(one) for one in (source, target)]
    first, second = matcher.feature_maps(images, progress=progress)
    pairs = best_buddies(first, second, levels=levels, radius=radius)
    cells = pairs.source + 0.5, refined_targets(pairs, first, second, matcher.settings)
    points = [
        scale_points(some.double().cpu().numpy(), (features.shape[2], features.shape[1]), image.size)
        for some, features, image in zip(cells, (first, second), images, strict=True)
    ]
    return MutualMatches(
        source=points[0],
        target=points[1],
        similarity=pairs.similarity.double().cpu().numpy(),
        source_size=images[0].size,
        target_size=images[1].size,
    )
