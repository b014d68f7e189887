"""What is written as COCO is read as the same annotations, and nothing that was in a file is changed."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semcorr.keypoints import AnnotatedImage, Annotations, Category, Instance, PredictedObject, TransferRecord, coco
from semcorr.keypoints.annotation_format import ExportOptions
from semcorr.keypoints.read import read_annotations

NAMES = {"cat": ("ear", "tail", "paw"), "bird – été": ("beak",)}
KINDS = {name: Category(id=number, name=name, keypoints=names) for number, (name, names) in enumerate(NAMES.items(), 4)}


def written(annotations: Annotations, records: list[TransferRecord]) -> dict[str, Any]:
    options = ExportOptions(min_confidence=0.5, info={"method": "dift"})
    with TemporaryDirectory() as folder:
        (path,) = coco.write(Path(folder) / "out.json", annotations, lambda: records, options)
        return json.loads(path.read_text(encoding="utf-8"))


def read_again(folder: Path, document: dict[str, Any]) -> Annotations:
    path = folder / "out.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return read_annotations(path)


def assert_same(one: Instance, other: Instance) -> None:
    """Points and boxes to a hundredth of a pixel, all else exactly."""
    assert (one.category, one.predicted, one.annotated) == (other.category, other.predicted, other.annotated)
    assert one.visibility.tolist() == other.visibility.tolist()
    np.testing.assert_allclose(one.points, other.points, atol=0.0051)
    assert (one.box is None) == (other.box is None)
    if one.box is not None and other.box is not None:
        np.testing.assert_allclose(one.box, other.box, atol=0.0101)
    assert (one.score is None) == (other.score is None)
    assert one.score is None or other.score == pytest.approx(one.score, abs=5.1e-5)


@st.composite
def fields_of_instances(draw: st.DrawFn) -> dict[str, Any]:
    """Not instances: the check of their types draws random numbers of its own, which a strategy may not."""
    name = draw(st.sampled_from(sorted(NAMES)))
    marks = draw(st.lists(st.sampled_from([0, 1, 2]), min_size=len(NAMES[name]), max_size=len(NAMES[name])))
    side = st.floats(0, 640, allow_nan=False)
    points = [(draw(side), draw(side)) if mark else (np.nan, np.nan) for mark in marks]
    x, y, width, height = (draw(st.floats(1, 300)) for _ in range(4))
    predicted = draw(st.booleans()) and any(marks)
    return {
        "category": name,
        "points": np.array(points, dtype=float),
        "visibility": np.array(marks),
        "box": (x, y, x + width, y + height),
        "predicted": predicted,
        "score": draw(st.none() | st.floats(0, 1)) if predicted else None,
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=st.lists(st.lists(fields_of_instances(), max_size=4), min_size=1, max_size=4))
def test_annotations_of_any_format_are_the_same_in_coco(tmp_path: Path, objects: list[list[dict[str, Any]]]) -> None:
    images = [
        AnnotatedImage(
            file=f"d/{number}.png",
            path=tmp_path / f"{number}.png",
            instances=tuple(Instance(**fields) for fields in own),
            size=(640, 480),
        )
        for number, own in enumerate(objects)
    ]
    known = Annotations(path=tmp_path / "a.csv", categories=KINDS, images=images)
    first = written(known, [])
    again = read_again(tmp_path, first)
    assert again.categories == KINDS
    assert [(one.file, one.size) for one in again.images] == [(one.file, one.size) for one in images]
    for one, other in zip(images, again.images, strict=True):
        for mine, its in zip(one.instances, other.instances, strict=True):
            assert_same(mine, its)
    # A file that is read and written is the same from then on, to the last digit.
    assert written(again, []) == first


DOCUMENT: dict[str, Any] = {
    "info": {"year": 2026, "contributor": "ü", "nested": {"x": [1, 2.50, None, True]}},
    "licenses": [{"id": 3, "name": "mine"}],
    "images": [
        {"id": "1", "file_name": "a.png", "width": 100, "height": 50, "license": 3, "date_captured": 0},
        {"id": "7", "file_name": "b.png", "width": 100, "height": 50},
        {"id": "x", "file_name": "b.png", "width": 100, "height": 50},
    ],
    "categories": [
        {"id": 0, "name": "cat", "supercategory": "none"},
        {"id": 2, "name": "cat", "keypoints": ["ear", "tail", "paw"], "skeleton": [[1, 2]], "colour": "grey"},
        {"id": 5, "name": "car"},
    ],
    "annotations": [
        {"id": "11", "image_id": "1", "category_id": 2, "keypoints": [1, 2, 1, 3.14159, 4, 1, 0, 0, 0]},
        {"id": "12", "image_id": "7", "category_id": 2, "keypoints": [5, 5, 2, 0, 0, 0, 0, 0, 0], "bbox": [1, 2, 9, 9]},
        {
            "id": "13",
            "image_id": "x",
            "category_id": 2,
            "bbox": [5.123456, 6, 40, 30],
            "area": 77,
            "attributes": {"z": 1},
        },
        {
            "id": "14",
            "image_id": "x",
            "category_id": 5,
            "bbox": [1, 1, 2, 2],
            "segmentation": {"counts": "a", "size": [1, 2]},
        },
        {"id": "15", "image_id": "1", "category_id": 2, "iscrowd": "1", "bbox": [1, 1, 2, 2]},
    ],
    "videos": [],
}


def test_nothing_of_a_file_is_changed_by_reading_and_writing_it(tmp_path: Path) -> None:
    result = written(read_again(tmp_path, DOCUMENT), [])
    assert result == {"semcorr": {"method": "dift"}, **DOCUMENT}


def test_predictions_go_to_their_own_entries(tmp_path: Path, record: Callable[..., TransferRecord]) -> None:
    known = read_again(tmp_path, DOCUMENT)
    result = written(known, [record(box=(5.123456, 6, 45.123456, 36), id="13"), record(), record(id="no such")])
    by_id = {entry["id"]: entry for entry in result["annotations"]}
    assert set(by_id) == {"11", "12", "13", "14", "15", "16", "17"}
    for entry in DOCUMENT["annotations"]:
        if entry["id"] != "13":
            assert by_id[entry["id"]] == entry
    completed = by_id["13"]
    # It stays with its own image of the two that are one file, in its own box; new ones go to the first.
    assert (completed["image_id"], completed["bbox"], completed["area"]) == ("x", [5.123456, 6, 40, 30], 77)
    assert completed["attributes"] == {"z": 1}
    assert completed["keypoints"] == [10, 20, 2, 0, 0, 0, 0, 0, 0]
    assert (by_id["16"]["image_id"], by_id["17"]["image_id"]) == ("7", "7")
    again = read_again(tmp_path, result)
    assert {one.id: (one.predicted, one.annotated) for image in again.images for one in image.instances} == {
        "11": (False, True),
        "12": (False, True),
        "13": (True, False),
        "16": (True, False),
        "17": (True, False),
    }
    (score,) = {one.score for image in again.images for one in image.instances if one.predicted}
    assert score == pytest.approx(0.6)


def test_a_person_accepts_by_the_mark(tmp_path: Path, record: Callable[..., TransferRecord]) -> None:
    result = written(read_again(tmp_path, DOCUMENT), [record(id="13")])
    for entry in result["annotations"]:
        if entry["id"] == "13":
            entry["semcorr"]["accepted"] = True
    again = read_again(tmp_path, result)
    accepted = {one.id: one for image in again.images for one in image.instances}["13"]
    assert (accepted.annotated, accepted.predicted) == (True, False)
    assert written(again, []) == result | {"semcorr": {"method": "dift"}}


def test_boxes_of_other_formats_are_completed_and_not_doubled(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (60, 40)).save(tmp_path / "b.png")
    empty = np.full((3, 2), np.nan)
    box = Instance(category="cat", points=empty, visibility=np.zeros(3, dtype=int), box=(1.0, 2.0, 30.0, 40.0), id="r")
    images = [
        AnnotatedImage(file="gone.png", path=tmp_path / "gone.png", instances=(box,)),  # nothing says its size
        AnnotatedImage(file="b.png", path=tmp_path / "b.png", instances=(box,)),
        AnnotatedImage(file="c.png", path=tmp_path / "c.png", instances=(box,), size=(70, 30)),
    ]
    predicted = PredictedObject(
        category="cat", names=NAMES["cat"], points=np.full((3, 2), 10.5), confidence=np.ones(3), box=box.box, id="r"
    )
    record = TransferRecord(file="b.png", path=tmp_path / "b.png", size=(60, 40), objects=(predicted,))
    result = written(Annotations(path=tmp_path / "a.json", categories=KINDS, images=images), [record])
    assert [(one["file_name"], one["width"], one["height"]) for one in result["images"]] == [
        ("b.png", 60, 40),
        ("c.png", 70, 30),
    ]
    assert [(one["image_id"], one["keypoints"][:3]) for one in result["annotations"]] == [
        (2, [0, 0, 0]),
        (1, [10, 10, 2]),
    ]


@pytest.mark.parametrize(
    ("known", "new"),
    [((1, 2), 3), (("1", "9"), "10"), (("a",), "1"), ((1, "7"), 8), ((2**70,), 2**70 + 1), ((4.0,), 5)],
)
def test_new_ids_are_of_the_kind_of_the_others(
    tmp_path: Path, record: Callable[..., TransferRecord], known: tuple[Any, ...], new: int | str
) -> None:
    entries = [{"id": one, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]} for one in known]
    document = DOCUMENT | {"images": [{"id": 1, "file_name": "b.png"}], "annotations": entries}
    result = written(read_again(tmp_path, document), [record()])
    assert result["annotations"][-1]["id"] == new
    assert type(result["annotations"][-1]["id"]) is type(new)
