"""DINO: the features of a self-supervised vision transformer (Caron et al., 2021; Oquab et al., 2023)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from semcorr.imaging.image import Image
from semcorr.matchers.features.best_buddies import BuddyMatcher
from semcorr.matchers.features.matcher import FeatureMatcher
from semcorr.matchers.features.settings import BuddySettings, FeatureSettings
from semcorr.models.dino import Facet, VisionModel
from semcorr.models.memory import in_batches
from semcorr.models.names import VISION_MODEL
from semcorr.progress import Progress
from semcorr.settings import override

# DINO's first version: keys of block 9 (Amir et al., 2021, "Deep ViT Features as Dense Visual Descriptors"), at the
# checkpoint's own resolution, as patches here do not overlap. DINOv2: the last block's tokens before the final norm, at
# 840 pixels (Zhang et al., 2023, "A Tale of Two Features"); taken over for its siblings.
_TOKENS: Mapping[str, object] = {"layer": -1, "facet": "token", "norm": False, "resolution": 840}
_KINDS: Mapping[str, Mapping[str, object]] = {"vit": {"layer": 9, "facet": "key", "norm": False, "resolution": None}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DinoSettings(FeatureSettings):
    """DINO: a vision transformer's features.

    Attributes:
        layer: A block, counted from 0, or from the end with -1 for the last.
        facet: ``"token"``: what the block puts out; ``"key"``, ``"query"``, ``"value"``: the projections in its
            attention.
        norm: Whether the last block's tokens go through the network's final norm.
        resolution: The image's longer side in pixels, in its own proportions; None is the checkpoint's own.
        position_directions: How many directions of the features are removed that depend on the position in the image
            and not on what is there: the principal directions of a grey image's features. 0 removes none; any other
            number costs a second pass of the network.
    """

    layer: int = -1
    facet: Facet = "token"
    norm: bool = False
    resolution: Annotated[int, Field(ge=1)] | None = None
    position_directions: Annotated[int, Field(ge=0, le=256)] = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class DinoBuddySettings(BuddySettings, DinoSettings):
    """Best buddies among DINO's features: the settings of both."""


def published(family: str = "dinov2") -> DinoSettings:
    """The settings that a network of a family (:attr:`semcorr.models.dino.VisionModel.family`) was published with."""
    return override(DinoSettings(), **_KINDS.get(family, _TOKENS))


class DinoMatcher(FeatureMatcher):
    """Nearest neighbours among a vision transformer's features.

    Args:
        model: The frozen network.
        settings: Complete settings; see :func:`published`.

    Raises:
        LayerError: The model has no such block.
        SettingsError: The resolution does not fit the model.
    """

    method = "dino"
    settings_type = DinoSettings
    presets = {"published": published}  # noqa: RUF012  # a constant
    network_type = VisionModel
    default_model = VISION_MODEL

    def __init__(self, model: VisionModel, settings: DinoSettings) -> None:
        super().__init__(model, settings)
        model.check(settings.layer, settings.facet, settings.resolution)

    def features(
        self, image: Image, settings: DinoSettings, progress: Progress | None = None
    ) -> Float[Tensor, "_dim _height _width"]:
        """Return one vector a patch; the image keeps its proportions.

        Raises:
            OutOfMemoryError: The pass does not fit into memory.
        """
        return dino_features(self.model, image, settings, progress)


class DinoBuddyMatcher(BuddyMatcher, DinoMatcher):
    """Best buddies among DINO's features."""

    method = "nbb-dino"
    settings_type = DinoBuddySettings


def dino_features(
    model: VisionModel, image: Image, settings: DinoSettings, progress: Progress | None = None
) -> Float[Tensor, "_dim _height _width"]:
    """Return an image's features; as :meth:`DinoMatcher.features`."""
    pixels = image.tensor().to(model.device)
    images = [pixels, torch.full_like(pixels, 0.5)] if settings.position_directions else [pixels]

    def work(part: Sequence[Tensor]) -> Tensor:
        return model.features(
            part[0],
            layer=settings.layer,
            facet=settings.facet,
            resolution=settings.resolution,
            norm=settings.norm,
        )

    # One image is one pass, which cannot be made smaller; in_batches adds the error where it does not fit.
    results = []
    for _, features in in_batches(images, 1, work, stage="features"):
        results.append(features)
        if progress is not None:
            progress("features", len(results), len(images))
    return without_position(results[0], results[1], settings.position_directions) if len(results) > 1 else results[0]


def without_position(
    features: Float[Tensor, "dim rows columns"], of_constant: Float[Tensor, "dim rows columns"], count: int
) -> Float[Tensor, "dim rows columns"]:
    """Return features without their parts along the principal directions of a constant image's features.

    Args:
        features: Of an image.
        of_constant: Of an image of the same size that is the same everywhere, whose cells differ by position alone.
        count: How many directions are removed, those in which the cells differ most.
    """
    cells = of_constant.flatten(1)
    directions = torch.linalg.svd(cells - cells.mean(dim=1, keepdim=True), full_matrices=False).U[:, :count]
    return features - torch.einsum("dk,ek,ehw->dhw", directions, directions, features)
