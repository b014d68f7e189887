import io
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from semcorr.errors import ImageError
from semcorr.imaging.geometry import check_points
from semcorr.imaging.image import Image, load_image

RNG = np.random.default_rng(7)
PIXELS = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)


def png(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG file put together by hand, so that it can claim what it does not hold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(buffer, kind)
    return buffer.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# --- what works -------------------------------------------------------------------------------------------------------


def test_the_same_content_is_the_same_image_however_it_comes(tmp_path: Path) -> None:
    file = written(tmp_path / "cat.png", encoded("PNG"))
    sources = [
        file,
        str(file),
        PIL.Image.open(file),
        PIXELS,
        PIXELS.astype(np.float64) / 255,
        PIXELS.astype(np.uint16) * 257,
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1).float() / 255,
    ]
    images = [load_image(source) for source in sources]
    for image in images:
        np.testing.assert_array_equal(image.pixels, PIXELS)
        assert image.size == (40, 24)
    assert len({image.sha256 for image in images}) == 1
    assert [image.name for image in images[:4]] == ["cat.png", "cat.png", "cat.png", "image"]
    assert load_image(images[0]) is images[0]
    assert load_image(PIXELS, name="a cat").name == "a cat"


def test_the_hash_depends_on_the_pixels_and_on_the_shape() -> None:
    changed = PIXELS.copy()
    changed[3, 5, 1] ^= 1
    reshaped = PIXELS.reshape(40, 24, 3)
    assert len({load_image(array).sha256 for array in (PIXELS, changed, reshaped)}) == 3


def test_an_image_cannot_be_changed_through_the_array_it_came_from() -> None:
    array = PIXELS.copy()
    image = load_image(array)
    array[:] = 0
    np.testing.assert_array_equal(image.pixels, PIXELS)
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0, 0] = 1


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9).map(lambda s: (*s, 3))))
def test_tensors_there_and_back(pixels: np.ndarray) -> None:
    tensor = load_image(pixels).tensor()
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, *pixels.shape[:2])
    assert 0 <= tensor.min() <= tensor.max() <= 1
    np.testing.assert_array_equal(load_image(tensor).pixels, pixels)
    np.testing.assert_array_equal(load_image(load_image(pixels).pil()).pixels, pixels)


def test_grey_is_spread_over_the_channels() -> None:
    grey = PIXELS[..., 0]
    expected = np.stack([grey] * 3, axis=-1)
    for source in (grey, grey[..., None], torch.from_numpy(grey)[None], PIL.Image.fromarray(grey)):
        np.testing.assert_array_equal(load_image(source).pixels, expected)
    np.testing.assert_array_equal(load_image(grey > 127).pixels, np.where(expected > 127, 255, 0))


def test_alpha_is_composited_on_white(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, PIXELS.shape[:2], dtype=np.uint8)
    rgba = np.dstack([PIXELS, alpha])
    share = alpha[..., None] / 255
    expected = PIXELS * share + 255 * (1 - share)
    PIL.Image.fromarray(rgba).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", rgba, torch.from_numpy(rgba).permute(2, 0, 1)):
        assert np.abs(load_image(source).pixels - expected).max() <= 1


def test_a_palette_png_with_alpha_works(tmp_path: Path) -> None:
    entries = np.array([[0, 1], [2, 3]], dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    paletted = PIL.Image.fromarray(entries).convert("P")
    paletted.putdata(entries.ravel().tolist())
    paletted.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30])
    paletted.save(tmp_path / "p.png", transparency=bytes([255, 0, 51, 255]))
    with PIL.Image.open(tmp_path / "p.png") as reopened:
        assert reopened.mode == "P"
    corners = load_image(tmp_path / "p.png").pixels[::4, ::4]
    # Opaque red; invisible, so white; a fifth of blue on white; opaque dark blue.
    np.testing.assert_array_equal(corners, [[[255, 0, 0], [255, 255, 255]], [[204, 204, 255], [10, 20, 30]]])


SIXTEEN = np.array([[0, 128, 129, 257], [1000, 32768, 65406, 65535]], dtype=np.uint16)
# value / 257, to the nearest: 128 / 257 = 0.498, 129 / 257 = 0.502, 1000 / 257 = 3.89, 65406 / 257 = 254.498.
EIGHT = np.array([[0, 0, 1, 1], [4, 128, 254, 255]], dtype=np.uint8)


# Which mode a 16-bit PNG opens in depends on the release of Pillow, so both are tried in every way they can be stored.
@pytest.mark.parametrize(("mode", "suffix"), [("I;16", "png"), ("I;16", "tif"), ("I", "tif")])
def test_sixteen_bit_files_are_scaled(tmp_path: Path, mode: str, suffix: str) -> None:
    file = tmp_path / f"deep.{suffix}"
    image = PIL.Image.fromarray(SIXTEEN if mode == "I;16" else SIXTEEN.astype(np.int32))
    assert image.mode == mode
    image.save(file)
    for source in (image, file):
        np.testing.assert_array_equal(load_image(source).pixels, np.stack([EIGHT] * 3, axis=-1))


def test_sixteen_bit_colour_png(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (5, 6, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    file = written(tmp_path / "deep.png", png(6, 5, rows, depth=16))
    # Pillow keeps the upper eight bits, which is at most one step from the nearest.
    assert np.abs(load_image(file).pixels - deep / 257).max() <= 1


def test_whole_numbers_beyond_sixteen_bits_are_refused() -> None:
    with pytest.raises(ImageError, match="from 0 to 70000; they are read as 16-bit"):
        load_image(PIL.Image.fromarray(np.array([[0, 1], [2, 70000]], dtype=np.int32)))


def test_float_images_are_from_zero_to_one() -> None:
    image = PIL.Image.fromarray(np.array([[0.0, 1.0], [0.5, 0.25]], dtype=np.float32))
    assert image.mode == "F"
    assert load_image(image).pixels[..., 0].tolist() == [[0, 255], [128, 64]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr", "HSV", "RGBa"])
def test_other_modes_are_read(mode: str) -> None:
    image = PIL.Image.fromarray(PIXELS)
    image = image.convert("RGBA").convert("RGBa") if mode == "RGBa" else image.convert(mode)
    assert load_image(image).size == (40, 24)


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (load_image(tmp_path / "a.gif").pixels == (255, 0, 0)).all()


# What a viewer does with the stored rows and columns for each value of the EXIF tag "Orientation".
SHOWN = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_points_follow_what_a_person_sees(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = np.full((32, 64, 3), 200, dtype=np.uint8)
    stored[4:12, 40:56] = (255, 0, 0)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"photo.{suffix}"
    PIL.Image.fromarray(stored).save(file, exif=exif, **({"quality": 95, "subsampling": 0} if suffix == "jpg" else {}))
    shown = SHOWN[orientation](stored)

    image = load_image(file)
    assert image.size == (shown.shape[1], shown.shape[0])
    assert np.abs(image.pixels.astype(int) - shown).max() <= (24 if suffix == "jpg" else 0)
    # The middle of the red patch as seen; where the photo is on its side this lies outside the stored size's frame.
    rows, columns = np.nonzero(shown[..., 1] == 0)
    x, y = columns.mean() + 0.5, rows.mean() + 0.5
    check_points([(x, y)], image.size)
    assert image.pixels[int(y), int(x)].tolist()[0] > 240
    assert image.pixels[int(y), int(x)].tolist()[1] < 30


def test_garbled_exif_is_ignored(tmp_path: Path) -> None:
    PIL.Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert load_image(tmp_path / "a.png").size == (40, 24)


# --- what does not ----------------------------------------------------------------------------------------------------


def test_a_missing_file_is_named_with_its_likely_neighbour(tmp_path: Path) -> None:
    written(tmp_path / "lion.jpg", encoded("JPEG"))
    with pytest.raises(
        ImageError, match=r"There is no file '.*lino\.jpg'\. Did you mean 'lion\.jpg'\? Check the path\."
    ):
        load_image(tmp_path / "lino.jpg")
    with pytest.raises(ImageError, match=r"There is no file '.*nowhere/at/all\.jpg'\. Check the path\."):
        load_image(tmp_path / "nowhere" / "at" / "all.jpg")


def test_a_folder_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder, expected an image file"):
        load_image(tmp_path)


def test_a_name_no_file_can_have() -> None:
    with pytest.raises(ImageError, match=r"cannot be read: .*too long"):
        load_image("x" * 5000)


def test_an_address_is_not_fetched() -> None:
    with pytest.raises(ImageError, match="is a URL, but images are read from files only: download it first"):
        load_image("https://example.org/cat.jpg")


def test_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"empty\.jpg' is empty \(0 bytes\): copy or download it again"):
        load_image(written(tmp_path / "empty.jpg", b""))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_jpeg(tmp_path: Path, share: float) -> None:
    content = encoded("JPEG")
    file = written(tmp_path / "cut.jpg", content[: int(len(content) * share)])
    with pytest.raises(ImageError, match=r"cut\.jpg' is (broken|not an image).*(again|save it as)"):
        load_image(file)


def test_a_jpeg_that_ends_in_the_middle_of_its_pixels_says_so(tmp_path: Path) -> None:
    content = encoded("JPEG")
    with pytest.raises(ImageError, match=r"is broken or incomplete: .*truncated.*Copy or download it again\."):
        load_image(written(tmp_path / "cut.jpg", content[:-40]))


def test_a_file_that_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(
        ImageError, match=r"is not an image file of a supported format .PNG, .*: save it as PNG or JPEG"
    ):
        load_image(written(tmp_path / "notes.jpg", b"Dear diary, today I saw a cat."))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_one_pixel_wide_or_high(tmp_path: Path, size: tuple[int, int]) -> None:
    PIL.Image.new("RGB", size).save(tmp_path / "dot.png")
    match = rf"dot\.png' is {size[0]} x {size[1]} pixels; every side must have at least 2 pixels"
    with pytest.raises(ImageError, match=match):
        load_image(tmp_path / "dot.png")


def test_a_header_bomb_is_refused_without_decoding(tmp_path: Path) -> None:
    # Its pixels are no valid image data: had they been touched, the message would be that it is broken.
    bomb = written(tmp_path / "bomb.png", png(30_000, 30_000, b"none"))
    with pytest.raises(
        ImageError, match=r"bomb\.png' claims .*900000000 pixels.* was not decoded\. Scale it down first"
    ):
        load_image(bomb)


@pytest.mark.parametrize("side", [11_000, 10_001])
def test_the_limit_is_ours_below_pillows(tmp_path: Path, side: int) -> None:
    bomb = written(tmp_path / "bomb.png", png(side, side, b"none"))
    match = rf"is {side} x {side} pixels \({side * side / 1e6:.0f} megapixels\), more than the limit of 100 megapixels"
    with pytest.raises(ImageError, match=match):
        load_image(bomb)
    with PIL.Image.open(written(tmp_path / "small.png", png(2000, 1000, b"none"))) as unread:
        with pytest.raises(ImageError, match=r"small\.png' is 2000 x 1000 pixels .*raise max_megapixels"):
            load_image(unread, max_megapixels=1.9)
        with pytest.raises(ImageError, match="broken"):
            load_image(unread, max_megapixels=2.0)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (np.zeros((3, 8, 9), np.uint8), r"got \(3, 8, 9\)\. Its channels are first: move them last"),
        (np.zeros((8, 9, 2), np.uint8), r"must be \(height, width\) or .*got \(8, 9, 2\)\.$"),
        (np.zeros(7, np.uint8), r"got \(7,\)"),
        (np.zeros((0, 9, 3), np.uint8), "has no pixels"),
        (np.zeros((8, 9, 3), np.int64), "holds int64; pass uint8"),
        (np.full((8, 9, 3), 200.0), "holds floats from 200 to 200; .*Divide by 255"),
        (np.full((8, 9, 3), np.nan), "holds floats from nan to nan; they must be finite"),
        (np.full((8, 9, 3), -0.5), "holds floats from -0.5"),
        (torch.zeros(8, 9, 3), r"got \(8, 9, 3\)\. Its channels are last: permute\(2, 0, 1\)"),
        (torch.zeros(1, 3, 8, 9), r"must be \(channels, height, width\) .*got \(1, 3, 8, 9\)\.$"),
    ],
)
def test_arrays_that_are_no_images(source: np.ndarray | torch.Tensor, match: str) -> None:
    with pytest.raises(ImageError, match=match):
        load_image(source)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]), st.data())
def test_whatever_is_broken_in_a_file_the_error_is_ours(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    content = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(1, len(content)))
    file = written(tmp_path_factory.getbasetemp() / "fuzz", bytes(content[:kept]))
    try:
        image = load_image(file, max_megapixels=1.0)
    except ImageError:
        return
    assert isinstance(image, Image)


FILES = {kind: encoded(kind) for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP")}


def test_a_program_that_draws_an_image_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    path = tmp_path / "a.png"  # what it is shows from its content
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match="save it as PNG or JPEG"):
        load_image(path)


@pytest.mark.parametrize("cut", [200, 260])
def test_what_pillow_warns_of_stays_here(tmp_path: Path, cut: int) -> None:
    """A directory of a TIFF file that is cut short is a warning of Pillow's, and warnings are errors in the tests."""
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 50
    whole = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(whole, format="TIFF", exif=exif)
    path = tmp_path / "a.tif"
    path.write_bytes(whole.getvalue()[:cut])
    with pytest.raises(ImageError):
        load_image(path)
