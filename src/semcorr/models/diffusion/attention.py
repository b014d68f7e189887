"""Record the cross-attention of image positions to chosen tokens, the positions' queries, or their self-attention."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0, HunyuanAttnProcessor2_0
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.sana_transformer import SanaAttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxAttention
from diffusers.models.transformers.transformer_flux2 import Flux2Attention, Flux2ParallelSelfAttention
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import LayerError
from semcorr.models.diffusion.layers import CrossAttentionLayer
from semcorr.models.finite import largest
from semcorr.models.shallow_clone import shallow_clone

AttentionModule: TypeAlias = Attention | FluxAttention | Flux2Attention | Flux2ParallelSelfAttention
"""They have the same norms under the same names, and the same projections but for the last."""

# Their output is softmax(Q K^T / sqrt(d)) V, projected; queries and keys as project_queries and project_keys have them.
_PLAIN = (AttnProcessor, AttnProcessor2_0, HunyuanAttnProcessor2_0, SanaAttnProcessor2_0)

SELF = ".attn1"
"""What the name of a recorded self-attention ends in."""


@dataclass(kw_only=True)
class _Recording:
    tokens: list[int] | None
    size: tuple[int, int]
    key_magnitudes: list[Tensor]
    self_attention: bool
    tensors: dict[str, Tensor] = field(default_factory=dict)


# A recording belongs to the call that requests it, not to the network: nothing is left behind when a call fails, and
# two threads, or nested recordings, do not see each other's.
_ACTIVE: ContextVar[_Recording | None] = ContextVar("semcorr_recording", default=None)


@contextmanager
def recording(
    tokens: Sequence[int] | None,
    latent_size: tuple[int, int],
    key_magnitudes: list[Tensor] | None = None,
    *,
    self_attention: bool = False,
) -> Iterator[dict[str, Tensor]]:
    """Collect from every recording processor that runs inside the ``with`` block.

    Args:
        tokens: Tokens whose attention is recorded; None records queries.
        latent_size: (height, width) of the latent that the U-Net is called with.
        key_magnitudes: List that receives the largest magnitude of each layer's keys: an infinite key may leave the
            softmax finite, and wrong.
        self_attention: Also record self-attention, the mean over heads, in the same transformer blocks: under the
            layer's name and ``SELF``, ``Float[Tensor, "batch queries keys"]``.

    Yields:
        A dictionary that fills with the maps of ``tokens``, ``layer name -> Float[Tensor, "batch heads tokens height
        width"]``, or with the queries, ``layer name -> Float[Tensor, "batch heads height width dim"]``.
    """
    magnitudes = [] if key_magnitudes is None else key_magnitudes
    recording = _Recording(
        tokens=None if tokens is None else list(tokens),
        size=latent_size,
        key_magnitudes=magnitudes,
        self_attention=self_attention,
    )
    before = _ACTIVE.set(recording)
    try:
        yield recording.tensors
    finally:
        _ACTIVE.reset(before)


class MapRecorder:
    """An attention processor that computes the scores explicitly and passes them to the active recording.

    Its output is, up to rounding, that of diffusers' own processors; any other processor that was there before computes
    the output itself. The scores and their softmax over the tokens are computed in float32 whatever the network's
    precision, as Stable Diffusion 2.1's own configuration (``upcast_attention``) requests. With ``last`` set only the
    scores are computed, and the output is meaningless.
    """

    def __init__(self, layer: CrossAttentionLayer, attention: AttentionModule) -> None:
        unknown = [name for name in ("group_norm", "spatial_norm") if getattr(attention, name, None) is not None]
        if unknown:
            raise LayerError(
                f"{layer.name} normalises inside its attention ({', '.join(unknown)}); expected the plain "
                "cross-attention of Stable Diffusion 1.x, 2.x or SDXL. Choose another layer or model."
            )
        self.layer = layer
        self.last = False
        self._before = attention.processor
        plain = type(self._before) in _PLAIN
        self._own_values = plain and not attention.residual_connection and attention.rescale_output_factor == 1

    def __call__(
        self,
        attn: AttentionModule,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Record, and return the output of the attention."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        query = project_queries(attn, hidden_states, image_rotary_emb)
        probabilities = self._record(query, partial(project_keys, attn, context), attn.scale, attention_mask)
        if self.last:
            return hidden_states
        if self._own_values and probabilities is not None:
            value = _split_heads(attn.to_v(context), attn.heads)
            mixed = (probabilities.to(value.dtype) @ value).transpose(1, 2).flatten(2)
            for layer in attn.to_out:
                mixed = layer(mixed)
            return mixed
        more = {"temb": temb, "image_rotary_emb": image_rotary_emb}
        given = {name: value for name, value in more.items() if value is not None}
        result: Tensor = self._before(attn, hidden_states, encoder_hidden_states, attention_mask, **given)
        return result

    def _record(self, query: Tensor, project: Callable[[], Tensor], scale: float, mask: Tensor | None) -> Tensor | None:
        """Record, and return the probabilities if they were computed; image positions come last among queries."""
        recording = _ACTIVE.get()
        if recording is not None and recording.tokens is None:
            recording.tensors[self.layer.name] = query.unflatten(2, self.layer.map_size(*recording.size))
            return None
        # Computed even without a recording: with gradient checkpointing the network runs again without one, and must
        # then save the same tensors for the backward pass.
        key = project()
        probabilities = attention_probabilities(query, key, scale, mask)
        if recording is not None and recording.tokens is not None:
            recording.key_magnitudes.append(largest(key))
            # Indexed one by one, because indexing by a list saves another tensor for the backward pass.
            chosen = torch.stack([probabilities[..., token] for token in recording.tokens], dim=2)
            height, width = self.layer.map_size(*recording.size)
            recording.tensors[self.layer.name] = chosen[..., -height * width :].unflatten(3, (height, width))
        return probabilities


class SelfAttentionRecorder:
    """An attention processor that leaves the output to the one before it, and passes self-attention to a recording.

    Args:
        layer: The cross-attention layer that follows in the same transformer block.
        attention: The self-attention.
    """

    def __init__(self, layer: CrossAttentionLayer, attention: AttentionModule) -> None:
        self.layer, self._before = layer, attention.processor

    def __call__(self, attn: AttentionModule, hidden_states: Tensor, *rest: Any, **named: Any) -> Tensor:
        """Record the mean over heads, and return the output of the attention."""
        recording = _ACTIVE.get()
        if recording is not None and recording.self_attention:
            query, key = project_queries(attn, hidden_states), project_keys(attn, hidden_states)
            total = query.new_zeros(len(query), query.shape[2], key.shape[2], dtype=torch.float32)
            # One head after the other: all of them at 64 x 64 positions would take gigabytes.
            for one_query, one_key in zip(query.split(1, dim=1), key.split(1, dim=1), strict=True):
                total += attention_probabilities(one_query, one_key, attn.scale)[:, 0]
            recording.tensors[self.layer.name + SELF] = total / attn.heads
        result: Tensor = self._before(attn, hidden_states, *rest, **named)
        return result


def with_recorder(
    attention: AttentionModule,
    layer: CrossAttentionLayer,
    kind: type[MapRecorder | SelfAttentionRecorder] = MapRecorder,
) -> AttentionModule:
    """Return a clone of a module that records for a layer; it shares the weights."""
    clone = shallow_clone(attention)
    recorder = kind(layer, clone)
    clone._modules.pop("processor", None)  # some processors are modules
    clone.processor = recorder
    return clone


def project_queries(
    attn: AttentionModule,
    hidden_states: Float[Tensor, "batch positions _"],
    rotary: tuple[Tensor, Tensor] | None = None,
) -> Float[Tensor, "batch heads positions dim"]:
    """Return the query of every image position, turned by its position where the network has ``rotary`` embeddings."""
    query = normed_heads(attn, attn.to_q(hidden_states), attn.norm_q)
    return query if rotary is None else apply_rotary_emb(query, rotary)


def project_keys(
    attn: AttentionModule, context: Float[Tensor, "batch tokens _"]
) -> Float[Tensor, "batch heads tokens dim"]:
    """Return the key of every token of the context."""
    return normed_heads(attn, attn.to_k(context), attn.norm_k)


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

    ``keys`` are divided by sqrt(d) already (:meth:`semcorr.models.diffusion.DiffusionModel.keys`). All contexts share
    one matrix product per head.
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


def normed_heads(
    attn: AttentionModule, values: Float[Tensor, "batch positions _"], norm: Callable[[Tensor], Tensor] | None
) -> Float[Tensor, "batch heads positions dim"]:
    """Split into heads and normalise: each head alone, or all together before, as the norm is wide."""
    if norm is None:
        return _split_heads(values, attn.heads)
    weight = getattr(norm, "weight", None)
    if weight is not None and weight.numel() == values.shape[-1]:
        return _split_heads(norm(values), attn.heads)
    return norm(_split_heads(values, attn.heads))


def _split_heads(values: Float[Tensor, "batch positions _"], heads: int) -> Float[Tensor, "batch {heads} positions _"]:
    batch, positions, _ = values.shape
    return values.reshape(batch, positions, heads, -1).transpose(1, 2)
