"""The U-Nets of Stable Diffusion 1.x, 2.x and SDXL."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from jaxtyping import Float, Int
from torch import Tensor, nn

from semcorr.models.diffusion.gradient_checkpointing import RunPart
from semcorr.models.diffusion.layers import CrossAttentionLayer, cross_attention_layers, cross_attention_module
from semcorr.models.diffusion.network import DenoisingNetwork
from semcorr.models.diffusion.taps import unet_taps
from semcorr.models.diffusion.trimmed_unet import trimmed_unet


class UNet(DenoisingNetwork):
    """A U-Net: its features are the outputs of its decoder's blocks, from the bottom."""

    noun = "U-Net"
    block_noun = "decoder block of this U-Net"
    block_output = "block"
    linear_keys = True

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a ``UNet2DConditionModel``."""
        super().__init__(module, vae_factor)
        self.layers = cross_attention_layers(module)
        self.taps = unet_taps(module)
        self.context_dim = module.config.cross_attention_dim
        self.blocks = len(module.up_blocks)

    def cut(self, layers: Sequence[CrossAttentionLayer], *, run_parts: RunPart | None = None) -> nn.Module:
        """See :func:`semcorr.models.diffusion.trimmed_unet.trimmed_unet`."""
        return trimmed_unet(self.module, layers, run_parts=run_parts)

    def run(
        self,
        view: nn.Module,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
    ) -> Float[Tensor, "batch _dim _height _width"]:
        """Run a view."""
        added = self._added_conditions(noisy)
        (output,) = view(noisy, t, context, added_cond_kwargs=added, return_dict=False)
        result: Tensor = output
        return result

    def attention_module(self, layer: CrossAttentionLayer) -> Attention:
        """Return the module of one of ``layers``."""
        return cross_attention_module(self.module, layer)

    def _added_conditions(self, noisy: Tensor) -> dict[str, Tensor] | None:
        """Return SDXL's pooled prompt and image sizes, for an empty prompt and an image that is not cropped."""
        config = self.module.config
        if config.addition_embed_type != "text_time":
            return None
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        height, width = (side * self._vae_factor for side in noisy.shape[2:])
        ids: Int[Tensor, "6"] = torch.tensor([height, width, 0, 0, height, width], device=noisy.device)
        return {
            "text_embeds": noisy.new_zeros(len(noisy), pooled),
            "time_ids": ids.to(noisy.dtype).expand(len(noisy), 6),
        }
