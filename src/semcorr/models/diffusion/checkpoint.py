"""The parts of a loaded checkpoint, and the checks that all loaders share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel

from semcorr.errors import ModelError
from semcorr.models.diffusion.families import SD1, Family
from semcorr.models.diffusion.kinds import SUPPORTED, describe_channels
from semcorr.models.diffusion.latents import Schedule
from semcorr.models.diffusion.networks import network_class

CONTEXT_TOKENS = 77  # of CLIP's text encoders, and so of every Stable Diffusion


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded network; :class:`semcorr.models.diffusion.DiffusionModel` documents the fields.

    ``network`` and ``vae`` are diffusers' objects.
    ``fetch`` makes sure that further parts ("text_encoder", "tokenizer") are on this machine and returns the folder
    that holds them; it raises ``ModelError`` if they cannot be had. ``variant`` is the preferred variant of the files.
    """

    model_id: str
    revision: str | None
    fingerprint: str
    family: str
    context_tokens: int
    network: Any
    vae: Any
    scheduler: Schedule
    fetch: Callable[[Sequence[str]], Path]
    variant: str | None = None
    quantize: str | None = None


_SHIFT_BY_SIZE = (
    "use_dynamic_shifting",
    "time_shift_type",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
)
_MAX_STEPS = 100_000
_MAX_LATENT_SIDE = 1024  # eight times SDXL's
_MAX_PATCH = 16
_MAX_WIDTH = 2**16  # sixteen times the widest that is published


def check_transformer(name: str, config: Mapping[str, Any], family: Family) -> None:
    """Check a transformer's configuration before a network is made of it.

    Raises:
        ModelError: It takes other inputs than a latent, a time step and a text context, or its sizes are out of range.
    """
    patch = config.get("patch_size", 0)
    side = config.get("sample_size", patch)
    known = isinstance(side, int) and isinstance(patch, int) and 1 <= patch <= _MAX_PATCH
    if not known or not 1 <= side <= _MAX_LATENT_SIDE or side % patch:
        raise ModelError(
            f"The transformer of {name} takes latents of {side} positions in patches of {patch}. {SUPPORTED}."
        )
    own = config.get("num_attention_heads", 1) * config.get("attention_head_dim", 1)
    width = max(own, config.get("hidden_size") or 1, *(config.get("axes_lens") or ()))
    if not 1 <= width <= _MAX_WIDTH:  # its positions would be computed before its weights are seen to be fewer
        raise ModelError(
            f"The transformer of {name} is {width:,} wide, or has as many positions, expected at most {_MAX_WIDTH:,}."
        )
    if config.get("guidance_embeds") and not family.traits.get("guidance_embeds"):
        raise ModelError(f"The transformer of {name} takes a guidance scale, which is not supported.")


def make_schedule(config: Mapping[str, Any], default: Mapping[str, Any] = SD1.schedule) -> Schedule:
    """Make the noise schedule from a scheduler's configuration, whichever sampler it was written for.

    Args:
        config: May be empty.
        default: What it does not say.

    Returns:
        DDIM's schedule, or that of flow matching with the sampler's shift of time.

    Raises:
        ValueError: The number of time steps is out of range.
    """
    chosen = {**default, **{key: value for key, value in config.items() if value is not None}}
    steps = chosen["num_train_timesteps"]
    if not 1 <= steps <= _MAX_STEPS:
        raise ValueError(f"num_train_timesteps is {steps}, expected 1 to {_MAX_STEPS:,}")
    flow = chosen.get("prediction_type") in ("flow_prediction", "trigflow") or "FlowMatch" in str(
        chosen.get("_class_name")
    )
    if flow:
        shift = chosen.get("shift", chosen.get("flow_shift", 1.0))
        by_size = {key: chosen[key] for key in _SHIFT_BY_SIZE if key in chosen}
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=steps, shift=shift, **by_size)
    keys = (*SD1.schedule, "trained_betas", "rescale_betas_zero_snr")
    return DDIMScheduler(**{key: chosen[key] for key in keys if key in chosen})


def check_supported(name: str, network: Any, vae: Any) -> None:
    """Raise ``ModelError`` for a network that takes other inputs than a latent, a time step and a text context.

    :func:`semcorr.models.diffusion.kinds.check_kind` checks the conditions that are added to a U-Net's time embedding.
    """
    config, inputs = network.config, []
    given, taken = vae.config.latent_channels, config.in_channels / network_class(network).packed ** 2
    if taken != given:
        inputs.append(f"{taken:g} input channels where its VAE gives {given}{describe_channels(int(taken))}")
    if isinstance(network, UNet2DConditionModel):
        if config.encoder_hid_dim_type is not None or not isinstance(config.cross_attention_dim, int):
            inputs.append("another kind of context")
        if not isinstance(config.sample_size, int) or not 1 <= config.sample_size <= _MAX_LATENT_SIDE:
            inputs.append("latents of no one size, or of too large a one")
    if inputs:
        noun = "U-Net" if isinstance(network, UNet2DConditionModel) else "transformer"
        raise ModelError(
            f"The {noun} of {name} takes {' and '.join(inputs)}. {SUPPORTED}; inpainting, upscaling and other variants "
            "are not supported."
        )
