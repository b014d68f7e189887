"""Diffusion transformers in which image and context attend to both together: Stable Diffusion 3, FLUX, Lumina."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.errors import ModelError
from semcorr.models.diffusion.attention import AttentionModule
from semcorr.models.diffusion.joint_attention import GroupedRecorder, JointRecorder, ParallelRecorder
from semcorr.models.diffusion.taps import Norm
from semcorr.models.diffusion.transformer import Transformer


class JointTransformer(Transformer):
    """A transformer whose blocks change the context as they change the image.

    The context enters in place of the text encoders' output. Pooled text, which the time embedding takes besides, is
    zeros, as SDXL's pooled prompt is.
    """

    keys_depend_on_image = True
    attention_name = self_attention_name = "attn"
    norms: ClassVar[tuple[str, ...]] = ("norm1", "norm")
    unread: ClassVar[tuple[str, ...]] = ("attn2", "ff", "ff_context")
    recorder = JointRecorder
    context_width: ClassVar[str] = "joint_attention_dim"

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a transformer of diffusers."""
        super().__init__(module, vae_factor)
        self.context_dim = module.config[self.context_width]

    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        pooled = noisy.new_zeros(len(noisy), self.module.config.pooled_projection_dim)
        return {"timestep": time, "encoder_hidden_states": context, "pooled_projections": pooled}

    def _check_size(self, noisy: Tensor) -> None:
        height, width = noisy.shape[2:]
        if self.largest_side is not None and max(height, width) > self.largest_side:
            raise ModelError(
                f"{type(self.module).__name__} has positions for latents of at most {self.largest_side} x "
                f"{self.largest_side} ({self.positions}), got {width} x {height}. Use smaller images."
            )


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
        self._check_size(noisy)
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
        return {**super()._conditions(noisy, time, context), **self._packed(noisy, time, context)}

    def _packed(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        """Return the inputs that all networks of the name take; positions are those of an image, and none of tokens."""
        squares = torch.nn.functional.pixel_unshuffle(noisy, self.packed)
        first, rows, columns = (torch.arange(float(count), device=noisy.device) for count in (1, *squares.shape[2:]))
        scaled = noisy.new_full((len(noisy),), self.guidance) if self.module.config.guidance_embeds else None
        return {
            "timestep": time / 1000,  # the network multiplies by 1000
            "encoder_hidden_states": context,
            "hidden_states": squares.flatten(2).transpose(1, 2),
            "img_ids": torch.cartesian_prod(first, rows, columns),
            "txt_ids": first.new_zeros(context.shape[1], 3),
            "guidance": scaled,
        }


class Flux2(Flux):
    """FLUX.2 (Black Forest Labs, 2025).

    Tokens of a context have positions, on an axis of their own. In blocks with one stream attention and feed-forward
    layer run beside each other. The modulation of the norms is one for all blocks of a kind, and comes from outside.
    """

    norms = ("",)
    guidance: ClassVar[float] = 4.0  # of diffusers' Flux2Pipeline

    def recorder_of(self, attention: AttentionModule) -> type[JointRecorder]:
        """Return what records an attention, which in blocks with one stream is joined with the feed-forward layer."""
        return ParallelRecorder if hasattr(attention, "to_qkv_mlp_proj") else JointRecorder

    def read_norm(self, module: nn.Module, given: Mapping[str, Any]) -> tuple[Tensor, Norm]:
        """Return what a block gets, and its norm: shift and scale are the first of its modulation."""
        block: Any = module
        hidden: Tensor = given["hidden_states"]
        norm, modulation = (block.norm, "temb_mod") if "temb_mod" in given else (block.norm1, "temb_mod_img")
        shift, scale = given[modulation][:1, None].split(hidden.shape[-1], dim=-1)[:2]
        return hidden, lambda one: norm(one) * (1 + scale) + shift

    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        packed = self._packed(noisy, time, context)
        tokens = torch.arange(float(context.shape[1]), device=noisy.device)
        return packed | {
            "img_ids": torch.nn.functional.pad(packed["img_ids"], (0, 1)),
            "txt_ids": torch.nn.functional.pad(tokens[:, None], (3, 0)),
        }


class _AllTokens(nn.Module):
    """Lumina's positions, of contexts whose tokens all count: their number is read from no tensor of a device."""

    def __init__(self, positions: nn.Module) -> None:
        super().__init__()
        self.positions = positions

    def forward(self, hidden_states: Tensor, mask: Tensor) -> Any:
        return self.positions(hidden_states, torch.ones(mask.shape, dtype=torch.int64))


class Lumina2(JointTransformer):
    """Lumina-Image 2.0 (Qin et al., 2025).

    The context passes through blocks of its own before those that are read, and so does the image; then one stream has
    both. Several heads share a key.
    """

    lists = ("layers",)
    unread = ("feed_forward",)
    recorder = GroupedRecorder
    context_width = "cap_feat_dim"
    positions = "axes_lens"

    def __init__(self, module: Any, vae_factor: int) -> None:
        """Wrap a ``Lumina2Transformer2DModel``."""
        super().__init__(module, vae_factor)
        self._longest, *sides = module.config.axes_lens
        self.largest_side = min(sides) * self.patch_size

    def _view(self, count: int) -> Any:
        view = super()._view(count)
        view.rope_embedder = _AllTokens(view.rope_embedder)
        return view

    def _conditions(self, noisy: Tensor, time: Tensor, context: Tensor) -> dict[str, Any]:
        self._check_size(noisy)
        if context.shape[1] >= self._longest:  # the image has the position after the last token
            raise ModelError(
                f"{type(self.module).__name__} has positions for contexts of at most {self._longest - 1} tokens "
                f"({self.positions}), got {context.shape[1]}. Set a smaller context_length."
            )
        return {
            "timestep": 1 - time / 1000,  # 1 is the image
            "encoder_hidden_states": context,
            "encoder_attention_mask": torch.ones(context.shape[:2], dtype=torch.int64, device=context.device),
        }
