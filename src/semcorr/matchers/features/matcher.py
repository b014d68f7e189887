"""The skeleton of methods that look for the nearest neighbour among features."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
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
from semcorr.matchers.features.cosine import Similarity, unit, vectors_at
from semcorr.matchers.features.guided import locate_guided
from semcorr.matchers.features.mutual_neighbours import Buddies
from semcorr.matchers.features.regions import described_examples, label_shares, region_scores
from semcorr.matchers.features.settings import FeatureSettings
from semcorr.matchers.features.source_views import describe_views, has_views, read_views
from semcorr.matchers.features.together import locate_together
from semcorr.matchers.regions.examples import Example as LabelledImage
from semcorr.matchers.regions.results import RegionQuery
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.matchers.results import LocatedTogether, Matches, Query
from semcorr.progress import Progress

_POINTS = 512
"""Points that are located together: what they take grows with the map and not with how many there are in all."""

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
    cosine. There is no hidden state, and a result depends on the settings, the two images and the point alone,
    with a geometric prior on the points that are described with it too.
    """

    capabilities = Capabilities(features=True, regions=True)

    @property
    def points_together(self) -> bool:
        """With a geometric prior, which follows from all of them."""
        return self.settings.prior != "none"

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

    def _describe_regions(
        self,
        examples: Sequence[LabelledImage],
        names: Mapping[int, str],
        how: RegionSettings,
        progress: Progress | None,
    ) -> Tensors:
        """Describe regions as the features of their images and the labels of every cell."""
        tensors: dict[str, np.ndarray] = {}
        for number, (image, label_map) in enumerate(examples):
            features = self.features(image, self.settings, progress)
            shares = label_shares(label_map, tuple(names), features, how.grid)
            tensors |= {f"features.{number}": features.cpu().numpy(), f"shares.{number}": shares.numpy()}
        return tensors

    def _region_scores(
        self, query: RegionQuery, target: Image, settings: Any, how: RegionSettings, progress: Progress | None
    ) -> Float[Tensor, "labels _height _width"]:
        """Find regions by the nearest labelled cells."""
        features = self.features(target, settings, progress)
        known, shares = described_examples(query, len(features), how.grid)
        return region_scores(known, shares, features, how)

    def _describe(
        self, image: Image, points: Float[np.ndarray, "points 2"], progress: Progress | None
    ) -> tuple[Tensors, Tensors]:
        features = self.features(image, self.settings, progress)
        vectors = vectors_at(features, torch.from_numpy(points).float(), image.size)
        tensors, shared = self._context(image, points, features)
        return {"vectors": vectors.cpu().numpy(), **tensors}, shared

    def _context(
        self, image: Image, points: Float[np.ndarray, "points 2"], features: Float[Tensor, "dim height width"]
    ) -> tuple[Tensors, Tensors]:
        """Return what else a query keeps of points and image: what the prior needs, unless a method says otherwise."""
        if self.settings.prior == "none":
            return {}, {}
        return describe_views(
            image, points, features, self.settings.views, lambda view: self.features(view, self.settings)
        )

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
        self, queries: Sequence[Query], image: "ImageSource", *, progress: Progress | None = None
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

    def locate_together(
        self,
        queries: Sequence[Query],
        keypoints: Sequence[Sequence[int]],
        count: int,
        image: "ImageSource",
        *,
        progress: Progress | None = None,
    ) -> LocatedTogether | None:
        """Locate an object by all its supports at once; see :meth:`Matcher.locate_together`.

        None without what the prior needs, or where queries have different settings.
        """
        settings = self.settings_of(queries[0])
        if not all(has_views(query.tensors) and self.settings_of(query) == settings for query in queries):
            return None
        target = load_image(image)
        features = self.features(target, settings, progress)
        views = [read_views(query.tensors, query.shared, query.image_size, features) for query in queries]
        located = locate_together(list(zip(views, keypoints, strict=True)), count, features, target.size, settings)
        return LocatedTogether(
            points=located.points.double().cpu().numpy(),
            confidence=located.confidence.double().cpu().numpy(),
            votes=located.votes.double().cpu().numpy(),
        )

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
        self, query: Query, image: "ImageSource", *, progress: Progress | None = None
    ) -> PointsAndConfidence:
        """Return the points and confidence of :meth:`locate` alone: no heat maps are made.

        Args and errors are those of :meth:`locate`.
        """
        target, settings = load_image(image), self.settings_of(query)
        located = self._located(query, target, settings, self.features(target, settings, progress))
        return located.points, located.confidence

    def _located(self, query: Query, target: Image, settings: Any, features: Float[Tensor, "dim _h _w"]) -> Located:
        """Locate a query's points in a target of known features."""
        if settings.prior != "none":
            return _guided(query, target, settings, features)
        similarity = _similarity(query, features)
        peaks = [find_peaks(some, settings, target.size) for some in similarity.split(_POINTS)]
        return Located(
            points=torch.cat([points for points, _ in peaks]).double().cpu().numpy(),
            confidence=torch.cat([height for _, height in peaks]).double().clamp(0, 1).cpu().numpy(),
            heatmaps=lambda size: similarity.enlarged(size).cpu().numpy(),
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


def _guided(query: Query, target: Image, settings: FeatureSettings, features: Float[Tensor, "dim _h _w"]) -> Located:
    views = read_views(query.tensors, query.shared, query.image_size, features)
    guided = locate_guided(views, features, target.size, settings)
    return Located(
        points=guided.points.double().cpu().numpy(),
        confidence=guided.confidence.double().cpu().numpy(),
        heatmaps=lambda size: heatmaps.upsample(guided.scores, size).cpu().numpy(),
    )


def find_peaks(
    similarity: Similarity, settings: FeatureSettings, size: Size
) -> tuple[Float[Tensor, "points 2"], Float[Tensor, " points"]]:
    """Return the points, in pixels of an image of ``size``, and the cosines there."""
    if settings.peak == "cell":
        return similarity.peaks(size)
    cells = similarity.of_cells()
    points = heatmaps.find_peak(cells, settings.peak, window=settings.window, temperature=settings.temperature)
    return scale_points(points, (cells.shape[2], cells.shape[1]), size), heatmaps.peak_value(cells)


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
