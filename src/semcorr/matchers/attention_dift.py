"""The paper's heat map times a similarity of DIFT's features: where a point both attends and looks alike.

Attention knows the thing's part and its middle; features know what it looks like. They fail on different points: the
product is nearly as sharp as attention and seldom where only one of the two is high.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from pydantic import Field
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import scale_points
from semcorr.imaging.image import ImageSource, load_image
from semcorr.matchers.base import ModelIdentity
from semcorr.matchers.features import DiftMatcher, DiftSettings
from semcorr.matchers.features.dift import published
from semcorr.matchers.prompt import PromptMatcher, PromptSettings
from semcorr.matchers.prompt import preset as prompt_preset
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.results import Matches, Query
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.model import Device, DType
from semcorr.models.names import PHOTO_MODEL
from semcorr.progress import Progress
from semcorr.settings import override

METHOD = "attention-dift"

_DIFT = "dift_"
_LEAST = 1e-6
"""Attention below this part of its peak counts as this much: a logarithm must not rule everything else out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionDiftSettings(PromptSettings):
    """The prompt method's settings, DIFT's with ``dift_`` before their names, and how the two are put together.

    Attributes:
        temperature: the heat map is attention, as a part of its peak, times exp(cosine / temperature). High, attention
            alone decides; low, the features do.
        dift_block: as :class:`semcorr.matchers.features.DiftSettings` has it, and so the others.
        dift_t: the time step.
        dift_samples: noise samples whose features are averaged.
        dift_noise: which noise.
        dift_prompt: what the network is told.
        dift_resolution: side of the square.
    """

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.2
    dift_block: Annotated[int, Field(ge=0)] = 1
    dift_t: Annotated[int, Field(ge=0)] = 261
    dift_samples: Annotated[int, Field(ge=1)] = 8
    dift_noise: Literal["gaussian", "none"] = "gaussian"
    dift_prompt: str | None = ""
    dift_resolution: Annotated[int, Field(ge=8)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.dift()  # what DIFT would refuse is refused now

    def prompt(self) -> PromptSettings:
        """The prompt method's part."""
        names = [field.name for field in dataclasses.fields(PromptSettings)]
        return PromptSettings(**{name: getattr(self, name) for name in names})

    def dift(self) -> DiftSettings:
        """DIFT's part, with the same seed."""
        own = {name.removeprefix(_DIFT): value for name, value in vars(self).items() if name.startswith(_DIFT)}
        return DiftSettings(**own, seed=self.seed)


def settings_of(preset: str = "fast", family: str = "sd1") -> AttentionDiftSettings:
    """Return one of the prompt method's presets with DIFT's published settings.

    Raises:
        SettingsError: no such preset.
    """
    dift = {f"{_DIFT}{key}": value for key, value in vars(published(family)).items()}
    own = {field.name for field in dataclasses.fields(AttentionDiftSettings)}
    own_dift = {key: value for key, value in dift.items() if key in own}
    return AttentionDiftSettings(**vars(prompt_preset(preset, family)), **own_dift)


class AttentionDiftMatcher:
    """Attention and features of one diffusion network together.

    Args:
        model: the frozen network.
        settings: complete settings; see :func:`settings_of`.
        memory_budget: as for :class:`semcorr.PromptMatcher`.

    Raises:
        LayerError, SettingsError: as for :class:`semcorr.PromptMatcher` and
            :class:`semcorr.matchers.features.DiftMatcher`.
    """

    def __init__(
        self, model: DiffusionModel, settings: AttentionDiftSettings, *, memory_budget: int | None = None
    ) -> None:
        self.model, self.settings = model, settings
        self._prompt = PromptMatcher(model, settings.prompt(), memory_budget=memory_budget)
        self._dift = DiftMatcher(model, settings.dift())

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] = PHOTO_MODEL,
        preset: str = "fast",
        *,
        revision: str | None = None,
        dtype: DType = "float32",
        device: Device = "auto",
        local_files_only: bool = False,
        memory_budget: int | None = None,
        progress: Progress | None = None,
        **overrides: object,
    ) -> "AttentionDiftMatcher":
        """Load a model and make a matcher of it; as :meth:`semcorr.PromptMatcher.from_pretrained`.

        Raises:
            ModelError: the model cannot be found, read or used.
            LayerError: a layer that was asked for is not in the model.
            SettingsError: unknown preset, unknown setting, or a value that does not fit.
        """
        override(settings_of(preset), **overrides)  # a misspelt name is found before gigabytes are loaded
        network = DiffusionModel.from_pretrained(
            Path(model) if isinstance(model, os.PathLike) else model,
            revision=revision,
            dtype=dtype,
            device=device,
            local_files_only=local_files_only,
            progress=progress,
        )
        settings = override(settings_of(preset, network.family), **overrides)
        return cls(network, settings, memory_budget=memory_budget)

    def identity(self) -> dict[str, Any]:
        """The network and the complete settings, as JSON holds them."""
        return {**ModelIdentity.of(self.model).to_dict(), "settings": self.settings.to_dict()}

    def describe(
        self,
        image: ImageSource,
        points: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """Learn the points' embeddings and read the features there.

        Args, errors and progress are those of :meth:`semcorr.PromptMatcher.describe` and
        :meth:`semcorr.matchers.features.FeatureMatcher.describe`.
        """
        source = load_image(image)
        learned = self._prompt.describe(source, points, names=names, progress=progress)
        read = self._dift.describe(source, points, names=names, progress=progress)
        return dataclasses.replace(
            learned,
            method=METHOD,
            settings=self.settings.to_dict(),
            tensors={**learned.tensors, **read.tensors},
        )

    def locate(
        self, query: Query, image: ImageSource, *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """Find a query's points in another image, with the query's own settings.

        Rounds, layers and crops are told of the attention alone, in whose finest cells the peak is refined. The
        confidence is how much lower the heat map is everywhere but around its peak: whatever looks and attends nearly
        as well elsewhere makes it less. The similarity is the features'.

        Raises:
            QueryError: the query belongs to another model or method.
            ImageError: the image cannot be used.
            OutOfMemoryError: not even one embedding fits into memory.
        """
        ModelIdentity.of(self.model).check(query, METHOD)
        settings, target = AttentionDiftSettings.from_dict(query.settings), load_image(image)
        own = settings.prompt()
        attention = self._prompt.locate(_part(query, "prompt", own), target, trace=trace, progress=progress)
        maps = torch.from_numpy(np.array(attention.heatmaps))
        size = (maps.shape[2], maps.shape[1])
        similar = self._dift.similarity(_part(query, "dift", settings.dift()), target, progress)
        enlarged = similar.enlarged(size).to(maps)
        together = blend(maps, enlarged, settings.temperature)
        found = heatmaps.find_peak(together, settings.peak, grid=AttentionReader(self.model, own).grid).double().numpy()
        return dataclasses.replace(
            attention,
            points=scale_points(found, size, target.size),
            confidence=1 - heatmaps.second_peak(together, target.size).double().numpy(),
            heatmaps=together.numpy(),
            after_rounds=None,
            similarity=heatmaps.peak_value(enlarged).double().numpy(),
        )

    def layer_heatmaps(
        self, query: Query, image: ImageSource, *, progress: Progress | None = None
    ) -> Float[np.ndarray, "points layers height width"]:
        """Return each layer's own heat map of each point, of the attention alone: features have no layers.

        See :meth:`semcorr.PromptMatcher.layer_heatmaps`, also for arguments and errors.
        """
        ModelIdentity.of(self.model).check(query, METHOD)
        settings = AttentionDiftSettings.from_dict(query.settings)
        return self._prompt.layer_heatmaps(_part(query, "prompt", settings.prompt()), image, progress=progress)


def blend(
    attention: Float[Tensor, "points height width"],
    similarity: Float[Tensor, "points height width"],
    temperature: float,
) -> Float[Tensor, "points height width"]:
    """Return attention, as a part of its peak, times exp((similarity - its peak) / temperature).

    1 where both have their peak in the same pixel, less everywhere else.
    """
    part = attention / heatmaps.peak_value(attention)[:, None, None].clamp(min=1e-12)
    below = similarity - heatmaps.peak_value(similarity)[:, None, None]
    return part.clamp(min=_LEAST) * torch.exp(below / temperature)


def _part(query: Query, method: str, settings: PromptSettings | DiftSettings) -> Query:
    return dataclasses.replace(query, method=method, settings=settings.to_dict())
