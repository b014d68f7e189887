"""The COCO-like samples of a dozen key-point sets, as converters write them, against the numbers in their JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from semcorr.datasets import own, registry
from semcorr.errors import DatasetError
from semcorr.keypoints import read_annotations

SETS = {
    "300w/test_300w.json": (2, 68),
    "animalpose/test_animalpose.json": (2, 20),
    "ap10k/test_ap10k.json": (2, 17),
    "atrw/test_atrw.json": (2, 15),
    "coco/test_coco.json": (14, 17),
    "coco/test_coco_wholebody.json": (14, 17),
    "cofw/test_cofw.json": (2, 29),
    "fly/test_fly.json": (2, 32),
    "horse10/test_horse10.json": (3, 22),
    "locust/test_locust.json": (2, 35),
    "macaque/test_macaque.json": (2, 17),
    "zebra/test_zebra.json": (2, 9),
}
"""How many objects each file has, and how many key-points an object."""


@pytest.fixture
def animals(photographs: Path) -> Path:
    return photographs / "animals"


def test_there_are_no_others(animals: Path) -> None:
    assert sorted(path.relative_to(animals).as_posix() for path in animals.rglob("*.json")) == sorted(SETS)


@pytest.mark.parametrize("name", SETS)
def test_every_object_and_point_is_read(animals: Path, name: str) -> None:
    annotations = read_annotations(animals / name)
    content: dict[str, Any] = json.loads((animals / name).read_text(encoding="utf-8"))
    by_id = {one["id"]: one for one in content["annotations"]}
    objects = [one for image in annotations.images for one in image.instances]
    assert sorted(one.id for one in objects) == sorted(by_id)
    assert (len(objects), {len(one.points) for one in objects}) == (SETS[name][0], {SETS[name][1]})
    for one in objects:
        true = np.array(by_id[one.id]["keypoints"], dtype=float).reshape(-1, 3)
        marked = true[:, 2] > 0
        assert one.visibility.tolist() == true[:, 2].tolist()
        np.testing.assert_array_equal(one.points[marked], true[marked, :2] + 0.5)
        assert np.isnan(one.points[~marked]).all()
        x, y, width, height = by_id[one.id]["bbox"]
        assert one.box == (x, y, x + width, y + height)
    # pycocotools counts the same points.
    counts = [one["num_keypoints"] for one in COCO(str(animals / name)).anns.values()]
    assert sum((one.visibility > 0).sum() for one in objects) == sum(counts)
    assert [image.path.is_file() for image in annotations.images] == [
        (animals / name).with_name(image["file_name"]).is_file() for image in content["images"]
    ]


def test_what_the_files_do_not_say_is_said(animals: Path) -> None:
    notes = {name: read_annotations(animals / name).notes for name in SETS}
    assert {name: said for name, said in notes.items() if said} == {
        "300w/test_300w.json": (
            "categories that do not name their key-points, which are numbered from 1: 'face' (68)",
        ),
        "cofw/test_cofw.json": (
            "categories that do not name their key-points, which are numbered from 1: 'face' (29)",
        ),
        "coco/test_coco_wholebody.json": (
            "key-points beside COCO's own are not read: the fields face_kpts, foot_kpts, lefthand_kpts, righthand_kpts",
        ),
    }


@pytest.mark.parametrize("name", SETS)
def test_each_makes_pairs_to_evaluate_on(animals: Path, name: str) -> None:
    if name.startswith("ap10k"):  # one image of each of two kinds of animals
        with pytest.raises(DatasetError, match="images that share a category"):
            own.load(animals / name)
        return
    dataset = registry.load("own", animals / name)
    images = len({image for pair in dataset.pairs for image in (pair.source.path, pair.target.path)})
    assert len(dataset.pairs) == images * (images - 1) > 0
    assert dataset.threshold == "target-box"
    marked_only = "no point is marked as visible (v = 2), so all that are marked (v = 1) are measured"
    assert (marked_only in dataset.notes) == name.startswith("300w")
