"""What commands over many images share: files, folders and patterns; and Ctrl-C, after which they continue."""

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from semcorr.errors import TransferError


def expanded(targets: Sequence[str]) -> Iterator[Path]:
    """Expand patterns that the shell did not expand."""
    for target in targets:
        if Path(target).exists() or not glob.has_magic(target):
            yield Path(target)
            continue
        paths = sorted(glob.glob(target, recursive=True))  # noqa: PTH207  # a pattern may begin anywhere
        if not paths:
            raise TransferError(f"Expected images for the pattern {target!r}, got none. Check it, or name a folder.")
        yield from map(Path, paths)


@contextmanager
def stoppable(work_folder: Path) -> Iterator[None]:
    """Add to Ctrl-C that the same command continues from what is stored in a folder."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is finished is kept: the same command continues ({work_folder}).") from None
