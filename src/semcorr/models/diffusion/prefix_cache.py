"""Cache the part of the U-Net before its first cross-attention, which no context reaches: once per latent."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from functools import partial
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from semcorr.models.shallow_clone import replace_modules

_Rows = Callable[..., Tensor] | None

_ACTIVE: ContextVar[_Rows] = ContextVar("semcorr_prefix", default=None)


class PrefixCache:
    """Outputs of the modules before the first cross-attention, for the noisy latents of one image at one time step.

    Beyond ``limit_bytes`` nothing more is stored, and missing outputs are computed again.
    """

    def __init__(self, *, limit_bytes: int = 2**29) -> None:
        self._left = limit_bytes
        self._known: dict[tuple[Hashable, int], Tensor] = {}

    def use(self, keys: Sequence[Hashable]) -> AbstractContextManager[None]:
        """Have the forward passes inside the ``with`` block use this cache.

        ``keys`` name their rows: rows with equal keys must have equal noisy latents. Rows must not require a gradient
        with respect to the latents.
        """
        return _Using(partial(self._rows, keys))

    @torch.no_grad()
    def _rows(self, keys: Sequence[Hashable], module: nn.Module, inputs: Tensor, *rest: Any) -> Tensor:
        missing = [row for row, key in enumerate(keys) if (key, id(module)) not in self._known]
        computed: dict[int, Tensor] = {}
        if missing:
            others = [value[missing] if isinstance(value, Tensor) else value for value in rest]
            computed = dict(zip(missing, module(inputs[missing], *others), strict=True))
        rows = [computed[row] if row in computed else self._known[key, id(module)] for row, key in enumerate(keys)]
        for row, values in computed.items():
            if values.nbytes <= self._left and (keys[row], id(module)) not in self._known:
                self._known[keys[row], id(module)] = values.clone()  # a view would hold the whole batch
                self._left -= values.nbytes
        return torch.stack(rows)


class _Using(AbstractContextManager[None]):
    """Makes these rows the active ones inside the ``with`` block; it may be entered again after it was left."""

    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    def __enter__(self) -> None:
        self._before: Token[_Rows] = _ACTIVE.set(self._rows)

    def __exit__(self, *_: object) -> None:
        _ACTIVE.reset(self._before)


def same_cache() -> AbstractContextManager[None]:
    """Return a context with the cache and the rows that are active now, for a pass that is repeated later."""
    return _Using(_ACTIVE.get())


def prefix_modules(unet: UNet2DConditionModel) -> list[nn.Module]:
    """Return the modules that run before the first cross-attention.

    In order: residual blocks and downsamplers, and last the self-attention. The first convolution, which is cheap, is
    left out.
    """
    modules: list[nn.Module] = []
    for block in unet.down_blocks:
        attentions: Any = getattr(block, "attentions", None)
        if attentions:
            return [*modules, block.resnets[0], attentions[0].transformer_blocks[0].attn1]
        modules += [*block.resnets, *(block.downsamplers or ())]
    return modules


def cache_prefix(view: UNet2DConditionModel) -> None:
    """Have ``view``, whose lists are its own, use an active :class:`PrefixCache`; without one nothing changes."""
    cached = {id(module) for module in prefix_modules(view)}

    def ask_first(clone: Any, module: Any) -> None:
        clone.forward = partial(_cached_forward, module)
        # The module itself runs its hooks: once, and not for the rows that are known.
        clone.__dict__.update({name: value for name, value in vars(nn.Module()).items() if "_hooks" in name})

    view.down_blocks = replace_modules(view.down_blocks, lambda module: id(module) in cached, ask_first)


def _cached_forward(module: nn.Module, inputs: Tensor, *rest: Any, **named: Any) -> Tensor:
    rows = _ACTIVE.get()
    # A U-Net whose self-attention does see the context passes it here by name.
    if rows is None or any(value is not None for value in named.values()):
        result: Tensor = module(inputs, *rest, **named)
        return result
    return rows(module, inputs, *rest)
