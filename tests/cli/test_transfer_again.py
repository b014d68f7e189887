"""``semcorr transfer`` on its own output: predicted points are no annotations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Ran
from semcorr.toy.coco import ToyWorld, write_coco

COARSE = ("--method", "dift", "--model", "toy", "--set", "samples=1", "--set", "resolution=32", "--device", "cpu")


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> ToyWorld:
    """One annotated face and three others."""
    return write_coco(tmp_path_factory.mktemp("toy") / "coco", categories=("face",), support=1, targets=3, size=96)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_predicted_objects_never_become_supports_and_are_predicted_again_on_request(
    semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path
) -> None:
    first, second, third = (tmp_path / f"{name}.json" for name in ("first", "second", "third"))
    more = ("--images", drawings.images, *COARSE)
    two = [drawings.images / f"face-000{number}.png" for number in (1, 2)]
    assert semcorr("transfer", drawings.annotations, *two, "-o", first, *more).status == 0

    # The output as input, with one more image to do: the two are kept as they are.
    ran = semcorr("transfer", first, "-o", second, *more, "--json")
    assert ran.status == 0, ran.err
    assert "2 images with predicted objects and no annotated ones are kept" in ran.err
    assert any(note.startswith("2 images with predicted") for note in json.loads(ran.out)["notes"])
    assert json.loads(ran.out)["targets"] == 1
    before, after = read(first)["annotations"], read(second)["annotations"]
    assert after[:3] == before
    assert len(after) == 4
    assert read(second)["semcorr"]["supports"] == {"face": 1}  # the human one

    # One is accepted, one has a low score, one a high one, and all are spoiled: only the low one is found anew.
    document = read(second)
    scores = {before[1]["image_id"]: 0.2, before[2]["image_id"]: 0.9, after[3]["image_id"]: 0.1}
    for one in document["annotations"][1:]:
        one["score"] = scores[one["image_id"]]
        one["keypoints_found"][2] = 0.125
    document["annotations"][3]["semcorr"]["accepted"] = True
    (tmp_path / "spoiled.json").write_text(json.dumps(document), encoding="utf-8")
    ran = semcorr("transfer", tmp_path / "spoiled.json", "-o", third, *more, "--redo-below", "0.5")
    assert ran.status == 0, ran.err
    assert "Points predicted in 1 of 1 images." in ran.out
    new = {one["id"]: one for one in read(third)["annotations"]}
    old = {one["id"]: one for one in document["annotations"]}
    assert new.keys() == old.keys()
    again = before[1]["id"]
    assert {number for number in new if new[number] != old[number]} == {again}
    assert new[again]["keypoints_found"][2] != 0.125
    assert new[again]["score"] != 0.2
    assert read(third)["semcorr"]["supports"] == {"face": 2}  # the accepted one is an annotation now
    assert "less than or equal to 1" in semcorr("transfer", first, "-o", third, *more, "--redo-below", "50").err


def test_without_any_human_object_nothing_begins(
    semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path
) -> None:
    document = read(drawings.annotations)
    for one in document["annotations"]:
        one["semcorr"] = {"predicted": True}
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    ran = semcorr("transfer", tmp_path / "a.json", "--images", drawings.images, "-o", tmp_path / "out.json", *COARSE)
    assert ran.status == 2
    assert "1 objects with points are all marked as predicted" in ran.err
