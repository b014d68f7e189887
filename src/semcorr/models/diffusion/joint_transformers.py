"""Diffusion transformers in which image and context attend to both together: Stable Diffusion 3, FLUX.1."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import ModelError
from semcorr.models.diffusion.joint_attention import JointRecorder
from semcorr.models.diffusion.transformer import Transformer


class JointTransformer(Transformer):
    """A transformer whose blocks change the context as they change the image.

    The context enters in place of the text encoders' output. Pooled text, which the time embedding takes besides, is
    zeros, as SDXL's pooled prompt is.
    """

    keys_depend_on_image = True
    attention_name = self_attention_name = "attn"
    norms = ("norm1", "norm")
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
    """Stable Diffusion 3 and 3.5 (Esser et al., 2024).

    Its positions are a table, of which smaller images take the middle.
    """

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a ``SD3Transformer2DModel``."""
        super().__init__(module, vae_factor)
        self.largest_side = module.config.pos_embed_max_size * self.patch_size

    def join(self, states: Sequence[Float[Tensor, "batch _tokens _dim"]]) -> Float[Tensor, "batch tokens dim"]:
        """Return the states of both CLIP encoders side by side, filled up with zeros, and then those of T5."""
        *clip, t5 = states
        beside = torch.cat(clip, dim=-1)
        filled = torch.nn.functional.pad(beside, (0, self.context_dim - beside.shape[-1]))
        return torch.cat([filled, t5], dim=1)

    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        height, width = noisy.shape[2:]
        if self.largest_side is not None and max(height, width) > self.largest_side:
            raise ModelError(
                f"{type(self.module).__name__} has positions for latents of at most {self.largest_side} x "
                f"{self.largest_side} (pos_embed_max_size), got {width} x {height}. Use smaller images."
            )
        return super()._conditions(noisy, time, context)


class Flux(JointTransformer):
    """FLUX.1 (Black Forest Labs, 2024).

    Blocks with a stream each for image and context come first, and then blocks with one stream for both; they are
    numbered through. A network that takes a guidance scale is given its pipeline's.
    """

    lists = ("transformer_blocks", "single_transformer_blocks")
    packed = 2
    native_size = 128  # of diffusers' FluxPipeline
    guidance: ClassVar[float] = 3.5  # of diffusers' FluxPipeline

    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        squares = torch.nn.functional.pixel_unshuffle(noisy, self.packed)
        first, rows, columns = (torch.arange(float(count), device=noisy.device) for count in (1, *squares.shape[2:]))
        scaled = noisy.new_full((len(noisy),), self.guidance) if self.module.config.guidance_embeds else None
        return {
            **super()._conditions(noisy, time / 1000, context),  # the network multiplies by 1000
            "hidden_states": squares.flatten(2).transpose(1, 2),
            "img_ids": torch.cartesian_prod(first, rows, columns),
            "txt_ids": first.new_zeros(context.shape[1], 3),
            "guidance": scaled,
        }
