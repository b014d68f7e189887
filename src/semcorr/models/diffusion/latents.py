"""Encode images to latents, and add noise to latents."""

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import SettingsError


@torch.no_grad()
def encode(
    vae: AutoencoderKL, images: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch channels latent_height latent_width"]:
    """Encode images in [0, 1] to scaled latents, in float32.

    The mean of the posterior, not a sample, times the VAE's own scaling factor: 0.18215 for Stable Diffusion 1.x and
    2.x, 0.13025 for SDXL. The shift of a VAE that has one is subtracted first.
    """
    weight = next(vae.parameters())
    pixels = (2 * images.to(weight.device, torch.float32) - 1).to(weight.dtype)
    mean = vae.encode(pixels).latent_dist.mean.float()
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return (mean - shift) * vae.config.scaling_factor


def add_noise(
    scheduler: DDIMScheduler,
    latents: Float[Tensor, "batch channels height width"],
    noise: Float[Tensor, "batch channels height width"],
    t: int,
) -> Float[Tensor, "batch channels height width"]:
    """Return sqrt(abar_t) z + sqrt(1 - abar_t) eps for one time step t, by the scheduler's own schedule."""
    count = scheduler.config.num_train_timesteps
    if not 0 <= t < count:
        raise SettingsError(f"Expected a time step from 0 to {count - 1}, got {t}.")
    return scheduler.add_noise(latents, noise.to(latents), torch.tensor([t], device=latents.device))


def ddim_timestep(scheduler: DDIMScheduler, step_from_clean: int, of: int = 50) -> int:
    """Return ``timesteps[-step_from_clean]`` of a DDIM schedule of ``of`` steps with leading spacing.

    Step 1 is the cleanest. The 8th of 50 is t = 140 of Stable Diffusion's 1000. Checkpoints whose scheduler has an
    offset of one, or another spacing, get the same t: the authors' code ignores the offset, and one rule keeps
    checkpoints comparable.
    """
    count = scheduler.config.num_train_timesteps
    if not 1 <= of <= count:
        raise SettingsError(f"Expected a schedule of 1 to {count} steps, got {of}.")
    if not 1 <= step_from_clean <= of:
        raise SettingsError(f"Expected a step from 1 (cleanest) to {of} (noisiest), got {step_from_clean}.")
    return (step_from_clean - 1) * (count // of)
