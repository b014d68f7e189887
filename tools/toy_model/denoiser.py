"""What stage 2 trains: the network that denoises, with the text encoder, and how its attention is kept."""

from typing import Literal

import torch
from diffusers import PixArtTransformer2DModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from jaxtyping import Float, Int
from torch import Tensor, nn

from tools.toy_model.networks import build_text_encoder, build_transformer, build_unet

Network = Literal["unet", "transformer"]


def grounded_blocks(blocks: int) -> range:
    """Of a transformer's 8 blocks 3 to 6: as many attentions as the U-Net has on its way up, and as late."""
    return range(3 * blocks // 8, 7 * blocks // 8)


class Denoiser(nn.Module):
    """Network and text encoder as one module, so that one optimizer and one average hold both.

    Attributes:
        kind: Which network: "unet" or "transformer".
        unet, transformer: The network, under its own name.
    """

    def __init__(self, kind: Network = "unet", *, bottom: int = 192, width: int = 256, blocks: int = 8) -> None:
        """Build both with random weights.

        ``bottom`` are the U-Net's channels at its lowest resolution, ``width`` and ``blocks`` the transformer's.
        """
        super().__init__()
        self.kind = kind
        if kind == "unet":
            self.unet: UNet2DConditionModel = build_unet(bottom)
        else:
            self.transformer: PixArtTransformer2DModel = build_transformer(width, blocks)
        self.text_encoder = build_text_encoder()

    @property
    def network(self) -> UNet2DConditionModel | PixArtTransformer2DModel:
        """The network, whichever it is."""
        return self.unet if self.kind == "unet" else self.transformer

    def forward(
        self, noisy: Float[Tensor, "batch 8 16 16"], steps: Int[Tensor, " batch"], tokens: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch 8 16 16"]:
        """Predict the velocity of noisy latents at their time steps (0 to 999), given the token ids of captions."""
        context = self.text_encoder(tokens).last_hidden_state
        if self.kind == "unet":
            return self.unet(noisy, steps, context).sample
        nothing = {"resolution": None, "aspect_ratio": None}
        return self.transformer(noisy, context, timestep=steps, added_cond_kwargs=nothing).sample

    def keep_attention(self, kept: list[Tensor] | None) -> None:
        """Use plain attention, faster than fused attention on CPUs at 256 tokens; put what is grounded into ``kept``.

        That is the cross-attention of the U-Net's way up, or of the transformer's :func:`grounded_blocks`.
        """
        if self.kind == "unet":
            parts: tuple[str, ...] = ("up_blocks.",)
        else:
            blocks = grounded_blocks(len(self.transformer.transformer_blocks))
            parts = tuple(f"transformer_blocks.{block}." for block in blocks)
        processors: dict[str, AttnProcessor] = {}
        for name in self.network.attn_processors:
            grounded = kept is not None and name.startswith(parts) and "attn2" in name
            processors[name] = GroundedProcessor(kept) if grounded and kept is not None else AttnProcessor()
        self.network.set_attn_processor(processors)


class GroundedProcessor(AttnProcessor):  # type: ignore[misc]  # diffusers ships no types
    """Plain cross-attention that keeps its probabilities, averaged over heads, for the grounding loss."""

    def __init__(self, kept: list[Tensor]) -> None:
        super().__init__()
        self.kept = kept

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object) -> Tensor:
        """Cross-attention as diffusers computes it, with the scores and their softmax in float32."""
        query, key, value = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        query, key, value = (t.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for t in (query, key, value))
        # Autocast on CPUs would turn this product back into bfloat16.
        with torch.autocast("cpu", enabled=False):
            scores = query.float() @ key.float().transpose(-1, -2) * attn.scale
            probabilities = scores.softmax(-1)
        self.kept.append(probabilities.mean(1))
        mixed = (probabilities.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](mixed))
