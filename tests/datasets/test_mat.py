"""MATLAB 5 files: what scipy writes is read as scipy reads it, and nothing else is."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from semcorr.datasets import mat

HEAD = b"\0" * 126 + b"IM"


def written(content: dict[str, object], **options: object) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, content, **options)
    return stream.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_numbers_of_every_kind(kind: str, compressed: bool) -> None:
    points = np.arange(20).reshape(2, 10).astype(kind)
    data = written({"a": "text", "pts_coord": points, "z": {"b": 1}}, do_compression=compressed)
    np.testing.assert_array_equal(mat.read_numbers(data, "pts_coord"), points)
    assert mat.read_numbers(data, "none") is None


def test_photographs_are_read_as_scipy_reads_them(photographs: Path) -> None:
    files = sorted(photographs.rglob("*.mat"))
    assert files
    for path in files:
        np.testing.assert_array_equal(mat.read_file(path, "pts_coord"), scipy.io.loadmat(path)["pts_coord"])


@pytest.mark.parametrize("content", ["text", {"a": 1}, np.array([[1j]]), np.array([["a"]], dtype=object)])
def test_what_is_no_matrix_of_numbers_is_an_error(content: object) -> None:
    with pytest.raises(ValueError, match="no matrix of real numbers"):
        mat.read_numbers(written({"pts_coord": content}), "pts_coord")


def test_a_kind_that_there_is_not_is_an_error() -> None:
    """scipy 1.17 crashes the process."""
    data = bytearray(written({"pts_coord": np.ones((2, 10))}))
    at = data.index(b"pts_coord") + 16
    assert data[at] in (2, 9)
    data[at] = 160
    with pytest.raises(ValueError, match="no matrix of real numbers"):
        mat.read_numbers(bytes(data), "pts_coord")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "first 128 bytes"),
        (b"\0" * 200, "first 128 bytes"),
        (HEAD + b"\0" * 5, "cut short"),
        (HEAD + struct.pack("<II", 14, 2**32 - 1), "cut short"),
        (HEAD + struct.pack("<II", 15, 4) + b"text", "compressed in it is broken"),
        (HEAD + b"\0" * (1 << 16), "more than 65536 bytes"),
    ],
)
def test_broken_files_are_errors(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mat.read_numbers(data, "pts_coord")


def test_a_bomb_is_not_unpacked() -> None:
    packed = zlib.compress(bytes(50_000_000))
    with pytest.raises(ValueError, match="more than points can take"):
        mat.read_numbers(HEAD + struct.pack("<II", 15, len(packed)) + packed, "pts_coord")
