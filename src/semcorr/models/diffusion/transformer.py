"""Diffusion transformers whose blocks have a cross-attention of their own: PixArt, Sana, Hunyuan-DiT."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import get_2d_rotary_pos_embed
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.errors import LayerError
from semcorr.models.diffusion.attention import with_recorder
from semcorr.models.diffusion.gradient_checkpointing import RunPart, run_parts_through
from semcorr.models.diffusion.layers import CrossAttentionLayer, in_running_order
from semcorr.models.diffusion.network import DenoisingNetwork
from semcorr.models.shallow_clone import PassThrough, shallow_clone


class _Kept(nn.Module):
    """Keeps what reaches the end of the blocks."""

    def forward(self, hidden_states: Tensor, *_: object, **__: object) -> Tensor:
        self.hidden_states = hidden_states
        return hidden_states


class CrossAttentionTransformer(DenoisingNetwork):
    """A transformer over patches of the latent: its features are the outputs of its blocks.

    The context passes through projections that are not linear before keys are computed from it. No token of a context
    is masked: where a pipeline pads a prompt and masks the padding, a context has the prompt's tokens alone, and an
    optimized context is as long as the longest prompt. Views run through diffusers' own ``forward``, their last norm
    and projection included, which cost next to nothing.
    """

    noun = "transformer"
    blocks_name: ClassVar[str] = "transformer_blocks"

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a transformer of diffusers."""
        super().__init__(module, vae_factor)
        own = getattr(module, self.blocks_name)
        self.blocks, self.patch_size = len(own), module.config.patch_size
        self.layers = tuple(
            CrossAttentionLayer(
                name=f"{self.blocks_name}.{index}",
                section="block",
                scale=self.patch_size,
                heads=block.attn2.heads,
                path=(index, 0, 0),
            )
            for index, block in enumerate(own)
        )

    def cut(self, layers: Sequence[CrossAttentionLayer], *, run_parts: RunPart | None = None) -> nn.Module:
        """Return a view whose last block ends with the scores of its cross-attention."""
        ordered = in_running_order(self.layers, layers, self.noun)
        view = self._view(self.layers.index(ordered[-1]) + 1)
        blocks = getattr(view, self.blocks_name)
        for layer in ordered:
            index = self.layers.index(layer)
            block = blocks[index] = shallow_clone(blocks[index])
            block.attn2 = with_recorder(block.attn2, layer)
        blocks[-1].attn2.processor.last = True
        blocks[-1].ff = PassThrough()
        if run_parts is None:
            return view
        if not hasattr(view, "gradient_checkpointing"):
            raise LayerError(
                f"diffusers has no gradient checkpointing for {type(self.module).__name__}: load the method without it."
            )
        return run_parts_through(view, run_parts)

    def cut_after_block(self, block: int) -> nn.Module:
        """Return a view that ends after a block, and keeps its output."""
        if not 0 <= block < self.blocks:
            raise LayerError(f"Expected a block of this transformer, from 0 to {self.blocks - 1}, got {block}.")
        view = self._view(block + 1)
        view.norm_out = _Kept()
        return view

    def run(
        self,
        view: nn.Module,
        noisy: Float[Tensor, "batch channels latent_height latent_width"],
        t: int,
        context: Float[Tensor, "batch tokens dim"],
    ) -> Float[Tensor, "batch _dim _height _width"]:
        """Run a view."""
        time = torch.full((len(noisy),), t, device=noisy.device)
        # diffusers flattens it by view, which a repeated context has none for.
        conditions = self._conditions(noisy, time, context.contiguous())
        output: Tensor = view(noisy, **conditions, return_dict=False)[0]
        if not isinstance(view.norm_out, _Kept):
            return output
        height, width = (side // self.patch_size for side in noisy.shape[2:])
        return view.norm_out.hidden_states.transpose(1, 2).unflatten(2, (height, width))

    def attention_module(self, layer: CrossAttentionLayer) -> Attention:
        """Return the module of one of ``layers``."""
        module: Attention = getattr(self.module, self.blocks_name)[self.layers.index(layer)].attn2
        return module

    def _view(self, count: int) -> Any:
        """Return a clone with the first ``count`` blocks."""
        view = shallow_clone(self.module)
        setattr(view, self.blocks_name, nn.ModuleList(list(getattr(view, self.blocks_name))[:count]))
        return view

    @abstractmethod
    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        """Return all that the transformer takes besides the latents."""


class PixArt(CrossAttentionTransformer):
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


class Sana(CrossAttentionTransformer):
    """Sana (Xie et al., 2024)."""

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a ``SanaTransformer2DModel``."""
        super().__init__(module, vae_factor)
        self.context_dim = module.config.caption_channels

    def project(self, context: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens _dim"]:
        """Return the context through the projection of captions and its norm."""
        result: Tensor = self.module.caption_norm(self.module.caption_projection(context))
        return result

    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:  # noqa: ARG002
        return {"timestep": time * self.module.config.timestep_scale, "encoder_hidden_states": context}


class _WithoutText(nn.Module):
    """Hunyuan-DiT's time embedding, in which text has a part of its own besides the context: zeros here."""

    def __init__(self, embedding: nn.Module, tokens: int, dim: int) -> None:
        super().__init__()
        self.embedding, self._size = embedding, (tokens, dim)

    def forward(self, timestep: Tensor, text: Tensor, *rest: object, **named: object) -> Tensor:
        result: Tensor = self.embedding(timestep, text.new_zeros(len(text), *self._size), *rest, **named)
        return result


class HunyuanDiT(CrossAttentionTransformer):
    """Hunyuan-DiT (Li et al., 2024).

    A context is what the blocks see: the states of both text encoders, the second's projected, each padded with the
    network's own vectors. The second's states are also pooled into the time embedding, for which they are zeros, as
    SDXL's pooled prompt is.
    """

    blocks_name = "blocks"

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


TRANSFORMERS: Mapping[str, type[CrossAttentionTransformer]] = {
    "PixArtTransformer2DModel": PixArt,
    "SanaTransformer2DModel": Sana,
    "HunyuanDiT2DModel": HunyuanDiT,
}
"""By the class of diffusers that they wrap."""
