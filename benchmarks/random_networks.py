"""Networks with random weights, to measure time and memory with: what they predict means nothing.

``python -m benchmarks.random_networks full-size FOLDER`` writes Stable Diffusion 1.4's exact topology as diffusers
saves a model (3.8 GB); ``python -m benchmarks.random_networks dino FOLDER`` a small vision transformer of DINOv2's kind
as transformers saves one. Both are for commands that take ``--model FOLDER``. ``python -m benchmarks.random_networks
flux FOLDER`` writes the configuration of FLUX.1 dev's topology, and no weights, for ``semcorr plan --memory``.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import torch
from diffusers import AutoencoderKL, DDIMScheduler, FluxTransformer2DModel, UNet2DConditionModel
from transformers import Dinov2Config, Dinov2Model
from transformers.utils import logging

from benchmarks.command import main, new_app
from semcorr.cli import console
from semcorr.errors import ModelError, SemcorrError
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.checkpoint import CONTEXT_TOKENS, Checkpoint, make_schedule
from semcorr.models.diffusion.model import Device, DType, find_device

UNET_PARAMETERS, VAE_PARAMETERS = 859_520_964, 83_653_863
"""Those of the published checkpoint."""

app = new_app("random_networks", "Write a network with random weights.")


def networks(seed: int = 0) -> tuple[UNet2DConditionModel, AutoencoderKL, DDIMScheduler]:
    """U-Net, VAE and noise schedule, random, frozen, in float32."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_config(_config("unet"))
    vae = AutoencoderKL.from_config(_config("vae"))
    for network, expected in ((unet, UNET_PARAMETERS), (vae, VAE_PARAMETERS)):
        count = sum(weight.numel() for weight in network.parameters())
        if count != expected:
            raise ModelError(f"{type(network).__name__} has {count:,} weights, Stable Diffusion 1.4 {expected:,}.")
        network.eval().requires_grad_(False)
    return unet, vae, make_schedule(_config("scheduler"))


def full_size_model(dtype: DType = "float32", device: Device = "auto") -> DiffusionModel:
    """The network in memory, as the methods take it."""
    unet, vae, scheduler = networks()
    kind: torch.dtype = getattr(torch, dtype)
    # Made in float32 and rounded, so that every precision has the same weights.
    checkpoint = Checkpoint(
        model_id="full-size",
        revision=None,
        fingerprint=hashlib.sha256(f"full-size {dtype}".encode()).hexdigest(),
        family="sd1",
        context_tokens=CONTEXT_TOKENS,
        network=unet.to(kind),
        vae=vae.to(kind),
        scheduler=scheduler,
        fetch=_no_text_encoder,
    )
    return DiffusionModel(checkpoint, find_device(device))


@app.command
def full_size(folder: Path, /) -> int:
    """Write the model into a new folder.

    Args:
        folder: A new folder; it takes 3.8 GB.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SemcorrError(f"{folder} is not empty: name a new folder, nothing is overwritten.")
    console.note("Making 943 million random numbers ...")
    unet, vae, scheduler = networks()
    for part, network in (("unet", unet), ("vae", vae), ("scheduler", scheduler)):
        network.save_pretrained(folder / part)
    (folder / "README.md").write_text(
        "Random weights in Stable Diffusion 1.4's topology, to measure time and memory with. They were never trained.\n"
        "There is no text encoder: presets with frozen queries need --set neutral=zeros.\n",
        encoding="utf-8",
    )
    console.say(f"{folder}   Try: semcorr plan spair --model {folder} --gpu-rate 60")
    return 0


@app.command
def flux(folder: Path, /) -> int:
    """Write the configuration of a network of FLUX.1 dev's topology, which are the defaults of diffusers' class.

    Args:
        folder: A folder; it is made.
    """
    vae = {**_config("vae"), "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
    with torch.device("meta"):
        FluxTransformer2DModel(guidance_embeds=True).save_config(folder / "transformer")
        AutoencoderKL.from_config(vae).save_config(folder / "vae")
    console.say(f"{folder}   Try: semcorr plan --memory --model {folder} --method dift --gpu-memory 24")
    return 0


@app.command
def dino(folder: Path, /) -> int:
    """Write a small vision transformer of DINOv2's kind.

    Args:
        folder: A folder; it is made.
    """
    console.say(str(write_dino(folder)))
    return 0


def write_dino(folder: Path) -> Path:
    """Write the network's folder, unless it is there, and return it."""
    if (folder / "model.safetensors").is_file():
        return folder
    torch.manual_seed(0)
    network = Dinov2Model(
        Dinov2Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=224)
    )
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        network.eval().save_pretrained(folder)
    finally:
        if shown:
            logging.enable_progress_bar()
    return folder


def _config(part: str) -> dict[str, Any]:
    """The package's own configuration of Stable Diffusion 1.x, which says what the weights do not tell."""
    file = resources.files("semcorr") / "models" / "diffusion" / "configs" / "sd1" / f"{part}.json"
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return config


def _no_text_encoder(parts: Sequence[str]) -> NoReturn:
    raise ModelError(f"The random full-size model has no {' or '.join(parts)}.")


if __name__ == "__main__":
    sys.exit(main(app))
