"""Gradient checkpointing: save only the inputs of a network's blocks, and recompute the rest in the backward pass."""

from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from semcorr.models.diffusion.prefix_cache import same_cache
from semcorr.models.shallow_clone import M, replace_modules

RunPart = Callable[..., Any]
"""Runs a block of a network: called with the module and its inputs."""


def recomputed(module: Callable[..., Any], *inputs: Any) -> Any:
    """Run a module so that autograd saves only its inputs; the backward pass runs it again."""
    # Nothing in a frozen network is random, so there is no generator state to preserve.
    return checkpoint(module, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=_contexts)


def _contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
    """Return the contexts of the first run and of the second, which comes after the block of a prefix cache."""
    return nullcontext(), same_cache()


def run_parts_through(view: M, run: RunPart) -> M:
    """Return ``view`` with its residual and transformer blocks run by ``run`` wherever gradients are required.

    These are the blocks that diffusers checkpoints. Modules shared with another network do not change.
    """

    def use(clone: Any, _module: Any) -> None:
        clone.gradient_checkpointing = True
        clone._gradient_checkpointing_func = run

    changed: M = replace_modules(view, lambda module: hasattr(module, "gradient_checkpointing"), use)
    return changed


class SavedBytes:
    """Counts the bytes that autograd saves inside a ``with`` block, which must keep its results until the end.

    There is no backward pass after it: ignored tensors are not kept.

    With :meth:`run` as ``run`` of :func:`run_parts_through`, counts the bytes under gradient checkpointing: the inputs
    of the blocks, and the inside of the largest one.
    """

    def __init__(self, ignored: Container[int]) -> None:
        """``ignored`` holds the addresses of storages that do not count, such as weights."""
        self._ignored = ignored
        self._kept: dict[int, int] = {}
        self._inputs: list[Tensor] = []
        self._inside = 0

    @property
    def bytes(self) -> int:
        """Bytes so far."""
        return sum(self._kept.values()) + self._inside

    def __enter__(self) -> "SavedBytes":
        self._hooks = self._collecting(self._kept)
        self._hooks.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._hooks.__exit__(*raised)

    def run(self, module: nn.Module, *inputs: Any) -> Any:
        """Run a block, and count it as recomputed."""
        inside: dict[int, int] = {}
        with self._collecting(inside):
            result = module(*inputs)
        if inside:  # else no gradient passes here, and nothing is saved
            tensors = [value for value in inputs if isinstance(value, Tensor)]
            for tensor in tensors:
                self._add(tensor, self._kept)
            self._inputs += tensors  # else an address could be counted for two tensors
            self._inside = max(self._inside, sum(inside.values()))
        return result

    @contextmanager
    def _collecting(self, sizes: dict[int, int]) -> Iterator[None]:
        """Collect {address: bytes} of the storages that autograd saves."""

        def pack(tensor: Tensor) -> Tensor | None:
            return tensor if self._add(tensor, sizes) else None

        # Saved tensors live as long as the result, so no address is counted for two tensors.
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield

    def _add(self, tensor: Tensor, sizes: dict[int, int]) -> bool:
        """Count a tensor, and return whether it counts."""
        storage = tensor.untyped_storage()
        counts = storage.data_ptr() not in self._ignored
        if counts:
            sizes[storage.data_ptr()] = storage.nbytes()
        return counts
