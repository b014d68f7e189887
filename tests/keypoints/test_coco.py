"""COCO there and back: what was there stays, predictions are added, and other tools read it."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from semcorr.errors import DatasetError
from semcorr.keypoints import Annotations, TransferRecord, coco, read_annotations
from semcorr.keypoints.annotation_format import ExportOptions

DOCUMENT: dict[str, Any] = {
    "info": {"year": 2026, "description": "cats – and others"},
    "licenses": [{"id": 3, "name": "mine"}],
    "images": [
        {"id": 7, "file_name": "a.png", "width": 100, "height": 50, "coco_url": "x"},
        {"id": 4, "file_name": "b.png", "width": 100, "height": 50},
    ],
    "categories": [
        {"id": 2, "name": "dog"},
        {"id": 9, "name": "cat", "keypoints": ["ear", "tail", "paw"], "skeleton": [[1, 2]], "colour": "grey"},
    ],
    "annotations": [
        {"id": 11, "image_id": 7, "category_id": 9, "keypoints": [1, 2, 2, 3, 4, 1, 0, 0, 0], "bbox": [0, 1, 20, 30]},
        {"id": 5, "image_id": 4, "category_id": 9, "bbox": [5, 6, 40, 30], "iscrowd": 0, "attributes": {"fur": "red"}},
        {"id": 6, "image_id": 4, "category_id": 2, "bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 2, 2, 3, 3]]},
    ],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cats.json"
    path.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    return path


def written(annotations: Annotations, records: list[TransferRecord], **options: Any) -> dict[str, Any]:
    export = ExportOptions(**({"min_confidence": 0.5, "info": {}} | options))
    with TemporaryDirectory() as folder:
        (path,) = coco.write(Path(folder) / "out.json", annotations, lambda: records, export)
        return json.loads(path.read_text(encoding="utf-8"))


def test_reading(file: Path) -> None:
    annotations = read_annotations(str(file))
    assert list(annotations.categories) == ["cat"]
    assert annotations.categories["cat"].skeleton == ((1, 2),)
    first, second = annotations.images
    (cat,) = first.instances
    # A pixel's middle is half a pixel further on than its number; nobody marked the paw.
    np.testing.assert_array_equal(cat.points, [[1.5, 2.5], [3.5, 4.5], [np.nan, np.nan]])
    assert cat.visibility.tolist() == [2, 1, 0]
    assert cat.box == (0, 1, 20, 31)
    assert (first.annotated, second.annotated) == (True, False)
    assert [instance.category for instance in second.instances] == ["cat"]
    assert annotations.notes == ("boxes of categories without key-points are ignored: 1 of 'dog'",)


def test_what_was_there_stays_and_boxes_get_their_points(file: Path, record: Callable[..., TransferRecord]) -> None:
    result = written(read_annotations(file), [record(box=(5, 6, 45, 36), id=5)], info={"method": "dift"})
    for key in ("info", "licenses", "images", "categories"):
        assert result[key] == DOCUMENT[key]
    assert result["semcorr"] == {"method": "dift"}
    by_id = {entry["id"]: entry for entry in result["annotations"]}
    assert set(by_id) == {11, 5, 6}
    assert (by_id[11], by_id[6]) == (DOCUMENT["annotations"][0], DOCUMENT["annotations"][2])
    completed = by_id[5]
    assert completed["attributes"] == {"fur": "red"}
    assert completed["bbox"] == [5, 6, 40, 30]
    assert (completed["image_id"], completed["category_id"]) == (4, 9)
    assert completed["keypoints"] == [10, 20, 2, 0, 0, 0, 0, 0, 0]
    assert completed["num_keypoints"] == 1
    assert completed["keypoints_found"] == [10, 20, 0.9, 29.75, 40.25, 0.3, None, None, 0.0]
    assert completed["score"] == pytest.approx(0.6)  # of the two that were looked for


def test_the_threshold_decides_what_is_visible(file: Path, record: Callable[..., TransferRecord]) -> None:
    (entry,) = [
        e for e in written(read_annotations(file), [record()], min_confidence=0.2)["annotations"] if e["id"] == 12
    ]
    assert entry["keypoints"] == [10, 20, 2, 29.75, 40.25, 2, 0, 0, 0]
    assert entry["bbox"] == [10.5, 20.5, 19.75, 20.25]  # no box was given: around the predicted points


def test_new_images_get_new_numbers(file: Path, record: Callable[..., TransferRecord]) -> None:
    other = record()
    new = TransferRecord(file="sub/new.png", path=other.path, size=(60, 40), objects=other.objects)
    broken = TransferRecord(file="broken.png", path=other.path, error="it is broken")
    result = written(read_annotations(file), [broken, new])
    assert result["images"][2:] == [{"id": 8, "file_name": "sub/new.png", "width": 60, "height": 40}]
    assert result["annotations"][-1]["image_id"] == 8
    assert result["annotations"][-1]["id"] == 12


def test_pycocotools_reads_it(file: Path, record: Callable[..., TransferRecord], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text(json.dumps(written(read_annotations(file), [record()])), encoding="utf-8")
    read = COCO(str(out))
    assert sorted(read.getAnnIds()) == [5, 6, 11, 12]
    assert read.loadAnns(12)[0]["keypoints"][:3] == [10, 20, 2]
    assert read.loadRes([read.loadAnns(12)[0]]).getAnnIds() == [1]  # as results, too


def test_it_is_read_again_as_it_was_written(file: Path, record: Callable[..., TransferRecord], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text(json.dumps(written(read_annotations(file), [record(id=5)])), encoding="utf-8")
    again = read_annotations(out)
    (cat,) = [instance for instance in again.images[1].instances if instance.category == "cat"]
    np.testing.assert_array_equal(cat.points[0], [10.5, 20.5])
    assert cat.visibility.tolist() == [2, 0, 0]
    assert [image.id for image in again.images] == [7, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": [{"id": 1, "name": "dog"}], "annotations": []}, "category with 'keypoints'"),
        ({"categories": DOCUMENT["categories"] * 2}, "every category's id once"),
        ({"annotations": [{**DOCUMENT["annotations"][0], "keypoints": [1, 2]}]}, "as 9 numbers"),
        ({"annotations": [{**DOCUMENT["annotations"][0], "image_id": 99}]}, "got image_id 99 in annotation 11"),
        ({"annotations": [{**DOCUMENT["annotations"][0], "category_id": True}]}, "whole number"),
        ({"annotations": [DOCUMENT["annotations"][0]] * 2}, "got 11 twice"),
        ({"images": [DOCUMENT["images"][0]] * 2}, "got 7 twice"),
        ({"images": [{"id": 7, "file_name": ".."}]}, "images by their names"),
        ({"images": "all"}, "'images' as a list"),
        ({"images": [1]}, "list of objects"),
    ],
)
def test_broken_files_are_refused(file: Path, change: dict[str, Any], message: str) -> None:
    file.write_text(json.dumps({**DOCUMENT, **change}), encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_annotations(file)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"images": NaN}', "\x00", "7"])
def test_files_that_are_no_json_are_refused(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match="expected"):
        read_annotations(file)


@pytest.mark.parametrize("names", [1, "nose", {"a": 1}, 0.5])
def test_names_of_key_points_that_are_no_list_are_refused(tmp_path: Path, names: object) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps({"images": [], "categories": [{"id": 1, "name": "cat", "keypoints": names}]}), encoding="utf-8"
    )
    with pytest.raises(DatasetError, match="expected 'keypoints' as a list"):
        read_annotations(path)
