"""Cut a vision transformer after the block that is read, without copying its weights or its forward pass."""

from typing import Any, Literal, TypeVar

import torch
from torch import nn

from semcorr.models.shallow_clone import shallow_clone

Facet = Literal["token", "key", "query", "value"]

M = TypeVar("M", bound=nn.Module)
# transformers renames modules now and then: their names in each version since 5.0.
_PROJECTIONS = {"key": ("k_proj", "key"), "query": ("q_proj", "query"), "value": ("v_proj", "value")}
_FIRST_NORMS = ("norm1", "layernorm_before")
_LAST_NORMS = ("norm", "layernorm")


class _Projection(nn.Module):
    """Replaces a block of which only one projection is read."""

    def __init__(self, block: nn.Module, facet: Facet) -> None:
        super().__init__()
        self.norm = _named(block, _FIRST_NORMS)
        self.project = _named(block, _PROJECTIONS[facet])

    def forward(self, hidden_states: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        result: torch.Tensor = self.project(self.norm(hidden_states))
        return result


def blocks_of(network: nn.Module) -> nn.ModuleList:
    """Return a transformer's blocks in order."""
    return _blocks(network)[1]


def ending_at(network: M, layer: int, facet: Facet, *, norm: bool) -> M:
    """Return a view of ``network`` that ends at block ``layer`` and returns a facet of it as the last hidden state.

    Keys, queries and values are the block's projections of its normalised input, all heads concatenated, before any
    rotary embedding. ``norm`` applies the network's final norm, which only the last block's tokens get. The view shares
    every parameter with ``network`` and runs through transformers' own ``forward``; ``network`` itself is not changed:
    the modules on the way to the blocks are shallow clones.
    """
    path, blocks = _blocks(network)
    view = shallow_clone(network)
    holder: Any = view
    *parents, attribute = path.split(".")
    for parent in parents:
        setattr(holder, parent, shallow_clone(getattr(holder, parent)))
        holder = getattr(holder, parent)
    last = blocks[layer] if facet == "token" else _Projection(blocks[layer], facet)
    setattr(holder, attribute, nn.ModuleList([*blocks[:layer], last]))
    if facet != "token" or layer < len(blocks) - 1 or not norm:
        setattr(view, next(name for name in _LAST_NORMS if hasattr(network, name)), nn.Identity())
    return view


def _blocks(network: nn.Module) -> tuple[str, nn.ModuleList]:
    # Whatever its name, the list of blocks comes before any list inside a block.
    return next((name, module) for name, module in network.named_modules() if isinstance(module, nn.ModuleList))


def _named(block: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """Return the module of a block that has one of these names, at any depth."""
    return next(module for path, module in block.named_modules() if path.rsplit(".", 1)[-1] in names)
