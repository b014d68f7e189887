"""The frozen vision transformer whose features the matchers read."""

from functools import partial
from pathlib import Path
from typing import ClassVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import LayerError, SettingsError, suggest
from semcorr.imaging.geometry import patch_grid, resize
from semcorr.models import finite
from semcorr.models.device import Device, DType, find_device, find_dtype
from semcorr.models.dino.layers import Facet, blocks_of, ending_at
from semcorr.models.dino.load_folder import TRANSFORMER, VisionCheckpoint, load_folder
from semcorr.models.network_folder import find_network
from semcorr.progress import Progress


class VisionModel:
    """A frozen vision transformer whose features can be read after any of its blocks.

    Attributes:
        model_id: The hub id or path that it was loaded from.
        revision: The hub commit, or None.
        fingerprint: A hash of configuration and weights that identifies the model.
        family: "vit" (DINO's first version), "dinov2", "dinov2_with_registers" or "dinov3_vit".
        patch: Side of a patch in pixels.
        resolution: Side in pixels of the square images of the checkpoint's own configuration.
        depth: Number of blocks.
        dim, heads: Width of a token, and the number of attention heads that share it.
        network: The object of transformers, whole and never changed.
    """

    half_precision: ClassVar[bool] = True
    """Half precision is faster where the device has instructions for it."""

    def __init__(self, checkpoint: VisionCheckpoint, device: torch.device | str = "cpu") -> None:
        """Wrap a loaded checkpoint; :meth:`from_pretrained` is the usual way in."""
        self.device = torch.device(device)
        self.network = checkpoint.network.to(self.device)
        self.model_id = checkpoint.model_id
        self.revision = checkpoint.revision
        self.fingerprint = checkpoint.fingerprint
        self.family = checkpoint.kind
        self.patch = checkpoint.patch
        self.resolution = checkpoint.resolution
        self.depth = len(blocks_of(self.network))
        self.dim: int = self.network.config.hidden_size
        self.heads: int = self.network.config.num_attention_heads
        self.dtype: torch.dtype = self.network.dtype
        self._mean = torch.tensor(checkpoint.mean)[:, None, None]
        self._std = torch.tensor(checkpoint.std)[:, None, None]
        # The class token, and the registers of the kinds that have them, come before the patches.
        self._prefix_tokens: int = 1 + getattr(self.network.config, "num_register_tokens", 0)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        revision: str | None = None,
        variant: str | None = None,
        dtype: DType = "float32",
        device: Device = "auto",
        local_files_only: bool = False,
        progress: Progress | None = None,
    ) -> "VisionModel":
        """Load a checkpoint of DINO, DINOv2 (with registers or without) or DINOv3, frozen.

        Args:
            model: A folder as transformers saves it, or a hub id such as "facebook/dinov2-base"; a folder takes
                precedence over a hub id of the same name. Only safetensors are read, never pickles.
            revision: Branch, tag or commit of a hub id.
            variant: Variant of the files, such as "bf16"; the same as ``model`` followed by a colon and the variant.
            dtype: Precision of the weights and of the forward pass; results are float32.
            device: "auto" takes cuda, then mps, then cpu.
            local_files_only: Use only files on this machine.
            progress: Called with ("download", bytes done, bytes in all, file=name) while files are downloaded.

        Raises:
            ModelError: The checkpoint is unknown, cannot be had, is damaged, or is of another kind.
        """
        precision = find_dtype(dtype)
        folder = find_network(
            model,
            TRANSFORMER,
            revision=revision,
            variant=variant,
            local_files_only=local_files_only,
            progress=progress,
        )
        return cls(load_folder(folder, precision), find_device(device))

    @torch.no_grad()
    def features(
        self,
        image: Float[Tensor, "3 height width"],
        *,
        layer: int = -1,
        facet: Facet = "token",
        resolution: int | None = None,
        norm: bool = True,
    ) -> Float[Tensor, "dim rows columns"]:
        """Return one feature vector per patch of an RGB image in [0, 1], float32 on the model's device. No gradient.

        The map covers the whole image, edge to edge: :func:`semcorr.imaging.geometry.scale_points` carries a point of
        the image into it. Only blocks up to ``layer`` are run.

        Args:
            image: An image of any size.
            layer: Index of a block, from 0, or from the end with -1 for the last.
            facet: "token" is the output of the block; "key", "query" and "value" are the projections in its attention,
                all heads concatenated. DINOv3 rotates keys and queries by their position afterwards; these are not
                rotated.
            resolution: Pixels of the longer side after resizing, with each side rounded to the nearest whole number of
                patches; None takes the checkpoint's own.
            norm: Apply the network's final norm to the last block's tokens, as in the published features of DINOv2.
                It is never applied to other blocks and facets.

        Raises:
            LayerError: There is no such block.
            SettingsError: There is no such facet, or the resolution is smaller than a patch.
            NumericsError: A feature is NaN or infinite.
        """
        self.check(layer, facet, resolution)
        pixels, (columns, rows) = self._prepare(image, self.resolution if resolution is None else resolution)
        network = ending_at(self.network, layer % self.depth, facet, norm=norm)
        # The others interpolate their position embeddings by default, or have rotary ones.
        options = {"interpolate_pos_encoding": True} if self.family == "vit" else {}
        run = partial(network, pixels, **options)
        tokens: Tensor = run().last_hidden_state
        finite.check([tokens], f"The network of {self.model_id!r}", network, run, {"an image": pixels})
        return tokens[0, self._prefix_tokens :].float().unflatten(0, (rows, columns)).movedim(-1, 0)

    def check(self, layer: int, facet: str, resolution: int | None) -> None:
        """Check the options of :meth:`features` before there is an image.

        Raises:
            LayerError, SettingsError: As in :meth:`features`.
        """
        if facet not in get_args(Facet):
            raise SettingsError(
                f"Unknown facet {facet!r}.{suggest(facet, get_args(Facet))} "
                f"Expected one of {', '.join(get_args(Facet))}."
            )
        if resolution is not None and resolution < self.patch:
            raise SettingsError(
                f"A resolution of {resolution} pixels is too small: {self.model_id} divides images into patches of "
                f"{self.patch} x {self.patch}. Expected at least {self.patch}; the checkpoint's own is "
                f"{self.resolution}."
            )
        if not -self.depth <= layer < self.depth:
            raise LayerError(
                f"{self.model_id} has {self.depth} blocks: expected a layer from 0 to {self.depth - 1}, or from "
                f"{-self.depth} to -1 counted from the end, got {layer}."
            )

    def _prepare(
        self, image: Float[Tensor, "3 height width"], resolution: int
    ) -> tuple[Float[Tensor, "1 3 _ _"], tuple[int, int]]:
        """Resize and normalise an image; also return its number of patches (columns, rows)."""
        columns, rows = patch_grid((image.shape[2], image.shape[1]), resolution, self.patch)
        resized = resize(image.to(torch.float32), (columns * self.patch, rows * self.patch))
        normal = (resized - self._mean.to(resized.device)) / self._std.to(resized.device)
        return normal[None].to(self.device, self.dtype), (columns, rows)
