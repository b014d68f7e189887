"""DINO: what a self-supervised vision transformer makes of a picture (Caron et al., 2021; Oquab et al., 2023)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import SettingsError, suggest
from semcorr.imaging.image import Image
from semcorr.matchers.base import ModelIdentity
from semcorr.matchers.features.best_buddies import BuddyMatcher
from semcorr.matchers.features.matcher import FeatureMatcher
from semcorr.matchers.features.settings import DinoBuddySettings, DinoSettings
from semcorr.models.device import Device, DType
from semcorr.models.dino import VisionModel
from semcorr.models.memory import in_batches
from semcorr.progress import Progress
from semcorr.settings import override

D = TypeVar("D", bound=DinoSettings)
M = TypeVar("M", bound="DinoMatcher")

PRESETS = ("published",)
DEFAULT_MODEL = "facebook/dinov2-base"

# DINO's first version: keys of block 9 (Amir et al., 2021, "Deep ViT Features as Dense Visual Descriptors"), at the
# checkpoint's own resolution, as patches here do not overlap. DINOv2: the last block's tokens before the final norm, at
# 840 pixels (Zhang et al., 2023, "A Tale of Two Features"); taken over for its siblings.
_TOKENS: Mapping[str, object] = {"layer": -1, "facet": "token", "norm": False, "resolution": 840}
_KINDS: Mapping[str, Mapping[str, object]] = {"vit": {"layer": 9, "facet": "key", "norm": False, "resolution": None}}


def published(kind: str = "dinov2") -> DinoSettings:
    """The settings that a network of a kind (:attr:`semcorr.models.dino.VisionModel.kind`) was published with."""
    return override(DinoSettings(), **_KINDS.get(kind, _TOKENS))


class DinoMatcher(FeatureMatcher[D]):
    """Nearest neighbours among a vision transformer's features.

    Args:
        model: the frozen network.
        settings: complete settings; see :func:`published`.

    Raises:
        LayerError: the model has no such block.
        SettingsError: the resolution does not fit the model.
    """

    method = "dino"
    settings_type: type[D] = DinoSettings  # type: ignore[assignment]  # a sub-class has its own

    def __init__(self, model: VisionModel, settings: D) -> None:
        super().__init__(settings)
        self.model = model
        model.check(settings.layer, settings.facet, settings.resolution)

    @classmethod
    def from_pretrained(
        cls: type[M],
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        preset: str = "published",
        *,
        revision: str | None = None,
        dtype: DType = "float32",
        device: Device = "auto",
        local_files_only: bool = False,
        progress: Progress | None = None,
        **overrides: object,
    ) -> M:
        """Load a checkpoint (:meth:`semcorr.models.dino.VisionModel.from_pretrained`) and make a matcher of it.

        Raises:
            ModelError: the model cannot be found, read or used.
            LayerError: it has no such block.
            SettingsError: unknown preset, unknown setting, or a value that does not fit.
        """
        if preset not in PRESETS:
            raise SettingsError(f"Unknown preset {preset!r}.{suggest(preset, PRESETS)} Presets are: published.")
        override(cls.settings_type(), **overrides)  # a misspelt name is found before gigabytes are loaded
        network = VisionModel.from_pretrained(
            Path(model) if isinstance(model, os.PathLike) else model,
            revision=revision,
            dtype=dtype,
            device=device,
            local_files_only=local_files_only,
            progress=progress,
        )
        settings = cls.settings_type(**vars(published(network.kind)))
        return cls(network, override(settings, **overrides))

    def network(self) -> ModelIdentity:
        """The vision transformer."""
        return ModelIdentity.of(self.model)

    def features(
        self, image: Image, settings: D, progress: Progress | None = None
    ) -> Float[Tensor, "_dim _height _width"]:
        """Return one vector a patch; the picture keeps its proportions.

        Raises:
            OutOfMemoryError: the pass does not fit into memory.
        """
        return dino_features(self.model, image, settings, progress)


class DinoBuddyMatcher(BuddyMatcher[DinoBuddySettings], DinoMatcher[DinoBuddySettings]):
    """Best buddies among DINO's features."""

    method = "nbb-dino"
    settings_type = DinoBuddySettings


def dino_features(
    model: VisionModel, image: Image, settings: DinoSettings, progress: Progress | None = None
) -> Float[Tensor, "_dim _height _width"]:
    """Return a picture's features; as :meth:`DinoMatcher.features`."""

    def work(_: object) -> Tensor:
        return model.features(
            image.tensor().to(model.device),
            layer=settings.layer,
            facet=settings.facet,
            resolution=settings.resolution,
            norm=settings.norm,
        )

    # One picture is one pass, that cannot be made smaller; what this adds is the error when it does not fit.
    found: Tensor = torch.cat([part for _, part in in_batches([0], 1, work, stage="features")])
    if progress is not None:
        progress("features", 1, 1)
    return found
