"""`semcorr toy train`: every stage in turn, then the model folder that ``from_pretrained`` loads."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from semcorr.errors import SettingsError
from semcorr.progress import Progress
from semcorr.toy.model import build_scheduler, build_tokenizer
from semcorr.toy.scenes import open_scenes
from semcorr.toy.train_unet import Denoiser, UNetTraining, encode_scenes, train_unet
from semcorr.toy.train_vae import train_vae
from semcorr.toy.training import averaged

# Without these, page faults dominate the run at such sizes with glibc's allocator.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "67108864",
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a bundled model is made. The defaults are those of the shipped ``toy``.

    The U-Net and text encoder learn ``unet_steps`` at a constant rate with the diffusion loss alone, then
    ``final_steps`` at a falling rate with ``grounding`` times the grounding loss beside it (0: without; that is
    ``toy-plain``).
    """

    scenes: int = 49_152
    vae_steps: int = 2500
    unet_steps: int = 1800
    final_steps: int = 1400
    grounding: float = 0.1
    seed: int = 0


def train(folder: Path, recipe: Recipe, *, progress: Progress | None = None) -> Path:
    """Train in ``folder``, continuing where an earlier run was stopped; return the finished model's folder.

    Stages: render scenes, autoencoder, latents, the U-Net's two parts. Each writes its checkpoints under a
    temporary name and renames them.

    Raises:
        SettingsError: the folder holds a run of another recipe.
    """
    _remember(folder, recipe)
    os.environ.update({k: v for k, v in MALLOC.items() if k not in os.environ})  # for the processes started below
    scenes = open_scenes(folder / "scenes", recipe.scenes, "train", progress)
    vae = train_vae(folder, scenes, recipe.vae_steps, recipe.seed, progress)
    encode_scenes(vae, scenes, folder / "scenes", progress)
    first = UNetTraining(
        scenes=folder / "scenes",
        count=recipe.scenes,
        folder=folder / "first",
        steps=recipe.unet_steps,
        anneal=False,
        seed=recipe.seed,
    )
    start = train_unet(first, progress)
    final = replace(
        first,
        folder=folder / "final",
        steps=recipe.final_steps,
        anneal=True,
        grounding=recipe.grounding,
        start=start,
        seed=recipe.seed + 1,
    )
    return save_model(folder / "model", vae, train_unet(final, progress), recipe)


def save_model(folder: Path, vae: AutoencoderKL, checkpoint: Path, recipe: Recipe) -> Path:
    """Write a diffusers folder in float16 safetensors: unet, vae, text_encoder, tokenizer, scheduler."""
    denoiser = Denoiser()
    denoiser.load_state_dict(averaged(checkpoint), strict=False)
    folder.mkdir(parents=True, exist_ok=True)
    denoiser.unet.half().save_pretrained(folder / "unet", safe_serialization=True)
    denoiser.text_encoder.half().save_pretrained(folder / "text_encoder", safe_serialization=True)
    vae.half().save_pretrained(folder / "vae", safe_serialization=True)
    build_tokenizer().save_pretrained(folder / "tokenizer")
    build_scheduler().save_pretrained(folder / "scheduler")
    facts = {"family": "toy", "recipe": asdict(recipe)}
    (folder / "semcorr.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    vae.float()
    return folder


def _remember(folder: Path, recipe: Recipe) -> None:
    """Write the recipe down, or refuse to continue a run with another one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.json"
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != asdict(recipe):
            raise SettingsError(
                f"{folder} holds a run with other settings: expected {asdict(recipe)}, found {found}. "
                "Continue with those settings or name another folder."
            )
    path.write_text(json.dumps(asdict(recipe), indent=2) + "\n", encoding="utf-8")


def psnr(vae: AutoencoderKL, images: np.ndarray) -> float:
    """Mean reconstruction quality in dB of (count, side, side, 3) uint8 images, from the posterior mean."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        again = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
    return float((10 * torch.log10(4 / (again - pixels).square().mean((1, 2, 3)))).mean())
