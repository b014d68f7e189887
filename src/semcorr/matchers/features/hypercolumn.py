"""Hypercolumns: features of several blocks of a convolutional network, at several resolutions of the image.

After Hariharan et al., 2015, "Hypercolumns for Object Segmentation and Fine-grained Localization", and Min et al.,
2019, "Hyperpixel Flow", which match with them.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from semcorr.errors import SettingsError
from semcorr.imaging.geometry import PointsLike, Size, lattice, patch_grid, sample, scale_points
from semcorr.imaging.image import Image, ImageSource
from semcorr.matchers.examples import check_examples
from semcorr.matchers.features import geometric_prior
from semcorr.matchers.features.best_buddies import BuddyMatcher
from semcorr.matchers.features.matcher import FeatureMatcher
from semcorr.matchers.features.settings import BuddySettings, FeatureSettings
from semcorr.matchers.results import Query
from semcorr.models.cnn import ConvolutionalModel
from semcorr.models.memory import in_batches
from semcorr.models.names import BUNDLED_PHOTO_MODEL
from semcorr.progress import Progress
from semcorr.settings import override

S = TypeVar("S", bound="HypercolumnSettings")

_LITE0: dict[str, object] = {
    "layers": ("10@320", "10@512", "14@320", "14@512"),
    "peak": "gaussian",
    "window": 5,
    "temperature": 0.04,
    "prior": "affine",
    "turns": "auto",
    "enlarge": "auto",
}


_ENLARGED = ((0.25, 2.25), (0.38, 1.5))
"""The resolutions' factor for objects smaller than so much of the image's longer side."""
_FINER = 1.25
"""The grid's largest factor: what it takes in memory and time grows with its square, and gains less."""


def _as_published(resolution: int, grid: int, *blocks: int) -> dict[str, object]:
    return {"layers": tuple(f"{block}@{resolution}" for block in blocks), "grid": grid, "centred": False}


# Settings by family; the grid of published ones is that of the finest block. VGG: relu3_1, relu4_1 and relu5_1.
_FAMILIES: dict[str, dict[str, object]] = {
    "lite0": _LITE0,
    "vgg11": _as_published(224, 56, 2, 4, 6),
    "vgg13": _as_published(224, 56, 4, 6, 8),
    "vgg16": _as_published(224, 56, 4, 7, 10),
    "vgg19": _as_published(224, 56, 4, 8, 12),
    "resnet50": _as_published(300, 75, 2, 7, 11, 12, 13),
    "resnet101": _as_published(300, 75, 2, 17, 21, 22, 25, 26, 28),
    # For these none were published: the last blocks of the second and third stage.
    "resnet18": _as_published(300, 75, 4, 6),
    "resnet34": _as_published(300, 75, 7, 13),
    "resnet152": _as_published(300, 75, 11, 47),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HypercolumnSettings(FeatureSettings):
    """Hypercolumns: a convolutional network's features, of several blocks at several resolutions.

    Attributes:
        layers: What is read, each as "block@resolution": the block's number, from 0, and the side in pixels of the
            square that has as many pixels as the image is resized to, in its own proportions.
        grid: Cells along the longer side of the map that all layers are resampled to.
        centred: Whether the mean over the image is subtracted from every layer: what all of an image has in common
            tells no position from another.
        enlarge: What the finest resolution is multiplied by, and ``grid`` by up to 1.25; coarser ones are left out
            then. ``"auto"``: by the largest distance between the described points, the more the smaller the object is
            in its image; 1 for fewer than 3 points. A query's settings are those that resulted.
    """

    layers: tuple[Annotated[str, Field(pattern=r"^\d{1,3}@\d{1,5}$")], ...] = ("14@512",)
    grid: Annotated[int, Field(ge=2, le=1024)] = 64
    centred: bool = True
    enlarge: Literal["auto"] | Annotated[float, Field(ge=1, le=16, allow_inf_nan=False)] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers:
            raise SettingsError("Setting 'layers': expected at least one block@resolution, got none.")

    def suited_to(self: S, objects: Iterable[tuple[Float[np.ndarray, "points 2"], Size]]) -> S:
        """Return settings without ``enlarge``: what it does is in the layers and the grid.

        Args:
            objects: The points of each, and (width, height) of its image; the smallest counts.
        """
        factor = max((_factor(*one) for one in objects), default=1.0) if self.enlarge == "auto" else self.enlarge
        if factor == 1:
            return override(self, enlarge=1)
        finest = max(self.blocks())
        return override(
            self,
            layers=tuple(f"{block}@{round(finest * factor)}" for block in self.blocks()[finest]),
            grid=round(self.grid * min(factor, _FINER)),
            enlarge=1,
        )

    def blocks(self) -> dict[int, list[int]]:
        """Return the blocks that are read at each resolution."""
        result: dict[int, list[int]] = {}
        for layer in self.layers:
            block, resolution = map(int, layer.split("@"))
            result.setdefault(resolution, []).append(block)
        return result


def _factor(points: Float[np.ndarray, "points 2"], size: Size) -> float:
    """What resolutions are multiplied by for an object of some points in an image of ``size``."""
    if len(points) < 3:
        return 1.0
    share = geometric_prior.extent(torch.from_numpy(points / max(size)))
    return next((factor for below, factor in _ENLARGED if share < below), 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HypercolumnBuddySettings(BuddySettings, HypercolumnSettings):
    """Best buddies among hypercolumns: the settings of both."""


def photographs(family: str = "lite0") -> HypercolumnSettings:
    """Return the settings for photographs of a network's ``family``.

    "lite0": chosen here, on photographs. "resnet50" and "resnet101": the layers that Hyperpixel Flow (Min et al., 2019)
    has for PF-PASCAL and PF-WILLOW, by the README of its code, and its images of 300 pixels; it does not scale layers
    to length 1 before it joins them, and votes afterwards. "vgg19": the three coarsest of the five levels of neural
    best-buddies (Aberman et al., 2018), for images of 224 pixels; its smaller siblings have the same.
    """
    return override(HypercolumnSettings(), **_FAMILIES.get(family, _LITE0))


def buddies(family: str = "lite0") -> HypercolumnBuddySettings:
    """Return the same layers for best buddies among them.

    On a VGG, matches of relu5_1's cells are refined twice, with the radius of 2 cells that neural best-buddies
    (Aberman et al., 2018) has on these levels. That method compares each level by its own block, where here it is the
    mean of all three over a level's cell, and lets the two images' appearance converge from level to level, which is
    left out.
    """
    settings = HypercolumnBuddySettings(**{**vars(photographs(family)), "turns": 1, "enlarge": 1})
    return override(settings, levels=3, radius=2) if family.startswith("vgg") else settings


class HypercolumnMatcher(FeatureMatcher):
    """Nearest neighbours among a convolutional network's features.

    Args:
        model: The frozen network.
        settings: Complete settings; see :func:`photographs`. A number to enlarge by becomes layers and grid.

    Raises:
        LayerError: The network has no such block.
        SettingsError: A resolution is smaller than a cell.
    """

    method = "hypercolumn"
    settings_type = HypercolumnSettings
    presets = {"photographs": photographs}  # noqa: RUF012  # a constant
    network_type = ConvolutionalModel
    default_model = BUNDLED_PHOTO_MODEL

    def __init__(self, model: ConvolutionalModel, settings: HypercolumnSettings) -> None:
        super().__init__(model, settings if settings.enlarge == "auto" else settings.suited_to(()))
        for resolution, blocks in settings.blocks().items():
            model.check(blocks, resolution)

    @property
    def points_together(self) -> bool:
        """With a geometric prior, or a resolution that follows from all of them."""
        return super().points_together or self.settings.enlarge == "auto"

    def describe(
        self,
        image: "ImageSource | Sequence[ImageSource]",
        points: "PointsLike",
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """Describe points of an image at the resolution that suits their object; see :meth:`Matcher.describe`."""
        images, checked = check_examples(image, points)
        if self.settings.enlarge != "auto" or len(images) > 1:
            return super().describe(images, checked, names=names, progress=progress)
        settings = self.settings.suited_to([(checked[0], images[0].size)])
        return self.with_settings(settings).describe(images, checked, names=names, progress=progress)

    def features(
        self, image: Image, settings: HypercolumnSettings, progress: Progress | None = None
    ) -> Float[Tensor, "_dim _height _width"]:
        """Return the outputs of all blocks, each of length 1, one after the other, on the grid of the largest.

        Raises:
            OutOfMemoryError: A pass does not fit into memory.
        """
        pixels = image.tensor().to(self.model.device)
        passes = list(settings.blocks().items())
        outputs: list[Tensor] = []
        for _, results in in_batches(
            passes, 1, lambda part: self.model.block_outputs(pixels, part[0][1], part[0][0]), stage="features"
        ):
            outputs += results
            if progress is not None:
                progress("features", len(outputs), len(settings.layers))
        return hypercolumns(outputs, patch_grid(image.size, settings.grid, 1), centred=settings.centred)


class HypercolumnBuddyMatcher(BuddyMatcher, HypercolumnMatcher):
    """Best buddies among hypercolumns: with a VGG-19 the published method's features, and the paper's row VGG+MLS."""

    method = "nbb-hypercolumn"
    settings_type = HypercolumnBuddySettings
    presets = {"photographs": buddies}  # noqa: RUF012  # a constant


def hypercolumns(
    outputs: list[Float[Tensor, "_channels _rows _columns"]], grid: Size, *, centred: bool
) -> Float[Tensor, "dim {grid[1]} {grid[0]}"]:
    """Return features of the same image as one map: each output of length 1, resampled to ``grid`` (columns, rows)."""
    return torch.cat([_on_grid(output, grid, centred) for output in outputs])


def _on_grid(
    features: Float[Tensor, "channels rows columns"], grid: Size, centred: bool
) -> Float[Tensor, "channels {grid[1]} {grid[0]}"]:
    if centred:
        features = features - features.mean(dim=(1, 2), keepdim=True)
    centres = torch.from_numpy(lattice(grid, 1)).to(features)
    return F.normalize(sample(features, scale_points(centres, grid, (features.shape[2], features.shape[1]))), dim=0)
