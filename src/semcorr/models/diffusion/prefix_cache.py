"""What a U-Net does before its first cross-attention: no context reaches it, so it is worked out once for a latent."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from functools import partial
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

_Rows = Callable[..., Tensor] | None

_ACTIVE: ContextVar[_Rows] = ContextVar("semcorr_prefix", default=None)


class PrefixCache:
    """Results of the modules before the first cross-attention, for the noisy latents of one image at one time step.

    Past ``limit_bytes`` nothing more is kept, and what is not there is worked out again.
    """

    def __init__(self, *, limit_bytes: int = 2**29) -> None:
        self._left = limit_bytes
        self._known: dict[tuple[Hashable, int], Tensor] = {}

    def use(self, keys: Sequence[Hashable]) -> AbstractContextManager[None]:
        """Have the passes inside the ``with`` block look here first.

        ``keys`` name their rows: equal keys promise equal noisy latents. Rows must not ask for a gradient to the
        latents.
        """
        return _Looking(partial(self._rows, keys))

    @torch.no_grad()
    def _rows(self, keys: Sequence[Hashable], module: nn.Module, inputs: Tensor, *rest: Any) -> Tensor:
        missing = [row for row, key in enumerate(keys) if (key, id(module)) not in self._known]
        made: dict[int, Tensor] = {}
        if missing:
            fitting = [one[missing] if isinstance(one, Tensor) else one for one in rest]
            made = dict(zip(missing, module(inputs[missing], *fitting), strict=True))
        rows = [made[row] if row in made else self._known[key, id(module)] for row, key in enumerate(keys)]
        for row, values in made.items():
            if values.nbytes <= self._left and (keys[row], id(module)) not in self._known:
                self._known[keys[row], id(module)] = values.clone()  # a view would hold the whole batch
                self._left -= values.nbytes
        return torch.stack(rows)


class _Looking(AbstractContextManager[None]):
    """Inside the ``with`` block passes look into these rows; it may be entered again once it was left."""

    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    def __enter__(self) -> None:
        self._before: Token[_Rows] = _ACTIVE.set(self._rows)

    def __exit__(self, *_: object) -> None:
        _ACTIVE.reset(self._before)


def same_cache() -> AbstractContextManager[None]:
    """Return a context with the memory and the rows that are active now, for a pass that is repeated later."""
    return _Looking(_ACTIVE.get())


def prefix_modules(unet: UNet2DConditionModel) -> list[nn.Module]:
    """Return the modules that do the work before the first cross-attention.

    In order: residual blocks and downsamplers, and last the self-attention. The first convolution, which is small, is
    left out.
    """
    found: list[nn.Module] = []
    for block in unet.down_blocks:
        attentions: Any = getattr(block, "attentions", None)
        if attentions:
            return [*found, block.resnets[0], attentions[0].transformer_blocks[0].attn1]
        found += [*block.resnets, *(block.downsamplers or ())]
    return found


def cache_prefix(view: UNet2DConditionModel, clone: Callable[[Any], Any]) -> None:
    """Have ``view``, whose lists are its own, look into an active :class:`PrefixCache`; without one nothing changes.

    ``clone`` copies a module object but none of its children: modules that are shared with another U-Net stay as
    they are.
    """
    wanted = {id(module) for module in prefix_modules(view)}

    def twin(module: Any) -> Any:
        """A clone of every module on the way to a wanted one, and in its place one that looks first."""
        if id(module) in wanted:
            looking = clone(module)
            looking.forward = partial(_look_first, module)
            return looking
        if not any(id(part) in wanted for part in module.modules()):
            return module
        parent = clone(module)
        for name, child in module.named_children():
            parent._modules[name] = twin(child)
        return parent

    view.down_blocks = twin(view.down_blocks)


def _look_first(module: nn.Module, inputs: Tensor, *rest: Any, **named: Any) -> Tensor:
    rows = _ACTIVE.get()
    # A U-Net whose self-attention sees the context after all gives it here.
    if rows is None or any(value is not None for value in named.values()):
        result: Tensor = module(inputs, *rest, **named)
        return result
    return rows(module, inputs, *rest)
