"""DIFT: a diffusion network's features of a noisy image (Tang et al., 2023); of a transformer as DiTF reads them."""

import dataclasses
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from semcorr.errors import LayerError, SettingsError
from semcorr.imaging.image import Image
from semcorr.matchers.features.best_buddies import BuddyMatcher
from semcorr.matchers.features.matcher import FeatureMatcher
from semcorr.matchers.features.settings import BuddySettings, FeatureSettings
from semcorr.matchers.features.tap_maps import tap_maps
from semcorr.models.diffusion import FAMILIES, DiffusionModel
from semcorr.models.diffusion.taps import Tap
from semcorr.progress import Progress
from semcorr.settings import override


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiftSettings(FeatureSettings):
    """DIFT: a diffusion network's decoder features (Tang et al., 2023, "Emergent Correspondence from Image Diffusion").

    Attributes:
        block: The block whose output is read, counted from 0: of a U-Net's decoder from the bottom, of a transformer.
        tap: What is read instead of a block, by a name that ``semcorr layers`` lists ("up/2:0.query").
        adaptive_norm: Whether of a transformer's ``block`` not the output is read, but the input through the block's
            adaptive layer norm (DiTF; Gan et al., 2025).
        discard: Channels of hidden states that are set to zero, before a norm: ``"none"``; ``"massive"``, those whose
            mean magnitude is above 10 times the median channel's; or their numbers. Queries, keys and values keep all.
        t: The time step, of 0 to 999, whose noise is added.
        samples: Noise samples whose features are averaged.
        noise: ``"gaussian"``; or ``"none"`` for networks that were trained to take images as they are at any time
            step (CleanDIFT; Stracke et al., 2024).
        prompt: The prompt: what the image shows; None is a context of zeros, which needs no text encoder.
        resolution: Side in pixels of the square that an image is resized to; None is the model's own.
        seed: Start of every random draw.
    """

    added = frozenset({"tap", "adaptive_norm", "discard"})

    block: Annotated[int, Field(ge=0)] = 1
    tap: str | None = None
    adaptive_norm: bool = False
    discard: Literal["none", "massive"] | tuple[Annotated[int, Field(ge=0)], ...] = "none"
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
    a block in their middle, read as DiTF does.
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
        SettingsError: The resolution, the time step, the block, the tap or a channel does not fit the model.
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
        tap = tap_of(model, settings)
        if isinstance(settings.discard, tuple) and tap.residual and max(settings.discard, default=0) >= tap.dim:
            raise SettingsError(
                f"Setting 'discard': expected channels of {tap.name}, 0 to {tap.dim - 1}, got {settings.discard}. "
                "Set discard=massive or none."
            )

    def features(
        self, image: Image, settings: DiftSettings, progress: Progress | None = None
    ) -> Float[Tensor, "_dim _height _width"]:
        """Return what the tap reads, averaged over noise samples.

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


def tap_of(model: DiffusionModel, settings: DiftSettings) -> Tap:
    """Return the tap that settings choose.

    Raises:
        SettingsError: The model has no such tap or block, or no adaptive layer norm.
    """
    try:
        if settings.tap is not None:
            return model.network.tap(settings.tap)
        return model.network.block_tap(settings.block, normed=settings.adaptive_norm)
    except LayerError as error:
        name = "block" if settings.tap is None else "tap"
        if name == "block" and settings.block < model.network.blocks:
            name = "adaptive_norm"
        raise SettingsError(f"Setting {name!r}: {error}") from error


def dift_features(
    model: DiffusionModel, image: Image, settings: DiftSettings, progress: Progress | None = None
) -> Float[Tensor, "_dim _height _width"]:
    """Return an image's features; as :meth:`DiftMatcher.features`."""
    ((_, features),) = tap_maps(model, image, settings, [tap_of(model, settings)], progress)
    return features
