"""All stages of training in turn, then the model folder that ``from_pretrained`` loads."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import UInt8

from semcorr.errors import SettingsError
from semcorr.models.diffusion.load import bundled_folder
from semcorr.progress import Progress
from semcorr.toy.render import render_scene
from tools.toy_model.autoencoder import train_vae
from tools.toy_model.denoiser import Denoiser, Network
from tools.toy_model.networks import IMAGE_SIDE, build_scheduler, build_tokenizer
from tools.toy_model.scene_cache import open_scenes
from tools.toy_model.state import averaged, seconds_of
from tools.toy_model.unet import UNetTraining, encode_scenes, train_unet

# With the defaults of glibc's allocator, page faults dominate the run at these sizes.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "67108864",
}

AGAIN_RATE = 4e-4


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a bundled model is made. The defaults are those of the bundled ``toy``.

    ``network``, the U-Net or PixArt's transformer, and text encoder are trained for ``unet_steps`` at a constant
    learning rate with the diffusion loss alone; then for ``final_steps`` at a falling rate with ``grounding`` times the
    grounding loss added, each colour word of a caption dropped with probability ``colourless``; then, from the moving
    average so far and with a new optimizer, for ``again_steps`` at another falling rate, colour words dropped with
    probability ``again_colourless``.

    Without ``vae_steps`` the autoencoder is the bundled one. ``bottom`` is the U-Net's; ``width`` and ``blocks`` are
    the transformer's.
    """

    scenes: int = 49_152
    vae_steps: int = 2500
    unet_steps: int = 1000
    final_steps: int = 1800
    grounding: float = 0.3
    colourless: float = 0.6
    again_steps: int = 1500
    again_colourless: float = 0.8
    network: Network = "unet"
    bottom: int = 192
    width: int = 256
    blocks: int = 8
    seed: int = 0


def train(folder: Path, recipe: Recipe, *, progress: Progress | None = None) -> Path:
    """Train in ``folder``, continuing where an earlier run stopped; return the folder of the finished model.

    The stages are: render scenes, autoencoder, latents, network and text encoder. Each writes checkpoints.

    Args:
        folder: A new folder, or that of a run to continue.
        recipe: Settings of all stages.
        progress: Called as ``(stage, done, total)`` for each of "render", "autoencoder", "encode" and "U-Net"
            or "transformer".

    Raises:
        SettingsError: The folder holds a run of another recipe.
    """
    _record(folder, recipe)
    os.environ.update({k: v for k, v in MALLOC.items() if k not in os.environ})  # for the worker processes
    scenes = open_scenes(folder / "scenes", recipe.scenes, "train", progress)
    vae = train_vae(folder, scenes, recipe.vae_steps, recipe.seed, progress) if recipe.vae_steps else bundled_vae()
    encode_scenes(vae, scenes, folder / "scenes", progress)
    first = UNetTraining(
        scenes=folder / "scenes",
        count=recipe.scenes,
        folder=folder / "first",
        steps=recipe.unet_steps,
        anneal=False,
        network=recipe.network,
        bottom=recipe.bottom,
        width=recipe.width,
        blocks=recipe.blocks,
        seed=recipe.seed,
    )
    start = train_unet(first, progress)
    final = replace(
        first,
        folder=folder / "final",
        steps=recipe.final_steps,
        anneal=True,
        grounding=recipe.grounding,
        colourless=recipe.colourless,
        start=start,
        seed=recipe.seed + 1,
    )
    checkpoints = {"autoencoder": folder / "vae.safetensors"} if recipe.vae_steps else {}
    checkpoints |= {"first": start, "final": train_unet(final, progress)}
    if recipe.again_steps:
        again = replace(
            final,
            folder=folder / "again",
            steps=recipe.again_steps,
            peak_rate=AGAIN_RATE,
            colourless=recipe.again_colourless,
            start=checkpoints["final"],
            fresh=True,
            seed=recipe.seed + 2,
        )
        checkpoints["again"] = train_unet(again, progress)
    return save_model(folder / "model", vae, checkpoints, recipe)


def save_model(
    folder: Path, vae: AutoencoderKL, checkpoints: Mapping[str, Path], recipe: Recipe, *, scenes: int = 256
) -> Path:
    """Write a diffusers folder in float16 safetensors: unet or transformer, vae, text_encoder, tokenizer, scheduler.

    The weights are the moving average of the last of ``checkpoints``. ``semcorr.json`` holds the recipe, the
    seconds that each stage took, and the autoencoder's quality on the first ``scenes`` validation scenes.
    """
    denoiser = Denoiser(recipe.network, bottom=recipe.bottom, width=recipe.width, blocks=recipe.blocks)
    denoiser.load_state_dict(averaged(list(checkpoints.values())[-1]), strict=False)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "family": "toy" if recipe.network == "unet" else "toy-transformer",
        "recipe": asdict(recipe),
        "autoencoder_psnr_db": round(psnr(vae, _validation_images(scenes)), 2),
        "training_seconds": {stage: round(seconds_of(path)) for stage, path in checkpoints.items()},
        "parameters": {
            name: sum(p.numel() for p in module.parameters())
            for name, module in (
                (recipe.network, denoiser.network),
                ("text_encoder", denoiser.text_encoder),
                ("vae", vae),
            )
        },
    }
    denoiser.network.half().save_pretrained(folder / recipe.network, safe_serialization=True)
    denoiser.text_encoder.half().save_pretrained(folder / "text_encoder", safe_serialization=True)
    vae.half().save_pretrained(folder / "vae", safe_serialization=True)
    build_tokenizer().save_pretrained(folder / "tokenizer")
    build_scheduler().save_pretrained(folder / "scheduler")
    (folder / "semcorr.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return folder


def bundled_vae() -> AutoencoderKL:
    """Return the autoencoder of the bundled ``toy``."""
    vae = AutoencoderKL.from_pretrained(bundled_folder("toy") / "vae", torch_dtype=torch.float32)
    return vae.requires_grad_(False).eval()


def psnr(vae: AutoencoderKL, images: UInt8[np.ndarray, "images side side 3"]) -> float:
    """Return the mean peak signal-to-noise ratio of the reconstructions from the posterior mean, in dB."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        again = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
    return float((10 * torch.log10(4 / (again - pixels).square().mean((1, 2, 3)))).mean())


def _validation_images(count: int) -> UInt8[np.ndarray, "images side side 3"]:
    return np.stack([render_scene(seed, IMAGE_SIDE, split="val").image for seed in range(count)])


def _record(folder: Path, recipe: Recipe) -> None:
    """Write the recipe to the folder, or refuse to continue a run of another one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.json"
    if path.exists():
        earlier = asdict(Recipe()) | json.loads(path.read_text(encoding="utf-8"))
        if earlier != asdict(recipe):
            raise SettingsError(
                f"{folder} holds a run with other settings: expected {asdict(recipe)}, got {earlier}. "
                "Continue with those settings or name another folder."
            )
    path.write_text(json.dumps(asdict(recipe), indent=2) + "\n", encoding="utf-8")
