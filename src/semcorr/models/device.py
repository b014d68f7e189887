"""Precisions and devices by name."""

from typing import Literal

import torch

from semcorr.errors import ModelError

DType = Literal["float32", "float16", "bfloat16"]
Device = Literal["auto", "cpu", "cuda", "mps"]


def find_dtype(name: DType) -> torch.dtype:
    """Return the dtype of a name; raise ``ModelError`` for an unknown name."""
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name not in known:
        raise ModelError(f"Unknown precision {name!r}. Expected one of {', '.join(known)}.")
    return known[name]


def find_device(name: Device) -> torch.device:
    """Return the device of a name; "auto" takes cuda, then mps, then cpu.

    Raises:
        ModelError: The name is unknown, or torch does not find the device here.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if name not in available:
        raise ModelError(f"Unknown device {name!r}. Expected auto, cpu, cuda or mps.")
    if not available[name]:
        here = ", ".join(kind for kind, there in available.items() if there)
        raise ModelError(f"Device {name!r} was requested, but torch finds only {here} here.")
    return torch.device(name)
