"""The parts of a loaded checkpoint, and the checks that all loaders share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

from semcorr.errors import ModelError
from semcorr.models.diffusion.kinds import SUPPORTED, describe_channels
from semcorr.models.diffusion.layers import Family

CONTEXT_TOKENS = 77  # of CLIP's text encoders, and so of every Stable Diffusion


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded network; :class:`semcorr.models.diffusion.DiffusionModel` documents the fields.

    ``fetch`` makes sure that further parts ("text_encoder", "tokenizer") are on this machine and returns the folder
    that holds them; it raises ``ModelError`` if they cannot be had. ``variant`` is the preferred variant of the files.
    """

    model_id: str
    revision: str | None
    fingerprint: str
    family: Family
    context_tokens: int
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    scheduler: DDIMScheduler
    fetch: Callable[[Sequence[str]], Path]
    variant: str | None = None


# The noise schedule of Stable Diffusion 1.x, 2.x and SDXL, for a folder without one.
STABLE_DIFFUSION_SCHEDULE: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}

_MAX_STEPS = 100_000
_MAX_LATENT_SIDE = 1024  # eight times SDXL's


def make_schedule(config: Mapping[str, Any]) -> DDIMScheduler:
    """Make the noise schedule from a scheduler's configuration, whichever sampler it was written for.

    Raises:
        ValueError: The number of time steps is out of range.
    """
    keys = (*STABLE_DIFFUSION_SCHEDULE, "trained_betas", "rescale_betas_zero_snr")
    chosen = {key: config[key] for key in keys if config.get(key) is not None}
    steps = chosen.get("num_train_timesteps", 1)
    if not 1 <= steps <= _MAX_STEPS:
        raise ValueError(f"num_train_timesteps is {steps}, expected 1 to {_MAX_STEPS:,}")
    return DDIMScheduler(**{**STABLE_DIFFUSION_SCHEDULE, **chosen})


def family_of(config: Mapping[str, Any]) -> Family:
    """Return the family of a U-Net's configuration.

    Only SDXL adds pooled text and sizes to the time embedding; only from Stable Diffusion 2 on are the
    projections around the attention linear.
    """
    if config.get("addition_embed_type") == "text_time":
        return "sdxl"
    return "sd2" if config.get("use_linear_projection") else "sd1"


def check_supported(name: str, unet: UNet2DConditionModel, vae: AutoencoderKL) -> None:
    """Raise ``ModelError`` for a U-Net that takes other inputs than a latent, a time step and a text context.

    :func:`semcorr.models.diffusion.kinds.check_kind` checks the conditions that are added to the time embedding.
    """
    config = unet.config
    inputs = []
    if config.in_channels != vae.config.latent_channels:
        given, taken = vae.config.latent_channels, config.in_channels
        inputs.append(f"{taken} input channels where its VAE gives {given}{describe_channels(taken)}")
    if config.encoder_hid_dim_type is not None or not isinstance(config.cross_attention_dim, int):
        inputs.append("another kind of context")
    if not isinstance(config.sample_size, int) or not 1 <= config.sample_size <= _MAX_LATENT_SIDE:
        inputs.append("latents of no one size, or of too large a one")
    if inputs:
        raise ModelError(
            f"The U-Net of {name} takes {' and '.join(inputs)}. {SUPPORTED}; inpainting, upscaling and other variants "
            "are not supported."
        )
