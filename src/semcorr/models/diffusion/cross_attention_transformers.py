"""Diffusion transformers whose blocks have a cross-attention of their own: PixArt, Sana, Hunyuan-DiT."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers.models.embeddings import get_2d_rotary_pos_embed
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.models.diffusion.taps import Norm
from semcorr.models.diffusion.transformer import Transformer
from semcorr.models.shallow_clone import PassThrough


class TableModulated(Transformer):
    """A transformer whose blocks add a table of their own to one modulation that all have in common."""

    norms = ("",)

    def read_norm(self, module: nn.Module, given: Mapping[str, Any]) -> tuple[Tensor, Norm]:
        """Return what a block gets, and its norm: shift and scale are the first two of six that it has."""
        block: Any = module
        table = block.scale_shift_table[None] + given["timestep"][:1].reshape(1, 6, -1)
        shift, scale = table.chunk(6, dim=1)[:2]
        return given["hidden_states"], lambda hidden: block.norm1(hidden) * (1 + scale) + shift


class PixArt(TableModulated):
    """PixArt-alpha and PixArt-Sigma (Chen et al., 2023 and 2024)."""

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a ``PixArtTransformer2DModel``."""
        super().__init__(module, vae_factor)
        self.context_dim = module.config.caption_channels or module.config.cross_attention_dim

    def project(self, context: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens _dim"]:
        """Return the context through the projection of captions, where there is one."""
        projection = self.module.caption_projection
        return context if projection is None else projection(context)

    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        added: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
        if self.module.use_additional_conditions:
            height, width = (side * self._vae_factor for side in noisy.shape[2:])
            added = {
                "resolution": noisy.new_tensor([height, width]).expand(len(noisy), 2),
                "aspect_ratio": noisy.new_tensor([height / width]).expand(len(noisy), 1),
            }
        return {"timestep": time, "encoder_hidden_states": context, "added_cond_kwargs": added}


class Sana(TableModulated):
    """Sana (Xie et al., 2024), and Sana-Sprint (Chen et al., 2025), which takes a guidance scale: its pipeline's.

    Sana-Sprint's noisy latents are on a circle; its pipeline turns them into those of flow matching for the network.
    """

    guidance: ClassVar[float] = 4.5  # of diffusers' SanaSprintPipeline

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a ``SanaTransformer2DModel``."""
        super().__init__(module, vae_factor)
        self.context_dim = module.config.caption_channels

    def project(self, context: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens _dim"]:
        """Return the context through the projection of captions and its norm."""
        result: Tensor = self.module.caption_norm(self.module.caption_projection(context))
        return result

    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        config = self.module.config
        if config.guidance_embeds:
            scaled = noisy.new_full((len(noisy),), self.guidance * config.guidance_embeds_scale)
            return {"timestep": time / 1000, "encoder_hidden_states": context, "guidance": scaled}
        return {"timestep": time * config.timestep_scale, "encoder_hidden_states": context}


class _WithoutText(nn.Module):
    """Hunyuan-DiT's time embedding, in which text has a part of its own besides the context: zeros here."""

    def __init__(self, embedding: nn.Module, tokens: int, dim: int) -> None:
        super().__init__()
        self.embedding, self._size = embedding, (tokens, dim)

    def forward(self, timestep: Tensor, text: Tensor, *rest: object, **named: object) -> Tensor:
        result: Tensor = self.embedding(timestep, text.new_zeros(len(text), *self._size), *rest, **named)
        return result


class HunyuanDiT(Transformer):
    """Hunyuan-DiT (Li et al., 2024).

    A context is what the blocks see: the states of both text encoders, the second's projected, each padded with the
    network's own vectors. The second's states are also pooled into the time embedding, for which they are zeros, as
    SDXL's pooled prompt is.
    """

    lists = ("blocks",)
    weights_read = ("time_extra_emb.pooler",)

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a ``HunyuanDiT2DModel``."""
        super().__init__(module, vae_factor)
        self.context_dim = module.config.cross_attention_dim

    def join(self, states: Sequence[Float[Tensor, "batch _tokens _dim"]]) -> Float[Tensor, "batch tokens dim"]:
        """Return both encoders' states, the second's projected, each padded to its length."""
        first, second = states
        padding = self.module.text_embedding_padding
        second = self.module.text_embedder(second.to(padding)).to(first)
        parts = []
        for part, own in zip((first, second), padding.float().split(self._lengths), strict=True):
            parts += [part, own[part.shape[1] :].expand(len(part), -1, -1).to(part)]
        return torch.cat(parts, dim=1)

    @property
    def _lengths(self) -> list[int]:
        return [self.module.config.text_len, self.module.config.text_len_t5]

    def _view(self, count: int) -> Any:
        config, view = self.module.config, super()._view(count)
        view.text_embedder = PassThrough()
        view.time_extra_emb = _WithoutText(view.time_extra_emb, config.text_len_t5, config.cross_attention_dim_t5)
        # Nothing is masked, so no row of it is used; one row fits contexts of any length.
        view.text_embedding_padding = nn.Parameter(view.text_embedding_padding[:1], requires_grad=False)
        return view

    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        batch, tokens = context.shape[:2]
        height, width = (side * self._vae_factor for side in noisy.shape[2:])
        return {
            "timestep": time.to(noisy.dtype),
            "encoder_hidden_states": context[:, :0],
            "text_embedding_mask": context.new_ones(batch, 0),
            "encoder_hidden_states_t5": context,
            "text_embedding_mask_t5": context.new_ones(batch, tokens),
            "image_meta_size": noisy.new_tensor([height, width, height, width, 0, 0]).repeat(batch, 1),
            "style": torch.zeros(batch, dtype=torch.int64, device=noisy.device),
            "image_rotary_emb": self._rotary(noisy),
        }

    def _rotary(self, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """Return the positions of a latent's patches: centred in the grid of a square of 512 pixels, and as large."""
        grid = tuple(side // self.patch_size for side in noisy.shape[2:])
        base = 512 // self._vae_factor // self.patch_size
        sides = [round(base * side / max(grid)) for side in grid]
        starts = [round((base - side) / 2) for side in sides]
        region = (tuple(starts), tuple(start + side for start, side in zip(starts, sides, strict=True)))
        dim = self.module.inner_dim // self.module.num_heads
        rotary: tuple[Tensor, Tensor] = get_2d_rotary_pos_embed(dim, region, grid, device=noisy.device)
        return rotary
