"""Files: whether they are there, whatever they are called, and atomic writing, which leaves no half-written file."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from io import BufferedWriter
from pathlib import Path


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; False for a name that the system cannot have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for a name that the system cannot have."""
    return exists(path) and path.is_file()


def is_dir(path: Path) -> bool:
    """Whether there is such a folder; False for a name that the system cannot have."""
    return exists(path) and path.is_dir()


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BufferedWriter]:
    """Open a file for writing that appears under its name when the ``with`` block ends, and never if the block fails.

    The folder is made. Whatever was there before stays until the new file is complete.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    unfinished = Path(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        # mkstemp keeps the file to its owner; a result has the permissions any new file would have.
        unfinished.chmod(0o666 & ~_umask())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes) -> Path:
    """Write a file completely or not at all, its folder included, and return its path; see :func:`atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
