"""Uploads that are refused, and that no file of theirs stays."""

import os
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.app.limits import Limits, read_upload, sweep
from semcorr.app.server.served_files import ServedFiles, SessionFiles
from semcorr.errors import ImageError, SettingsError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def test_an_image_is_read_and_its_file_removed(folder: Path) -> None:
    PIL.Image.new("RGB", (30, 20), "red").save(folder / "red.png")
    image = read_upload(str(folder / "red.png"), "red.png", folder, Limits())
    assert (image.size, image.name) == ((30, 20), "red.png")
    assert list(folder.iterdir()) == []


def test_refused_files_are_removed_and_their_path_stays_private(folder: Path) -> None:
    (folder / "text.png").write_text("text")
    with pytest.raises(ImageError, match=r"^'text.png' is not an image") as error:
        read_upload(str(folder / "text.png"), "text.png", folder, Limits())
    assert str(folder) not in str(error.value)
    PIL.Image.new("RGB", (2000, 1000)).save(folder / "wide.png")
    with pytest.raises(ImageError, match="2 megapixels\\), more than the limit of 1 megapixels"):
        read_upload(str(folder / "wide.png"), "wide.png", folder, Limits(megapixels=1))
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(folder / "noise.png")
    with pytest.raises(ImageError, match=r"0\.1 MB, more than the 0\.05 MB"):
        read_upload(str(folder / "noise.png"), "noise.png", folder, Limits(megabytes=0.05))
    assert list(folder.iterdir()) == []


def test_files_elsewhere_are_neither_read_nor_removed(folder: Path, tmp_path: Path) -> None:
    private = tmp_path / "private.png"
    PIL.Image.new("RGB", (30, 20)).save(private)
    (folder / "link.png").symlink_to(private)
    for path in (private, folder / ".." / "private.png", folder / "link.png", folder / "missing.png"):
        with pytest.raises(ImageError, match="sent just now"):
            read_upload(str(path), "private.png", folder, Limits())
    assert private.exists()


def test_old_unread_uploads_are_removed(folder: Path) -> None:
    for name, age in (("old.png", 700), ("new.png", 10)):
        (folder / name).write_text("x")
        os.utime(folder / name, (time.time() - age,) * 2)
    sweep(folder)
    assert [file.name for file in folder.iterdir()] == ["new.png"]


def test_limits_are_positive() -> None:
    with pytest.raises(SettingsError, match="'megabytes': expected a positive number, got 0"):
        Limits(megabytes=0)


def test_a_session_has_its_own_files_and_no_more_than_its_share() -> None:
    files = ServedFiles()
    one, other = SessionFiles(files, limit_bytes=10), SessionFiles(files)
    first = one.add(b"12345", "image/png")
    assert one.add(b"12345", "image/png") == first
    assert other.add(b"12345", "image/png") != first
    one.add(b"67890", "image/png")
    one.add(b"abcde", "image/png")
    assert files.get(first.removeprefix("semcorr/")) is None  # the oldest made room
    assert len(files) == 3
    other.clear()
    assert len(files) == 2
