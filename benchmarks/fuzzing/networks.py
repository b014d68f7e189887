"""A tiny checkpoint, vision transformer and ResNet, as their libraries save them, and what is changed of them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.numpy import save
from transformers import Dinov2Config, Dinov2Model, ResNetConfig, ResNetModel

from semcorr.models.diffusion import DiffusionModel

WEIGHTS = "diffusion_pytorch_model.safetensors"


INDEX = "diffusion_pytorch_model.safetensors.index.json"


def save_diffusion(folder: Path, shards: str = "1GB") -> None:
    """Write ``unet/`` and ``vae/`` of a network of two levels with random weights, and a schedule.

    ``shards`` is the most that a file of the U-Net may hold.
    """
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
    )
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4, sample_size=16)
    unet.save_pretrained(folder / "unet", max_shard_size=shards)
    DDIMScheduler().save_pretrained(folder / "scheduler")
    vae.save_pretrained(folder / "vae")


def save_vision(folder: Path) -> None:
    """Write a DINOv2 of one layer with random weights."""
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1, image_size=16, patch_size=8
    )
    Dinov2Model(config).save_pretrained(folder)


def save_convolutional(folder: Path) -> None:
    """Write a ResNet of two stages with random weights."""
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=4, hidden_sizes=[8, 8], depths=[1, 1])
    ResNetModel(config).save_pretrained(folder)


@cache
def model() -> DiffusionModel:
    """The network of :func:`save_diffusion`."""
    with TemporaryDirectory() as folder:
        save_diffusion(Path(folder))
        return DiffusionModel.from_pretrained(folder, device="cpu")


def index() -> bytes:
    """The index of its U-Net, saved in shards."""
    with TemporaryDirectory() as folder:
        save_diffusion(Path(folder), "20KB")
        return (Path(folder) / "unet" / INDEX).read_bytes()


def saved_file(name: str, save: Callable[[Path], None]) -> bytes:
    """One file of what a function writes into a folder, by its name in it."""
    with TemporaryDirectory() as folder:
        save(Path(folder))
        return (Path(folder) / name).read_bytes()


def original_layout() -> bytes:
    """The beginnings of a checkpoint in Stable Diffusion's original layout: enough for its widths to be read."""
    unet, vae = "model.diffusion_model.", "first_stage_model."
    shapes = {
        f"{unet}input_blocks.0.0.weight": (4, 4, 3, 3),
        f"{unet}input_blocks.1.0.in_layers.2.weight": (4, 4, 3, 3),
        f"{unet}input_blocks.1.1.proj_in.weight": (4, 4, 1, 1),
        f"{unet}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (4, 8),
        f"{unet}out.2.weight": (4, 4, 3, 3),
        f"{vae}decoder.conv_in.weight": (4, 4, 3, 3),
        f"{vae}encoder.down.0.block.0.conv1.weight": (4, 4, 3, 3),
        f"{vae}encoder.down.1.block.0.conv1.weight": (4, 4, 3, 3),
    }
    tensors = {name: np.zeros(shape, dtype=np.float16) for name, shape in shapes.items()}
    return save(tensors, metadata={"modelspec.resolution": "64x64", "modelspec.prediction_type": "epsilon"})
