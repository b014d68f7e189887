"""Which files count as images by their endings, and what is said of those that look like images and are not read."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.cli import main
from semcorr.errors import ImageError
from semcorr.imaging.image import known_formats, load_image
from semcorr.imaging.image_files import (
    image_files,
    image_suffixes,
    unread_images,
    unread_messages,
    unread_messages_below,
)
from semcorr.keypoints.base import Annotations
from semcorr.transfer.targets import select_targets

IMAGE = PIL.Image.fromarray(np.random.default_rng(5).integers(0, 256, (16, 24, 3), dtype=np.uint8))
ENDINGS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif", "JPG", "Jpeg"),
    "PNG": ("png", "apng", "PNG"),
    "TIFF": ("tif", "tiff", "TIF"),
    "BMP": ("bmp",),
    "GIF": ("gif",),
    "WEBP": ("webp",),
    "PPM": ("ppm", "pnm"),
    "MPO": ("mpo",),
    "AVIF": ("avif",),
    "JPEG2000": ("jp2", "j2k", "jpx"),
}


@pytest.mark.parametrize("kind", ENDINGS)
def test_every_ending_of_a_format_that_is_read_is_an_images(tmp_path: Path, kind: str) -> None:
    if kind not in (*known_formats(), "MPO"):
        pytest.skip(f"this build of Pillow has no {kind}")
    paths = [tmp_path / f"{number}.{ending}" for number, ending in enumerate(ENDINGS[kind])]
    for path in paths:
        IMAGE.save(path, kind)
        assert load_image(path).size == (24, 16)
    assert image_files(tmp_path) == paths
    assert unread_images(tmp_path) == []
    # The same files are targets of a transfer.
    nothing = Annotations(path=tmp_path / "a.json", categories={}, images=())
    assert [one.path for one in select_targets(nothing, ["bird"], images=None, paths=[tmp_path]).targets] == paths


@pytest.mark.parametrize("mode", ["1", "L"])
def test_the_other_endings_of_portable_bitmaps(tmp_path: Path, mode: str) -> None:
    path = tmp_path / {"1": "a.pbm", "L": "a.pgm"}[mode]
    IMAGE.convert(mode).save(path)
    assert image_files(tmp_path) == [path]
    assert load_image(path).size == (24, 16)


def test_endings_of_formats_that_are_not_read_are_none_of_images() -> None:
    for ending in (".pdf", ".eps", ".ico", ".psd", ".tga", ".h5", ".mpg", ".heic", ".svg", ".txt", ""):
        assert ending not in image_suffixes()


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("IMG_1.HEIC", "Save them as JPEG or PNG"),
        ("a.heif", "Save them as JPEG or PNG"),
        ("DSC_1.NEF", "Develop them"),
        ("a.cr2", "Develop them"),
        ("a.arw", "Develop them"),
        ("a.dng", "Develop them"),
        ("a.svg", "Export them as PNG"),
        ("a.psd", "Export them as PNG"),
        ("a.pdf", "Export them as PNG"),
        ("a.jxl", "Export them as PNG"),
        ("a.exr", "Export them as PNG"),
        ("a.tga", "Export them as PNG"),
        ("a.ico", "Export them as PNG"),
    ],
)
def test_files_like_images_are_counted_and_named(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_bytes(b"whatever")
    IMAGE.save(tmp_path / "b.png")
    (note,) = unread_messages_below([tmp_path])
    assert note.startswith(f"1 image with the suffix {Path(name).suffix.lower()} is not read: {name}. {advice}")


@pytest.mark.parametrize("name", ["photo", "photo.jpg_large", "photo.jpg.1", "photo.jpeg~", "photo.JPG.part"])
def test_images_by_content_with_no_ending_of_their_own(tmp_path: Path, name: str) -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        IMAGE.save(tmp_path / name, kind)
        (note,) = unread_messages_below([tmp_path])
        assert f"is not read: {name}. Give them the suffix of their format, such as .jpg." in note


def test_other_files_are_not_named(tmp_path: Path) -> None:
    for name in ("README", "notes.txt", "a.json", "a.png.json", "clip.mp4", ".hidden", "._a.heic"):
        (tmp_path / name).write_bytes(b"{}")
    IMAGE.save(tmp_path / ".thumb.png")
    assert unread_messages_below([tmp_path, tmp_path / "README", tmp_path / "missing"]) == []
    assert image_files(tmp_path) == []


def test_many_are_counted_and_a_few_named() -> None:
    paths = [Path(f"{number}.heic") for number in range(5)]
    (first, second) = unread_messages([*paths, Path("a.svg")])
    assert first.startswith("5 images with the suffix .heic are not read: 0.heic, 1.heic, 2.heic and 2 more. Save")
    assert second.startswith("1 image with the suffix .svg is not read: a.svg. Export")


def test_an_image_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 100)
    with pytest.raises(ImageError, match=r"is not an image file of a supported format .*: save it as PNG or JPEG"):
        load_image(tmp_path / "a.heic")


def test_transfer_says_what_it_does_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    IMAGE.save(tmp_path / "images" / "a.png")
    for name in ("b.heic", "c.HEIC"):
        (tmp_path / "images" / name).write_bytes(b"whatever")
    (tmp_path / "a.csv").write_text("image,name,x,y,category\na.png,eye,3,4,bird\n")
    for targets in ([], [str(tmp_path / "images")]):
        arguments = ["transfer", str(tmp_path / "a.csv"), *targets, "--images", str(tmp_path / "images")]
        assert main([*arguments, "-o", str(tmp_path / "out.json"), "--model", "toy", "--method", "dift"]) == 2
        written = capsys.readouterr().err
        assert "2 images with the suffix .heic are not read: b.heic, c.HEIC. Save them as JPEG or PNG" in written
        assert "Expected images without points, got none" in written
