"""DIFT: the decoder features of a diffusion network for a noisy image (Tang et al., 2023)."""

import dataclasses
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from semcorr.errors import SettingsError
from semcorr.imaging.geometry import squash
from semcorr.imaging.image import Image
from semcorr.matchers.features.best_buddies import BuddyMatcher
from semcorr.matchers.features.matcher import FeatureMatcher
from semcorr.matchers.features.settings import BuddySettings, FeatureSettings
from semcorr.matchers.noise import sum_over_noise
from semcorr.models.diffusion import FAMILIES, DiffusionModel
from semcorr.models.diffusion.prompt_context import prompt_context
from semcorr.progress import Progress
from semcorr.settings import override


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiftSettings(FeatureSettings):
    """DIFT: a diffusion network's decoder features (Tang et al., 2023, "Emergent Correspondence from Image Diffusion").

    Attributes:
        block: The block whose output is read, counted from 0: of a U-Net's decoder from the bottom, of a transformer.
        t: The time step, of 0 to 999, whose noise is added.
        samples: Noise samples whose features are averaged.
        noise: ``"gaussian"``; or ``"none"`` for networks that were trained to take images as they are at any time
            step (CleanDIFT; Stracke et al., 2024).
        prompt: The prompt: what the image shows; None is a context of zeros, which needs no text encoder.
        resolution: Side in pixels of the square that an image is resized to; None is the model's own.
        seed: Start of every random draw.
    """

    block: Annotated[int, Field(ge=0)] = 1
    t: Annotated[int, Field(ge=0)] = 261
    samples: Annotated[int, Field(ge=1)] = 8
    noise: Literal["gaussian", "none"] = "gaussian"
    prompt: str | None = ""
    resolution: Annotated[int, Field(ge=8)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise == "none" and self.samples != 1:
            raise SettingsError(
                f"Setting 'samples': without noise all samples are the same, expected 1, got {self.samples}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiftBuddySettings(BuddySettings, DiftSettings):
    """Best buddies among DIFT's features: the settings of both."""


def published(family: str = "sd2") -> DiftSettings:
    """The published settings: decoder block 1, t = 261, 8 noise samples; the empty prompt, since none is known.

    They were published for Stable Diffusion 2.1 at 768 pixels; other families take them over, transformers with
    a block in their middle.
    """
    return override(DiftSettings(), **FAMILIES[family].dift)


def clean(family: str = "sd2") -> DiftSettings:
    """For CleanDIFT's networks, which take images without noise: one pass, and the rest as DIFT has it."""
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
        model.check_side(settings.resolution)
        steps = model.scheduler.config.num_train_timesteps
        if settings.t >= steps:
            raise SettingsError(f"Setting 't': expected less than the model's {steps} time steps, got {settings.t}.")
        blocks = model.network.blocks
        if settings.block >= blocks:
            raise SettingsError(f"Setting 'block': expected a block, 0 to {blocks - 1}, got {settings.block}.")

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


class DiftBuddyMatcher(BuddyMatcher, DiftMatcher):
    """Best buddies among DIFT's features."""

    method = "nbb"
    settings_type = DiftBuddySettings


def dift_features(
    model: DiffusionModel, image: Image, settings: DiftSettings, progress: Progress | None = None
) -> Float[Tensor, "_dim _height _width"]:
    """Return an image's features; as :meth:`DiftMatcher.features`."""
    frame = squash(image.tensor(), settings.resolution or model.resolution)
    latents = model.encode(frame[None])
    context = prompt_context(model, settings.prompt, setting="prompt", instead="prompt=null: a context of zeros")

    def evaluate(latents: Tensor, noise: Tensor) -> list[Tensor]:
        noisy = model.add_noise(latents, noise, settings.t) if settings.noise == "gaussian" else latents
        contexts = context.expand(len(latents), -1, -1)
        return [model.features(noisy, settings.t, contexts, settings.block).sum(dim=0)]

    # The text of the key decides the noise: it stays as it is.
    key = f"dift|{settings.seed}|{image.sha256}"
    (total,) = sum_over_noise(evaluate, latents, settings.samples, key, stage="features", progress=progress)
    return total / settings.samples
