"""The skeleton of methods that look for the nearest neighbour among features."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import QueryError
from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Size, scale_points
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.base import Capabilities, NetworkMatcher, PointsAndConfidence, Tensors
from semcorr.matchers.features import geometric_prior
from semcorr.matchers.features.cosine import Similarity, unit, vectors_at
from semcorr.matchers.features.mutual_neighbours import Buddies
from semcorr.matchers.features.settings import FeatureSettings
from semcorr.matchers.results import Matches, Query
from semcorr.progress import Progress

_POINTS = 512
"""Points that are located together: what they take grows with the map and not with how many there are in all."""

_COARSE, _NEAR = "coarse", "near"
"""What a query calls what the prior needs: the image's features, and how near their cells are to its points."""

HEATMAP_SIDE = 512
"""The longer side, in pixels, of the heat maps that are handed out; points are found in the target's own pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Located:
    """Where points are, how sure that is, and what draws their heat maps at a size (width, height)."""

    points: Float[np.ndarray, "points 2"]
    confidence: Float[np.ndarray, " points"]
    heatmaps: Callable[[Size], Float[np.ndarray, "points _h _w"]]


class FeatureMatcher(NetworkMatcher):
    """A method that is complete once it says what the features of an image are.

    A point is described as the feature there, and found where a target's features are most similar to it by their
    cosine. There is no hidden state, and a result depends on the settings, the two images and the point alone.
    """

    capabilities = Capabilities(features=True)

    @abstractmethod
    def features(
        self, image: Image, settings: Any, progress: Progress | None = None
    ) -> Float[Tensor, "_dim _height _width"]:
        """Return a map of features that covers the whole image, whatever its proportions, in float32.

        ``progress`` is called as ``("features", done, in all)``.
        """

    def feature_maps(
        self, images: Sequence[Image], *, progress: Progress | None = None
    ) -> list[Float[Tensor, "dim _height _width"]]:
        """Return the features of images, each a map that covers its whole image."""
        return [self.features(image, self.settings, progress) for image in images]

    def _describe(
        self, image: Image, points: Float[np.ndarray, "points 2"], progress: Progress | None
    ) -> tuple[Tensors, Tensors]:
        features = self.features(image, self.settings, progress)
        vectors = vectors_at(features, torch.from_numpy(points).float(), image.size)
        return {"vectors": vectors.cpu().numpy()}, self._shared(features, points, image.size)

    def _shared(
        self, features: Float[Tensor, "dim height width"], points: Float[np.ndarray, "points 2"], size: Size
    ) -> Tensors:
        """Return what a query keeps of the whole image: what the prior needs, unless a method says otherwise."""
        if self.settings.prior == "none":
            return {}
        coarse = geometric_prior.coarse(features)
        grid = (coarse.shape[2], coarse.shape[1])
        near = geometric_prior.nearness(torch.from_numpy(points / max(size)).float(), grid, size)
        return {_COARSE: coarse.half().cpu().numpy(), _NEAR: near.numpy()}

    def _locate(
        self,
        query: Query,
        target: Image,
        settings: Any,
        *,
        trace: bool = False,  # noqa: ARG002  # there are no crops to trace
        progress: Progress | None = None,
    ) -> Matches:
        return self._matches(query, target, settings, self.features(target, settings, progress))

    def locate_each(
        self, queries: Sequence[Query], image: ImageSource, *, progress: Progress | None = None
    ) -> list[Matches]:
        """Locate several queries in one image, whose features are computed once for queries of the same settings."""
        target = load_image(image)
        features: dict[str, Tensor] = {}
        results = []
        for query in queries:
            settings = self.settings_of(query)
            key = repr(settings)
            if key not in features:
                features[key] = self.features(target, settings, progress)
            results.append(self._matches(query, target, settings, features[key]))
        return results

    def _matches(self, query: Query, target: Image, settings: Any, features: Float[Tensor, "dim _h _w"]) -> Matches:
        located = self._located(query, target, settings, features)
        return Matches(
            points=located.points,
            confidence=located.confidence,
            heatmaps=located.heatmaps(heatmap_size(target.size)),
            image_size=target.size,
            image_sha256=target.sha256,
            query_points=query.points,
            names=query.names,
        )

    def locate_points(
        self, query: Query, image: ImageSource, *, progress: Progress | None = None
    ) -> PointsAndConfidence:
        """Return the points and confidence of :meth:`locate` alone: no heat maps are made.

        Args and errors are those of :meth:`locate`.
        """
        target, settings = load_image(image), self.settings_of(query)
        located = self._located(query, target, settings, self.features(target, settings, progress))
        return located.points, located.confidence

    def _located(self, query: Query, target: Image, settings: Any, features: Float[Tensor, "dim _h _w"]) -> Located:
        """Locate a query's points in a target of known features."""
        similarity = _similarity(query, features)
        expected = None if settings.prior == "none" else _expected(query, target, features)
        peaks = [
            find_peaks(some, settings, target.size, part)
            for some, part in zip(similarity.split(_POINTS), _split(expected, len(query.points)), strict=True)
        ]
        return Located(
            points=torch.cat([points for points, _ in peaks]).double().cpu().numpy(),
            confidence=torch.cat([height for _, height in peaks]).double().clamp(0, 1).cpu().numpy(),
            heatmaps=lambda size: _heatmaps(similarity, settings, target.size, expected, size).cpu().numpy(),
        )

    def similarity(self, query: Query, target: Image, settings: Any, progress: Progress | None = None) -> Similarity:
        """Return how similar every position of an image is to a query's points.

        Raises:
            QueryError: The query holds no vectors of the features' length.
        """
        return _similarity(query, self.features(target, settings, progress))


def _similarity(query: Query, features: Float[Tensor, "dim _h _w"]) -> Similarity:
    vectors = query.tensors.get("vectors")
    if vectors is None or vectors.shape != (len(query.points), len(features)):
        got = "none" if vectors is None else str(vectors.shape)
        raise QueryError(
            f"The query's vectors: expected shape {(len(query.points), len(features))}, got {got}. Describe the "
            "points again."
        )
    return Similarity(features, unit(torch.from_numpy(np.array(vectors)).to(features)))


def _expected(query: Query, target: Image, features: Float[Tensor, "dim _h _w"]) -> geometric_prior.Expected | None:
    source, near = query.shared.get(_COARSE), query.shared.get(_NEAR)
    if source is None or near is None or source.shape != (len(features), *near.shape):
        raise QueryError("The query lacks its image's features for the geometric prior. Describe the points again.")
    return geometric_prior.expected_points(
        torch.from_numpy(np.array(source)).to(features),
        geometric_prior.coarse(features),
        torch.from_numpy(np.array(near)).to(features),
        torch.from_numpy(query.points / max(query.image_size)).to(features),
        (query.image_size, target.size),
    )


def _split(expected: geometric_prior.Expected | None, count: int) -> Sequence[geometric_prior.Expected | None]:
    """Where points are expected, for as many at a time as are located together."""
    if expected is None:
        return [None] * -(-count // _POINTS)
    return [dataclasses.replace(expected, points=points) for points in expected.points.split(_POINTS)]


def _scores(
    similarity: Similarity, settings: FeatureSettings, size: Size, expected: geometric_prior.Expected | None
) -> Float[Tensor, "points height width"]:
    """The cosine with every cell, raised near where a point is expected."""
    cells = similarity.of_cells()
    if expected is None:
        return cells
    weight = settings.prior_weight * expected.support
    return geometric_prior.raise_near(cells, expected.points, size, weight=weight, width=settings.prior_width)


def _heatmaps(
    similarity: Similarity,
    settings: FeatureSettings,
    size: Size,
    expected: geometric_prior.Expected | None,
    shown: Size,
) -> Float[Tensor, "points _h _w"]:
    if expected is None:
        return similarity.enlarged(shown)
    return heatmaps.upsample(_scores(similarity, settings, size, expected), shown)


def find_peaks(
    similarity: Similarity,
    settings: FeatureSettings,
    size: Size,
    expected: geometric_prior.Expected | None = None,
) -> tuple[Float[Tensor, "points 2"], Float[Tensor, " points"]]:
    """Return the points, in pixels of an image of ``size``, and the cosines there.

    Args:
        similarity: Of the points with the target.
        settings: What a peak is.
        size: (width, height) of the target in pixels.
        expected: Where the prior expects the points; None without one.
    """
    if settings.peak == "cell" and expected is None:
        return similarity.peaks(size)
    scores = _scores(similarity, settings, size, expected)
    points = heatmaps.find_peak(scores, settings.peak, window=settings.window, temperature=settings.temperature)
    largest = scores.flatten(1).argmax(dim=1, keepdim=True)
    cosines = similarity.of_cells().flatten(1).gather(1, largest)[:, 0]
    return scale_points(points, (scores.shape[2], scores.shape[1]), size), cosines


def refined_targets(
    pairs: Buddies,
    source: Float[Tensor, "dim _source_height _source_width"],
    target: Float[Tensor, "dim _height _width"],
    settings: FeatureSettings,
) -> Float[Tensor, "pairs 2"]:
    """Return where in the target the second cell of each pair of two feature maps is, (x, y) in cells, by ``peak``."""
    column, row = pairs.source.unbind(1)
    similarity = Similarity(target, unit(source[:, row, column].T))
    parts = [
        heatmaps.refine_peak(
            some.of_cells(), cells, settings.peak, window=settings.window, temperature=settings.temperature
        )
        for some, cells in zip(similarity.split(_POINTS), pairs.target.split(_POINTS), strict=True)
    ]
    return torch.cat(parts)


def heatmap_size(size: Size) -> Size:
    """The size of an image's heat maps: its own, or in its proportions with the longer side ``HEATMAP_SIDE``."""
    shrink = min(1.0, HEATMAP_SIDE / max(size))
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))
