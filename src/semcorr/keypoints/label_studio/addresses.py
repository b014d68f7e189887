"""Which value of a task is the image, and which file it means.

Label Studio keeps addresses of files: uploaded to it, below a folder that it serves, in a bucket, or anywhere else.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_SERVED = ("/data/", "data/local-files/")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_HOST = re.compile(r"https?://[^/]*/", re.IGNORECASE)
_ENDING = re.compile(
    r"\.(png|jpe?g|jpe|jfif|webp|avif|gif|bmp|dib|tiff?|ppm|pgm|pbm|jp2|j2k|mpo|hei[cf]|svg)$", re.IGNORECASE
)
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""The prefix that Label Studio adds to the name of an uploaded file."""


def image_fields(data: Mapping[str, Any]) -> list[str]:
    """The fields of a task that may be an image: with an image's ending, or else an address of any kind."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    ending = [key for key, value in texts.items() if is_embedded(value) or _ENDING.search(_path(value))]
    return ending or [key for key, value in texts.items() if value.startswith(_SERVED) or _SCHEME.match(value)]


def is_embedded(address: str) -> bool:
    """Whether an address is not a file's name but holds the image itself."""
    return address[:5].lower() == "data:"


def possible_paths(address: str) -> tuple[str, ...]:
    """The paths that an address may mean, the likeliest first, folders included."""
    path = _path(address)
    encoded = path != address or address.startswith("/")
    paths = [unquote(path), path] if encoded else [address]
    if encoded and "+" in path:
        paths.append(unquote(path.replace("+", " ")))  # as forms encode a space
    if "/upload/" in path:
        # The folder of an upload is Label Studio's own, and its name has a prefix.
        names = [one.rpartition("/")[2] for one in paths]
        paths += [*names, *(_UPLOADED.sub("", name) for name in names)]
    return tuple(dict.fromkeys(paths))


def _path(address: str) -> str:
    """The path in an address, as it is written there."""
    path, _, query = address.partition("?")
    if path.rstrip("/").endswith("data/local-files"):
        local = next((part[2:] for part in query.split("&") if part.startswith("d=")), "")
        return local or path
    if _HOST.match(address):
        return _HOST.sub("", path.partition("#")[0])
    if _SCHEME.match(address) or address.startswith("/"):
        # The bucket is kept: several may hold files of one name, and a local copy may have a folder for each.
        return _SCHEME.sub("", path.partition("#")[0])
    return address
