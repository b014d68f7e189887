"""ASIC: points carried between images of a collection by way of one canonical grid (Gupta et al., 2023).

The collection is trained before, by :func:`semcorr.matchers.collection.collect.collect`; its folder is the model.
"""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from semcorr.errors import ImageError, QueryError
from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Size, sample, scale_points
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.base import NetworkMatcher, PointsAndConfidence, Tensors
from semcorr.matchers.collection.collection import Collection, Mapped
from semcorr.matchers.features.matcher import heatmap_size
from semcorr.matchers.results import Matches, Query
from semcorr.models.names import COLLECTION
from semcorr.progress import Progress
from semcorr.settings import Settings

_POINTS = 256
"""Points that are compared with all cells at once."""

_SIDE = 128
"""Cells along each side of the target, in which the nearest canonical coordinate is sought."""

_FARTHEST = 80.0
"""The largest exponent of a peak: exp(-80) is a float32."""

_WIDTH = 0.2
"""Standard deviation of a heat map in canonical coordinates, as a part of their spread over all objects."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AsicSettings(Settings):
    """How a point is carried through the grid.

    Attributes:
        similarity: What one minus the features' cosine lowers the logarithm of a heat map by, so that among locations
            that are near on the grid the most similar is taken; 0, as published, is the nearest coordinate alone.
        new_images: What is done with an image that is not of the collection: ``"refuse"``, or ``"map"`` it by its
            features, which the network was not trained on.
    """

    similarity: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    new_images: Literal["refuse", "map"] = "refuse"


def published(family: str = "collection") -> AsicSettings:  # noqa: ARG001  # presets take a family
    """As published: the nearest canonical coordinate."""
    return AsicSettings()


def guided(family: str = "collection") -> AsicSettings:  # noqa: ARG001
    """The grid says where to search, the features what to take there."""
    return AsicSettings(similarity=1.0)


class AsicMatcher(NetworkMatcher):
    """Matches any two images of a collection: to the canonical grid and back.

    Args:
        model: The trained collection.
        settings: Complete settings; see :func:`guided`.
    """

    method = "asic"
    settings_type = AsicSettings
    presets = {"guided": guided, "published": published}  # noqa: RUF012  # a constant
    network_type = Collection
    default_model = COLLECTION

    def _describe(
        self, image: Image, points: Float[np.ndarray, "points 2"], progress: Progress | None
    ) -> tuple[Tensors, Tensors]:
        mapped = self.model.mapped(image, new=self.settings.new_images == "map", progress=progress)
        grid = mapped.inside.shape[-1]
        cells = torch.from_numpy(scale_points(points, image.size, (grid, grid))).float()[None]
        inside = mapped.inside.float()[None]
        at = {"coordinates": mapped.coordinates, "vectors": mapped.features, "inside": inside}
        return {name: sample(values, cells)[:, 0].T.numpy() for name, values in at.items()}, {}

    def _locate(
        self,
        query: Query,
        target: Image,
        settings: AsicSettings,
        *,
        trace: bool = False,  # noqa: ARG002  # there are no crops to trace
        progress: Progress | None = None,
    ) -> Matches:
        maps = torch.cat(list(self._maps(query, target, settings, progress)))
        points, confidence = _peaks(maps, target.size)
        shown = heatmaps.upsample(maps, heatmap_size(target.size))
        return Matches(
            points=points,
            confidence=confidence * _on_object(query),
            heatmaps=shown.numpy(),
            image_size=target.size,
            image_sha256=target.sha256,
            query_points=query.points,
            names=query.names,
        )

    def locate_points(
        self, query: Query, image: "ImageSource", *, progress: Progress | None = None
    ) -> PointsAndConfidence:
        """Return the points and confidence of :meth:`locate` alone: no heat maps are kept.

        Args and errors are those of :meth:`locate`.
        """
        target, settings = load_image(image), self.settings_of(query)
        parts = [_peaks(maps, target.size) for maps in self._maps(query, target, settings, progress)]
        points, confidence = (np.concatenate(one) for one in zip(*parts, strict=True))
        return points, confidence * _on_object(query)

    def _maps(
        self, query: Query, target: Image, settings: AsicSettings, progress: Progress | None
    ) -> Iterator[Float[Tensor, "_some side side"]]:
        """Yield heat maps of some points after the other, of ``_SIDE`` cells a side.

        Raises:
            QueryError: The query holds no canonical coordinates.
        """
        mapped = self.model.mapped(target, new=settings.new_images == "map", progress=progress)
        count = len(query.points)
        coordinates = _tensor(query, "coordinates", (count, 2))
        vectors = _tensor(query, "vectors", (count, len(mapped.features)))
        _tensor(query, "inside", (count, 1))
        inverted = _Inverted(mapped, self.model.spread)
        for first in range(0, count, _POINTS):
            some = slice(first, first + _POINTS)
            yield inverted.maps(coordinates[some], vectors[some], settings.similarity)
            if progress is not None:
                progress("locate", min(first + _POINTS, count), count)


class _Inverted:
    """A target in which canonical coordinates are sought, its cells enlarged bilinearly."""

    def __init__(self, mapped: Mapped, spread: float) -> None:
        self._width = _WIDTH * spread
        self._coordinates = _enlarged(mapped.coordinates).flatten(1).T.contiguous()
        self._features = F.normalize(_enlarged(mapped.features).flatten(1), dim=0)
        self._outside = _enlarged(mapped.inside.float()[None])[0] < 0.5
        if self._outside.all():
            raise ImageError("No cell of the target is the object's. Train the collection with other --masks.")

    def maps(
        self, coordinates: Float[Tensor, "some 2"], vectors: Float[Tensor, "some dim"], similarity: float
    ) -> Float[Tensor, "some side side"]:
        """Return exp(-(distance / width)^2 / 2 - similarity (1 - cosine)); 0 off the object."""
        exponent = (torch.cdist(coordinates, self._coordinates) / self._width) ** 2 / 2
        if similarity:
            exponent = exponent + similarity * (1 - F.normalize(vectors, dim=1) @ self._features)
        # Far from everything all are 0 in float32, and the nearest would be lost.
        least = exponent.masked_fill(self._outside.flatten(), torch.inf).amin(dim=1, keepdim=True)
        maps = (-(exponent - least) - least.clamp(max=_FARTHEST)).exp().masked_fill(self._outside.flatten(), 0)
        return maps.view(-1, _SIDE, _SIDE)


def _enlarged(values: Float[Tensor, "channels grid grid"]) -> Float[Tensor, "channels side side"]:
    return heatmaps.upsample(values, (_SIDE, _SIDE))


def _tensor(query: Query, name: str, shape: tuple[int, int]) -> Float[Tensor, "points _numbers"]:
    """Return one of a query's tensors.

    Raises:
        QueryError: It is missing or has another shape.
    """
    array = query.tensors.get(name)
    if array is None or array.shape != shape:
        got = "none" if array is None else str(array.shape)
        raise QueryError(f"The query's {name}: expected shape {shape}, got {got}. Describe the points again.")
    return torch.from_numpy(np.array(array, dtype=np.float32))


def _peaks(maps: Float[Tensor, "some side side"], size: Size) -> PointsAndConfidence:
    """Return the highest cells' middles in pixels of an image of ``size``, and how high they are."""
    points = scale_points(heatmaps.peak(maps), (_SIDE, _SIDE), size)
    return points.double().numpy(), heatmaps.peak_value(maps).double().clamp(0, 1).numpy()


def _on_object(query: Query) -> Float[np.ndarray, " points"]:
    """How much of a source point's surroundings is the object: a background has no location on the grid."""
    return np.clip(query.tensors["inside"][:, 0].astype(np.float64), 0, 1)
