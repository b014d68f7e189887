"""Where attention should be: what embeddings are optimized for, in the crops of one image.

A target is a Gaussian at a point (the paper's), or the label of every pixel. It says how maps are compared with it.
Several images that show the same points or regions are :class:`semcorr.matchers.prompt.optimize.Example` objects, one
for each.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Crop, Size, resize
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.crops import CropRange, containing

_BALANCE = 0.5
"""A label's weight is its area to minus this power; chosen on validation drawings."""


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

    def losses(
        self, maps: Sequence[Float[Tensor, "rows *tokens _h _w"]], points: Sequence[int], crops: Sequence[Crop]
    ) -> Float[Tensor, " rows"]:
        """Return how far each row's maps of a crop, one tensor a layer, are from the target of its point there."""
        ...

    def cells(self, points: Sequence[int], crop: Crop, size: Size) -> Float[Tensor, "rows *tokens height width"]:
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

    def losses(
        self, maps: Sequence[Float[Tensor, "rows _h _w"]], points: Sequence[int], crops: Sequence[Crop]
    ) -> Float[Tensor, " rows"]:
        """Return the mean squared error against the Gaussians (:func:`row_losses`)."""
        return row_losses(maps, self.maps(points, crops), self._reader.settings.loss)

    def cells(self, points: Sequence[int], crop: Crop, size: Size) -> Float[Tensor, "rows height width"]:
        """Return the Gaussian at the middles of cells; where the crop lacks the point, its tail."""
        side, width = self._reader.resolution, size[0]
        centres = torch.stack([crop.to_crop(self._points[point], side) for point in points]) / side
        return heatmaps.gaussian(centres.float() * width, self._reader.settings.sigma * width, size)


class LabelTargets:
    """The label of every pixel: what the tokens of one context compete for. There is one point, which is all labels.

    Any crop may be read, also one that lacks some labels.

    Args:
        reader: Its settings give the size of crops, its layers how fine the comparison is.
        masks: A mask of each label, from 0 to 1, over the whole image; at every pixel they add up to 1, or to
            0 where it is ignored.
        spread: Spreads a crop's shares of labels by its self-attention
            (:func:`semcorr.matchers.prompt.labels.spreading`); None compares the shares themselves alone.
        spread_loss: How much the loss of the spread shares counts beside that of the shares themselves.
    """

    def __init__(
        self,
        reader: AttentionReader,
        masks: Shaped[Tensor, "labels _height _width"],
        spread: Callable[[Tensor, Crop], Tensor] | None = None,
        spread_loss: float = 0.0,
    ) -> None:
        self._spread, self._spread_loss = spread, spread_loss
        side = reader.resolution
        # Squashed to the model frame once, as the image is.
        self._reader, self._frame = reader, resize(masks.float(), (side, side))
        shares = masks.float().mean(dim=(1, 2))
        self._weights = shares.clamp(min=1 / masks[0].numel()) ** -_BALANCE

    @property
    def shown(self) -> Bool[Tensor, " points"]:
        """That the image shows them."""
        return torch.ones(1, dtype=torch.bool)

    def crop_range(self, point: int) -> CropRange:  # noqa: ARG002  # the same for all
        """Return all crops."""
        return self._reader.optimize_anywhere()

    def usable(self, points: Sequence[int], crops: Sequence[Crop]) -> Bool[Tensor, "rows crops"]:
        """Return that all are."""
        return torch.ones(len(points), len(crops), dtype=torch.bool)

    def cells(self, points: Sequence[int], crop: Crop, size: Size) -> Float[Tensor, "rows labels height width"]:
        """Return the share of each label in the area of each cell."""
        cut = crop.cut(self._frame, self._reader.resolution)[None]
        shares = F.interpolate(cut, size=(size[1], size[0]), mode="area")
        return shares.expand(len(points), -1, -1, -1)

    def losses(
        self, maps: Sequence[Float[Tensor, "rows labels _h _w"]], points: Sequence[int], crops: Sequence[Crop]
    ) -> Float[Tensor, " rows"]:
        """Return the cross-entropy of the labels' scores, the mean over layers, in cells half the finest layer's side.

        As SLiMe's first loss (Khani et al., 2023, arXiv 2309.03179): scores are averaged over heads and layers, and the
        softmax is over labels. A label counts by the inverse square root of its area, so that small parts count too.
        The spread shares are compared in the same way; in SLiMe, whose second loss that is, by the squared error.
        """
        size = (2 * self._reader.grid[0], 2 * self._reader.grid[1])
        shares = torch.cat([self.cells([point], crop, size) for point, crop in zip(points, crops, strict=True)])
        weighted = (shares * self._weights[:, None, None]).to(maps[0])
        logs = heatmaps.fuse_mean(maps, size).log_softmax(dim=1)
        total = weighted.sum(dim=(1, 2, 3)).clamp(min=torch.finfo(weighted.dtype).tiny)  # all may be ignored
        if self._spread is not None:
            spread = torch.stack([self._spread(one, crop) for one, crop in zip(logs.exp(), crops, strict=True)])
            logs = logs + self._spread_loss * spread.clamp(min=torch.finfo(spread.dtype).tiny).log()
        return -(weighted * logs).sum(dim=(1, 2, 3)) / total


def row_losses(
    maps: Sequence[Float[Tensor, "rows _h _w"]], target: Float[Tensor, "rows side side"], kind: str
) -> Float[Tensor, " rows"]:
    """Mean squared error of each row's maps, enlarged bilinearly, against its target.

    ``"mean_map"`` compares the mean over layers (paper section 3.2); ``"per_layer"`` compares every layer's map
    and averages (authors' code).
    """
    size = (target.shape[-1], target.shape[-2])
    if kind == "mean_map":
        return ((heatmaps.fuse_mean(maps, size) - target) ** 2).mean(dim=(-2, -1))
    errors = [((heatmaps.upsample(layer, size) - target) ** 2).mean(dim=(-2, -1)) for layer in maps]
    return torch.stack(errors).mean(dim=0)
