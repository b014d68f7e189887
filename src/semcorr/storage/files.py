"""Whether files are there, whatever they are called, and writing them so that nobody ever sees half of one."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; a name that the system cannot have is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """The same of a file."""
    return exists(path) and path.is_file()


def is_dir(path: Path) -> bool:
    """The same of a folder."""
    return exists(path) and path.is_dir()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BufferedIOBase]:
    """A file to write, which takes its place when the ``with`` block ends, and never if that fails.

    Its folder is made; what was there before stays until the new one is whole.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until it is whole: an interrupted run leaves the old file or none.
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


def write_whole(path: Path, data: bytes) -> Path:
    """Write a file whole or not at all, its folder included, and return its path; see :func:`whole_file`."""
    with whole_file(path) as file:
        file.write(data)
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
