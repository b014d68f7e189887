"""The paper's heat map times the similarity of DIFT's features: high where attention and appearance agree.

Attention marks the object's part and its middle; features compare appearance. They fail on different points: the
product is nearly as sharp as attention, and its peak is seldom where only one of the two is high.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import scale_points
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.base import Capabilities, NetworkMatcher, Tensors
from semcorr.matchers.features.dift import DiftMatcher, published
from semcorr.matchers.features.dift_settings import DiftSettings
from semcorr.matchers.prompt import PromptMatcher, PromptSettings
from semcorr.matchers.prompt import preset as prompt_preset
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.results import Matches, Query
from semcorr.models.diffusion import DiffusionModel
from semcorr.progress import Progress, part_of

_DIFT = "dift_"
_LEAST = 1e-6
"""Attention below this part of its peak counts as this much: a logarithm must not rule everything else out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionDiftSettings(PromptSettings):
    """The prompt method's settings, DIFT's with ``dift_`` before their names, and how the two are put together.

    Attributes:
        temperature: The heat map is attention, as a part of its peak, times exp(cosine / temperature). High, attention
            alone decides; low, the features do.
        dift_block: As :class:`semcorr.matchers.features.DiftSettings` has it, and so the others.
        dift_tap: What is read instead of a block.
        dift_adaptive_norm: Whether of a transformer's block the adaptive layer norm of its input is read.
        dift_discard: Channels that are left out.
        dift_t: The time step.
        dift_samples: Noise samples whose features are averaged.
        dift_noise: Which noise.
        dift_prompt: The prompt that the network is given.
        dift_resolution: Side of the square.
    """

    added = PromptSettings.added | {f"{_DIFT}{name}" for name in DiftSettings.added}

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.2
    dift_block: Annotated[int, Field(ge=0)] = 1
    dift_tap: str | None = None
    dift_adaptive_norm: bool = False
    dift_discard: Literal["none", "massive"] | tuple[Annotated[int, Field(ge=0)], ...] = "none"
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
        SettingsError: No such preset.
    """
    dift = {f"{_DIFT}{key}": value for key, value in vars(published(family)).items()}
    own = {field.name for field in dataclasses.fields(AttentionDiftSettings)}
    own_dift = {key: value for key, value in dift.items() if key in own}
    return AttentionDiftSettings(**vars(prompt_preset(preset, family)), **own_dift)


class AttentionDiftMatcher(NetworkMatcher):
    """Attention and features of one diffusion network together.

    Args:
        model: The frozen network.
        settings: Complete settings; see :func:`settings_of`.
        memory_budget: As for :class:`semcorr.PromptMatcher`.

    Raises:
        LayerError, SettingsError: As :class:`semcorr.PromptMatcher` and
            :class:`semcorr.matchers.features.DiftMatcher`.
    """

    method = "attention-dift"
    settings_type = AttentionDiftSettings
    presets = {name: partial(settings_of, name) for name in ("fast", "paper", "reference")}  # noqa: RUF012  # a constant
    network_type = DiffusionModel
    capabilities = Capabilities(optimizes=True, examples=True, layer_heatmaps=True)

    def __init__(
        self, model: DiffusionModel, settings: AttentionDiftSettings, *, memory_budget: int | None = None
    ) -> None:
        super().__init__(model, settings)
        self._prompt = PromptMatcher(model, settings.prompt(), memory_budget=memory_budget)
        self._dift = DiftMatcher(model, settings.dift())

    def with_settings(self, settings: AttentionDiftSettings) -> "AttentionDiftMatcher":
        """Return the same method on the same network with other settings."""
        return AttentionDiftMatcher(self.model, settings, memory_budget=self._prompt.memory_budget)

    def _describe(
        self, image: Image, points: Float[np.ndarray, "points 2"], progress: Progress | None
    ) -> tuple[Tensors, Tensors]:
        return self._describe_examples([image], points[None], progress)

    def _describe_examples(
        self, images: Sequence[Image], points: Float[np.ndarray, "examples points 2"], progress: Progress | None
    ) -> tuple[Tensors, Tensors]:
        """Describe by embeddings that are optimized over all images, and the mean of the points' unit features."""
        embeddings, _ = self._prompt._describe_examples(images, points, progress)
        return {**embeddings, "vectors": self._mean_vectors(images, points, progress)}, {}

    def _mean_vectors(
        self, images: Sequence[Image], points: Float[np.ndarray, "examples points 2"], progress: Progress | None
    ) -> Float[np.ndarray, "points dim"]:
        vectors = []
        for number, (image, own) in enumerate(zip(images, points, strict=True)):
            # A point that an image does not show is described anywhere in it, and left out of the mean.
            somewhere = np.nan_to_num(own)
            described, _ = self._dift._describe(image, somewhere, part_of(progress, "features", number, len(images)))
            vectors.append(described["vectors"])
        if len(vectors) == 1:
            return vectors[0]
        units = [one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12) for one in vectors]
        return np.stack(units).mean(axis=0, where=~np.isnan(points[..., :1]))

    def _locate(
        self,
        query: Query,
        target: Image,
        settings: AttentionDiftSettings,
        *,
        trace: bool = False,
        progress: Progress | None = None,
    ) -> Matches:
        """Find the points in the product of attention and similarity.

        Rounds, layers and crops are the attention's alone, in whose finest cells the peak is refined. The confidence is
        how much lower the heat map is everywhere but around its peak: a second position that looks and attends nearly
        as well lowers it. The similarity is the features'.
        """
        own = settings.prompt()
        attention = self._prompt._locate(query, target, own, trace=trace, progress=progress)
        maps = torch.from_numpy(np.array(attention.heatmaps))
        size = (maps.shape[2], maps.shape[1])
        enlarged = self._dift.similarity(query, target, settings.dift(), progress).enlarged(size).to(maps)
        product = blend(maps, enlarged, settings.temperature)
        peaks = heatmaps.find_peak(product, settings.peak, grid=AttentionReader(self.model, own).grid).double().numpy()
        # Points after fewer rounds would be the attention's, not the product's.
        assert attention.diagnostics is not None  # noqa: S101  # the prompt method has some
        return dataclasses.replace(
            attention,
            points=scale_points(peaks, size, target.size),
            confidence=1 - heatmaps.second_peak(product, target.size).double().numpy(),
            heatmaps=product.numpy(),
            diagnostics=dataclasses.replace(attention.diagnostics, after_rounds=None),
            similarity=heatmaps.peak_value(enlarged).double().numpy(),
        )

    def layer_heatmaps(
        self, query: Query, image: "ImageSource", *, progress: Progress | None = None
    ) -> Float[np.ndarray, "points layers height width"]:
        """Return each layer's heat map of each point, of the attention alone: features have no layers.

        See :meth:`semcorr.PromptMatcher.layer_heatmaps`.
        """
        settings = self.settings_of(query)
        return self._prompt._layer_heatmaps(query, load_image(image), settings.prompt(), progress)


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
