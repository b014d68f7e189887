"""Gradient checkpointing: keep what goes into a part of the U-Net, and work the rest out again on the way back."""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from semcorr.models.diffusion.prefix_cache import same_cache

RunPart = Callable[..., Any]
"""How a part of a U-Net is run: called with the module and what the module takes."""


def recomputed(module: nn.Module, *inputs: Any) -> Any:
    """Run a module so that autograd keeps its inputs alone; the backward pass runs it again."""
    # Nothing in a frozen network is random, so there is no state of a generator to keep.
    return checkpoint(module, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=_contexts)


def _contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
    """Contexts of the first run and of the second, which comes when the block of a prefix memory has ended."""
    return nullcontext(), same_cache()


def run_parts_through(view: UNet2DConditionModel, run: RunPart, clone: Callable[[Any], Any]) -> UNet2DConditionModel:
    """Return ``view`` with residual blocks and transformer blocks run by ``run`` wherever gradients are wanted.

    These are the parts that diffusers checkpoints. ``clone`` copies a module object but none of its children: modules
    that are shared with another U-Net stay as they are.
    """

    def twin(module: Any) -> Any:
        if not any(hasattr(part, "gradient_checkpointing") for part in module.modules()):
            return module
        own = clone(module)
        for name, child in module.named_children():
            own._modules[name] = twin(child)
        if hasattr(own, "gradient_checkpointing"):
            own.gradient_checkpointing = True
            own._gradient_checkpointing_func = run
        return own

    return twin(view)


class SavedBytes:
    """The bytes that autograd keeps for what runs inside a ``with`` block, which must keep its results until the end.

    With :meth:`run` as ``run`` of :func:`run_parts_through`, what it would keep if these parts were recomputed: their
    inputs, and for one of them at a time what is inside.
    """

    def __init__(self, ignored: Collection[int]) -> None:
        """``ignored`` are the addresses of storages that do not count, such as weights."""
        self._ignored = ignored
        self._kept: dict[int, int] = {}
        self._inputs: list[Tensor] = []
        self._inside = 0

    @property
    def bytes(self) -> int:
        """The bytes so far."""
        return sum(self._kept.values()) + self._inside

    def __enter__(self) -> "SavedBytes":
        self._hooks = self._collecting(self._kept)
        self._hooks.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._hooks.__exit__(*raised)

    def run(self, module: nn.Module, *inputs: Any) -> Any:
        """Run a part, and count it as recomputed."""
        inside: dict[int, int] = {}
        with self._collecting(inside):
            result = module(*inputs)
        if inside:  # else no gradient passes here, and nothing is kept
            tensors = [value for value in inputs if isinstance(value, Tensor)]
            for tensor in tensors:
                self._add(tensor, self._kept)
            self._inputs += tensors  # else an address could be counted for two
            self._inside = max(self._inside, sum(inside.values()))
        return result

    @contextmanager
    def _collecting(self, found: dict[int, int]) -> Iterator[None]:
        """Collect {address: bytes} of the storages that autograd saves."""

        def pack(tensor: Tensor) -> Tensor:
            self._add(tensor, found)
            return tensor

        # What is saved lives as long as the result, so no address is counted for two tensors.
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield

    def _add(self, tensor: Tensor, found: dict[int, int]) -> None:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._ignored:
            found[storage.data_ptr()] = storage.nbytes()
