"""Record the attention that image positions pay to chosen tokens of the context."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor

from semcorr.diffusion.layers import CrossAttentionLayer
from semcorr.errors import LayerError


@dataclass(kw_only=True)
class _Recording:
    tokens: list[int]
    size: tuple[int, int]
    maps: dict[str, Tensor] = field(default_factory=dict)


# The maps belong to the call that wants them, not to the network: nothing is left behind when a call
# fails, and two threads, or a recording inside a recording, do not see each other's.
_ACTIVE: ContextVar[_Recording | None] = ContextVar("semcorr_recording", default=None)


@contextmanager
def recording(tokens: Sequence[int], latent_size: tuple[int, int]) -> Iterator[dict[str, Tensor]]:
    """Collect the maps of ``tokens`` from every recording processor that runs inside the ``with`` block.

    ``latent_size`` is the (height, width) of the latent the U-Net is called with. The dictionary that is
    given fills with ``layer name -> Float[Tensor, "batch heads tokens height width"]``.
    """
    now = _Recording(tokens=list(tokens), size=latent_size)
    before = _ACTIVE.set(now)
    try:
        yield now.maps
    finally:
        _ACTIVE.reset(before)


class MapRecorder:
    """An attention processor that computes the scores in the open and hands the active recording its tokens.

    The scores and their softmax over the tokens are computed in float32 whatever the network's precision:
    half precision overflows in some Stable Diffusion 2.x layers and flattens the peaks in all. With
    ``last`` set nothing after the scores is computed, and the result means nothing.
    """

    def __init__(self, layer: CrossAttentionLayer, attention: Attention) -> None:
        unknown = [name for name in ("group_norm", "spatial_norm") if getattr(attention, name, None) is not None]
        if unknown:
            raise LayerError(
                f"{layer.name} normalises inside its attention ({', '.join(unknown)}); expected the plain "
                "cross-attention of Stable Diffusion 1.x, 2.x or SDXL. Choose another layer or model."
            )
        self.layer = layer
        self.last = False

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,  # noqa: ARG002 (the interface of a processor)
    ) -> Tensor:
        """Do what diffusers' own processors do for the plain attention of these families, and record."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        probabilities = attention_probabilities(attn, hidden_states, context, attention_mask)
        self._store(probabilities)
        if self.last:
            return hidden_states
        value = _split_heads(attn.to_v(context), attn.heads)
        mixed = (probabilities.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        mixed = attn.to_out[1](attn.to_out[0](mixed))
        if attn.residual_connection:
            mixed = mixed + hidden_states
        return mixed / attn.rescale_output_factor

    def _store(self, probabilities: Tensor) -> None:
        now = _ACTIVE.get()
        if now is None:
            return
        height, width = self.layer.map_size(*now.size)
        chosen = probabilities[..., now.tokens].transpose(2, 3)
        now.maps[self.layer.name] = chosen.reshape(*chosen.shape[:3], height, width)


def attention_probabilities(
    attn: Attention,
    hidden_states: Float[Tensor, "batch queries _"],
    context: Float[Tensor, "batch tokens dim"],
    mask: Tensor | None = None,
) -> Float[Tensor, "batch heads queries tokens"]:
    """Return softmax over tokens of Q K^T / sqrt(d) in float32 (method of the paper, section 3)."""
    query = _split_heads(attn.to_q(hidden_states), attn.heads)
    key = _split_heads(attn.to_k(context), attn.heads)
    if attn.norm_q is not None:
        query = attn.norm_q(query)
    if attn.norm_k is not None:
        key = attn.norm_k(key)
    # Autocast would turn the product back into half precision.
    with torch.autocast(query.device.type, enabled=False):
        scores = query.float() @ key.float().transpose(-1, -2) * attn.scale
        if mask is not None:
            scores = scores + mask.float().unsqueeze(1)
        return torch.softmax(scores, dim=-1)


def _split_heads(values: Float[Tensor, "batch positions _"], heads: int) -> Float[Tensor, "batch {heads} positions _"]:
    batch, positions, _ = values.shape
    return values.reshape(batch, positions, heads, -1).transpose(1, 2)
