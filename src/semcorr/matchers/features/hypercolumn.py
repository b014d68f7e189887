"""Hypercolumns: features of several blocks of a convolutional network, at several resolutions of the image.

After Hariharan et al., 2015, "Hypercolumns for Object Segmentation and Fine-grained Localization", and Min et al.,
2019, "Hyperpixel Flow", which match with them.
"""

import dataclasses
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from semcorr.errors import SettingsError
from semcorr.imaging.geometry import Size, lattice, patch_grid, sample, scale_points
from semcorr.imaging.image import Image
from semcorr.matchers.features.best_buddies import BuddyMatcher
from semcorr.matchers.features.matcher import FeatureMatcher
from semcorr.matchers.features.settings import BuddySettings, FeatureSettings
from semcorr.models.cnn import BlockOutput, ConvolutionalModel
from semcorr.models.memory import in_batches
from semcorr.models.names import BUNDLED_PHOTO_MODEL
from semcorr.progress import Progress
from semcorr.settings import override

_LITE0 = {
    "layers": ("10@320", "10@512", "14@320", "14@512"),
    "peak": "gaussian",
    "window": 5,
    "temperature": 0.04,
    "prior": "affine",
    "prior_weight": 0.7,
}
_FAMILIES = {"lite0": _LITE0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HypercolumnSettings(FeatureSettings):
    """Hypercolumns: a convolutional network's features, of several blocks at several resolutions.

    Attributes:
        layers: What is read, each as "block@resolution": the block's number, from 0, and the image's longer side in
            pixels, in its own proportions.
        grid: Cells along the longer side of the map that all layers are resampled to.
        centred: Whether the mean over the image is subtracted from every layer: what all of an image has in common
            tells no position from another.
    """

    layers: tuple[Annotated[str, Field(pattern=r"^\d{1,3}@\d{1,5}$")], ...] = ("14@512",)
    grid: Annotated[int, Field(ge=2, le=1024)] = 64
    centred: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layers:
            raise SettingsError("Setting 'layers': expected at least one block@resolution, got none.")

    def blocks(self) -> dict[int, list[int]]:
        """Return the blocks that are read at each resolution."""
        result: dict[int, list[int]] = {}
        for layer in self.layers:
            block, resolution = map(int, layer.split("@"))
            result.setdefault(resolution, []).append(block)
        return result


@dataclasses.dataclass(frozen=True, kw_only=True)
class HypercolumnBuddySettings(BuddySettings, HypercolumnSettings):
    """Best buddies among hypercolumns: the settings of both."""


def photographs(family: str = "lite0") -> HypercolumnSettings:
    """The settings that were chosen on photographs for a network's ``family``."""
    return override(HypercolumnSettings(), **_FAMILIES.get(family, _LITE0))


class HypercolumnMatcher(FeatureMatcher):
    """Nearest neighbours among a convolutional network's features.

    Args:
        model: The frozen network.
        settings: Complete settings; see :func:`photographs`.

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
        super().__init__(model, settings)
        for resolution, blocks in settings.blocks().items():
            model.check(blocks, resolution)

    def features(
        self, image: Image, settings: HypercolumnSettings, progress: Progress | None = None
    ) -> Float[Tensor, "_dim _height _width"]:
        """Return the outputs of all blocks, each of length 1, one after the other, on the grid of the largest.

        Raises:
            OutOfMemoryError: A pass does not fit into memory.
        """
        pixels = image.tensor().to(self.model.device)
        passes = list(settings.blocks().items())
        outputs: list[BlockOutput] = []
        for _, results in in_batches(
            passes, 1, lambda part: self.model.block_outputs(pixels, part[0][1], part[0][0]), stage="features"
        ):
            outputs += results
            if progress is not None:
                progress("features", len(outputs), len(settings.layers))
        return hypercolumns(outputs, patch_grid(image.size, settings.grid, 1), centred=settings.centred)


class HypercolumnBuddyMatcher(BuddyMatcher, HypercolumnMatcher):
    """Best buddies among hypercolumns, as they were published for VGG-19."""

    method = "nbb-hypercolumn"
    settings_type = HypercolumnBuddySettings


def hypercolumns(outputs: list[BlockOutput], grid: Size, *, centred: bool) -> Float[Tensor, "dim {grid[1]} {grid[0]}"]:
    """Return features of the same image as one map: each output of length 1, resampled to ``grid`` (columns, rows)."""
    return torch.cat([_on_grid(output, grid, centred) for output in outputs])


def _on_grid(output: BlockOutput, grid: Size, centred: bool) -> Float[Tensor, "channels {grid[1]} {grid[0]}"]:
    features = output.features
    if centred:
        features = features - features.mean(dim=(1, 2), keepdim=True)
    centres = scale_points(torch.from_numpy(lattice(grid, 1)).to(features), grid, (1, 1))
    return F.normalize(sample(features, output.positions(centres)), dim=0)
