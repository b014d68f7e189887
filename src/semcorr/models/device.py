"""Precisions and devices by name."""

import os
from collections.abc import Mapping
from typing import Any, Literal

import torch

from semcorr.errors import ModelError
from semcorr.models.names import is_bundled

DType = Literal["float32", "float16", "bfloat16"]
Device = Literal["auto", "cpu", "cuda", "mps"]

RequestedDType = Literal["auto", "float32", "float16", "bfloat16"]

_NATIVE_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Instructions of processors, as PyTorch names them; the last two are Arm's."""


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


def resolve_dtype(
    requested: RequestedDType, network: Any, model: str | os.PathLike[str], device: Device = "auto"
) -> DType:
    """Return the precision to load a network in: the requested one, or for "auto" what is fastest on the device.

    For bundled models "auto" is float32: they are small, so that half precision hardly makes them faster, and have the
    same results on every machine.

    Args:
        requested: A precision, or "auto".
        network: The class of the network; its attribute ``half_precision`` says whether "auto" may choose half
            precision, which it may not for a class without one.
        model: The model's name.
        device: Where the network runs.

    Raises:
        ModelError: There is no such device here.
    """
    if requested != "auto":
        return requested
    if is_bundled(model) or not getattr(network, "half_precision", False):
        return "float32"
    return fastest_dtype(*device_traits(device))


def fastest_dtype(kind: str, native_bfloat16: bool) -> DType:
    """Return the precision in which networks are fastest on a kind of device, with bfloat16 instructions or without."""
    if kind == "mps":
        return "float16"
    if native_bfloat16:
        return "bfloat16"
    return "float16" if kind == "cuda" else "float32"


def device_traits(device: Device = "auto") -> tuple[str, bool]:
    """Return the kind of a device, and whether it has instructions for bfloat16.

    PyTorch computes in bfloat16 on any processor; without such instructions that is slower than float32. An early
    version of PyTorch that does not say what a processor has counts as one without.

    Raises:
        ModelError: There is no such device here.
    """
    kind = find_device(device).type
    if kind == "cuda":
        return kind, torch.cuda.is_bf16_supported(including_emulation=False)
    # PyTorch's own matrix products and convolutions do not use them; oneDNN's do.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    native = torch.backends.mkldnn.is_available() and any(capabilities.get(name) for name in _NATIVE_BFLOAT16)
    return kind, kind == "cpu" and native
