"""Tiny instances of the real classes: each family's topology, a few channels wide, random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from semcorr.models.diffusion import DiffusionModel

FAMILIES = ("sd1", "sd2", "sdxl")

_FOUR_LEVELS: dict[str, Any] = {
    "sample_size": 16,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}
UNETS: dict[str, dict[str, Any]] = {
    "sd1": _FOUR_LEVELS | {"block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 24, "attention_head_dim": 8},
    # Heads of 64; here attention_head_dim lists how many there are on each level.
    "sd2": _FOUR_LEVELS
    | {
        "block_out_channels": (64, 64, 128, 128),
        "cross_attention_dim": 40,
        "attention_head_dim": (1, 1, 2, 2),
        "use_linear_projection": True,
    },
    # Three levels, none with cross-attention on the first; 2 and 3 transformer blocks an attention, not 2 and 10.
    "sdxl": {
        "sample_size": 16,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (32, 64, 128),
        "cross_attention_dim": 56,
        "attention_head_dim": (1, 1, 2),
        "transformer_layers_per_block": (1, 2, 3),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 6 * 256 + 20,
    },
}
SMALL: dict[str, dict[str, Any]] = {
    "sd1": {"layers_per_block": 1},
    "sd2": {"layers_per_block": 1},
    "sdxl": {"layers_per_block": 1, "transformer_layers_per_block": 1},
}
"""Changes for tests of files alone."""
SCALING = {"sd1": 0.18215, "sd2": 0.18215, "sdxl": 0.13025}
PREDICTION = {"sd1": "epsilon", "sd2": "v_prediction", "sdxl": "epsilon"}


def make_unet(family: str, seed: int = 0, **changes: Any) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(**{**UNETS[family], **changes}).eval().requires_grad_(False)
    for name, weight in unet.named_parameters():
        if name.endswith(("attn2.to_q.weight", "attn2.to_k.weight")):
            weight.mul_(2.0)  # else every map is nearly flat
    return unet


def make_vae(family: str, seed: int = 1) -> AutoencoderKL:
    torch.manual_seed(seed)
    return AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        sample_size=128,
        scaling_factor=SCALING[family],
        force_upcast=family == "sdxl",
    ).eval()


def make_scheduler(family: str) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=PREDICTION[family]
    )


def save_checkpoint(folder: Path, family: str, **changes: Any) -> Path:
    """Write a folder as diffusers does, with a ``model_index.json``."""
    make_unet(family, **changes).save_pretrained(folder / "unet")
    make_vae(family).save_pretrained(folder / "vae")
    make_scheduler(family).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


def inputs(model: DiffusionModel, height: int = 16, width: int = 16, batch: int = 2) -> tuple[Tensor, Tensor]:
    """A random noisy latent and a random context for a model."""
    generator = torch.Generator().manual_seed(7)
    noisy = torch.randn(batch, 4, height, width, generator=generator)
    return noisy, torch.randn(batch, 77, model.context_dim, generator=generator)


def whole_unet_maps(
    model: DiffusionModel, noisy: Tensor, t: int, context: Tensor, kind: str = "attn2"
) -> dict[str, Tensor]:
    """Every cross-attention's probabilities, (batch, heads, queries, tokens), from a pass of the whole U-Net.

    An independent computation: hooks catch what goes into each ``attn2``, whose own processor stays. With ``kind``
    "attn1" it is the self-attention of the same blocks, (batch, heads, queries, keys).
    """
    maps: dict[str, Tensor] = {}
    hooks = []

    def catch(name: str) -> Any:
        def hook(attn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            split = attn.to_q.weight.shape[0] // attn.heads
            query = torch.stack(attn.to_q(hidden).split(split, dim=-1), dim=1)
            context = kwargs.get("encoder_hidden_states")
            key = torch.stack(attn.to_k(hidden if context is None else context).split(split, dim=-1), dim=1)
            logits = torch.einsum("bhqd,bhtd->bhqt", query, key) / split**0.5
            maps[name] = torch.exp(logits - torch.logsumexp(logits, dim=-1, keepdim=True))

        return hook

    for layer in model.layers:
        name = layer.name if ".transformer_blocks." in layer.name else f"{layer.name}.transformer_blocks.0"
        attn = model.unet.get_submodule(f"{name}.{kind}")
        hooks.append(attn.register_forward_pre_hook(catch(layer.name), with_kwargs=True))
    added = None
    if model.family == "sdxl":
        height, width = 8 * noisy.shape[2], 8 * noisy.shape[3]
        added = {
            "text_embeds": torch.zeros(len(noisy), 20),
            "time_ids": torch.tensor([[height, width, 0, 0, height, width]] * len(noisy)),
        }
    try:
        model.unet(noisy, t, context, added_cond_kwargs=added)
    finally:
        for hook in hooks:
            hook.remove()
    return maps
