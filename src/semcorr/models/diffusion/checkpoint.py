"""What a loaded checkpoint consists of, and the checks that every way of loading shares."""

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
    """A loaded network: :class:`semcorr.models.diffusion.DiffusionModel` tells what the fields mean.

    ``fetch`` makes sure that further parts ("text_encoder", "tokenizer") are on this machine and returns
    the folder that holds them; it raises ``ModelError`` where they are not to be had. ``variant`` is that of
    the files that is preferred.
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


# The noise schedule of Stable Diffusion 1.x, 2.x and SDXL, for a folder that brings none.
STABLE_DIFFUSION_SCHEDULE: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}


_MOST_STEPS = 100_000
_MOST_SIDE = 1024
"""Of a latent: eight times what SDXL has."""


def make_schedule(config: Mapping[str, Any]) -> DDIMScheduler:
    """Make the noise schedule from a scheduler's configuration, whichever sampler that was written for.

    Raises:
        ValueError: it has more time steps than any.
    """
    keys = (*STABLE_DIFFUSION_SCHEDULE, "trained_betas", "rescale_betas_zero_snr")
    chosen = {key: config[key] for key in keys if config.get(key) is not None}
    steps = chosen.get("num_train_timesteps", 1)
    if not 1 <= steps <= _MOST_STEPS:
        raise ValueError(f"num_train_timesteps is {steps}, expected 1 to {_MOST_STEPS:,}")
    return DDIMScheduler(**{**STABLE_DIFFUSION_SCHEDULE, **chosen})


def family_of(config: Mapping[str, Any]) -> Family:
    """Tell the family from a U-Net's configuration.

    Only SDXL adds pooled text and sizes to the time embedding; only from Stable Diffusion 2 on are the
    projections around the attention linear.
    """
    if config.get("addition_embed_type") == "text_time":
        return "sdxl"
    return "sd2" if config.get("use_linear_projection") else "sd1"


def check_supported(name: str, unet: UNet2DConditionModel, vae: AutoencoderKL) -> None:
    """Raise ``ModelError`` for a U-Net that takes other inputs than a latent, a time and a context of text.

    What is added to the time is :func:`semcorr.models.diffusion.kinds.check_kind`'s to judge.
    """
    config = unet.config
    wants = []
    if config.in_channels != vae.config.latent_channels:
        given, taken = vae.config.latent_channels, config.in_channels
        wants.append(f"{taken} input channels where its VAE gives {given}{describe_channels(taken)}")
    if config.encoder_hid_dim_type is not None or not isinstance(config.cross_attention_dim, int):
        wants.append("another kind of context")
    if not isinstance(config.sample_size, int) or not 1 <= config.sample_size <= _MOST_SIDE:
        wants.append("latents of no one size, or of too large a one")
    if wants:
        raise ModelError(
            f"The U-Net of {name} takes {' and '.join(wants)}. {SUPPORTED}; inpainting, upscaling and other variants "
            "are not supported."
        )
