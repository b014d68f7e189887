"""Encode images to latents, and add noise to latents."""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import SettingsError

Schedule: TypeAlias = DDIMScheduler | FlowMatchEulerDiscreteScheduler
_SQUARE = 2  # of diffusers' Flux2Pipeline
VAE: TypeAlias = AutoencoderKL | AutoencoderDC | AutoencoderKLFlux2


def vae_factor(vae: VAE) -> int:
    """Return the number of pixels per latent position along each side."""
    widths = vae.config.get("encoder_block_out_channels") or vae.config["block_out_channels"]
    return 2 ** (len(widths) - 1)


@torch.no_grad()
def encode(
    vae: VAE, images: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch channels latent_height latent_width"]:
    """Encode images in [0, 1] to scaled latents, in float32.

    The mean of the posterior, not a sample (some VAEs have no posterior), times the VAE's own scaling factor: 0.18215
    for Stable Diffusion 1.x and 2.x, 0.13025 for SDXL. The shift of a VAE that has one is subtracted first. FLUX.2's
    has a mean and a variance instead, for each channel and each position of a square of 2 x 2.
    """
    weight = next(vae.parameters())
    pixels = (2 * images.to(weight.device, torch.float32) - 1).to(weight.dtype)
    encoded = vae.encode(pixels)
    mean = encoded.latent if isinstance(vae, AutoencoderDC) else encoded.latent_dist.mean
    if isinstance(vae, AutoencoderKLFlux2):
        squares = torch.nn.functional.pixel_unshuffle(mean.float(), _SQUARE)
        centre, spread = vae.bn.running_mean.float(), (vae.bn.running_var.float() + vae.bn.eps).sqrt()
        normal = (squares - centre[:, None, None]) / spread[:, None, None]
        return torch.nn.functional.pixel_shuffle(normal, _SQUARE)
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return (mean.float() - shift) * vae.config.scaling_factor


def add_noise(
    scheduler: Schedule,
    latents: Float[Tensor, "batch channels height width"],
    noise: Float[Tensor, "batch channels height width"],
    t: int,
) -> Float[Tensor, "batch channels height width"]:
    """Return the noisy latents of one time step t, by the scheduler's own schedule.

    sqrt(abar_t) z + sqrt(1 - abar_t) eps; with flow matching (1 - s) z + s eps, s being the part t of all time steps.
    """
    count = scheduler.config.num_train_timesteps
    if not 0 <= t < count:
        raise SettingsError(f"Expected a time step from 0 to {count - 1}, got {t}.")
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        return (1 - t / count) * latents + t / count * noise.to(latents)
    return scheduler.add_noise(latents, noise.to(latents), torch.tensor([t], device=latents.device))


def timestep(
    scheduler: Schedule,
    step_from_clean: int,
    of: int = 50,
    *,
    positions: int = 4096,
    own_shift: Callable[[int, int], float] | None = None,
) -> int:
    """Return ``timesteps[-step_from_clean]`` of a DDIM schedule of ``of`` steps with leading spacing.

    Step 1 is the cleanest. The 8th of 50 is t = 140 of Stable Diffusion's 1000. Checkpoints whose scheduler has an
    offset of one, or another spacing, get the same t: the authors' code ignores the offset, and one rule keeps
    checkpoints comparable. With flow matching that t is shifted as the scheduler shifts time, and rounded. The shift
    may depend on the number of ``positions`` that the network makes of the image: it or its logarithm, linearly, or as
    ``own_shift`` of the number and of ``of`` (:class:`semcorr.models.diffusion.families.Family`).
    """
    count = scheduler.config.num_train_timesteps
    if not 1 <= of <= count:
        raise SettingsError(f"Expected a schedule of 1 to {count} steps, got {of}.")
    if not 1 <= step_from_clean <= of:
        raise SettingsError(f"Expected a step from 1 (cleanest) to {of} (noisiest), got {step_from_clean}.")
    t = (step_from_clean - 1) * (count // of)
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        shift = _shift(scheduler, positions, of, own_shift)
        return round(shift * t / (1 + (shift - 1) * t / count))
    return t


def _shift(
    scheduler: FlowMatchEulerDiscreteScheduler,
    positions: int,
    steps: int,
    own_shift: Callable[[int, int], float] | None,
) -> float:
    """Return s of the shifted time s t / (1 + (s - 1) t), as diffusers' pipelines and scheduler compute it."""
    config = scheduler.config
    if not config.use_dynamic_shifting:
        return float(scheduler.shift)
    if own_shift is not None:
        mu = own_shift(positions, steps)
    else:
        part = (positions - config.base_image_seq_len) / (config.max_image_seq_len - config.base_image_seq_len)
        mu = config.base_shift + part * (config.max_shift - config.base_shift)
    return math.exp(mu) if config.time_shift_type == "exponential" else float(mu)
