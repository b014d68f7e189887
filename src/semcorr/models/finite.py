"""Numbers that are none: NaN and infinity in what a network gives, noticed at once and traced to a layer."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from semcorr.errors import NumericsError


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number is NaN or infinite: one pass over each tensor, and one wait for the device."""
    return bool(torch.stack([largest(tensor) for tensor in tensors]).isfinite().all())


def largest(tensor: Tensor) -> Tensor:
    """The largest magnitude, in float32: not finite if any number is not. Nothing is waited for."""
    return torch.linalg.vector_norm(tensor.detach(), ord=math.inf).float()


def check(
    tensors: Iterable[Tensor],
    name: str,
    network: nn.Module,
    again: Callable[[], object],
    inputs: Mapping[str, Tensor],
) -> None:
    """Insist that all of what a network gave is finite.

    Only when it is not, the network runs a second time, slowly, to find the first layer that gave NaN or infinity.

    Args:
        tensors: what it gave.
        name: what the network is called in the message.
        network: whose modules are watched in the second run.
        again: does the same once more.
        inputs: what went in, by name.

    Raises:
        NumericsError: a number is NaN or infinite.
    """
    if not all_finite(tensors):
        raise _explained(name, network, again, inputs)


def precision_of(network: nn.Module) -> str:
    """The type of a network's numbers, such as ``"float16"``."""
    return str(next(network.parameters()).dtype).removeprefix("torch.")


def _explained(
    name: str, network: nn.Module, again: Callable[[], object], inputs: Mapping[str, Tensor]
) -> NumericsError:
    precision = precision_of(network)
    for what, tensor in inputs.items():
        if not all_finite([tensor]):
            return NumericsError(
                f"{name} was given {what} with {_kind([tensor])} in it.", "What went before has overflowed.", precision
            )
    found = _first_layer(network, again)
    if found is None:
        return NumericsError(
            f"{name} gave NaN or infinity once, and not when it was run again, in {precision}.",
            "That is no property of the model: the machine's memory or processor may be failing.",
            precision,
        )
    layer, module, kind = found
    told = f"{name} gave {kind}, first in {layer} ({type(module).__name__}), in {precision}."
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    # Half precision may have made infinite what the file has finite.
    if precision == "float32" and own and not all_finite(own):
        return NumericsError(
            told, "Its weights are not finite: the checkpoint is damaged, fetch it again.", precision, layer
        )
    return NumericsError(told, _ADVICE.get(precision, _OTHERWISE), precision, layer)


_HALF = (
    "Half precision overflows where float32 does not: use dtype='float32', or load the method with "
    "semcorr.load_matcher, which does such a unit in float32 by itself."
)
_ADVICE = {"float16": _HALF, "bfloat16": _HALF}
_OTHERWISE = "The network overflows even so: the checkpoint is damaged or no such network."


def _first_layer(network: nn.Module, again: Callable[[], object]) -> tuple[str, nn.Module, str] | None:
    """The first module to finish with a number that is not finite: the innermost one, as it finishes before others."""
    found: list[tuple[str, nn.Module, str]] = []

    def watch(name: str, module: nn.Module) -> Callable[..., None]:
        def look(_module: nn.Module, _inputs: object, output: object) -> None:
            tensors = [] if found else list(_tensors(output))
            if tensors and not all_finite(tensors):
                found.append((name or "its output", module, _kind(tensors)))

        return look

    with ExitStack() as hooks, torch.no_grad():
        for name, module in network.named_modules():
            hooks.callback(module.register_forward_hook(watch(name, module)).remove)
        again()
    return found[0] if found else None


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of floating point in what a module gave."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.numel():
            yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _kind(tensors: Iterable[Tensor]) -> str:
    return "NaN" if any(bool(tensor.isnan().any()) for tensor in tensors) else "infinity"
