"""DIFT: what a diffusion network's decoder makes of a noisy picture (Tang et al., 2023)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import SettingsError
from semcorr.imaging.geometry import squash
from semcorr.imaging.image import Image
from semcorr.matchers.features.matcher import FeatureMatcher
from semcorr.matchers.features.settings import DiftSettings
from semcorr.matchers.seeds import seeded_generator
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.prompt_context import prompt_context
from semcorr.models.memory import in_batches
from semcorr.progress import Progress
from semcorr.settings import override

# Block, time step and samples are those that DIFT was published with, for Stable Diffusion 2.1 at 768 pixels; for the
# other families they are taken over.
_FAMILIES: dict[str, dict[str, object]] = {"sd2": {"resolution": 768}}

_TOGETHER = 4
"""Noise samples that go through the network together, at most."""


def published(family: str = "sd2") -> DiftSettings:
    """The published settings: decoder block 1, t = 261, 8 noise samples; the empty prompt, since none is known."""
    return override(DiftSettings(), **_FAMILIES.get(family, {}))


def clean(family: str = "sd2") -> DiftSettings:
    """For CleanDIFT's networks, which take pictures without noise: one pass, and the rest as DIFT has it."""
    return override(published(family), noise="none", samples=1)


class DiftMatcher(FeatureMatcher):
    """Nearest neighbours among a diffusion network's decoder features.

    Args:
        model: The frozen network.
        settings: Complete settings; see :func:`published`.

    Raises:
        SettingsError: The resolution, the time step or the block does not fit the model.
    """

    method = "dift"
    settings_type = DiftSettings
    presets = {"published": published, "clean": clean}  # noqa: RUF012  # a constant
    network_type = DiffusionModel

    def __init__(self, model: DiffusionModel, settings: DiftSettings) -> None:
        super().__init__(model, settings)
        side = settings.resolution or model.resolution
        if side % model.vae_factor:
            raise SettingsError(
                f"Setting 'resolution': expected a multiple of {model.vae_factor} (the VAE's factor), got {side}."
            )
        steps = model.scheduler.config.num_train_timesteps
        if settings.t >= steps:
            raise SettingsError(f"Setting 't': expected less than the model's {steps} time steps, got {settings.t}.")
        blocks = len(model.unet.up_blocks)
        if settings.block >= blocks:
            raise SettingsError(f"Setting 'block': expected a decoder block, 0 to {blocks - 1}, got {settings.block}.")

    def features(
        self, image: Image, settings: DiftSettings, progress: Progress | None = None
    ) -> Float[Tensor, "_dim _height _width"]:
        """Return the decoder block's output, averaged over noise samples.

        Noise follows from the seed and the image's content alone.

        Raises:
            SettingsError: The model has no text encoder for the prompt.
            OutOfMemoryError: Not even one sample fits into memory.
        """
        return dift_features(self.model, image, settings, progress)


def dift_features(
    model: DiffusionModel, image: Image, settings: DiftSettings, progress: Progress | None = None
) -> Float[Tensor, "_dim _height _width"]:
    """Return a picture's features; as :meth:`DiftMatcher.features`."""
    frame = squash(image.tensor(), settings.resolution or model.resolution)
    latents = model.encode(frame[None])
    context = prompt_context(model, settings.prompt, setting="prompt", instead="prompt=null: a context of zeros")
    generator = seeded_generator(f"dift|{settings.seed}|{image.sha256}")
    noise = torch.randn(settings.samples, *latents.shape[1:], generator=generator)

    def work(numbers: Sequence[int]) -> Tensor:
        count = len(numbers)
        noisy = latents.expand(count, -1, -1, -1)
        if settings.noise == "gaussian":
            noisy = model.add_noise(noisy, noise[list(numbers)].to(latents), settings.t)
        return model.features(noisy, settings.t, context.expand(count, -1, -1), settings.block).sum(dim=0)

    total: Tensor | None = None
    done = 0
    for numbers, part in in_batches(range(settings.samples), _TOGETHER, work, stage="features"):
        total = part if total is None else total + part
        done += len(numbers)
        if progress is not None:
            progress("features", done, settings.samples)
    assert total is not None  # noqa: S101  # there is a sample at least
    return total / settings.samples
