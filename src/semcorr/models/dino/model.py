"""The frozen vision transformer as feature methods see it."""

from functools import partial
from pathlib import Path
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import LayerError, ModelError, SettingsError, suggest
from semcorr.imaging.geometry import patch_grid, resize
from semcorr.models import finite, hub
from semcorr.models.device import Device, DType, find_device, find_dtype
from semcorr.models.dino.layers import Facet, blocks_of, ending_at
from semcorr.models.dino.load_folder import EXPECTED, VisionCheckpoint, load_folder, needed
from semcorr.models.names import is_hub_id, is_path_like, split_variant, with_variant
from semcorr.models.weights import PICKLED
from semcorr.progress import Progress
from semcorr.storage.files import exists


class VisionModel:
    """A frozen vision transformer whose features can be read after any of its blocks.

    Attributes:
        model_id: what it was loaded by: a hub id or a path.
        revision: the hub commit, or None.
        fingerprint: a hash of configuration and weights, to tell models apart.
        kind: "vit" (DINO's first version), "dinov2", "dinov2_with_registers" or "dinov3_vit".
        patch: side of a patch in pixels.
        resolution: side, in pixels, of the square images that the checkpoint names as its own.
        depth: number of blocks.
        dim, heads: width of a token, and into how many heads attention divides it.
        network: transformers' own object, whole and never changed.
    """

    def __init__(self, checkpoint: VisionCheckpoint, device: torch.device | str = "cpu") -> None:
        """Wrap a loaded checkpoint; :meth:`from_pretrained` is the usual way in."""
        self.device = torch.device(device)
        self.network = checkpoint.network.to(self.device)
        self.model_id = checkpoint.model_id
        self.revision = checkpoint.revision
        self.fingerprint = checkpoint.fingerprint
        self.kind = checkpoint.kind
        self.patch = checkpoint.patch
        self.resolution = checkpoint.resolution
        self.depth = len(blocks_of(self.network))
        self.dim: int = self.network.config.hidden_size
        self.heads: int = self.network.config.num_attention_heads
        self.dtype: torch.dtype = self.network.dtype
        self._mean = torch.tensor(checkpoint.mean)[:, None, None]
        self._std = torch.tensor(checkpoint.std)[:, None, None]
        # The class token, and the registers of the kinds that have them, come before the patches.
        self._others: int = 1 + getattr(self.network.config, "num_register_tokens", 0)

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
            model: a folder as transformers saves it, or a hub id such as "facebook/dinov2-base"; a folder goes before
                a hub id of the same name. Only safetensors are read, never pickles.
            revision: branch, tag or commit of a hub id.
            variant: of the files, such as "bf16"; the same as ``model`` with a colon and the variant after it.
            dtype: precision of the weights and of the pass through the network; what is returned is float32.
            device: "auto" takes cuda, then mps, then cpu.
            local_files_only: use nothing but what is on this machine.
            progress: told ("download", bytes done, bytes in all, file=name) while files come from the hub.

        Raises:
            ModelError: the checkpoint is unknown, not here and not to be had, broken, or of another kind.
        """
        full, precision = str(with_variant(model, variant)), find_dtype(dtype)
        name, variant = split_variant(full)
        path = Path(name).expanduser()
        if exists(path):
            _check_folder(path, name, revision)
            checkpoint = load_folder(path, full, dtype=precision, variant=variant)
        elif isinstance(model, Path) or is_path_like(name):
            raise ModelError(f"There is no model at {name!r}: no such folder.\n{EXPECTED}")
        elif not is_hub_id(name):
            raise ModelError(f"Unknown vision model {name!r}.\n{EXPECTED}")
        else:
            wanted = needed(variant)
            folder = hub.fetch(name, wanted, revision=revision, local_files_only=local_files_only, progress=progress)
            checkpoint = load_folder(folder, full, revision=folder.name, dtype=precision, variant=variant)
        return cls(checkpoint, find_device(device))

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
        """Return one vector a patch of an RGB image in [0, 1], in float32 on the model's device. No gradient.

        The map covers the whole image, edge to edge: a point of the image is carried into it by
        :func:`semcorr.imaging.geometry.scale_points`. Only blocks up to ``layer`` are run.

        Args:
            image: of any size.
            layer: a block, counted from 0, or from the end with -1 for the last.
            facet: "token" is what the block puts out; "key", "query" and "value" are the projections in its attention,
                all heads side by side. DINOv3 rotates keys and queries by their position afterwards; here they are not.
            resolution: the image is resized in its proportions until its longer side has so many pixels, and then each
                side to the nearest whole number of patches; None takes the checkpoint's own.
            norm: put the last block's tokens through the network's final norm, as the published features of DINOv2
                are. Other blocks and facets never are.

        Raises:
            LayerError: there is no such block.
            SettingsError: no such facet, or a resolution smaller than a patch.
            NumericsError: a number of the block's is not finite.
        """
        self.check(layer, facet, resolution)
        pixels, (columns, rows) = self._prepare(image, self.resolution if resolution is None else resolution)
        network = ending_at(self.network, layer % self.depth, facet, norm=norm)
        # The others bring their positions to the image's size unasked, or have none that are learned.
        asked = {"interpolate_pos_encoding": True} if self.kind == "vit" else {}
        run = partial(network, pixels, **asked)
        tokens: Tensor = run().last_hidden_state
        finite.check([tokens], f"The network of {self.model_id!r}", network, run, {"a picture": pixels})
        return tokens[0, self._others :].float().unflatten(0, (rows, columns)).movedim(-1, 0)

    def check(self, layer: int, facet: str, resolution: int | None) -> None:
        """Insist on what :meth:`features` takes, before there is an image.

        Raises:
            LayerError, SettingsError: as :meth:`features`.
        """
        if facet not in get_args(Facet):
            raise SettingsError(
                f"Unknown facet {facet!r}.{suggest(facet, get_args(Facet))} "
                f"Expected one of {', '.join(get_args(Facet))}."
            )
        if resolution is not None and resolution < self.patch:
            raise SettingsError(
                f"A resolution of {resolution} pixels is too small: {self.model_id} looks at patches of {self.patch} x "
                f"{self.patch}. Expected at least {self.patch}; the checkpoint's own is {self.resolution}."
            )
        if not -self.depth <= layer < self.depth:
            raise LayerError(
                f"{self.model_id} has {self.depth} blocks: expected a layer from 0 to {self.depth - 1}, or from "
                f"{-self.depth} to -1 counted from the end, got {layer}."
            )

    def _prepare(
        self, image: Float[Tensor, "3 height width"], resolution: int
    ) -> tuple[Float[Tensor, "1 3 _ _"], tuple[int, int]]:
        """Resize and normalise an image; also return how many (columns, rows) of patches it has."""
        columns, rows = patch_grid((image.shape[2], image.shape[1]), resolution, self.patch)
        resized = resize(image.to(torch.float32), (columns * self.patch, rows * self.patch))
        normal = (resized - self._mean.to(resized.device)) / self._std.to(resized.device)
        return normal[None].to(self.device, self.dtype), (columns, rows)


def _check_folder(path: Path, name: str, revision: str | None) -> None:
    if revision is not None:
        raise ModelError(f"{name} is on this machine and has no revision {revision!r}: only hub ids take a revision.")
    if path.is_dir():
        return
    if path.suffix.lower() in PICKLED:
        raise ModelError(
            f"{name} is a pickle, which can run any code when it is read; only safetensors are. "
            "Use a folder with the model's config.json and model.safetensors."
        )
    raise ModelError(
        f"{name} is a file: weights alone do not tell how the network is built. Pass the folder that holds "
        "config.json and model.safetensors."
    )
