"""PNG files with text, profiles and other chunks that are too large or broken are read, within Pillow's bounds."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL import PngImagePlugin

from semcorr.imaging.image import image_size, load_image
from semcorr.imaging.png_chunks import without_odd_chunks

PIXELS = np.random.default_rng(3).integers(0, 256, (6, 10, 3), dtype=np.uint8)
LARGE = PngImagePlugin.MAX_TEXT_CHUNK + 1
SIDEWAYS = PIL.Image.Exif()
SIDEWAYS[0x0112] = 6
TURNED = np.rot90(PIXELS, -1)
"""What orientation 6 asks for: a quarter turn clockwise."""
EXIF = SIDEWAYS.tobytes()[6:]


def chunk(kind: str, body: bytes, check: int | None = None) -> bytes:
    named = kind.encode() + body
    return struct.pack(">I", len(body)) + named + struct.pack(">I", zlib.crc32(named) if check is None else check)


def png(before: Sequence[bytes] = (), after: Sequence[bytes] = ()) -> bytes:
    """The pixels as a PNG with further chunks before and after them."""
    height, width, _ = PIXELS.shape
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(rows)
    pixels = [chunk("IDAT", data[:20]), chunk("IDAT", data[20:])]
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk("IHDR", header), *before, *pixels, *after, chunk("IEND", b"")])


def packed(size: int) -> bytes:
    return zlib.compress(b"x" * size, 9)


ODD = {
    "ztxt": [chunk("zTXt", b"workflow\0\0" + packed(LARGE))],
    "itxt packed": [chunk("iTXt", b"prompt\0\1\0\0\0" + packed(LARGE))],
    "text": [chunk("tEXt", b"parameters\0" + b"x" * (PngImagePlugin.MAX_TEXT_MEMORY + 1))],
    "a sum of texts": [chunk("tEXt", b"p%d\0" % n + b"x" * LARGE) for n in range(70)],
    "a sum of packed texts": [chunk("zTXt", b"p%d\0\0" % n + packed(LARGE - 1)) for n in range(70)],
    "a profile": [chunk("iCCP", b"icc\0\0" + packed(LARGE))],
    "a broken profile": [chunk("iCCP", b"icc\0\0" + b"no zlib")],
    "an unknown packing": [chunk("iCCP", b"icc\0\7" + packed(10)), chunk("zTXt", b"a\0\7" + packed(10))],
    "an empty profile": [chunk("iCCP", b"")],
    "a wrong checksum": [chunk("tEXt", b"a\0b", check=0), chunk("iCCP", b"c", check=1)],
    "short ones": [chunk("pHYs", b"1"), chunk("sRGB", b""), chunk("gAMA", b"1"), chunk("cHRM", b"12345")],
    "what nobody knows": [chunk("caBX", b"\0" * LARGE)],
    "no text": [chunk("tEXt", b""), chunk("zTXt", b""), chunk("iTXt", b"\0")],
}


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("name", ODD)
def test_odd_chunks_do_not_hide_the_image(tmp_path: Path, name: str, where: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(**{where: ODD[name]}))
    np.testing.assert_array_equal(load_image(path).pixels, PIXELS)
    assert image_size(path) == (10, 6)


@pytest.mark.parametrize("name", ODD)
def test_the_image_is_still_turned(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png([*ODD[name], chunk("eXIf", EXIF)]))
    np.testing.assert_array_equal(load_image(path).pixels, TURNED)
    assert image_size(path) == (6, 10)


def test_a_text_that_says_how_the_image_is_turned_is_kept(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    path = tmp_path / "a.png"
    path.write_bytes(png([*ODD["ztxt"], chunk("iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)]))
    np.testing.assert_array_equal(load_image(path).pixels, TURNED)


@pytest.mark.parametrize("exif", [b"", b"II*\0\xff\xff\xff\xff", b"\0" * LARGE, EXIF + b"\0" * LARGE])
def test_a_broken_or_large_exif_block(tmp_path: Path, exif: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png([chunk("eXIf", exif)]))
    np.testing.assert_array_equal(load_image(path).pixels, TURNED if exif.startswith(EXIF) else PIXELS)


def test_an_animation_keeps_its_frames(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    frames = [PIL.Image.fromarray(np.roll(PIXELS, shift)) for shift in (0, 7)]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    data = buffer.getvalue()
    path = tmp_path / "a.png"
    path.write_bytes(data[:33] + b"".join(ODD["ztxt"]) + data[33:])  # after the header
    np.testing.assert_array_equal(load_image(path).pixels, PIXELS)
    with path.open("rb") as stream, PIL.Image.open(without_odd_chunks(stream)) as opened:
        opened.seek(1)
        np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), np.asarray(frames[1]))


@pytest.mark.parametrize("content", [b"", b"GIF89a", png(), png([chunk("tEXt", b"a\0b")]), b"\x89PNG\r\n\x1a\n"])
def test_a_file_of_which_nothing_is_left_out_comes_back_itself(content: bytes) -> None:
    stream = io.BytesIO(content)
    assert without_odd_chunks(stream) is stream
    assert stream.tell() == 0


def test_what_is_left_of_a_file_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(ODD["ztxt"], ODD["what nobody knows"]))
    with path.open("rb") as stream:
        left = without_odd_chunks(stream)
        assert left.read() == png()
        assert left.seek(-8, io.SEEK_END) == len(png()) - 8
        assert left.read(4) == b"IEND"


@pytest.mark.parametrize("cut", [20, 40, 80, -1])
def test_a_file_that_ends_early_is_refused_as_before(tmp_path: Path, cut: int) -> None:
    whole = png(ODD["a broken profile"])
    for content in (whole[:cut], whole[: len(whole) // 2]):
        stream = without_odd_chunks(io.BytesIO(content))
        assert len(stream.read()) <= len(content)


MEASURED = """
import resource, sys
from semcorr.imaging.image import load_image
load_image(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_image(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_a_bomb_of_many_texts_takes_no_memory(tmp_path: Path) -> None:
    """A megabyte on disk that would be a gigabyte: a thousand texts, each at Pillow's bound."""
    (tmp_path / "plain.png").write_bytes(png())
    bomb = png([chunk("zTXt", b"p%d\0\0" % n + packed(LARGE - 1)) for n in range(1000)], ODD["ztxt"] * 1000)
    (tmp_path / "bomb.png").write_bytes(bomb)
    assert len(bomb) < 3e6
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "plain.png"), str(tmp_path / "bomb.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    # Pillow keeps what it takes: at most MAX_TEXT_MEMORY characters, once as a text and once as it was unpacked.
    assert int(done.stdout) * unit < 4 * PngImagePlugin.MAX_TEXT_MEMORY


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_other_formats_with_large_profiles_are_read_and_turned(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x9286] = 6, b"x" * 60_000
    PIL.Image.fromarray(PIXELS).save(path, kind, icc_profile=b"garbage" * 300_000, exif=exif, comment=b"c" * 60_000)
    assert (load_image(path).size, image_size(path)) == ((6, 10), (6, 10))
