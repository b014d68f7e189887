"""DIFT: a diffusion network's features of a noisy image (Tang et al., 2023); of a transformer as DiTF reads them."""

import dataclasses

from jaxtyping import Float
from torch import Tensor

from semcorr.errors import LayerError, SettingsError
from semcorr.imaging.image import Image
from semcorr.matchers.features.best_buddies import BuddyMatcher
from semcorr.matchers.features.dift_settings import DiftSettings
from semcorr.matchers.features.matcher import FeatureMatcher
from semcorr.matchers.features.settings import BuddySettings
from semcorr.matchers.features.tap_maps import tap_maps
from semcorr.models.diffusion import FAMILIES, DiffusionModel
from semcorr.models.diffusion.taps import Tap
from semcorr.progress import Progress
from semcorr.settings import override


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
