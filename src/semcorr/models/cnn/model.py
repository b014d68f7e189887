"""The frozen convolutional network whose block outputs the matchers read."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils import convert_conv2d_weight_memory_format

from semcorr.errors import LayerError, ModelError, SettingsError
from semcorr.imaging.geometry import patch_grid, resize
from semcorr.models import finite
from semcorr.models.cnn.checkpoint import ConvolutionalCheckpoint
from semcorr.models.cnn.published_lite0 import load_lite0
from semcorr.models.device import Device, DType, find_device, find_dtype
from semcorr.models.names import BUNDLED_PHOTO_MODEL, split_variant, with_variant
from semcorr.progress import Progress


class ConvolutionalModel:
    """A frozen convolutional network of which the outputs of all blocks can be read.

    Attributes:
        model_id: The hub id, folder or bundled name that it was loaded from.
        revision: The hub commit, or None.
        fingerprint: A hash of the weights that identifies the model.
        family: "lite0", or "vgg" or "resnet" with the number of layers, such as "vgg19" and "resnet50".
        depth: Number of blocks; :mod:`semcorr.models.cnn.lite0`, ``vgg`` and ``resnet`` have them in tables.
        network: The network, whole and never changed.
    """

    half_precision: ClassVar[bool] = True
    """Half precision is faster where the device has instructions for it."""

    def __init__(self, checkpoint: ConvolutionalCheckpoint, device: torch.device | str = "cpu") -> None:
        """Wrap a loaded checkpoint; :meth:`from_pretrained` is the usual way in."""
        self.device = torch.device(device)
        # Depthwise convolutions run in half the time so.
        self.network = convert_conv2d_weight_memory_format(checkpoint.network.to(self.device), torch.channels_last)
        self.model_id, self.revision = checkpoint.model_id, checkpoint.revision
        self.fingerprint, self.family = checkpoint.fingerprint, checkpoint.family
        self.depth = len(self.network.strides)
        self.dtype: torch.dtype = next(self.network.parameters()).dtype
        self._mean = torch.tensor(checkpoint.mean)[:, None, None]
        self._std = torch.tensor(checkpoint.std)[:, None, None]

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = BUNDLED_PHOTO_MODEL,
        *,
        revision: str | None = None,
        variant: str | None = None,
        dtype: DType = "float32",
        device: Device = "auto",
        local_files_only: bool = False,
        progress: Progress | None = None,
    ) -> "ConvolutionalModel":
        """Load a network, frozen.

        Args:
            model: "lite0" (EfficientNet-Lite0), which is installed with the package; or a VGG or ResNet: a folder as
                timm or (ResNet) transformers saves it, or a hub id such as "timm/vgg19.tv_in1k"; a folder takes
                precedence over a hub id of the same name. Only safetensors are read, never pickles.
            revision: Branch, tag or commit of a hub id.
            variant: Variant of the files, such as "fp16"; the same as ``model`` followed by a colon and the variant.
            dtype: Precision of the weights and of the forward pass; results are float32.
            device: "auto" takes cuda, then mps, then cpu.
            local_files_only: Use only files on this machine.
            progress: Called with ("download", bytes done, bytes in all, file=name) while files are downloaded.

        Raises:
            ModelError: The network is unknown, cannot be had, is damaged, or is of another kind.
        """
        name, named = split_variant(str(with_variant(model, variant)))
        precision = find_dtype(dtype)
        if isinstance(model, str) and name == BUNDLED_PHOTO_MODEL:
            if revision is not None or named is not None:
                raise ModelError(f"{name!r} is bundled: it has no revisions and variants, got {revision or named!r}.")
            return cls(load_lite0(precision), find_device(device))
        from semcorr.models.cnn.load_folder import CONVOLUTIONAL, load_folder
        from semcorr.models.network_folder import find_network

        folder = find_network(
            model,
            CONVOLUTIONAL,
            revision=revision,
            variant=variant,
            local_files_only=local_files_only,
            progress=progress,
        )
        return cls(load_folder(folder, precision), find_device(device))

    @torch.inference_mode()
    def block_outputs(
        self, image: Float[Tensor, "3 height width"], blocks: Sequence[int], resolution: int
    ) -> list[Float[Tensor, "_channels _rows _columns"]]:
        """Return what some blocks put out for an RGB image in [0, 1], float32 on the model's device.

        The maps cover the whole image, edge to edge: :func:`semcorr.imaging.geometry.scale_points` carries a point of
        the image into them. Blocks after the last one asked for are not run.

        Args:
            image: An image of any size.
            blocks: Numbers of blocks, from 0.
            resolution: The side of the square that has as many pixels as the image is resized to, in its own
                proportions, with each side rounded to the nearest multiple of the largest stride.

        Raises:
            LayerError: There is no such block.
            SettingsError: The resolution is smaller than the largest stride.
            NumericsError: An output is NaN or infinite.
        """
        self.check(blocks, resolution)
        pixels = self._prepare(image, resolution)
        run = partial(self.network.outputs, pixels, blocks)
        maps = run()
        finite.check(maps, f"The network of {self.model_id!r}", self.network, run, {"an image": pixels})
        return [features[0].float() for features in maps]

    def check(self, blocks: Sequence[int], resolution: int) -> None:
        """Check the options of :meth:`block_outputs` before there is an image.

        Raises:
            LayerError, SettingsError: As in :meth:`block_outputs`.
        """
        unknown = [block for block in blocks if not 0 <= block < self.depth]
        if unknown:
            raise LayerError(f"{self.model_id} has {self.depth} blocks, 0 to {self.depth - 1}: got {unknown[0]}.")
        coarsest = max(self.network.strides)
        if resolution < coarsest:
            raise SettingsError(
                f"A resolution of {resolution} pixels is too small: {self.model_id} reduces images {coarsest} times. "
                f"Expected at least {coarsest}."
            )

    def _prepare(self, image: Float[Tensor, "3 height width"], resolution: int) -> Float[Tensor, "1 3 _ _"]:
        coarsest = max(self.network.strides)
        height, width = image.shape[1:]
        longer = resolution * math.sqrt(max(height, width) / min(height, width))
        columns, rows = patch_grid((width, height), round(longer), coarsest)
        resized = resize(image.to(torch.float32), (columns * coarsest, rows * coarsest))
        normal = (resized - self._mean.to(resized.device)) / self._std.to(resized.device)
        return normal[None].to(self.device, self.dtype, memory_format=torch.channels_last)
