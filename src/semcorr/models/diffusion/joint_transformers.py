"""Diffusion transformers in which image and context attend to both together: Stable Diffusion 3."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.models.diffusion.joint_attention import JointRecorder
from semcorr.models.diffusion.transformer import Transformer


class JointTransformer(Transformer):
    """A transformer whose blocks change the context as they change the image.

    The context enters in place of the text encoders' output. Pooled text, which the time embedding takes besides, is
    zeros, as SDXL's pooled prompt is.
    """

    keys_depend_on_image = True
    attention_name = "attn"
    unread = ("attn2", "ff", "ff_context")
    recorder = JointRecorder

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a transformer of diffusers."""
        super().__init__(module, vae_factor)
        self.context_dim = module.config.joint_attention_dim

    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        pooled = noisy.new_zeros(len(noisy), self.module.config.pooled_projection_dim)
        return {"timestep": time, "encoder_hidden_states": context, "pooled_projections": pooled}


class StableDiffusion3(JointTransformer):
    """Stable Diffusion 3 and 3.5 (Esser et al., 2024)."""

    def join(self, states: Sequence[Float[Tensor, "batch _tokens _dim"]]) -> Float[Tensor, "batch tokens dim"]:
        """Return the states of both CLIP encoders side by side, filled up with zeros, and then those of T5."""
        *clip, t5 = states
        beside = torch.cat(clip, dim=-1)
        filled = torch.nn.functional.pad(beside, (0, self.context_dim - beside.shape[-1]))
        return torch.cat([filled, t5], dim=1)
