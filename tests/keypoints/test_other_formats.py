"""Tables of points read and written, lines of a journal, and files of other programs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semcorr.errors import DatasetError
from semcorr.keypoints import TransferRecord, read_annotations
from semcorr.transfer import export


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("image,name,x,y\na.png,ear,1.5,2\na.png,tail,3,4\nb.png,paw,5,6\n", encoding="utf-8")
    annotations = read_annotations(path)
    assert annotations.categories["object"].keypoints == ("ear", "tail", "paw")
    (instance,) = annotations.images[0].instances
    np.testing.assert_array_equal(instance.points, [[1.5, 2], [3, 4], [np.nan, np.nan]])
    assert instance.visibility.tolist() == [2, 2, 0]
    assert annotations.images[0].path == tmp_path / "a.png"


def test_a_table_with_categories_from_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes("\ufeffImage,Category,Name,X,Y\r\na.png,cat,ear,1,2\r\na.png,dog,ear,3,4\r\n".encode())
    annotations = read_annotations(path)
    assert [instance.category for instance in annotations.images[0].instances] == ["cat", "dog"]


def test_further_columns_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    lines = [
        "image,category,object,name,x,y,visible,predicted,score",
        "a.png,cat,1,ear,1,2,1,0,",
        "a.png,cat,1,tail,,,0,0,",
        "a.png,cat,2,ear,5,6,,yes,0.5",
        "a.png,cat,2,tail,7,8,2,,0.5",
        "b.png,cat,1,ear,,,0,1,0.1",
        "b.png,cat,2,ear,1,1,2,accepted,0.9",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    annotations = read_annotations(path)
    first, second = annotations.images[0].instances
    assert (first.visibility.tolist(), first.predicted, first.score) == ([1, 0], False, None)
    assert (second.visibility.tolist(), second.predicted, second.score) == ([2, 2], True, 0.5)
    np.testing.assert_array_equal(second.points, [[5, 6], [7, 8]])
    assert [(one.annotated, one.predicted) for one in annotations.images[1].instances] == [(True, False)]
    assert "predicted and not annotated (column 'predicted'): 2" in annotations.notes[0]


def test_a_table_is_read_as_it_was_written(record: Callable[..., TransferRecord], tmp_path: Path) -> None:
    given = tmp_path / "points.csv"
    given.write_text(
        "image,category,object,name,x,y,visible\na.png,cat,1,ear,1.125,2,2\na.png,cat,1,tail,3,4,1\n"
        "a.png,cat,x,paw,5,6,2\n",
        encoding="utf-8",
    )
    known = read_annotations(given)
    (path,) = export.write(
        "csv", tmp_path / "out.csv", known, lambda: [record()], min_confidence=0.5, info={"method": "dift"}
    )
    again = read_annotations(path)
    assert again.categories == known.categories
    for one, other in zip(known.images[0].instances, again.images[0].instances, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.visibility, other.visibility)
        assert not other.predicted
    (made,) = again.images[1].instances
    assert (made.predicted, made.score, made.visibility.tolist()) == (True, 0.6, [2, 0, 0])
    np.testing.assert_array_equal(made.points, [[10.5, 20.5], [np.nan, np.nan], [np.nan, np.nan]])
    # Points of low confidence are written as well.
    assert "b.png,cat,1,tail,30.25,40.75,0,0.3000,1,0.6000" in path.read_text(encoding="utf-8")
    # And a second round replaces it.
    (path,) = export.write(
        "csv", tmp_path / "again.csv", again, lambda: [record(id=made.id)], min_confidence=0.2, info={}
    )
    (made,) = read_annotations(path).images[1].instances
    assert made.visibility.tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "headings"),
        ("image,name,x,y,visible\na.png,ear,1,2,3\n", "visible as 2, 1 or 0 in line 2"),
        ("image,name,x,y,predicted\na.png,ear,1,2,perhaps\n", "predicted as 1 or 0 in line 2"),
        ("image;name;x;y\na.png;ear;1;2\n", "by commas"),
        ("image,x,y\na,1,2\n", "headings"),
        ("image,name,x,y\n", "at least one point"),
        ("image,name,x,y\na.png,ear,1\n", "line 2"),
        ("image,name,x,y\na.png,ear,one,2\n", "2 numbers"),
        ("image,name,x,y\na.png,ear,inf,2\n", "2 numbers"),
        ("image,name,x,y\na.png,ear,1,2\na.png,ear,1,2\n", "once"),
        ("image,name,x,y\n..,ear,1,2\n", "images by their names"),
        ('image,name,x,y\n"a.png,ear,1,2\n', "expected"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_annotations(path)


def test_a_name_that_no_system_has_is_a_missing_image(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"image,name,x,y\n{'x' * 300}.png,ear,1,2\n", encoding="utf-8")
    (image,) = read_annotations(path).images
    assert not image.file.startswith("/")
    path.write_text("image,name,x,y\na.png,ear,1,\n", encoding="utf-8")
    with pytest.raises(DatasetError):
        read_annotations(path)


@pytest.mark.parametrize("x", ["1e999", "nan", "9" * 400])
def test_numbers_that_are_none_are_refused(tmp_path: Path, x: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"image,name,x,y\na.png,ear,{x},2\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="expected x and y in line 2 as 2 numbers"):
        read_annotations(path)


@pytest.mark.parametrize(
    "change",
    [
        {"size": []},
        {"size": "1"},
        {"objects": [{"category": "cat", "names": ["a"], "points": [], "confidence": [], "box": None, "id": 1}]},
        {"objects": [{"category": "cat", "names": [], "points": [], "confidence": [], "box": [1], "id": 1}]},
        {"objects": [{"category": "cat", "names": [], "points": [], "confidence": [], "box": None, "id": 1.5}]},
        {"objects": [{"category": "cat", "names": ["a"], "points": [[1]], "confidence": [1], "box": None, "id": 1}]},
        {"size": [1e999, 1]},
        {"warnings": "one"},
    ],
)
def test_a_line_of_a_journal_that_is_something_else(record: Callable, change: dict[str, Any]) -> None:
    line = json.loads(record().to_json()) | change
    with pytest.raises(ValueError, match=r"validation error|Expected as many points"):
        TransferRecord.from_json(json.dumps(line))
    with pytest.raises(ValueError, match="recursion"):
        TransferRecord.from_json("[" * 100_000)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"version": "5", "shapes": [], "imagePath": "a.png"}', "labelme's files: expected points"),
        ("a.json", '{"_via_img_metadata": {}}', "VIA"),
        ("a.json", '{"a.png9": {"filename": "a.png", "regions": [], "file_attributes": {}}}', "VIA"),
        ("a.json", '{"size": {"height": 1, "width": 1}, "tags": [], "objects": []}', "Supervisely.*COCO"),
        ("a.json", '{"version": "2.0", "item": {}, "annotations": []}', "V7 Darwin.*COCO"),
        ("a.json", '{"metadata": {}, "instances": []}', "SuperAnnotate.*COCO"),
        ("a.json", '{"data_row": {}, "projects": {}}', "Labelbox.*COCO"),
        ("a.json", '{"version": 1.3, "people": []}', "OpenPose"),
        ("a.ndjson", "{}", "Labelbox.*COCO"),
        ("a.zip", "PK", "Unpack the archive"),
        ("a.pkl", "", "pickle, which is never read"),
        ("a.txt", "0 0.5 0.5 1 1", r"COCO or Label Studio or labelme \(.json\), CVAT.*data\.yaml"),
    ],
)
def test_other_programs_files_are_refused_by_name(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_annotations(tmp_path / name)
