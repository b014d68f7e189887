"""Which kind of network a model's name stands for, from its name and its files, before anything is loaded."""

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from semcorr.errors import ModelError, suggest
from semcorr.models.hub import RequiredFiles, fetch
from semcorr.models.names import (
    BUNDLED_DRAWING_MODELS,
    BUNDLED_PHOTO_MODEL,
    COLLECTION_HEADER,
    PHOTO_MODEL,
    VISION_MODEL,
    is_hub_id,
    is_path_like,
    split_unet_file,
    split_variant,
)
from semcorr.storage.files import exists, is_dir, is_file

if TYPE_CHECKING:
    from semcorr.models.network_folder import NetworkKind

ModelKind = Literal["diffusion", "vision", "convolutional", "collection"]

_BUNDLED: dict[str, ModelKind] = {
    BUNDLED_PHOTO_MODEL: "convolutional",
    **dict.fromkeys(BUNDLED_DRAWING_MODELS, "diffusion"),
}
_DEFAULTS: dict[str, ModelKind] = {PHOTO_MODEL: "diffusion", VISION_MODEL: "vision"}
"""Their kind is known without their files."""

_INDEX, _CONFIG = "model_index.json", "config.json"


def model_kind(
    model: str | os.PathLike[str], *, revision: str | None = None, local_files_only: bool = False
) -> ModelKind:
    """Return the kind of network that a model is.

    Of a hub id that is not in the cache, its configuration is downloaded: a few kilobytes.

    Args:
        model: A bundled name, a folder, a ``.safetensors`` file or a hub id, as methods take it.
        revision: Branch, tag or commit of a hub id.
        local_files_only: Use only files on this machine.

    Raises:
        ModelError: There is no such model, here or within reach, or its configuration does not say.
    """
    base, unet_file = split_unet_file(os.fspath(model))
    name, _ = split_variant(base)
    path = Path(name).expanduser()
    if unet_file is not None or is_file(path):
        return "diffusion"
    if name in _BUNDLED:
        return _BUNDLED[name]
    if is_dir(path):
        return _kind_of_folder(path, name)
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    if isinstance(model, Path) or is_path_like(name) or exists(path):
        raise ModelError(f"There is no model at {name!r}: no such file or folder.")
    if not is_hub_id(name):
        raise ModelError(
            f"Unknown model {name!r}.{suggest(name, _BUNDLED)}\nExpected a bundled model ({', '.join(_BUNDLED)}), a "
            f"folder, a .safetensors file, or a hub id such as {PHOTO_MODEL}."
        )
    return _kind_of_folder(fetch(name, _Configuration(), revision=revision, local_files_only=local_files_only), name)


class _Configuration(RequiredFiles):
    """The files that tell kinds of networks apart."""

    alternative: ClassVar[str] = "pass a folder or .safetensors file that you have"

    def choose(self, repo_id: str, names: Collection[str]) -> list[str]:
        """Return the files of a repository; raise ``ModelError`` if it has none of them."""
        chosen = [name for name in (_INDEX, _CONFIG) if name in names]
        if not chosen:
            raise _unknown(repo_id, f"it has neither {_INDEX} nor {_CONFIG}")
        return chosen

    def missing(self, folder: Path) -> str:
        """Return what a folder lacks; an empty string if the kind of network is in it."""
        return "" if any((folder / name).is_file() for name in (_INDEX, _CONFIG)) else f"{_CONFIG} is missing"


def _kind_of_folder(folder: Path, name: str) -> ModelKind:
    # Which other pipelines and parts there are, and that they are not supported, the loader says.
    if is_file(folder / _INDEX) or is_dir(folder / "unet") or is_dir(folder / "transformer"):
        return "diffusion"
    if is_file(folder / COLLECTION_HEADER):
        return "collection"
    # Late: transformers takes seconds.
    from semcorr.models.cnn.load_folder import CONVOLUTIONAL
    from semcorr.models.dino.load_folder import TRANSFORMER
    from semcorr.models.weights import read_json

    kinds: dict[ModelKind, "NetworkKind"] = {"convolutional": CONVOLUTIONAL, "vision": TRANSFORMER}
    for kind, network in kinds.items():
        with contextlib.suppress(ModelError, OSError, ValueError, TypeError, RecursionError):
            network.check(read_json(folder / _CONFIG), name)
            return kind
    raise _unknown(
        name,
        f"it has no unet/, transformer/ or {COLLECTION_HEADER}, and its {_CONFIG} is missing or of no network that is "
        "supported",
    )


def _unknown(name: str, reason: str) -> ModelError:
    return ModelError(
        f"Which method fits {name} is not known: {reason}. Name the method: --method, or method=... in Python."
    )
