"""Tell by its look what a model's name is."""

import re

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def looks_like_a_path(name: str) -> bool:
    """Whether a name can only be meant as a file or folder."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or name.endswith(".safetensors")


def is_hub_id(name: str) -> bool:
    """Whether a name is of the form "owner/name"."""
    return _HUB_ID.fullmatch(name) is not None
