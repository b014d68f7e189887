"""A U-Net's weights from a file of their own, in place of a checkpoint's: how fine-tuned networks are published."""

import hashlib
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file

from semcorr.errors import ModelError
from semcorr.models.diffusion.checkpoint import Checkpoint
from semcorr.models.fingerprint import fingerprint
from semcorr.models.weights import PICKLED, as_model_error, check_types
from semcorr.storage.files import exists, is_file

BETWEEN = "+"
"""What stands between the checkpoint and the file in a model's name."""


def split_name(name: str) -> tuple[str, str] | None:
    """Return the checkpoint's name and the U-Net file's of ``"CHECKPOINT+FILE.safetensors"``.

    None where it is not of the form, or is a file or folder as it is.
    """
    base, between, file = name.rpartition(BETWEEN)
    if not (base and between) or exists(Path(name).expanduser()):
        return None
    return (base, file) if file.endswith((".safetensors", *PICKLED)) else None


def with_unet(checkpoint: Checkpoint, file: Path, name: str) -> Checkpoint:
    """Load a U-Net's weights, in diffusers' layout, into a checkpoint's own U-Net; its precision stays.

    Args:
        checkpoint: of the same kind of network. Its own U-Net is overwritten.
        file: safetensors with every weight of the U-Net, as CleanDIFT's are published (Stracke et al., 2024).
        name: what the whole is called.

    Raises:
        ModelError: no such file, a pickle, a broken file, or one of another network.
    """
    if file.suffix.lower() in PICKLED:
        raise ModelError(
            f"{file} is a pickle, which can run any code when it is read; only safetensors are. "
            "Use the U-Net's .safetensors file."
        )
    if not is_file(file):
        raise ModelError(
            f"There is no U-Net at {str(file)!r}: no such file. After {BETWEEN!r} a model's name has the path of a "
            ".safetensors file with the U-Net's weights."
        )
    with as_model_error("U-Net", str(file)):
        with safe_open(file, framework="pt") as opened:
            check_types(opened)
        checkpoint.unet.load_state_dict(load_file(file))
        own = fingerprint([], [file])
    both = hashlib.sha256(f"{checkpoint.fingerprint} {own}".encode()).hexdigest()
    return replace(checkpoint, model_id=name, fingerprint=both)
