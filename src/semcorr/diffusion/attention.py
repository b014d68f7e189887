"""Record the attention that image positions pay to chosen tokens of the context."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
    """An attention processor that works the scores out in the open and hands the active recording its tokens.

    What the network goes on with comes from the processor that was there before, so nothing that follows
    changes. The scores and their softmax over the tokens are computed in float32 whatever the network's
    precision, as Stable Diffusion 2.1's own configuration (``upcast_attention``) asks for. With ``last``
    set nothing but the scores is computed, and the result means nothing.
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
        self._before = attention.processor

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """Record, then do what was done before."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        self._store(attention_probabilities(attn, hidden_states, context, attention_mask))
        if self.last:
            return hidden_states
        result: Tensor = self._before(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        return result

    def _store(self, probabilities: Tensor) -> None:
        now = _ACTIVE.get()
        if now is None:
            return
        height, width = self.layer.map_size(*now.size)
        # Picked one by one, because picking by a list keeps a tensor for the backward pass, and a network with
        # gradient checkpointing runs again without a recording and must then keep the same.
        chosen = torch.stack([probabilities[..., token] for token in now.tokens], dim=2)
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
    with _without_autocast(query.device.type):
        scores = query.float() @ key.float().transpose(-1, -2) * attn.scale
        if mask is not None:
            scores = scores + mask.float().unsqueeze(1)
        return torch.softmax(scores, dim=-1)


def _without_autocast(device: str) -> AbstractContextManager[object]:
    """Keep autocast, where a device has it, from turning float32 products back into half precision."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def _split_heads(values: Float[Tensor, "batch positions _"], heads: int) -> Float[Tensor, "batch {heads} positions _"]:
    batch, positions, _ = values.shape
    return values.reshape(batch, positions, heads, -1).transpose(1, 2)
