"""NumPy's ``.npz`` files, written array by array, so that not all of them have to be in memory."""

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from semcorr.storage.files import atomic_file


@contextlib.contextmanager
def npz_file(path: Path) -> Iterator[Callable[[str, ArrayLike], None]]:
    """Write a file for ``numpy.load``, whole or not at all; see :func:`semcorr.storage.files.atomic_file`.

    Yields:
        What adds an array under a name. Arrays of objects are refused (ValueError): files hold no pickles.
    """
    with atomic_file(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, array: ArrayLike) -> None:
            # zip64: how large an array gets compressed is not known when its entry begins.
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)

        yield add
