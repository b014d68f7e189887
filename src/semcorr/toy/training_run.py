"""`semcorr toy train`: every stage in turn, then the model folder that ``from_pretrained`` loads."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from semcorr.errors import SettingsError
from semcorr.progress import Progress
from semcorr.toy.model import build_scheduler, build_tokenizer
from semcorr.toy.scenes import SceneCache, open_scenes
from semcorr.toy.train_unet import Denoiser, UNetTraining, encode_scenes, train_unet
from semcorr.toy.train_vae import finish_decoder, train_vae
from semcorr.toy.training import averaged

# Without these, page faults dominate the run at such sizes with glibc's allocator.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "67108864",
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a bundled model is made. The defaults are those of the shipped ``toy``."""

    scenes: int = 49_152
    vae_steps: int = 2500
    decoder_steps: int = 2500
    unet_steps: int = 4000
    grounded_steps: int = 2000
    grounding: float = 0.1
    seed: int = 0


def train(folder: Path, recipe: Recipe, *, progress: Progress | None = None) -> Path:
    """Train in ``folder``, continuing where an earlier run was stopped; return the finished model's folder.

    Stages: render scenes, autoencoder, latents, U-Net with the diffusion loss alone, U-Net with grounding
    (left out when ``grounded_steps`` is 0). Each writes its checkpoint under a temporary name and renames it.

    Raises:
        SettingsError: the folder holds a run of another recipe.
    """
    _remember(folder, recipe)
    os.environ.update({k: v for k, v in MALLOC.items() if k not in os.environ})  # for the processes started below
    torch.set_num_threads(torch.get_num_threads())
    scenes = open_scenes(folder / "scenes", recipe.scenes, "train", progress)
    vae = train_vae(folder, scenes, recipe.vae_steps, recipe.seed, progress)
    encode_scenes(vae, scenes, folder / "scenes", progress)
    vae = finish_decoder(vae, folder, scenes, recipe.decoder_steps, recipe.seed, progress)
    common = UNetTraining(
        scenes=folder / "scenes",
        count=recipe.scenes,
        folder=folder / "plain",
        steps=recipe.unet_steps,
        seed=recipe.seed,
    )
    checkpoint = train_unet(common, progress)
    if recipe.grounded_steps:
        grounded = {**asdict(common), "folder": folder / "grounded", "steps": recipe.grounded_steps}
        checkpoint = train_unet(
            UNetTraining(**{**grounded, "grounding": recipe.grounding, "start": checkpoint}), progress
        )
    return save_model(folder / "model", vae, checkpoint, recipe)


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


def psnr(vae: AutoencoderKL, scenes: SceneCache, count: int = 256) -> float:
    """Mean reconstruction quality in dB over the first ``count`` scenes, from the posterior mean."""
    images = torch.from_numpy(scenes.images[:count].copy()).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        again = vae.decode(vae.encode(images).latent_dist.mean).sample.clamp(-1, 1)
    return float((10 * torch.log10(4 / (again - images).square().mean((1, 2, 3)))).mean())
