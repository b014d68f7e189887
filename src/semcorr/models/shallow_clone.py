"""Views of a frozen network: different modules around the same weights."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class PassThrough(nn.Module):
    """Replaces a module whose result is not used: returns its first argument."""

    def forward(self, hidden_states: Tensor, *_: object, **__: object) -> Tensor:
        """Return the first argument."""
        return hidden_states


def shallow_clone(module: M) -> M:
    """Copy a module object but none of its children, parameters or buffers.

    The two have their hooks in common: one that is registered on, or removed from, the one is so on the other.
    """
    twin = copy.copy(module)
    for registry in ("_modules", "_parameters", "_buffers"):
        twin.__dict__[registry] = copy.copy(module.__dict__[registry])
    return twin


def clone_hooks(module: nn.Module) -> None:
    """Give a shallow clone hooks of its own: those that it has, and what is registered on it from now on."""
    for name, registry in list(vars(module).items()):
        if name.startswith(("_forward_hooks", "_forward_pre_hooks")):
            module.__dict__[name] = copy.copy(registry)


def replace_modules(module: Any, selected: Callable[[nn.Module], bool], change: Callable[[Any, Any], None]) -> Any:
    """Return a view of a module in which the selected modules are changed.

    ``change`` gets a clone of each selected module, to be changed in place, and the module itself. The modules on the
    way to them are shallow clones; all others are shared, and ``module`` does not change.
    """
    if not any(selected(inner) for inner in module.modules()):
        return module
    clone = shallow_clone(module)
    for name, child in module.named_children():
        clone._modules[name] = replace_modules(child, selected, change)
    if selected(module):
        change(clone, module)
    return clone
