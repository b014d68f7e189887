"""The two kinds of file that keep a flow: ``.flo`` for other programs, ``.npz`` for everything that is known of it."""

import contextlib
import io
import struct
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from semcorr.errors import FlowError, suggest
from semcorr.imaging.image import MAX_MEGAPIXELS
from semcorr.storage.files import is_file, write_atomically

# A .flo file: the float 202021.25, whose bytes read "PIEH"; width and height; then u and v of every pixel, row by row,
# all of four bytes, the least first. Numbers beyond 1e9 mean that the vector is not known.
_HEAD = struct.Struct("<4sii")
_MAGIC = b"PIEH"
_UNKNOWN = 1e10
_BEYOND = 1e9

_VERSION = 1
_FIELDS = ("displacement", "confidence", "source_size", "target_size", "step")
# Bytes of arrays in an .npz: a displacement and a confidence for each pixel, and a little for the rest.
_MOST = int(MAX_MEGAPIXELS * 1e6) * 12 + 100_000


def kind_of(path: Path) -> Literal["flo", "npz"]:
    """The kind of file that a path's ending names."""
    ending = path.suffix.lower()
    if ending == ".flo":
        return "flo"
    if ending == ".npz":
        return "npz"
    raise FlowError(
        f"A flow is kept in a .flo or an .npz file, got {str(path)!r}.{suggest(ending, ('.flo', '.npz'))} "
        "Name it by one of these endings."
    )


def write_flo(path: Path, displacement: Float[np.ndarray, "height width 2"]) -> Path:
    """Write one vector for each pixel; NaN as the format has it."""
    height, width = displacement.shape[:2]
    vectors = np.where(np.isnan(displacement), _UNKNOWN, displacement).astype("<f4")
    return write_atomically(path, _HEAD.pack(_MAGIC, width, height) + vectors.tobytes())


def read_flo(path: Path) -> Float[np.ndarray, "height width 2"]:
    """Read one vector for each pixel; NaN where the file says that it is not known.

    Raises:
        FlowError: the file is missing, is no ``.flo`` file, or its length is not what its head says.
    """
    with _reading(path), path.open("rb") as file:
        length = path.stat().st_size
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(_MAGIC):
            raise FlowError(
                f"{str(path)!r} is no .flo file: expected it to start with {_MAGIC!r} and two sizes, got {head[:4]!r} "
                f"in a file of {length} bytes."
            )
        _, width, height = _HEAD.unpack(head)
        _check_size(path, width, height)
        expected = _HEAD.size + width * height * 8
        if length != expected:
            raise FlowError(
                f"{str(path)!r} is too {'short' if length < expected else 'long'}: a flow of {width} x {height} "
                f"pixels takes {expected} bytes, and it has {length}. Copy or make it again."
            )
        vectors = np.frombuffer(file.read(), dtype="<f4").reshape(height, width, 2).astype(np.float32)
    unknown = ~(np.abs(vectors) <= _BEYOND).all(axis=-1)
    vectors[unknown] = np.nan
    return vectors


def write_npz(path: Path, **fields: Any) -> Path:
    """Write all fields of a flow."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, semcorr=np.array("flow"), version=np.array(_VERSION), **fields)
    return write_atomically(path, buffer.getvalue())


def read_npz(path: Path) -> dict[str, Any]:
    """Read the fields of a flow.

    Raises:
        FlowError: the file is missing, broken, too large, or holds something else.
    """
    with _reading(path):
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
        if total > _MOST:
            raise FlowError(
                f"{str(path)!r} would take {total / 1e6:.0f} megabytes unpacked, more than a flow of "
                f"{MAX_MEGAPIXELS:g} megapixels. It was not unpacked."
            )
        # numpy warns of what an earlier Python wrote.
        with warnings.catch_warnings(), np.load(path, allow_pickle=False) as archive:
            warnings.simplefilter("ignore")
            arrays = {name: archive[name] for name in archive.files}
        if "semcorr" not in arrays or str(arrays["semcorr"]) != "flow":
            raise FlowError(f"{str(path)!r} is no flow file but another file. Expected one that semcorr saved.")
        if int(arrays["version"]) != _VERSION:
            raise FlowError(
                f"{str(path)!r} has version {arrays['version']} of the flow format, expected {_VERSION}: read it with "
                "the version of semcorr that wrote it, or make it again."
            )
        source, target = (_size(arrays[name]) for name in ("source_size", "target_size"))
        for size in (source, target):
            _check_size(path, *size)
        step = int(arrays["step"])
        # Before a grid is made that takes memory for pixels that the file does not hold.
        if any(
            side > 2 * step * count for side, count in zip(source, arrays["displacement"].shape[1::-1], strict=True)
        ):
            raise ValueError(f"a displacement of shape {arrays['displacement'].shape} for a picture of {source}")
        for name in ("displacement", "confidence"):
            if arrays[name].dtype.kind != "f":
                raise ValueError(f"{name} of type {arrays[name].dtype}")
        return {name: arrays[name] for name in _FIELDS} | {
            "source_size": source,
            "target_size": target,
            "step": step,
        }


def _size(array: np.ndarray) -> tuple[int, int]:
    width, height = array.tolist()
    return int(width), int(height)


def _check_size(path: Path, width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MAX_MEGAPIXELS * 1e6:
        raise FlowError(
            f"{str(path)!r} claims {width} x {height} pixels; expected at least 1 x 1 and at most "
            f"{MAX_MEGAPIXELS:g} megapixels. It is broken; make it again."
        )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a missing or broken file makes readers raise into an error that names the file."""
    if not is_file(path):
        raise FlowError(f"There is no flow file {str(path)!r}. Expected a .flo or .npz file.")
    try:
        yield
    except FlowError:
        raise
    except KeyError as error:
        raise FlowError(f"{str(path)!r} is an incomplete flow file: {error} is missing. Make it again.") from error
    except Exception as error:  # What a broken archive makes its reader stumble over is not limited to its own errors.
        raise FlowError(f"Cannot read the flow file {str(path)!r}: {error}. It is broken; make it again.") from error
