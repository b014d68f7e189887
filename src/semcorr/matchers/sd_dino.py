"""Diffusion features and DINO's side by side (Zhang et al., 2023, "A Tale of Two Features").

Diffusion features tell positions in an image apart, DINO's the parts of objects: joined, they fail less often than
either. Both are made of length 1 in every cell and weighted; the cosine of the joined vectors is then a mean of the two
cosines, weighted with the squares.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from semcorr.imaging.image import Image
from semcorr.matchers.base import ModelIdentity
from semcorr.matchers.features import dift as _dift
from semcorr.matchers.features import dino as _dino
from semcorr.matchers.features.dift import DiftMatcher
from semcorr.matchers.features.dift_settings import DiftSettings
from semcorr.matchers.features.dino import DinoSettings
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.dino import Facet, VisionModel
from semcorr.models.names import VISION_MODEL
from semcorr.progress import Progress

_DINO = "dino_"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SdDinoSettings(DiftSettings):
    """DIFT's settings, DINO's with ``dino_`` before their names, and how the two are put together.

    Attributes:
        vision: The vision transformer: a hub id or a folder.
        weight: Of DINO's part; the diffusion network's is 1 less it. Half each is what was published.
        dino_layer: As :class:`semcorr.matchers.features.dino.DinoSettings` has it, and so the others.
        dino_facet: What is read of the block.
        dino_norm: Whether the last block's tokens are normalised.
        dino_resolution: The longer side.
    """

    vision: str = VISION_MODEL
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    dino_layer: int = -1
    dino_facet: Facet = "token"
    dino_norm: bool = False
    dino_resolution: Annotated[int, Field(ge=1)] | None = None

    def dino(self) -> DinoSettings:
        """DINO's part."""
        own = {name.removeprefix(_DINO): value for name, value in vars(self).items() if name.startswith(_DINO)}
        return DinoSettings(**own)


def published(family: str = "sd1", vision_family: str = "dinov2") -> SdDinoSettings:
    """DIFT's and DINO's published settings for these networks, half of each."""
    names = [field.name.removeprefix(_DINO) for field in dataclasses.fields(SdDinoSettings) if _DINO in field.name]
    dino = vars(_dino.published(vision_family))
    return SdDinoSettings(**vars(_dift.published(family)), **{f"{_DINO}{name}": dino[name] for name in names})


class SdDinoMatcher(DiftMatcher):
    """Nearest neighbours among the features of a diffusion network and of a vision transformer together.

    The setting ``vision`` names the vision transformer, which is loaded beside the diffusion network.

    Args:
        model: The frozen diffusion network.
        vision: The frozen vision transformer.
        settings: Complete settings; see :func:`published`.

    Raises:
        LayerError, SettingsError: As :class:`semcorr.matchers.features.DiftMatcher` and
            :class:`semcorr.matchers.features.DinoMatcher`.
    """

    method = "sd-dino"
    settings_type = SdDinoSettings
    presets = {"published": published}  # noqa: RUF012  # a constant

    def __init__(self, model: DiffusionModel, vision: VisionModel, settings: SdDinoSettings) -> None:
        super().__init__(model, settings)
        self.vision = vision
        vision.check(settings.dino_layer, settings.dino_facet, settings.dino_resolution)

    @classmethod
    def _load_networks(cls, model: str | Path, settings: Any, **loading: Any) -> tuple[DiffusionModel, VisionModel]:
        # A revision is the diffusion network's, and so is what fits a network into less memory.
        own = {name: value for name, value in loading.items() if name not in DiffusionModel.memory_options}
        vision = VisionModel.from_pretrained(settings.vision, **{**own, "revision": None})
        return DiffusionModel.from_pretrained(model, **loading), vision

    def _families(self) -> list[str]:
        return [self.model.family, self.vision.family]

    def network(self) -> ModelIdentity:
        """Return the diffusion network's name, and a fingerprint of both networks."""
        own = ModelIdentity.of(self.model)
        both = hashlib.sha256(f"{own.model_fingerprint} {self.vision.fingerprint}".encode()).hexdigest()
        return dataclasses.replace(own, model_fingerprint=both)

    def features(
        self,
        image: Image,
        settings: SdDinoSettings,  # type: ignore[override]  # of its own queries alone
        progress: Progress | None = None,
    ) -> Float[Tensor, "_dim _height _width"]:
        """Return both networks' features, joined on the finer of their grids; errors as for both."""
        diffusion = _dift.dift_features(self.model, image, settings, progress)
        dino = _dino.dino_features(self.vision, image, settings.dino())
        return join(diffusion, dino.to(diffusion), settings.weight)


def join(
    first: Float[Tensor, "dim height width"], second: Float[Tensor, "dim2 height2 width2"], weight: float
) -> Float[Tensor, "_both _height _width"]:
    """Put two feature maps of one image side by side, each of length 1 in every cell, times 1 - weight and weight.

    Along each axis the map that has fewer cells is enlarged bilinearly.
    """
    size = [max(one, other) for one, other in zip(first.shape[1:], second.shape[1:], strict=True)]

    def fitted(features: Tensor, part: float) -> Tensor:
        enlarged = F.interpolate(features[None], size=size, mode="bilinear", align_corners=False)[0]
        return F.normalize(enlarged, dim=0, eps=1e-12) * part

    return torch.cat((fitted(first, 1 - weight), fitted(second, weight)))
