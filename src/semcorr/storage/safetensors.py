"""Files of queries and matches: arrays in safetensors, and a header of JSON beside them. Nothing is unpickled."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from semcorr.errors import QueryError
from semcorr.storage.files import is_file, write_atomically

_VERSION = 1


def write_tensors(path: Path, kind: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a file whole or not at all, and return its path.

    Raises:
        OSError: It cannot be written.
    """
    described = {"semcorr": kind, "version": _VERSION, **header}
    data = to_safetensors(dict(arrays), metadata={"semcorr": json.dumps(described)})
    return write_atomically(path, data)


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a file's header and arrays.

    Raises:
        QueryError: It is missing, broken, or of another kind.
    """
    if not is_file(path):
        raise QueryError(f"There is no {kind} file {str(path)!r}. Expected a .safetensors file that semcorr saved.")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        header = json.loads(metadata.get("semcorr", "null"))
    # Types of numbers that numpy does not have are a TypeError or an AttributeError.
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise QueryError(f"Cannot read the {kind} file {str(path)!r}: {error}. It is broken; make it again.") from error
    if not isinstance(header, dict) or header.get("semcorr") != kind:
        actual = f"a {header['semcorr']} file" if isinstance(header, dict) and "semcorr" in header else "another file"
        raise QueryError(f"{str(path)!r} is not a {kind} file but {actual}. Expected one that semcorr saved.")
    if header.get("version") != _VERSION:
        raise QueryError(
            f"{str(path)!r} has version {header.get('version')} of the {kind} format, expected {_VERSION}: "
            "read it with the version of semcorr that wrote it, or make it again."
        )
    return header, arrays


@contextlib.contextmanager
def complete(path: Path, kind: str) -> Iterator[None]:
    """Turn the errors of an incomplete file into one that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise QueryError(
            f"{str(path)!r} is an incomplete {kind} file ({type(error).__name__}: {error}). Make it again."
        ) from error


def warnings_of(header: Mapping[str, Any]) -> tuple[str, ...]:
    """The warnings that a file's header or a line of JSON holds, under the name of today or of version 0.1 ("remarks").

    Raises:
        TypeError: They are not a list.
    """
    stored = header.get("warnings", header.get("remarks", []))
    if not isinstance(stored, list):
        raise TypeError(f"warnings is {stored!r:.60}")
    return tuple(map(str, stored))
