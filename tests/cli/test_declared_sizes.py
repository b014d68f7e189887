"""Images of another size than the annotations declare: refused with both sizes, and scaled on demand."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.cli.data import data_app
from semcorr.cli.evaluate import evaluate
from semcorr.cli.main import app
from semcorr.datasets import registry
from semcorr.toy.coco import write_coco


@pytest.fixture(autouse=True)
def _registered():
    for name, command in (("data", data_app), ("eval", evaluate)):
        if name not in app:
            app.command(command, name=name)


@pytest.fixture
def reduced(tmp_path: Path) -> Path:
    """A folder of one's own whose images are half as large as the file says, in part."""
    write_coco(tmp_path / "toy", categories=("face",), support=3, targets=1, size=96)
    folder = tmp_path / "toy"
    (folder / "truth.json").unlink()
    path = folder / "images" / "face-0001.png"
    PIL.Image.open(path).resize((48, 48)).save(path)
    return folder


def test_data_check_and_eval_own_name_both_sizes(semcorr, reduced, tmp_path):
    for words in (("data", "check", "own", reduced), ("eval", "own", "--data", reduced, "--method", "same-position")):
        ran = semcorr(*words, *(("-o", tmp_path / "run") if words[0] == "eval" else ()))
        assert ran.status == 2
        assert "declare 96 x 96 pixels, and the file 'images/face-0001.png' has 48 x 48" in ran.err
        assert "--rescale" in ran.err


def test_rescaled_coordinates_are_those_of_the_image(semcorr, reduced, tmp_path):
    ran = semcorr(
        *("eval", "own", "--data", reduced, "--method", "oracle-grid", "--rescale", "--json", "-o", tmp_path / "run")
    )
    assert ran.status == 0
    plain, scaled = (
        registry.BENCHMARKS["own"].read(reduced, "test", "", None),
        registry.load("own", reduced, rescale=True),
    )
    changed = 0
    for before, after in zip(plain.pairs, scaled.pairs, strict=True):
        for one, other in ((before.source, after.source), (before.target, after.target)):
            factor = 0.5 if one.path.name == "face-0001.png" else 1.0
            changed += factor != 1
            np.testing.assert_allclose(other.points, one.points * factor)
            np.testing.assert_allclose(other.box, np.array(one.box) * factor)
            assert other.size == tuple(round(side * factor) for side in one.size)
    assert changed == 4


def test_a_swap_alone_is_a_note(semcorr, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b"):
        PIL.Image.new("RGB", (60, 40), "teal").save(tmp_path / f"{name}.jpg", exif=exif)
    document = {
        "images": [
            {"id": n, "file_name": f"{name}.jpg", "width": 60, "height": 40} for n, name in ((1, "a"), (2, "b"))
        ],
        "categories": [{"id": 1, "name": "cat", "keypoints": ["nose"]}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "keypoints": [10, 55, 2], "bbox": [5, 5, 30, 52]} for n in (1, 2)
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    ran = semcorr("eval", "own", "--data", tmp_path, "--method", "same-position", "-o", tmp_path / "run")
    assert ran.status == 0
    assert "'a.jpg' is 40 x 60 pixels upright, and the annotations declare 60 x 40" in ran.err
    ran = semcorr("data", "check", "own", tmp_path)
    assert (ran.status, "note: 'a.jpg' is 40 x 60" in ran.out) == (0, True)
    document["annotations"][1]["keypoints"] = [55, 10, 2]
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    ran = semcorr("data", "check", "own", tmp_path)
    assert (ran.status, "coordinates are those of the image as it is stored" in ran.err) == (2, True)
