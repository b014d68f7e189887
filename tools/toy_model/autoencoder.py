"""Stage 1: the autoencoder, on random crops of the rendered images."""

import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn

from semcorr.progress import Progress
from tools.toy_model.networks import IMAGE_SIDE, build_vae
from tools.toy_model.scene_cache import SceneCache
from tools.toy_model.state import TrainingState, append_log, averaged, mixed_precision, schedule

CROP, BATCH, PEAK_RATE, KL_WEIGHT = 32, 24, 1.2e-3, 1e-5


def initialise(vae: AutoencoderKL) -> None:
    """Initialise every residual block as the identity; with the default, the autoencoder did not converge."""
    for name, module in vae.named_modules():
        if isinstance(module, nn.Conv2d) and name.endswith("conv2"):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)


def train_vae(
    folder: Path,
    scenes: SceneCache,
    steps: int,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    checkpoint_every: int = 500,
) -> AutoencoderKL:
    """Train, or continue training, in ``folder``; return the averaged autoencoder with its scaling factor.

    The loss is the absolute plus the squared error of the pixels in [-1, 1], and a weak Kullback-Leibler term.
    """
    torch.manual_seed(seed)
    vae = build_vae()
    initialise(vae)
    vae.to(memory_format=torch.channels_last)
    state, checkpoint = TrainingState(vae, learning_rate=PEAK_RATE, average=0.998), folder / "vae.safetensors"
    if checkpoint.exists():
        state.load(checkpoint)
    began = time.perf_counter() - state.seconds
    while state.step < steps:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + state.step)
        batch = _crops(scenes, generator).to(memory_format=torch.channels_last)
        with mixed_precision():
            posterior = vae.encode(batch).latent_dist
            decoded = vae.decode(posterior.sample(generator)).sample
        error = decoded.float() - batch
        loss = error.abs().mean() + error.square().mean() + KL_WEIGHT * posterior.kl().mean()
        loss.backward()
        state.update(schedule(state.step, steps, PEAK_RATE))
        state.seconds = time.perf_counter() - began
        if state.step % 50 == 0:
            psnr = 10 * torch.log10(4 / error.detach().square().mean()).item()
            facts = {"step": state.step, "loss": loss.item(), "psnr": psnr, "seconds": state.seconds}
            append_log(folder / "vae.log", facts)
        if state.step % checkpoint_every == 0 or state.step == steps:
            state.save(checkpoint)
        if progress:
            progress("autoencoder", state.step, steps, loss=loss.item())
    vae.load_state_dict(averaged(checkpoint))
    vae.requires_grad_(False).eval()
    crops = _crops(scenes, torch.Generator().manual_seed(seed), side=IMAGE_SIDE, count=256)
    vae.register_to_config(scaling_factor=1 / float(vae.encode(crops).latent_dist.mean.std()))
    return vae


def _crops(scenes: SceneCache, generator: torch.Generator, side: int = CROP, count: int = BATCH) -> torch.Tensor:
    """Return random crops (count, 3, side, side) in [-1, 1]."""
    rows = torch.randint(len(scenes), (count,), generator=generator).tolist()
    corners = torch.randint(IMAGE_SIDE - side + 1, (count, 2), generator=generator).tolist()
    crops = [scenes.images[r, y : y + side, x : x + side] for r, (y, x) in zip(rows, corners, strict=True)]
    return torch.stack([torch.from_numpy(c) for c in crops]).permute(0, 3, 1, 2) / 127.5 - 1
