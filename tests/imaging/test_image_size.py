"""The size that is read from a file's header is the decoded image's, whatever turns it."""

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL.PngImagePlugin import PngInfo

from semcorr.errors import ImageError
from semcorr.imaging.image import image_size, load_image

STORED = np.random.default_rng(3).integers(0, 256, (30, 50, 3), dtype=np.uint8)
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


@pytest.mark.parametrize("orientation", [None, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "avif", "mpo"])
def test_the_size_is_the_upright_images(tmp_path: Path, suffix: str, orientation: int | None) -> None:
    exif = PIL.Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    PIL.Image.fromarray(STORED).save(path, exif=exif)
    sideways = orientation is not None and 5 <= orientation <= 8
    assert image_size(path) == load_image(path).size == ((30, 50) if sideways else (50, 30))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_orientation_in_xmp_counts(tmp_path: Path, orientation: int) -> None:
    text = XMP.format(orientation)
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", text)
    PIL.Image.fromarray(STORED).save(tmp_path / "a.png", pnginfo=info)
    PIL.Image.fromarray(STORED).save(tmp_path / "a.jpg", xmp=text.encode())
    for path in (tmp_path / "a.png", tmp_path / "a.jpg"):
        assert image_size(path) == load_image(path).size == ((30, 50) if orientation > 5 else (50, 30))


def test_exif_after_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    PIL.Image.fromarray(STORED).save(path)
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    path.write_bytes(path.read_bytes()[:-12] + chunk + path.read_bytes()[-12:])
    assert image_size(path) == load_image(path).size == (30, 50)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "ppm", "jp2"])
def test_pixels_are_not_decoded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    PIL.Image.fromarray(STORED.repeat(10, axis=0).repeat(10, axis=1)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert image_size(path) == (500, 300)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    (tmp_path / "empty.png").touch()
    for name, message in (("a.png", "not an image"), ("empty.png", "empty"), ("b.png", "no file"), ("", "folder")):
        with pytest.raises(ImageError, match=message):
            image_size(tmp_path / name)
