"""A look at what learning has come to: the attention over the whole source, worked out only when somebody asks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.matchers.prompt.attention_reader import AttentionReader, Row, stack_noise
from semcorr.matchers.prompt.crops import CropLatents, anywhere
from semcorr.matchers.prompt.frozen_queries import FrozenCrops, FrozenRows

WholeMaps = Callable[[Sequence[Row], Float[Tensor, "rows tokens dim"]], Float[Tensor, "rows side side"]]
"""From rows and their embeddings as they are now to each row's map over the whole source."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionPreview:
    """What a progress callback gets as ``look``: call it, from within the callback, for the maps as they are now.

    A callback that does not call it pays nothing; a call costs about as much as locating with one crop, and changes no
    result.

    Attributes:
        points: which points are being learned, counted from 0: the maps are of these, in this order.
    """

    points: tuple[int, ...]
    _maps: Callable[[], Float[Tensor, "points side side"]]

    def __call__(self) -> Float[np.ndarray, "points side side"]:
        """Return each point's map over the whole source: the mean over its rounds, heads and layers."""
        return self._maps().float().cpu().numpy()


def look_at(rows: Sequence[Row], embeddings: Float[Tensor, "rows tokens dim"], whole: WholeMaps) -> AttentionPreview:
    """A look at the points of a batch's rows, which are in the order of the points."""
    points = tuple(dict.fromkeys(row.point for row in rows))

    @torch.no_grad()
    def maps() -> Tensor:
        found = whole(rows, embeddings.detach())
        own = [[number for number, row in enumerate(rows) if row.point == point] for point in points]
        return torch.stack([found[numbers].mean(dim=0) for numbers in own])

    return AttentionPreview(points=points, _maps=maps)


def live_whole(reader: AttentionReader, latents: CropLatents) -> WholeMaps:
    """One pass of the network over the whole source, with noise of its own: no draw that learning makes is touched."""

    def maps(rows: Sequence[Row], embeddings: Tensor) -> Tensor:
        side = reader.resolution
        clean = latents([anywhere(resolution=side, fraction=1.0).crop(0, 0)])
        noise = torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(0))
        many = len(rows)
        found = reader.maps(
            clean.expand(many, -1, -1, -1), stack_noise([noise] * many, clean), reader.optimize_t, embeddings
        )
        return heatmaps.fuse_mean(found, (side, side))

    return maps


def frozen_whole(reader: AttentionReader, shared: FrozenCrops) -> WholeMaps:
    """The mean over the shared crops, by products with their queries."""

    def maps(rows: Sequence[Row], embeddings: Tensor) -> Tensor:
        found, _ = FrozenRows(reader, shared)(rows, embeddings, False, lambda _: None)
        return found.mean(dim=1)

    return maps
