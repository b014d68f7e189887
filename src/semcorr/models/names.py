"""Names of models: the defaults, and the forms a name can have.

Apart from :mod:`semcorr.models.hub`, whose client takes long to import: the command reads these before it needs that.
"""

import os
import re
from pathlib import Path

from semcorr.errors import ModelError
from semcorr.storage.files import exists

PHOTO_MODEL = "CompVis/stable-diffusion-v1-4"
"""The paper's checkpoint, the default for photographs."""

VISION_MODEL = "facebook/dinov2-base"
"""The default of methods that use a vision transformer alone."""

BUNDLED_PHOTO_MODEL = "lite0"
"""EfficientNet-Lite0, which is installed with the package: for photographs, without a download and a GPU."""

BUNDLED_DRAWING_MODELS = ("toy", "toy-plain")
"""Small diffusion models of drawings, which come with the package; ``toy-plain`` was trained without part masks."""

COLLECTION = "collection"
"""The folder of a trained collection where none is named."""

COLLECTION_HEADER = "collection.json"
"""The file that every folder of a collection has, trained or not yet."""

PICKLED = (".bin", ".ckpt", ".pt", ".pth")
"""Suffixes of files that can run any code when they are read, and therefore are not read."""

VARIANT = ":"
"""Separates a model's name from the variant of its files, as in "owner/name:bf16"."""

UNET_SEPARATOR = "+"
"""Separates, in a model's name, the checkpoint from the file with another U-Net."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_path_like(name: str) -> bool:
    """Whether a name can only be the path of a file or folder."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or name.endswith(".safetensors")


def is_bundled(name: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a model that comes with the package."""
    return os.fspath(name) in (BUNDLED_PHOTO_MODEL, *BUNDLED_DRAWING_MODELS)


def is_hub_id(name: str) -> bool:
    """Whether a name is of the form "owner/name"."""
    return _HUB_ID.fullmatch(name) is not None


def split_unet_file(name: str) -> tuple[str, str | None]:
    """Return the checkpoint and the U-Net's file of ``"CHECKPOINT+FILE.safetensors"``.

    The file is None if the name is not of that form, or is the path of a file or folder as it is.
    """
    base, separator, file = name.rpartition(UNET_SEPARATOR)
    if base and separator and file.endswith((".safetensors", *PICKLED)) and not exists(Path(name).expanduser()):
        return base, file
    return name, None


def split_variant(name: str) -> tuple[str, str | None]:
    """Return a model's name and its variant, which is None if there is none or the name is an existing path."""
    base, separator, variant = name.rpartition(VARIANT)
    if not (base and separator and re.fullmatch(r"[\w-]+", variant)) or exists(Path(name).expanduser()):
        return name, None
    return base, variant


def with_variant(model: str | Path, variant: str | None) -> str | Path:
    """Add the variant of its files to a model's name, before the U-Net's file if it has one.

    Raises:
        ModelError: The variant has no valid name, or the model's name has a variant already.
    """
    if variant is None:
        return model
    if not re.fullmatch(r"[\w-]+", variant):
        raise ModelError(f"Expected the name of a variant, such as bf16 or non_ema, got {variant!r}.")
    base, separator, file = str(model).rpartition("+")
    if not (base and file.endswith(".safetensors")):
        base, separator, file = str(model), "", ""
    if split_variant(base)[1] is not None:
        raise ModelError(f"{model} names a variant already, and {variant!r} is given as well. Name one.")
    name = f"{base}{VARIANT}{variant}{separator}{file}"
    return Path(name) if isinstance(model, Path) else name
