"""Detect NaN and infinity in the outputs of a network, and trace them to the first layer that produced them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from semcorr.errors import NumericsError


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no value is NaN or infinite: one pass over each tensor, and one synchronisation with the device."""
    return bool(torch.stack([largest(tensor) for tensor in tensors]).isfinite().all())


def largest(tensor: Tensor) -> Tensor:
    """Return the largest magnitude in float32, not finite if any value is not, without synchronisation."""
    return torch.linalg.vector_norm(tensor.detach(), ord=math.inf).float()


def check(
    tensors: Iterable[Tensor],
    name: str,
    network: nn.Module,
    again: Callable[[], object],
    inputs: Mapping[str, Tensor],
) -> None:
    """Check that all outputs of a network are finite.

    Only if one is not, the network runs a second time, slowly, to find the first layer that produced NaN or infinity.

    Args:
        tensors: Outputs of the network.
        name: Name of the network in the message.
        network: The network, whose modules are watched in the second run.
        again: Repeats the same run.
        inputs: Inputs of the run, by name.

    Raises:
        NumericsError: A value is NaN or infinite.
    """
    if not all_finite(tensors):
        raise _diagnose(name, network, again, inputs)


def precision_of(network: nn.Module) -> str:
    """Return the precision of a network's weights, such as ``"float16"``."""
    return str(next(network.parameters()).dtype).removeprefix("torch.")


def _diagnose(
    name: str, network: nn.Module, again: Callable[[], object], inputs: Mapping[str, Tensor]
) -> NumericsError:
    precision = precision_of(network)
    for input_name, tensor in inputs.items():
        if not all_finite([tensor]):
            return NumericsError(
                f"{name} received {input_name} with {_kind([tensor])} in it.",
                "An earlier step has overflowed.",
                precision,
            )
    first = _first_layer(network, again)
    if first is None:
        return NumericsError(
            f"{name} gave NaN or infinity once, but not when it was run again, in {precision}.",
            "That is not a property of the model: the machine's memory or processor may be failing.",
            precision,
        )
    layer, module, kind = first
    message = f"{name} gave {kind}, first in {layer} ({type(module).__name__}), in {precision}."
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    own = [weight for weight in own if weight.device.type != "meta"]  # of an offloaded layer
    # Half precision may have made infinite a weight that is finite in the file.
    if precision == "float32" and own and not all_finite(own):
        return NumericsError(
            message, "Its weights are not finite: the checkpoint is damaged, fetch it again.", precision, layer
        )
    return NumericsError(message, _ADVICE.get(precision, _OTHERWISE), precision, layer)


_HALF = (
    "Half precision overflows where float32 does not: use dtype='float32', or load the method with "
    "semcorr.load_matcher, which repeats such a unit in float32 by itself."
)
_ADVICE = {"float16": _HALF, "bfloat16": _HALF}
_OTHERWISE = "The network overflows in float32 too: the checkpoint is damaged or of another kind of network."


def _first_layer(network: nn.Module, again: Callable[[], object]) -> tuple[str, nn.Module, str] | None:
    """Return the first module to finish with a value that is not finite; an inner module finishes before an outer."""
    first: list[tuple[str, nn.Module, str]] = []

    def watch(name: str, module: nn.Module) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            tensors = [] if first else list(_tensors(output))
            if tensors and not all_finite(tensors):
                first.append((name or "its output", module, _kind(tensors)))

        return hook

    with ExitStack() as hooks, torch.no_grad():
        for name, module in network.named_modules():
            hooks.callback(module.register_forward_hook(watch(name, module)).remove)
        again()
    return first[0] if first else None


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors in the output of a module."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.numel():
            yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _kind(tensors: Iterable[Tensor]) -> str:
    return "NaN" if any(bool(tensor.isnan().any()) for tensor in tensors) else "infinity"
