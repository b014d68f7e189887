"""Label maps, their PNG files, and what is refused."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.errors import ImageError
from semcorr.imaging.label_map import LabelMap

LABELS = np.array([[0, 1, 1], [7, 7, 0]], dtype=np.uint8)


def saved(path: Path, values: np.ndarray, **options: object) -> Path:
    PIL.Image.fromarray(values).save(path, **options)
    return path


def test_a_label_map_comes_back_with_its_names(tmp_path: Path) -> None:
    path = LabelMap(labels=LABELS, names={7: "tail", 1: "head"}).save(tmp_path / "a.png", colours={1: (9, 8, 7)})
    read = LabelMap.load(path)
    assert np.array_equal(read.labels, LABELS)
    assert (read.names, read.present, read.size) == ({1: "head", 7: "tail"}, (1, 7), (3, 2))
    assert (read.name(7), read.name(3)) == ("tail", "3")
    with PIL.Image.open(path) as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((1, 0)) == (9, 8, 7)
    with pytest.raises(ValueError, match="read-only"):
        read.labels[0] = 3


def test_grey_indexed_black_and_white_and_16_bits_are_read(tmp_path: Path) -> None:
    for name, image in {
        "grey": PIL.Image.fromarray(LABELS),
        "deep": PIL.Image.fromarray(LABELS.astype(np.uint16)),
    }.items():
        image.save(tmp_path / f"{name}.png")
        assert np.array_equal(LabelMap.load(tmp_path / f"{name}.png").labels, LABELS)
    PIL.Image.fromarray(LABELS > 0).save(tmp_path / "one.png")
    assert np.array_equal(LabelMap.load(tmp_path / "one.png").labels, LABELS > 0)


def test_files_that_are_no_label_maps_are_refused(tmp_path: Path) -> None:
    shades = np.arange(240, dtype=np.uint8).reshape(12, 20)
    cases = {
        saved(
            tmp_path / "colour.png", np.dstack([LABELS] * 3)
        ): r"is in colour \(RGB\), expected an indexed or grey PNG",
        saved(tmp_path / "a.jpg", LABELS): "is a JPEG file, expected a PNG of labels",
        saved(tmp_path / "shades.png", shades): "holds 240 different values, expected at most 100 labels",
        saved(tmp_path / "deep.png", LABELS.astype(np.uint16) * 200): "got uint16 .* with numbers from 0 to 1400",
        tmp_path / "none.png": "There is no file",
        tmp_path: "is a folder, expected an image file",
    }
    (tmp_path / "text.png").write_text("no image")
    cases[tmp_path / "text.png"] = "is not an image file"
    whole = LabelMap(labels=np.tile(LABELS, (40, 40)), names={1: "a", 7: "b"}).save(tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:-60])
    cases[tmp_path / "cut.png"] = "is broken"
    for path, message in cases.items():
        with pytest.raises(ImageError, match=message):
            LabelMap.load(path)


def test_arrays_that_are_none_are_refused() -> None:
    for labels, message in (
        (LABELS.astype(float), "got float64"),
        (LABELS[0], r"got uint8 \(3,\)"),
        (LABELS.astype(int) - 1, "numbers from -1 to 6"),
        (LABELS.astype(int) + 250, "numbers from 250 to 257"),
    ):
        with pytest.raises(ImageError, match=message):
            LabelMap.from_array(labels)


def test_a_mask_of_another_size_or_an_empty_one_is_refused() -> None:
    mask = LabelMap(labels=LABELS)
    mask.check((3, 2))
    with pytest.raises(ImageError, match=r"the mask is 3 x 2 pixels, but the image is 2 x 3 pixels"):
        mask.check((2, 3))
    with pytest.raises(ImageError, match=r"m\.png is empty: every pixel is 0"):
        LabelMap(labels=LABELS * 0).check((3, 2), name="m.png")
