"""A preview of an optimization: the attention over the whole source so far, computed only for a callback that asks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.matchers.prompt.attention_reader import Row
from semcorr.matchers.prompt.attention_source import AttentionSource


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionPreview:
    """What a progress callback gets as ``preview``: call it, from within the callback, for the current maps.

    A callback that does not call it pays nothing; a call costs about as much as locating with one crop, and changes no
    result.

    Attributes:
        points: The points that are being optimized, counted from 0, in the order of the maps.
    """

    points: tuple[int, ...]
    _maps: Callable[[], Float[Tensor, "points *tokens side side"]]

    def __call__(self) -> Float[np.ndarray, "points *tokens side side"]:
        """Return each point's map over the whole source: the mean over its rounds, heads and layers.

        Where the labels of pixels are optimized, there are the scores of each label.
        """
        return self._maps().float().cpu().numpy()


def preview_of(
    rows: Sequence[Row], embeddings: Float[Tensor, "rows tokens dim"], source: AttentionSource
) -> AttentionPreview:
    """Return a preview of the points of a batch's rows, which are in the order of the points."""
    points = tuple(dict.fromkeys(row.point for row in rows))

    @torch.no_grad()
    def maps() -> Tensor:
        of_rows = source.whole_image_maps(embeddings.detach())
        groups = [[number for number, row in enumerate(rows) if row.point == point] for point in points]
        return torch.stack([of_rows[group].mean(dim=0) for group in groups])

    return AttentionPreview(points=points, _maps=maps)
