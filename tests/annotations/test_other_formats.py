"""Tables read and written; CVAT written. What its own importer says is in test_importers.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semcorr.annotations import Category, TransferRecord, read_annotations
from semcorr.errors import DatasetError

CATS = {"cat": Category(id=1, name="cat", keypoints=("ear", "tail", "paw"))}


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("image,name,x,y\na.png,ear,1.5,2\na.png,tail,3,4\nb.png,paw,5,6\n", encoding="utf-8")
    found = read_annotations(path)
    assert found.categories["object"].keypoints == ("ear", "tail", "paw")
    (thing,) = found.pictures[0].instances
    np.testing.assert_array_equal(thing.points, [[1.5, 2], [3, 4], [np.nan, np.nan]])
    assert thing.visibility.tolist() == [2, 2, 0]
    assert found.pictures[0].path == tmp_path / "a.png"


def test_a_table_with_categories_from_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes("\ufeffImage,Category,Name,X,Y\r\na.png,cat,ear,1,2\r\na.png,dog,ear,3,4\r\n".encode())
    found = read_annotations(path)
    assert [thing.category for thing in found.pictures[0].instances] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "headings"),
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
def test_broken_tables_are_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_annotations(path)


def test_a_name_that_no_system_has_is_a_missing_picture(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"image,name,x,y\n{'x' * 300}.png,ear,1,2\n", encoding="utf-8")
    (picture,) = read_annotations(path).pictures
    assert not picture.file.startswith("/")
    path.write_text("image,name,x,y\na.png,ear,1,\n", encoding="utf-8")
    with pytest.raises(DatasetError):
        read_annotations(path)


@pytest.mark.parametrize("x", ["1e999", "nan", "9" * 400])
def test_numbers_that_are_none_are_told(tmp_path: Path, x: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"image,name,x,y\na.png,ear,{x},2\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="expected x and y in line 2 as 2 numbers"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("change", "of"),
    [
        ({"size": []}, ValueError),
        ({"size": "1"}, ValueError),
        (
            {"objects": [{"category": "cat", "names": ["a"], "points": [], "confidence": [], "box": None, "id": 1}]},
            ValueError,
        ),
        (
            {"objects": [{"category": "cat", "names": [], "points": [], "confidence": [], "box": [1], "id": 1}]},
            ValueError,
        ),
        (
            {"objects": [{"category": "cat", "names": [], "points": [], "confidence": [], "box": None, "id": 1.5}]},
            TypeError,
        ),
        ({"size": [1e999, 1]}, ValueError),
        ({"remarks": "one"}, TypeError),
    ],
)
def test_a_line_of_a_journal_that_is_something_else(record: Callable, change: dict[str, Any], of: type) -> None:
    line = json.loads(record().to_json()) | change
    with pytest.raises(of):
        TransferRecord.from_json(json.dumps(line))
    with pytest.raises(ValueError, match="Recursion"):
        TransferRecord.from_json("[" * 100_000)
