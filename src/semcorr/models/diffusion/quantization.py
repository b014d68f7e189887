"""Weights of a denoising network in fewer bits, by diffusers' own quantisation."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from semcorr.errors import ModelError, suggest

Quantization = Literal["int8", "nf4"]


@dataclass(frozen=True, kw_only=True)
class QuantizationKind:
    """A way to store the weights of linear layers; all other weights keep the network's precision.

    Attributes:
        package: What diffusers does it with.
        weight_bytes: Of a weight, with its share of factors.
        row_bytes: Besides, for each output of a layer.
        everywhere: Whether it runs on a processor too.
        offloads: Whether its layers can be offloaded.
    """

    package: str
    weight_bytes: float
    row_bytes: int
    everywhere: bool
    offloads: bool


KINDS: Mapping[str, QuantizationKind] = {
    # A float32 factor and an 8-bit zero for each row of a matrix.
    "int8": QuantizationKind(package="torchao", weight_bytes=1, row_bytes=5, everywhere=True, offloads=True),
    # A float32 factor for 64 weights (Dettmers et al., 2023, QLoRA).
    "nf4": QuantizationKind(
        package="bitsandbytes", weight_bytes=0.5 + 4 / 64, row_bytes=0, everywhere=False, offloads=False
    ),
}
"""By the name that ``quantize`` takes."""


def needing_a_gpu() -> list[str]:
    """Return the names of those that run on a GPU alone."""
    return [name for name, kind in KINDS.items() if not kind.everywhere]


def check_quantization(name: str | None, device: torch.device, *, offload: bool = False) -> None:
    """Check that a network can be quantised here, before anything is downloaded or loaded.

    Args:
        name: A name of :data:`KINDS`; None is no quantisation.
        device: Where the network will run.
        offload: Whether it will be offloaded.

    Raises:
        ModelError: The name is unknown, the device has no such arithmetic, or its package is not installed.
    """
    if name is None:
        return
    kind = KINDS.get(name)
    if kind is None:
        raise ModelError(f"Unknown quantization {name!r}.{suggest(name, KINDS)} Expected one of {', '.join(KINDS)}.")
    if offload and not kind.offloads:
        raise ModelError(f"Weights in {name} cannot be offloaded. Leave one of the two out, or quantize to int8.")
    if device.type == "cpu" and not kind.everywhere:
        raise ModelError(f"diffusers quantises to {name} on a GPU alone, and the device is the cpu. Quantize to int8.")
    if importlib.util.find_spec(kind.package) is None:
        raise ModelError(f'Quantization to {name} needs {kind.package}: pip install "semcorr[quantize]"')


def quantization_config(name: str, dtype: torch.dtype, whole: Sequence[str] = ()) -> Any:
    """Return what diffusers' ``from_pretrained`` takes as ``quantization_config``.

    Args:
        name: A name that :func:`check_quantization` accepts.
        dtype: Precision that the network computes in.
        whole: Modules that are not quantised.
    """
    import diffusers

    if name == "int8":
        from torchao.quantization import Int8WeightOnlyConfig

        return diffusers.TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=list(whole))
    return diffusers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(whole) or None,
    )
