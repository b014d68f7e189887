"""Names of models: the ones taken by default, and what a name means."""

import re
from pathlib import Path

from semcorr.errors import ModelError
from semcorr.storage.files import exists

PHOTO_MODEL = "CompVis/stable-diffusion-v1-4"
"""The paper's checkpoint: what photographs are matched with unless another is named."""

VISION_MODEL = "facebook/dinov2-base"
"""The same for methods on a vision transformer alone."""

VARIANT = ":"
"""What stands between a model's name and the variant of its files, as in "owner/name:bf16"."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_path_like(name: str) -> bool:
    """Whether a name can only be meant as a file or folder."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or name.endswith(".safetensors")


def is_hub_id(name: str) -> bool:
    """Whether a name is of the form "owner/name"."""
    return _HUB_ID.fullmatch(name) is not None


def split_variant(name: str) -> tuple[str, str | None]:
    """Return a model's name and the variant after it, None where there is none or the whole is a file or folder."""
    base, between, variant = name.rpartition(VARIANT)
    if not (base and between and re.fullmatch(r"[\w-]+", variant)) or exists(Path(name).expanduser()):
        return name, None
    return base, variant


def with_variant(model: str | Path, variant: str | None) -> str | Path:
    """Put the variant of its files into a model's name: before the U-Net's file, where one follows.

    Raises:
        ModelError: It is no name of a variant, or the model's name has one already.
    """
    if variant is None:
        return model
    if not re.fullmatch(r"[\w-]+", variant):
        raise ModelError(f"Expected the name of a variant, such as bf16 or non_ema, got {variant!r}.")
    base, between, file = str(model).rpartition("+")
    if not (base and file.endswith(".safetensors")):
        base, between, file = str(model), "", ""
    if split_variant(base)[1] is not None:
        raise ModelError(f"{model} names a variant already, and {variant!r} is given besides. Name one.")
    name = f"{base}{VARIANT}{variant}{between}{file}"
    return Path(name) if isinstance(model, Path) else name
