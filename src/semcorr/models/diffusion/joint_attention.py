"""Record the attention of image positions to a context that is attended to together with the image."""

from typing import Any

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from semcorr.models.diffusion.attention import AttentionModule, MapRecorder, normed_heads, project_keys, project_queries


class JointRecorder(MapRecorder):
    """An attention processor that records image queries against the keys of a context in a joint attention.

    The softmax is over the tokens of the context and all image positions together, as the network has it: a map holds
    the probabilities of one token, and what the tokens have together is less than 1. The output is that of the
    processor that was there before.
    """

    def __call__(  # type: ignore[override]  # diffusers passes what the signature names
        self,
        attn: AttentionModule,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Any:
        """Record, and return the output of the attention: of the image, and of the context if it comes apart.

        Without ``encoder_hidden_states`` the context comes first in ``hidden_states``.
        """
        rotary = image_rotary_emb
        count = hidden_states.shape[1]
        own = None if rotary is None else (rotary[0][-count:], rotary[1][-count:])
        query = project_queries(attn, hidden_states, own)

        def key() -> Tensor:
            keys = project_keys(attn, hidden_states)
            if encoder_hidden_states is not None:
                text = normed_heads(attn, attn.add_k_proj(encoder_hidden_states), attn.norm_added_k)
                keys = torch.cat([text, keys], dim=2)
            return keys if rotary is None else apply_rotary_emb(keys, rotary)

        self._record(query, key, query.shape[-1] ** -0.5, attention_mask)
        if self.last:
            return hidden_states if encoder_hidden_states is None else (hidden_states, encoder_hidden_states)
        given = {} if rotary is None else {"image_rotary_emb": rotary}
        return self._before(attn, hidden_states, encoder_hidden_states, attention_mask, **given)


class ParallelRecorder(JointRecorder):
    """Does the same where one projection makes queries, keys and values, and what the feed-forward layer starts from.

    The context comes first in ``hidden_states``.
    """

    def __call__(  # type: ignore[override]  # diffusers passes what the signature names
        self,
        attn: AttentionModule,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Any:
        """Record, and return the output of the attention and the feed-forward layer."""
        query, key = attn.to_qkv_mlp_proj(hidden_states)[..., : 2 * attn.inner_dim].chunk(2, dim=-1)
        query, key = normed_heads(attn, query, attn.norm_q), normed_heads(attn, key, attn.norm_k)
        if image_rotary_emb is not None:
            query, key = (apply_rotary_emb(one, image_rotary_emb) for one in (query, key))
        self._record(query, lambda: key, query.shape[-1] ** -0.5, attention_mask)
        if self.last:
            return hidden_states
        return self._before(attn, hidden_states, attention_mask, image_rotary_emb)


class GroupedRecorder(JointRecorder):
    """Does the same where several heads share a key, and positions are complex numbers (Lumina).

    The context comes first in ``hidden_states``.
    """

    def __call__(  # type: ignore[override]  # diffusers passes what the signature names
        self,
        attn: AttentionModule,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> Any:
        """Record, and return the output of the attention; both states are the same."""

        def turned(projected: Tensor, norm: Any) -> Tensor:
            heads = norm(projected.unflatten(2, (-1, norm.weight.numel())))
            if image_rotary_emb is not None:
                heads = apply_rotary_emb(heads, image_rotary_emb, use_real=False)
            return heads.to(projected.dtype).transpose(1, 2)

        def key() -> Tensor:
            shared = turned(attn.to_k(encoder_hidden_states), attn.norm_k)
            return shared.repeat_interleave(attn.heads // shared.shape[1], dim=1)

        self._record(turned(attn.to_q(hidden_states), attn.norm_q), key, attn.scale, attention_mask)
        if self.last:
            return hidden_states
        return self._before(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)
