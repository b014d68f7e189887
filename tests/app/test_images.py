"""Images that are sent: read, scaled down or refused; points in pixels of the original and of the held image."""

import io

import numpy as np
import PIL.Image
import pytest

from semcorr.app.images import HeldImage, file_name, original_size, read_upload, to_held, to_original
from semcorr.app.limits import Limits
from semcorr.errors import ImageError

SMALL = Limits(held_megapixels=0.01)
"""Images of more than 10,000 pixels are scaled down."""


def packed(image: PIL.Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def gradient(width: int, height: int) -> PIL.Image.Image:
    """Red grows to the right, green downwards."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return PIL.Image.fromarray(np.stack([red, green, np.full_like(red, 60)], axis=2).round().astype(np.uint8))


def test_a_small_image_is_held_as_it_is() -> None:
    image = gradient(100, 80)
    held = read_upload(packed(image), "a.png", SMALL)
    np.testing.assert_array_equal(held.pixels, np.asarray(image))
    assert (original_size(held), held.name) == ((100, 80), "a.png")
    third = (1 / 3, 0.1)
    assert to_original(held, third) == to_held(held, third) == third


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_a_large_image_is_scaled_down_and_points_keep_their_location(kind: str, mode: str) -> None:
    if kind in ("JPEG", "WEBP") and mode in ("P", "RGBA"):
        pytest.skip("the format has no such images")
    image = gradient(640, 480)
    held = read_upload(packed(image.convert(mode), kind), f"a.{kind.lower()}", SMALL)
    width, height = held.size
    assert isinstance(held, HeldImage)
    assert 9_000 < width * height <= 10_000
    assert original_size(held) == (640, 480)
    # Where the original has its colour, the held one has it, too.
    x, y = to_held(held, (480.5, 120.5))
    assert to_original(held, (x, y)) == pytest.approx((480.5, 120.5))
    assert to_held(held, (640, 480)) == (width, height)
    # A palette's colours are right in the mean.
    expected = np.asarray(image.convert("L" if mode == "L" else "RGB").convert("RGB"))[120, 480].astype(int)
    assert np.abs(held.pixels[int(y), int(x)].astype(int) - expected).max() < (20 if mode == "P" else 6)


def test_a_large_photograph_that_lies_on_its_side_is_upright_in_both_frames() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # shown turned by 90° to the right
    held = read_upload(packed(gradient(640, 480), "JPEG", exif=exif, quality=95), "a.jpg", SMALL)
    assert original_size(held) == (480, 640)
    assert held.size[0] < held.size[1]
    # The stored image's left edge, without red, is the upper one now; its upper edge, without green, the right one.
    top, right = held.pixels[2, 40], held.pixels[60, -3]
    assert top[0] < 20
    assert right[1] < 20


def test_sixteen_bits_are_scaled_as_well() -> None:
    values = np.linspace(0, 65535, 640).astype(np.uint16)[None].repeat(480, axis=0)
    held = read_upload(packed(PIL.Image.fromarray(values)), "deep.png", SMALL)
    assert original_size(held) == (640, 480)
    assert held.pixels[50, 0, 0] < 4
    assert held.pixels[50, -1, 0] > 251


def test_what_is_refused_says_why_and_what_to_do() -> None:
    for data, name, error in (
        (b"text", "text.png", "^'text.png' is not an image file"),
        (b"", "nothing.png", "empty"),
        (packed(gradient(60, 40))[:90], "cut.png", "'cut.png' is broken or incomplete"),
        (packed(gradient(300, 400), "JPEG")[:900], "cut.jpg", "'cut.jpg' is broken or incomplete"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "IMG_1.jpg", "HEIC.*Most Compatible"),
        (b"no header", "IMG_1.HEIC", "HEIC.*Most Compatible"),
        (b"<svg/>", "drawing.svg", "a format that is not read here. Export them as PNG"),
    ):
        with pytest.raises(ImageError, match=error):
            read_upload(data, name, SMALL)
    with pytest.raises(ImageError, match=r"2000 x 1000 pixels \(2 megapixels\), more than the 1 megapixels"):
        read_upload(packed(PIL.Image.new("RGB", (2000, 1000))), "wide.png", Limits(megapixels=1))
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    with pytest.raises(ImageError, match=r"0\.1 MB, more than the 0\.05 MB"):
        read_upload(packed(PIL.Image.fromarray(noise)), "noise.png", Limits(megabytes=0.05))


def test_only_the_last_part_of_a_name_is_kept() -> None:
    for name, kept in (
        ("../../evil.png", "evil.png"),
        ("C:\\photos\\cat.jpg", "cat.jpg"),
        ("a\0b\n.png", "ab.png"),
        ("..", ".."),
        ("", "image"),
        ("/", "image"),
        ("x" * 1000 + ".png", "x" * 146 + ".png"),
    ):
        assert file_name(name) == kept
