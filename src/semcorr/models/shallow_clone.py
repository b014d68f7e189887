"""Views of a frozen network: different modules around the same weights."""

import copy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def shallow_clone(module: M) -> M:
    """Copy a module object but none of its children, parameters or buffers."""
    twin = copy.copy(module)
    for registry in ("_modules", "_parameters", "_buffers", "_forward_hooks", "_forward_pre_hooks"):
        twin.__dict__[registry] = copy.copy(module.__dict__[registry])
    return twin
