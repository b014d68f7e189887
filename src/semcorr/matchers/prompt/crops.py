"""Which crops are allowed (those that contain a point, and the corners), and their latents."""

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.latent_cache import CachedLatents
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.memory import in_batches

CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
"""The points, as fractions of the frame's side, that the first four crops contain when locating: the authors' order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CropRange:
    """All square crops of one size that contain a point, in pixels of the model frame. Both bounds are allowed."""

    left_min: int
    left_max: int
    top_min: int
    top_max: int
    side: int

    def crop(self, left: int, top: int) -> Crop:
        """Return the crop at one position."""
        return Crop(left=left, top=top, width=self.side, height=self.side)

    def at(self, across: float, down: float) -> Crop:
        """Return the crop at a position in [0, 1) of the range, such that uniform positions give uniform crops."""
        columns, rows = self.left_max - self.left_min + 1, self.top_max - self.top_min + 1
        return self.crop(self.left_min + math.floor(across * columns), self.top_min + math.floor(down * rows))

    def contains(self, crop: Crop) -> bool:
        """Return whether a crop is one of those allowed."""
        return (
            (crop.width, crop.height) == (self.side, self.side)
            and self.left_min <= crop.left <= self.left_max
            and self.top_min <= crop.top <= self.top_max
        )


def crop_range(x: float, y: float, *, resolution: int, fraction: float, margin: float) -> CropRange:
    """Return the crops that contain the point (x, y).

    The crop's side is ``int(resolution * fraction)``, and the point's pixel stays ``int(side * margin)`` pixels from
    the crop's edges. Where the image ends, it wins over the margin: the crop is pushed back inside.
    Authors' code (``crop_image``); the paper (section 3.3) only says that the crop contains the point,
    which is ``margin=0``.

    Args:
        x: Of the point, to the right, in pixels of the model frame (continuous).
        y: The same, downwards.
        resolution: Side of the model frame in pixels.
        fraction: Side of the crop, as a fraction of the frame's.
        margin: Distance kept from the crop's edge, as a fraction of the crop's side.
    """
    side = _side(resolution, fraction)
    inset = int(side * margin + 1e-9)
    last = resolution - side

    def bounds(coordinate: float) -> tuple[int, int]:
        pixel = math.floor(coordinate)
        # With no margin the pixel itself must still be inside, hence the 1 on the far edge.
        low, high = pixel - side + max(inset, 1), pixel - inset
        return min(max(low, 0), last), min(max(high, 0), last)

    (left_min, left_max), (top_min, top_max) = bounds(x), bounds(y)
    return CropRange(left_min=left_min, left_max=left_max, top_min=top_min, top_max=top_max, side=side)


def anywhere(*, resolution: int, fraction: float) -> CropRange:
    """Return all crops of a size within the frame, whatever they contain; sizes as for :func:`crop_range`."""
    side = _side(resolution, fraction)
    return CropRange(left_min=0, left_max=resolution - side, top_min=0, top_max=resolution - side, side=side)


def containing(crops: Sequence[Crop], points: Float[Tensor, "points 2"]) -> Bool[Tensor, "points crops"]:
    """Return which of the crops contain each point of the model frame."""
    low = torch.tensor([(crop.left, crop.top) for crop in crops], dtype=points.dtype)
    high = low + torch.tensor([(crop.width, crop.height) for crop in crops], dtype=points.dtype)
    return ((points[:, None] >= low) & (points[:, None] <= high)).all(dim=-1)


def _side(resolution: int, fraction: float) -> int:
    # The small term keeps a fraction such as 29/100 of 100 pixels from losing a pixel to binary rounding.
    return int(resolution * fraction + 1e-9)


class CropLatents:
    """Latents of crops of one image; a crop that was encoded before is not encoded again.

    Points and rounds share most of their crops, since there are only ``(resolution - side + 1) ** 2`` positions, and
    encoding costs more than a pass of the U-Net.

    Args:
        model: Its VAE encodes.
        frame: The image in the model frame, values in [0, 1].
        cache: Latents of this image on disk, which are read before any are computed, and added to.
        limit_bytes: Memory for latents.
    """

    def __init__(
        self,
        model: DiffusionModel,
        frame: Float[Tensor, "3 side side"],
        *,
        cache: CachedLatents | None = None,
        limit_bytes: int = 2**28,
    ) -> None:
        self._model, self._frame, self._cache, self._limit = model, frame, cache, limit_bytes
        self._known: dict[Crop, Tensor] = {}

    def __len__(self) -> int:
        """The number of latents in memory."""
        return len(self._known)

    def __call__(self, crops: Sequence[Crop]) -> Float[Tensor, "crops channels height width"]:
        """Return the latent of each crop, resized to the frame's own side, scaled and without noise."""
        missing = [crop for crop in dict.fromkeys(crops) if crop not in self._known]
        if missing:
            self._make_room(len(missing), keep=set(crops))
            # One at a time: an image takes much memory, and its latent is then the same to the last bit whichever other
            # crops are requested with it.
            for (crop,), latent in in_batches(missing, 1, self._make, stage="encode"):
                self._known[crop] = latent
        return torch.stack([self._known[crop] for crop in crops])

    def _make(self, crops: Sequence[Crop]) -> Float[Tensor, "channels height width"]:
        (crop,) = crops
        latent = None if self._cache is None else self._cache.get(crop)
        if latent is not None:
            return latent.to(self._model.device)
        latent = self._model.encode(crop.cut(self._frame, self._frame.shape[-1])[None])[0]
        if self._cache is not None:
            self._cache.put(crop, latent)
        return latent

    def _make_room(self, count: int, keep: set[Crop]) -> None:
        each = next((latent.nbytes for latent in self._known.values()), 0)
        if (len(self._known) + count) * each > self._limit:
            self._known = {crop: latent for crop, latent in self._known.items() if crop in keep}
