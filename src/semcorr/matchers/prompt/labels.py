"""Regions by one context, a token of which stands for each label: SLiMe's way (Khani et al., 2023, arXiv 2309.03179).

Attention is a softmax over the tokens of a context. A context that has a token for the background and for each label,
and no other, makes the attention of an image position a choice of its label; it is optimized as those of points are,
with another reader of the attention and another target.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import SettingsError
from semcorr.imaging.geometry import Crop, Size
from semcorr.imaging.heatmaps import upsample
from semcorr.matchers.prompt.attention_reader import AttentionReader, stack_noise
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.frozen_queries import neutral_context
from semcorr.matchers.prompt.random_streams import RandomStreams, Stage
from semcorr.matchers.prompt.settings import PromptSettings
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.memory import in_batches
from semcorr.settings import override

_KEPT = 16
"""Crops of an example whose self-attention is kept: more than the presets' rows share."""

_CORNERS_ALONE = 4
"""Crops of live queries while locating: after the corners they would follow a peak, which labels do not have."""


class LabelReader(AttentionReader):
    """Reads every token of a context: the score of each label, the mean over heads, up to a constant of each position.

    A softmax over labels, which does not depend on that constant, gives their shares.

    Args:
        model: The frozen network.
        settings: The method's; what concerns a single token is not used.
        how: How many steps the optimization takes, and how large they are.
        labels: How many, the background included.
        gradient_checkpointing: As for :class:`AttentionReader`, whose errors it has.

    Raises:
        SettingsError: Self-attention of a network that is a transformer.
    """

    def __init__(
        self,
        model: DiffusionModel,
        settings: PromptSettings,
        how: RegionSettings,
        labels: int,
        *,
        gradient_checkpointing: bool = False,
    ) -> None:
        for name, value in (("self_attention", how.self_attention), ("spread_loss", how.spread_loss)):
            if value > 0 and not model.reads_self_attention:
                raise SettingsError(
                    f"Setting {name!r}: expected 0, since {model.model_id!r} has no U-Net whose self-attention "
                    f"could be read, got {value:g}."
                )
        own: dict[str, object] = {
            "context_length": labels,
            "token": 0,
            "start": "random",
            "steps": how.steps,
            "lr": how.lr,
        }
        if settings.queries == "live":
            own["locate_crops"] = _CORNERS_ALONE
        super().__init__(model, override(settings, **own), gradient_checkpointing=gradient_checkpointing)
        self.tokens = tuple(range(labels))

    @property
    def token_axis(self) -> tuple[int, ...]:
        """The number of labels."""
        return (len(self.tokens),)

    def _over_heads(self, attention: Float[Tensor, "rows heads tokens h w"]) -> Float[Tensor, "rows tokens h w"]:
        """Return the mean over heads of the attention's logarithm: the score, but for what labels have in common."""
        return attention.clamp(min=torch.finfo(attention.dtype).tiny).log().mean(dim=1)

    def frozen_maps(
        self,
        queries: Mapping[str, Float[Tensor, "heads _h _w _dim"]],
        keys: Mapping[str, Float[Tensor, "rows heads context _dim"]],
    ) -> list[Float[Tensor, "rows tokens _h _w"]]:
        """Return every row's scores in one crop from its frozen queries. Both mappings are by layer."""
        maps = []
        for layer in self.layers:
            heads = self.heads[layer.name]
            query, key = queries[layer.name][heads], keys[layer.name][:, heads]
            maps.append(torch.einsum("nhwd,rntd->rthw", query, key) / len(query))
        return maps


def self_attention(
    reader: AttentionReader, latents: CropLatents, streams: RandomStreams, stage: Stage, crop: Crop
) -> Float[Tensor, "cells cells"]:
    """Return what each cell of a crop pays to each other, the mean over the finest layers, at the stage's time step.

    Raises:
        SettingsError: The model has no text encoder for the empty prompt.
        OutOfMemoryError: Not even one crop fits into memory.
    """
    t = reader.optimize_t if stage == "optimize" else reader.locate_t
    layers = [layer for layer in reader.layers if layer.scale == min(one.scale for one in reader.layers)]
    noise = streams.shared(stage).noise(reader.latent_shape, reader.settings.noise)

    def compute(crops: Sequence[Crop]) -> Float[Tensor, "cells cells"]:
        clean = latents(crops)
        noisy = reader.model.add_noise(clean, stack_noise([noise], clean), t)
        attention = reader.model.self_attention(noisy, t, neutral_context(reader), layers)
        return torch.stack([attention[layer.name][0] for layer in layers]).mean(dim=0)

    ((_, cells),) = in_batches([crop], 1, compute, stage="self-attention")
    return cells


def spread(
    shares: Float[Tensor, "labels height width"], attention: Float[Tensor, "cells cells"], grid: Size, weight: float
) -> Float[Tensor, "labels height width"]:
    """Return shares of labels in which each cell has taken over a part of what it attends to has.

    SLiMe's weighted accumulation of self-attention, as a mean: a cell's value is the mean of the shares of all cells,
    weighted by the self-attention. It is squared, because the mean over heads is nearly the same everywhere.

    Args:
        shares: The share of each label at every pixel.
        attention: Of the cells of ``grid``, row by row; each row adds up to 1.
        grid: (columns, rows) of cells.
        weight: The part, from 0 to 1.
    """
    columns, rows = grid
    cells = F.interpolate(shares[None], size=(rows, columns), mode="area")[0].flatten(1)
    sharp = attention**2
    mean = cells @ (sharp / sharp.sum(dim=1, keepdim=True)).T
    return torch.lerp(shares, upsample(mean.unflatten(1, (rows, columns)), (shares.shape[2], shares.shape[1])), weight)


def spreading(
    reader: AttentionReader, latents: CropLatents, streams: RandomStreams
) -> Callable[[Float[Tensor, "labels height width"], Crop], Float[Tensor, "labels height width"]]:
    """Return what gives every cell of a crop, while optimizing, the mean of what it attends to there (:func:`spread`).

    Self-attention is frozen, whether queries are or not: it is computed under the neutral context, once for each crop
    of the last few. Errors are those of :func:`self_attention`, when a crop is read.
    """
    attention = lru_cache(_KEPT)(partial(self_attention, reader, latents, streams, "optimize"))
    return lambda shares, crop: spread(shares, attention(crop).to(shares), reader.grid, 1.0)
