"""Load a checkpoint by its name: a bundled model, a folder, a file or a hub id."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path

import torch

from semcorr.errors import ModelError, suggest
from semcorr.models import hub
from semcorr.models.diffusion.checkpoint import Checkpoint
from semcorr.models.diffusion.hub_files import CheckpointFiles
from semcorr.models.diffusion.load_folder import load_folder, with_unet_file
from semcorr.models.diffusion.load_single_file import load_single_file
from semcorr.models.names import (
    BUNDLED_DRAWING_MODELS,
    PICKLED,
    VARIANT,
    is_hub_id,
    is_path_like,
    split_unet_file,
    split_variant,
)
from semcorr.models.weights import pickle_message
from semcorr.progress import Progress
from semcorr.storage.files import exists, is_dir, is_file


def load_checkpoint(
    model: str | Path,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    quantize: str | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Checkpoint:
    """Load a bundled model by name, a diffusers folder, an original-layout ``.safetensors`` file or a hub id.

    In that order: a folder ``CompVis/stable-diffusion-v1-4`` below the working directory takes precedence over the
    hub's repository of that name. ``"NAME:VARIANT"`` reads a variant of the files of a folder or hub id.
    ``"NAME+FILE.safetensors"`` is any of these with the weights of a U-Net from a file of its own, as fine-tuned
    networks are published. ``quantize`` is for folders and hub ids; see :func:`load_folder`.

    Raises:
        ModelError: There is no model of that name, here or within reach, or it cannot be used.
    """
    base, unet_file = split_unet_file(str(model))
    if unet_file is not None:
        _check_quantized(str(model), quantize)
        checkpoint = load_checkpoint(
            base, revision=revision, dtype=dtype, local_files_only=local_files_only, progress=progress
        )
        return with_unet_file(checkpoint, Path(unet_file).expanduser(), str(model))
    full = str(model)
    name, variant = split_variant(full)
    path = Path(name).expanduser()
    if variant is not None and (name in BUNDLED_DRAWING_MODELS or is_file(path)):
        raise ModelError(f"{name} has no variants, but {variant!r} was requested: only folders and hub ids have some.")
    if revision is not None and (name in BUNDLED_DRAWING_MODELS or exists(path)):
        raise ModelError(f"{name} is on this machine and has no revision {revision!r}: only hub ids take a revision.")
    if name in BUNDLED_DRAWING_MODELS:
        # One autoencoder serves both.
        return load_folder(bundled_folder(name), name, dtype=dtype, vae_from=bundled_folder("toy"), quantize=quantize)
    if is_dir(path):
        return load_folder(path, full, dtype=dtype, variant=variant, quantize=quantize)
    if is_file(path):
        _check_file(path)
        _check_quantized(name, quantize)
        return load_single_file(path, name, dtype=dtype)
    if isinstance(model, Path) or is_path_like(name):
        raise ModelError(f"There is no model at {name!r}: no such file or folder.{_EXPECTED}")
    if is_hub_id(name):
        return _load_from_hub(name, revision, variant, dtype, quantize, local_files_only, progress)
    raise ModelError(f"Unknown model {name!r}.{suggest(name, BUNDLED_DRAWING_MODELS)}{_EXPECTED}")


_EXPECTED = (
    f"\nExpected a bundled model ({', '.join(BUNDLED_DRAWING_MODELS)}), a folder that diffusers saved, a "
    ".safetensors file in Stable Diffusion's original layout, or a hub id such as CompVis/stable-diffusion-v1-4."
)


def bundled_folder(name: str) -> Path:
    """Return the folder of a bundled model; raise ``ModelError`` if this installation lacks it."""
    folder = Path(str(resources.files("semcorr"))) / "toy" / "weights" / name
    if not folder.is_dir():
        raise ModelError(f"The bundled model {name!r} is not part of this installation (expected at {folder}).")
    return folder


def _check_file(path: Path) -> None:
    if path.suffix.lower() in PICKLED:
        raise ModelError(pickle_message(path, "Use the model's .safetensors file."))
    if path.suffix.lower() != ".safetensors":
        raise ModelError(f"{path} is not a model: expected a folder or a .safetensors file.")


def _check_quantized(name: str, quantize: str | None) -> None:
    if quantize is not None:
        raise ModelError(
            f"{name} takes its weights from a file of its own, and only folders and hub ids are quantised: diffusers "
            "does it while it reads them. Save the model as a folder (save_pretrained), or leave the quantization out."
        )


def _load_from_hub(
    repo_id: str,
    revision: str | None,
    variant: str | None,
    dtype: torch.dtype,
    quantize: str | None,
    local_files_only: bool,
    progress: Progress | None,
) -> Checkpoint:
    fetch = partial(hub.fetch, repo_id, local_files_only=local_files_only)
    folder = fetch(CheckpointFiles(variant=variant), revision=revision, progress=progress)
    name = repo_id if variant is None else f"{repo_id}{VARIANT}{variant}"
    checkpoint = load_folder(folder, name, revision=folder.name, dtype=dtype, variant=variant, quantize=quantize)

    def more(parts: Sequence[str]) -> Path:
        return fetch(CheckpointFiles(parts=parts, variant=variant), revision=folder.name)

    return replace(checkpoint, fetch=more)
