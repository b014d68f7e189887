"""Nearest neighbours among features, behind the interface that all methods share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from semcorr.errors import QueryError
from semcorr.imaging import heatmaps
from semcorr.imaging.domain import statistics
from semcorr.imaging.geometry import Size, check_points, scale_points
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.base import ModelIdentity, check_names
from semcorr.matchers.features.cosine import Similarity, unit, vectors_at
from semcorr.matchers.features.mutual_neighbours import Buddies
from semcorr.matchers.features.settings import FeatureSettings
from semcorr.matchers.results import Matches, Query
from semcorr.progress import Progress

S = TypeVar("S", bound=FeatureSettings)

_POINTS = 512
"""Points that are looked for together: what they take grows with the map and not with how many there are in all."""

HEATMAP_SIDE = 512
"""The longer side, in pixels, of the heat maps that are handed out; points are found in the target's own pixels."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where points are, how sure that is, and what draws their heat maps at a size (width, height)."""

    points: Float[np.ndarray, "points 2"]
    confidence: Float[np.ndarray, " points"]
    heatmaps: Callable[[Size], Float[np.ndarray, "points _h _w"]]


class FeatureMatcher(ABC, Generic[S]):
    """A method that is complete once it says what the features of a picture are.

    A point is described as the feature there, and found where a target's features are most similar to it by their
    cosine. There is no hidden state, and a result depends on the settings, the two pictures and the point alone.

    Args:
        settings: complete settings.
    """

    method: ClassVar[str]
    """The method's name, as ``--method`` takes it."""

    settings_type: type[S]
    """What its settings are made of."""

    def __init__(self, settings: S) -> None:
        self.settings = settings

    @abstractmethod
    def network(self) -> ModelIdentity:
        """What the features come from."""

    @abstractmethod
    def features(
        self, image: Image, settings: S, progress: Progress | None = None
    ) -> Float[Tensor, "_dim _height _width"]:
        """Return a map of features that covers the whole picture, whatever its proportions, in float32.

        ``progress`` is called as ``("features", done, in all)``.
        """

    def identity(self) -> dict[str, Any]:
        """The network and the complete settings, as JSON holds them."""
        return {**self.network().to_dict(), "settings": self.settings.to_dict()}

    def describe(
        self,
        image: ImageSource,
        points: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """Read the features at points of an image.

        Args:
            image: a path, a PIL image, an array or a tensor; see :func:`semcorr.imaging.image.load_image`.
            points: (N, 2): x to the right, y down, in pixels of the image as a person sees it; (0, 0) is its top-left
                corner.
            names: a name for each point.
            progress: called as ``("features", done, in all)``; raise from it to stop.

        Raises:
            ImageError: the image cannot be used.
            PointError: no points, or a point that is not finite or outside the image.
            OutOfMemoryError: not even one pass of the network fits into memory.
        """
        source = load_image(image)
        checked = check_points(points, source.size)
        check_names(names, len(checked))
        features = self.features(source, self.settings, progress)
        found = vectors_at(features, torch.from_numpy(checked).float(), source.size)
        network = self.network()
        return Query(
            method=self.method,
            model_id=network.model_id,
            model_revision=network.model_revision,
            model_fingerprint=network.model_fingerprint,
            settings=self.settings.to_dict(),
            points=checked,
            names=None if names is None else tuple(names),
            image_size=source.size,
            image_sha256=source.sha256,
            source_statistics=statistics(source),
            tensors={"vectors": found.cpu().numpy()},
            shared=self.kept(features),
        )

    def kept(self, features: Float[Tensor, "dim height width"]) -> Mapping[str, np.ndarray]:  # noqa: ARG002  # for others
        """What a query keeps of the whole image (``Query.shared``): nothing, unless a method says otherwise."""
        return {}

    def locate(
        self,
        query: Query,
        image: ImageSource,
        *,
        trace: bool = False,  # noqa: ARG002  # there are no crops to trace
        progress: Progress | None = None,
    ) -> Matches:
        """Find a query's points in another image, with the query's own settings.

        Args:
            query: what :meth:`describe` gave, perhaps in another process.
            image: the target.
            trace: as other methods have it; there is nothing to trace.
            progress: as for :meth:`describe`.

        Raises:
            QueryError: the query belongs to another model or method.
            ImageError: the image cannot be used.
            OutOfMemoryError: not even one pass of the network fits into memory.
        """
        target = load_image(image)
        found = self._find(query, target, progress)
        return Matches(
            points=found.points,
            confidence=found.confidence,
            heatmaps=found.heatmaps(heatmap_size(target.size)),
            image_size=target.size,
            image_sha256=target.sha256,
            query_points=query.points,
            names=query.names,
            round_points=found.points[:, None],
            layer_points=np.zeros((len(found.points), 0, 2)),
            layer_names=(),
        )

    def places(
        self, query: Query, image: ImageSource, *, progress: Progress | None = None
    ) -> tuple[Float[np.ndarray, "points 2"], Float[np.ndarray, " points"]]:
        """Return the points and confidence of :meth:`locate` alone: without heat maps, points may be many thousands.

        Args and errors are those of :meth:`locate`.
        """
        found = self._find(query, load_image(image), progress)
        return found.points, found.confidence

    def _find(self, query: Query, target: Image, progress: Progress | None) -> Found:
        similarity = self.similarity(query, target, progress)
        settings = self.settings_type.from_dict(query.settings)
        parts = [find_peaks(part, settings, target.size) for part in similarity.split(_POINTS)]
        return Found(
            points=torch.cat([points for points, _ in parts]).double().cpu().numpy(),
            confidence=torch.cat([height for _, height in parts]).double().clamp(0, 1).cpu().numpy(),
            heatmaps=lambda size: similarity.enlarged(size).cpu().numpy(),
        )

    def similarity(self, query: Query, target: Image, progress: Progress | None = None) -> Similarity:
        """Return how similar every place of an image is to a query's points; errors as for :meth:`locate`."""
        self.network().check(query, self.method)
        features = self.features(target, self.settings_type.from_dict(query.settings), progress)
        vectors = query.tensors.get("vectors")
        if vectors is None or vectors.shape != (len(query.points), len(features)):
            got = "none" if vectors is None else str(vectors.shape)
            raise QueryError(
                f"The query's vectors: expected shape {(len(query.points), len(features))}, got {got}. Describe the "
                "points again."
            )
        return Similarity(features, unit(torch.from_numpy(np.array(vectors)).to(features)))


def find_peaks(
    similarity: Similarity, settings: FeatureSettings, size: Size
) -> tuple[Float[Tensor, "points 2"], Float[Tensor, " points"]]:
    """Return the points, in pixels of a picture of ``size``, and the cosines there."""
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
    """The size of a picture's heat maps: its own, or in its proportions with the longer side ``HEATMAP_SIDE``."""
    shrink = min(1.0, HEATMAP_SIDE / max(size))
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))
