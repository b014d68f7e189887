"""Where attention should be: what embeddings are optimized for, in the crops of one image.

A target is a Gaussian at a point (the paper's), or a mask: any map over the image, which is cropped as the image is.
Several images that show the same points or regions are :class:`semcorr.matchers.prompt.optimize.Example` objects, one
for each.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Crop, Size, resize
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.crops import CropRange, containing


@runtime_checkable
class AttentionTargets(Protocol):
    """The target of each point in one image. A point is what embeddings are optimized for: it may be a region."""

    @property
    def shown(self) -> Bool[Tensor, " points"]:
        """Which points this image shows; the others have no target in it."""
        ...

    def crop_range(self, point: int) -> CropRange:
        """Return the crops that may be drawn for a point."""
        ...

    def usable(self, points: Sequence[int], crops: Sequence[Crop]) -> Bool[Tensor, "rows crops"]:
        """Return which of some crops that all points share may be read for each of ``points``."""
        ...

    def maps(self, points: Sequence[int], crops: Sequence[Crop]) -> Float[Tensor, "rows side side"]:
        """Return the target of each of ``points`` in its crop, which is resized to the model frame's side."""
        ...

    def cells(self, points: Sequence[int], crop: Crop, size: Size) -> Float[Tensor, "rows height width"]:
        """Return the targets of ``points`` in one crop at the cells of a layer's map of ``size`` (width, height)."""
        ...


class GaussianTargets:
    """A Gaussian of peak 1 around each point (paper section 3.2); its crops contain the point (section 3.3).

    Args:
        reader: Its settings give the Gaussian's width and which crops are allowed.
        points: In the model frame (continuous, pixels); NaN for a point that the image does not show.
    """

    def __init__(self, reader: AttentionReader, points: Float[Tensor, "points 2"]) -> None:
        self._reader, self._points = reader, points

    @property
    def shown(self) -> Bool[Tensor, " points"]:
        """Which points are not NaN."""
        return ~self._points.isnan().any(dim=1)

    def crop_range(self, point: int) -> CropRange:
        """Return the crops that contain the point."""
        return self._reader.optimize_range(*self._points[point].tolist())

    def usable(self, points: Sequence[int], crops: Sequence[Crop]) -> Bool[Tensor, "rows crops"]:
        """Return which crops contain each point."""
        return containing(crops, self._points[list(points)])

    def maps(self, points: Sequence[int], crops: Sequence[Crop]) -> Float[Tensor, "rows side side"]:
        """Return the Gaussian around each point."""
        settings, side = self._reader.settings, self._reader.resolution
        centres = [crop.to_crop(self._points[point], side) for point, crop in zip(points, crops, strict=True)]
        on_device = torch.stack(centres).float().to(self._reader.model.device)
        return heatmaps.gaussian(on_device, settings.sigma * side, (side, side), settings.pixel_centre)

    def cells(self, points: Sequence[int], crop: Crop, size: Size) -> Float[Tensor, "rows height width"]:
        """Return the Gaussian at the middles of cells; where the crop lacks the point, its tail."""
        side, width = self._reader.resolution, size[0]
        centres = torch.stack([crop.to_crop(self._points[point], side) for point in points]) / side
        return heatmaps.gaussian(centres.float() * width, self._reader.settings.sigma * width, size)


class MaskTargets:
    """A mask for each region, from 0 to 1; any crop may be read, also one that lacks the region.

    Args:
        reader: Its settings give the size of crops.
        masks: A map of any shape over the whole image for each region, whatever the image's own size; None for a
            region that the image does not show.
    """

    def __init__(self, reader: AttentionReader, masks: Sequence[Float[Tensor, "_height _width"] | None]) -> None:
        side = reader.resolution
        self._reader = reader
        # Squashed to the model frame once, as the image is.
        self._frames = [None if mask is None else resize(mask[None].float(), (side, side))[0] for mask in masks]

    @property
    def shown(self) -> Bool[Tensor, " points"]:
        """Which regions have a mask."""
        return torch.tensor([frame is not None for frame in self._frames])

    def crop_range(self, point: int) -> CropRange:  # noqa: ARG002  # the same for all
        """Return all crops."""
        return self._reader.optimize_anywhere()

    def usable(self, points: Sequence[int], crops: Sequence[Crop]) -> Bool[Tensor, "rows crops"]:
        """Return that all are."""
        return torch.ones(len(points), len(crops), dtype=torch.bool)

    def maps(self, points: Sequence[int], crops: Sequence[Crop]) -> Float[Tensor, "rows side side"]:
        """Return each mask's crop, cut and resized as the image's is."""
        cut = [self._cut(point, crop) for point, crop in zip(points, crops, strict=True)]
        return torch.stack(cut).to(self._reader.model.device)

    def cells(self, points: Sequence[int], crop: Crop, size: Size) -> Float[Tensor, "rows height width"]:
        """Return the mean of the mask over each cell."""
        cut = torch.stack([self._cut(point, crop) for point in points])
        return F.interpolate(cut[:, None], size=(size[1], size[0]), mode="area")[:, 0]

    def _cut(self, point: int, crop: Crop) -> Float[Tensor, "side side"]:
        frame = self._frames[point]
        if frame is None:
            raise ValueError(f"Region {point} has no mask in this image.")
        return crop.cut(frame[None], self._reader.resolution)[0]
