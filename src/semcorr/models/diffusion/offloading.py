"""Keep a network's weights in main memory, and each layer's on the device for as long as the layer runs."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from semcorr.models.memory import storage_addresses, stored_bytes, stored_parts

_LARGE = (nn.Linear, _ConvNd)
"""What is offloaded. The rest (norms, tables of positions and of tokens) is small and stays on the device."""


def is_offloaded(path: str, module: nn.Module, staying: Collection[str] = ()) -> bool:
    """Whether a module is a layer that is offloaded; ``staying`` as for :class:`Offloaded`."""
    return isinstance(module, _LARGE) and not path.startswith(tuple(staying))


class Offloaded:
    """A frozen network whose layers bring their weights to a device when they run, and take them away again.

    This is accelerate's sequential offloading, as diffusers' pipelines have it, with two differences. Only layers
    without parts of their own are offloaded, so that views of a network (:mod:`semcorr.models.shallow_clone`), which
    share these, run as before. And inside :meth:`saving`, autograd saves no weight: the backward pass brings it once
    more. What autograd saves of a network is then what it saves of one whose weights stay. One run at a time.
    """

    def __init__(self, network: nn.Module, device: torch.device, *, staying: Collection[str] = ()) -> None:
        """Offload the layers of ``network``, in place, and move the rest to ``device``.

        Between runs, offloaded weights of ``network`` are tensors without data, on the device "meta". ``staying`` names
        modules whose layers are not offloaded, because their weights are used without running them.
        """
        self.device = device
        self._here: dict[int, tuple[_Layer, str] | None] = {}
        self._running: _Layer | None = None
        self.layers: list[_Layer] = []
        for path, module in network.named_modules():
            if is_offloaded(path, module, staying):
                self.layers.append(_Layer(self, module))
            else:
                _move(module, device)
        here = (weight for weight in network.parameters() if weight.device.type != "meta")
        self._staying = storage_addresses(here)

    def saving(self) -> AbstractContextManager[object]:
        """Return a context in which autograd saves the name of an offloaded weight in place of the weight."""
        return torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    def __contains__(self, address: object) -> bool:
        """Whether the storage at an address is that of a weight which is on the device now."""
        return address in self._here or address in self._staying

    @property
    def nbytes(self) -> int:
        """Bytes of all weights that are offloaded."""
        return sum(stored_bytes(weight) for layer in self.layers for weight in layer.weights.values())

    def enter(self, layer: "_Layer") -> None:
        """Bring the weights of a layer, and take away those of one that was left by an error."""
        if self._running is not None:
            self.leave(self._running)
        self._running = layer
        for name, weight in layer.weights.items():
            own = layer.module._parameters[name] = nn.Parameter(weight.to(self.device), requires_grad=False)
            for part in stored_parts(own):  # of a quantised weight autograd saves its values in full, or a part
                self._here[part.untyped_storage().data_ptr()] = (layer, name) if part is own else None

    def leave(self, layer: "_Layer") -> None:
        """Take away the weights of a layer."""
        self._running = None
        self._here.clear()
        layer.module._parameters.update(layer.without)

    def _pack(self, tensor: Tensor) -> Any:
        origin = self._here.get(tensor.untyped_storage().data_ptr()) if type(tensor) in (Tensor, nn.Parameter) else None
        if origin is None:
            return tensor
        return _Saved(*origin, tensor.size(), tensor.stride(), int(tensor.storage_offset()))

    def _unpack(self, saved: Any) -> Tensor:
        if not isinstance(saved, _Saved):
            result: Tensor = saved
            return result
        weight = saved.layer.weights[saved.name].to(self.device)
        return weight.as_strided(saved.size, saved.stride, saved.offset)


class _Layer(ModelHook):  # type: ignore[misc]  # accelerate has no types
    """One layer: its weights in main memory, and tensors without data instead of them."""

    def __init__(self, network: Offloaded, module: nn.Module) -> None:
        self.network, self.module = network, module
        self.weights = {name: own.detach().cpu() for name, own in module._parameters.items() if own is not None}
        self.without = {
            name: nn.Parameter(torch.empty(own.shape, dtype=own.dtype, device="meta"), requires_grad=False)
            for name, own in self.weights.items()
        }
        module._parameters.update(self.without)
        add_hook_to_module(module, self)

    def pre_forward(self, module: nn.Module, *inputs: Any, **named: Any) -> tuple[Any, Any]:  # noqa: ARG002
        self.network.enter(self)
        return inputs, named

    def post_forward(self, module: nn.Module, output: Any) -> Any:  # noqa: ARG002
        self.network.leave(self)
        return output


@dataclass(frozen=True)
class _Saved:
    """A weight that autograd needs again, or a view of it."""

    layer: _Layer
    name: str
    size: Sequence[int]
    stride: Sequence[int]
    offset: int


def _move(module: nn.Module, device: torch.device) -> None:
    """Move a module's own parameters and buffers, and none of its parts'."""
    for parameter in module._parameters.values():
        if parameter is not None:
            parameter.data = parameter.data.to(device)
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else buffer.to(device)
