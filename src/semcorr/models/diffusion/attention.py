"""Record what image positions ask of the context: their attention to chosen tokens, or their queries."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import LayerError
from semcorr.models.diffusion.layers import CrossAttentionLayer
from semcorr.models.finite import largest


@dataclass(kw_only=True)
class _Recording:
    tokens: list[int] | None
    size: tuple[int, int]
    key_magnitudes: list[Tensor]
    found: dict[str, Tensor] = field(default_factory=dict)


# What is found belongs to the call that wants it, not to the network: nothing is left behind when a call
# fails, and two threads, or a recording inside a recording, do not see each other's.
_ACTIVE: ContextVar[_Recording | None] = ContextVar("semcorr_recording", default=None)


@contextmanager
def recording(
    tokens: Sequence[int] | None, latent_size: tuple[int, int], key_magnitudes: list[Tensor] | None = None
) -> Iterator[dict[str, Tensor]]:
    """Collect from every recording processor that runs inside the ``with`` block.

    The dictionary that is given fills with the maps of ``tokens``, ``layer name -> Float[Tensor, "batch heads tokens
    height width"]``; or, if ``tokens`` is None, with the queries, ``layer name -> Float[Tensor, "batch heads height
    width dim"]``. ``latent_size`` is the (height, width) of the latent the U-Net is called with. ``key_magnitudes``
    gets the largest magnitude of each layer's keys: one that is infinite may leave a softmax finite, and wrong.
    """
    kept = [] if key_magnitudes is None else key_magnitudes
    now = _Recording(tokens=None if tokens is None else list(tokens), size=latent_size, key_magnitudes=kept)
    before = _ACTIVE.set(now)
    try:
        yield now.found
    finally:
        _ACTIVE.reset(before)


class MapRecorder:
    """An attention processor that works the scores out in the open and hands the active recording its tokens.

    What the network goes on with is the values under the same scores, as diffusers' own processors make it, but for
    rounding; any other processor that was there before makes it itself. The scores and their softmax over the tokens
    are computed in float32 whatever the network's precision, as Stable Diffusion 2.1's own configuration
    (``upcast_attention``) asks for. With ``last`` set nothing but the scores is computed, and the result means nothing.
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
        plain = type(self._before) in (AttnProcessor, AttnProcessor2_0)
        self._own_values = plain and not attention.residual_connection and attention.rescale_output_factor == 1

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
        probabilities = self._store(attn, hidden_states, context, attention_mask)
        if self.last:
            return hidden_states
        if self._own_values and probabilities is not None:
            value = _split_heads(attn.to_v(context), attn.heads)
            mixed = (probabilities.to(value.dtype) @ value).transpose(1, 2).flatten(2)
            for layer in attn.to_out:
                mixed = layer(mixed)
            return mixed
        result: Tensor = self._before(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        return result

    def _store(self, attn: Attention, hidden_states: Tensor, context: Tensor, mask: Tensor | None) -> Tensor | None:
        """Record, and return the probabilities if they had to be worked out."""
        now = _ACTIVE.get()
        query = project_queries(attn, hidden_states)
        if now is not None and now.tokens is None:
            now.found[self.layer.name] = query.unflatten(2, self.layer.map_size(*now.size))
            return None
        # Worked out even when nobody reads it: a network with gradient checkpointing runs again without a recording,
        # and must then keep the same tensors for the backward pass.
        key = project_keys(attn, context)
        probabilities = attention_probabilities(query, key, attn.scale, mask)
        if now is not None and now.tokens is not None:
            now.key_magnitudes.append(largest(key))
            # Picked one by one, because picking by a list keeps a tensor of its own.
            chosen = torch.stack([probabilities[..., token] for token in now.tokens], dim=2)
            now.found[self.layer.name] = chosen.unflatten(3, self.layer.map_size(*now.size))
        return probabilities


def project_queries(
    attn: Attention, hidden_states: Float[Tensor, "batch positions _"]
) -> Float[Tensor, "batch heads positions dim"]:
    """What every image position asks for."""
    query = _split_heads(attn.to_q(hidden_states), attn.heads)
    return query if attn.norm_q is None else attn.norm_q(query)


def project_keys(attn: Attention, context: Float[Tensor, "batch tokens _"]) -> Float[Tensor, "batch heads tokens dim"]:
    """What every token of the context answers to."""
    key = _split_heads(attn.to_k(context), attn.heads)
    return key if attn.norm_k is None else attn.norm_k(key)


def attention_probabilities(
    query: Float[Tensor, "batch heads positions dim"],
    key: Float[Tensor, "batch heads tokens dim"],
    scale: float,
    mask: Tensor | None = None,
) -> Float[Tensor, "batch heads positions tokens"]:
    """Return softmax over tokens of Q K^T / sqrt(d) in float32 (method of the paper, section 3)."""
    with _without_autocast(query.device.type):
        scores = query.float() @ key.float().transpose(-1, -2) * scale
        if mask is not None:
            scores = scores + mask.float().unsqueeze(1)
        return torch.softmax(scores, dim=-1)


def attention_to(
    token: int,
    queries: Float[Tensor, "heads height width dim"],
    keys: Float[Tensor, "contexts heads tokens dim"],
) -> Float[Tensor, "contexts heads height width"]:
    """Return the attention that one image's positions pay to one token of each of several contexts, in float32.

    ``keys`` are divided by sqrt(d) already (:meth:`semcorr.models.diffusion.DiffusionModel.keys`). All contexts go
    through one matrix product a head.
    """
    contexts, heads, tokens, dim = keys.shape
    height, width = queries.shape[1:3]
    together = keys.permute(1, 3, 0, 2).reshape(heads, dim, contexts * tokens)
    with _without_autocast(queries.device.type):
        scores = (queries.flatten(1, 2).float() @ together.float()).unflatten(2, (contexts, tokens))
        return torch.softmax(scores, dim=-1)[..., token].unflatten(1, (height, width)).movedim(3, 0)


def _without_autocast(device: str) -> AbstractContextManager[object]:
    """Keep autocast, where a device has it, from turning float32 products back into half precision."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def _split_heads(values: Float[Tensor, "batch positions _"], heads: int) -> Float[Tensor, "batch {heads} positions _"]:
    batch, positions, _ = values.shape
    return values.reshape(batch, positions, heads, -1).transpose(1, 2)
