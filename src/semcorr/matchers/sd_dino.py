"""Diffusion features and DINO's side by side (Zhang et al., 2023, "A Tale of Two Features").

Diffusion features know where things lie on a picture, DINO's which part they are: joined, they fail less often than
either. Both are made of length 1 in every cell and weighted; the cosine of the joined vectors is then a mean of the two
cosines, weighted with the squares.
"""

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from semcorr.errors import SettingsError, suggest
from semcorr.imaging.image import Image
from semcorr.matchers.base import ModelIdentity
from semcorr.matchers.features import DiftMatcher, DiftSettings, DinoSettings
from semcorr.matchers.features import dift as _dift
from semcorr.matchers.features import dino as _dino
from semcorr.models.device import Device, DType
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.dino import Facet, VisionModel
from semcorr.models.names import PHOTO_MODEL
from semcorr.progress import Progress
from semcorr.settings import override

METHOD = "sd-dino"
PRESETS = ("published",)

_DINO = "dino_"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SdDinoSettings(DiftSettings):
    """DIFT's settings, DINO's with ``dino_`` before their names, and how the two are put together.

    Attributes:
        vision: the vision transformer: a hub id or a folder.
        weight: of DINO's part; the diffusion network's is 1 less it. Half each is what was published.
        dino_layer: as :class:`semcorr.matchers.features.DinoSettings` has it, and so the others.
        dino_facet: what is read of the block.
        dino_norm: whether the last block's tokens are normalised.
        dino_resolution: the longer side.
    """

    vision: str = _dino.DEFAULT_MODEL
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    dino_layer: int = -1
    dino_facet: Facet = "token"
    dino_norm: bool = False
    dino_resolution: Annotated[int, Field(ge=1)] | None = None

    def dino(self) -> DinoSettings:
        """DINO's part."""
        own = {name.removeprefix(_DINO): value for name, value in vars(self).items() if name.startswith(_DINO)}
        return DinoSettings(**own)


def published(family: str = "sd1", kind: str = "dinov2") -> SdDinoSettings:
    """DIFT's and DINO's published settings for these networks, half of each."""
    names = [field.name.removeprefix(_DINO) for field in dataclasses.fields(SdDinoSettings) if _DINO in field.name]
    dino = vars(_dino.published(kind))
    return SdDinoSettings(**vars(_dift.published(family)), **{f"{_DINO}{name}": dino[name] for name in names})


class SdDinoMatcher(DiftMatcher[SdDinoSettings]):
    """Nearest neighbours among the features of a diffusion network and of a vision transformer together.

    Args:
        model: the frozen diffusion network.
        vision: the frozen vision transformer.
        settings: complete settings; see :func:`published`.

    Raises:
        LayerError, SettingsError: as for :class:`semcorr.matchers.features.DiftMatcher` and
            :class:`semcorr.matchers.features.DinoMatcher`.
    """

    method = METHOD
    settings_type = SdDinoSettings

    def __init__(self, model: DiffusionModel, vision: VisionModel, settings: SdDinoSettings) -> None:
        super().__init__(model, settings)
        self.vision = vision
        vision.check(settings.dino_layer, settings.dino_facet, settings.dino_resolution)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] = PHOTO_MODEL,
        preset: str = "published",
        *,
        revision: str | None = None,
        dtype: DType = "float32",
        device: Device = "auto",
        local_files_only: bool = False,
        progress: Progress | None = None,
        **overrides: object,
    ) -> "SdDinoMatcher":
        """Load both networks and make a matcher of them; the setting ``vision`` names the second.

        Raises:
            ModelError: a model cannot be found, read or used.
            LayerError: the vision transformer has no such block.
            SettingsError: unknown preset, unknown setting, or a value that does not fit.
        """
        if preset not in PRESETS:
            raise SettingsError(f"Unknown preset {preset!r}.{suggest(preset, PRESETS)} Presets are: published.")
        wanted = override(published(), **overrides)  # a misspelt name is found before gigabytes are loaded
        vision = VisionModel.from_pretrained(
            wanted.vision, dtype=dtype, device=device, local_files_only=local_files_only, progress=progress
        )
        network = DiffusionModel.from_pretrained(
            Path(model) if isinstance(model, os.PathLike) else model,
            revision=revision,
            dtype=dtype,
            device=device,
            local_files_only=local_files_only,
            progress=progress,
        )
        return cls(network, vision, override(published(network.family, vision.kind), **overrides))

    def network(self) -> ModelIdentity:
        """The diffusion network by name, both by their fingerprint."""
        own = ModelIdentity.of(self.model)
        both = hashlib.sha256(f"{own.model_fingerprint} {self.vision.fingerprint}".encode()).hexdigest()
        return dataclasses.replace(own, model_fingerprint=both)

    def features(
        self, image: Image, settings: SdDinoSettings, progress: Progress | None = None
    ) -> Float[Tensor, "_dim _height _width"]:
        """Return both networks' features, joined on the finer of their grids; errors as for both."""
        diffusion = _dift.dift_features(self.model, image, settings, progress)
        dino = _dino.dino_features(self.vision, image, settings.dino())
        return join(diffusion, dino.to(diffusion), settings.weight)


def join(
    first: Float[Tensor, "dim height width"], second: Float[Tensor, "dim2 height2 width2"], weight: float
) -> Float[Tensor, "_both _height _width"]:
    """Put two feature maps of one picture side by side, each of length 1 in every cell, times 1 - weight and weight.

    Along each axis the map that has fewer cells is enlarged bilinearly.
    """
    size = [max(one, other) for one, other in zip(first.shape[1:], second.shape[1:], strict=True)]

    def fitted(features: Tensor, part: float) -> Tensor:
        enlarged = F.interpolate(features[None], size=size, mode="bilinear", align_corners=False)[0]
        return F.normalize(enlarged, dim=0, eps=1e-12) * part

    return torch.cat((fitted(first, 1 - weight), fitted(second, weight)))
