"""Reading a matrix of numbers from a MATLAB 5 file in pure Python: annotation files come from strangers.

scipy's reader indexes a table by an element's kind without checking its bounds, and a file can make it crash the
process. Only what annotations need is read: real numbers by a name, compressed or not. The format is MathWorks'
*MAT-File Format*, level 5.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MOST_BYTES = 1 << 16
"""The largest file, and the largest compressed content: ten points take a few hundred bytes."""

_HEAD = 128
_MATRIX, _COMPRESSED = 14, 15
_KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""The kinds in which numbers are stored. MATLAB uses the smallest one that holds them all, whatever their class."""
_NUMBERS = range(6, 16)
"""The classes double, single, int8 ... uint64."""


def read_numbers(data: bytes, name: str) -> np.ndarray | None:
    """The matrix of a name, as float64; None where there is none of that name.

    Raises:
        ValueError: It is not such a file, is broken or too long, or what has that name is not a matrix of real numbers.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes, which points cannot take")
    orders = {b"IM": "<", b"MI": ">"}
    if len(data) < _HEAD or data[126:128] not in orders:
        raise ValueError("its first 128 bytes are not those of MATLAB 5")
    order = orders[data[126:128]]
    for kind, content in _elements(data[_HEAD:], order):
        if kind == _COMPRESSED:
            (kind, content), *_ = list(_elements(_unpacked(content), order)) or [(0, b"")]
        if kind == _MATRIX:
            matrix = _matrix(content, order, name)
            if matrix is not None:
                return matrix
    return None


def read_file(path: Path, name: str) -> np.ndarray | None:
    """As :func:`read_numbers`, of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: As :func:`read_numbers`.
    """
    with path.open("rb") as stream:
        return read_numbers(stream.read(MOST_BYTES + 1), name)


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each element; every one begins at a multiple of eight bytes but after a compressed one."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise ValueError("it is cut short")
        kind, length = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # a short element: kind, length and up to four bytes in one
            kind, length = kind & 0xFFFF, kind >> 16
            start, following = at + 4, at + 8
            if length > 4:
                raise ValueError("a short element is too long")
        else:
            start = at + 8
            following = start + length + (0 if kind == _COMPRESSED else -length % 8)
        if start + length > len(data):
            raise ValueError("it is cut short")
        yield kind, data[start : start + length]
        at = following


def _unpacked(content: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(content, MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"what is compressed in it is broken ({error})") from error
    if not stream.eof:
        raise ValueError("what is compressed in it is cut short, or more than points can take")
    return data


def _matrix(content: bytes, order: str, name: str) -> np.ndarray | None:
    parts = list(_elements(content, order))
    if len(parts) < 3 or len(parts[0][1]) < 4 or len(parts[1][1]) % 4:
        return None  # what has no name is not what was asked for
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    if parts[2][1].rstrip(b"\0") != name.encode():
        return None
    if flags & 0xFF not in _NUMBERS or flags & 0x800 or len(parts) != 4 or parts[3][0] not in _KINDS:
        raise ValueError(f"{name!r} is no matrix of real numbers")
    sides = [int(side) for side in np.frombuffer(parts[1][1], f"{order}i4")]
    values = np.frombuffer(parts[3][1], order + _KINDS[parts[3][0]])
    total = 1
    for side in sides:
        total *= max(side, -1)
    if len(sides) < 2 or min(sides) < 0 or total != len(values):
        raise ValueError(f"{name!r} has {len(values)} numbers for a shape of {sides}")
    return values.astype(np.float64).reshape(sides, order="F")
