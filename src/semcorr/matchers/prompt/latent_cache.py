"""Latents of crops on disk: a crop that one run has encoded is not encoded again by another."""

import hashlib
import os
import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from semcorr.errors import SettingsError
from semcorr.imaging.geometry import Crop
from semcorr.models.diffusion import DiffusionModel
from semcorr.storage.files import write_atomically

_VERSION = 1
"""Version of the files, and of how a crop's pixels are computed from an image."""


class LatentCache:
    """A folder of latents, which any number of images, models and processes may share.

    A damaged file is ignored. When a file cannot be written (a full disk, a read-only folder), a ``RuntimeWarning``
    says so once, no more are written, and work continues. The folder, or any part of it, may be deleted at any time.

    Attributes:
        folder: The folder; it is made if necessary.
        problem: Why nothing more is written, or None.

    Raises:
        SettingsError: The folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.problem: str | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"latents_cache: expected a folder, and {str(self.folder)!r} cannot be made: "
                f"{error.strerror or error}. Name another."
            ) from error

    def of(self, model: DiffusionModel, image_sha256: str, resolution: int) -> "CachedLatents":
        """Return the cache of one image's crops, squashed to ``resolution``, for one model as it runs here."""
        weight = next(model.vae.parameters())
        # Other kinds of device and other versions of torch round differently.
        parts = (_VERSION, torch.__version__, weight.device.type, weight.dtype, model.fingerprint, resolution)
        key = hashlib.sha256("|".join(map(str, (*parts, image_sha256))).encode()).hexdigest()
        side = resolution // model.vae_factor
        return CachedLatents(self, self.folder / key[:2] / key, (model.vae.config.latent_channels, side, side))

    def write(self, path: Path, data: bytes) -> None:
        """Write a file below the folder, unless one could not be written before."""
        if self.problem is not None:
            return
        try:
            write_atomically(path, data)
        except OSError as error:
            # Not an error: all that is lost is time.
            self.problem = f"{str(path)!r} cannot be written: {error.strerror or error}"
            warnings.warn(f"No more latents are kept: {self.problem}.", RuntimeWarning, stacklevel=2)


class CachedLatents:
    """The latents of one image for one model: a file for each crop."""

    def __init__(self, cache: LatentCache, folder: Path, shape: tuple[int, int, int]) -> None:
        self._cache, self._folder, self._shape = cache, folder, shape

    def get(self, crop: Crop) -> Float[Tensor, "channels height width"] | None:
        """Return a crop's latent, equal to the last bit, on the CPU; None if there is none or it is damaged."""
        try:
            with safe_open(self._path(crop), framework="pt") as file:
                # The header first: the shape in it decides how much memory reading takes.
                if tuple(file.get_slice("latent").get_shape()) != self._shape:
                    return None
                latent, check = file.get_tensor("latent").clone(), (file.metadata() or {}).get("check")
        except (OSError, SafetensorError):
            return None
        return latent if latent.dtype == torch.float32 and check == _check(latent) else None

    def put(self, crop: Crop, latent: Float[Tensor, "channels height width"]) -> None:
        """Write a crop's latent, if possible."""
        latent = latent.cpu().contiguous()
        self._cache.write(self._path(crop), to_safetensors({"latent": latent}, metadata={"check": _check(latent)}))

    def _path(self, crop: Crop) -> Path:
        return self._folder / f"{crop.left}-{crop.top}-{crop.width}-{crop.height}.safetensors"


def _check(latent: Tensor) -> str:
    """Return a hash of a tensor: a file may be complete and yet hold other bytes than were written."""
    digest = hashlib.sha256(f"{latent.dtype} {tuple(latent.shape)}".encode())
    digest.update(latent.contiguous().numpy().tobytes())
    return digest.hexdigest()
