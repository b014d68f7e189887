"""Writing files so that nobody ever sees half of one."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes) -> Path:
    """Write a file whole or not at all, its folder included, and return its path.

    What was there before stays until the new one is whole.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until it is whole: an interrupted run leaves the old file or none.
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    unfinished = Path(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp keeps the file to its owner; a result has the permissions any new file would have.
        unfinished.chmod(0o666 & ~_umask())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
