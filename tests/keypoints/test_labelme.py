"""labelme's and X-AnyLabeling's files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semcorr.errors import DatasetError
from semcorr.keypoints import read_annotations


def shape(label: str, *points: tuple[float, float], group: int | None = None, **more: Any) -> dict[str, Any]:
    kind = "point" if len(points) == 1 else "rectangle"
    return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": {}, **more}


def write(path: Path, shapes: list[dict[str, Any]], image: str = "a.png", **more: Any) -> Path:
    content = {"version": "5.4", "shapes": shapes, "imagePath": image, "imageData": None, "imageHeight": 50}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, "imageWidth": 100, **more}), encoding="utf-8")
    return path


def test_points_alone_are_one_object(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [shape("ear", (10, 20.5)), shape("tail", (30, 40))])
    annotations = read_annotations(path)
    assert (annotations.format, annotations.categories["object"].keypoints) == ("labelme", ("ear", "tail"))
    (image,) = annotations.images
    assert (image.file, image.size, image.path) == ("a.png", (100, 50), tmp_path / "a.png")
    (one,) = image.instances
    # labelme's (0, 0) is the corner of the image.
    np.testing.assert_array_equal(one.points, [[10, 20.5], [30, 40]])
    assert one.box is None


def test_a_folder_of_groups_and_rectangles(tmp_path: Path) -> None:
    corners = ((50.0, 10.0), (90.0, 10.0), (90.0, 40.0), (50.0, 40.0))
    shapes = [
        shape("cat", (40, 30), (5, 5), group=1),
        shape("cat", *corners),
        shape("ear", (80, 20), group=1),
        shape("ear", (60, 20)),
        shape("tail", (70, 30), difficult=True),
        {**shape("cat", (1, 1), (2, 2), (3, 1)), "shape_type": "polygon"},
        shape("tree", (90, 1), (99, 9)),
    ]
    write(tmp_path / "day1" / "a.json", shapes, "..\\images\\a.png")
    write(tmp_path / "b.json", [], "b.png")
    (tmp_path / "notes.json").write_text("{}", encoding="utf-8")
    annotations = read_annotations(tmp_path)
    first, second = annotations.images
    assert (first.file, first.instances) == ("b.png", ())
    one, other = second.instances
    assert (one.box, other.box) == ((5, 5, 40, 30), (50, 10, 90, 40))
    np.testing.assert_array_equal(one.points, [[80, 20], [np.nan, np.nan]])
    np.testing.assert_array_equal(other.points, [[60, 20], [70, 30]])
    assert (one.visibility.tolist(), other.visibility.tolist()) == ([2, 0], [2, 1])
    notes = " ".join(annotations.notes)
    assert "ignored: 1 polygon" in notes
    assert "labels without points are ignored: 1 of 'tree'" in notes
    assert "not labelme's are ignored: notes.json" in notes


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "expected points"),
        ([shape("cat", (1, 1), (9, 9))], "expected points"),
        ([shape("ear", (1, 1)), shape("ear", (2, 2))], "'ear' again.*group_id"),
        ([shape("cat", (1, 1), (9, 9)), shape("ear", (20, 20))], "exactly one of 1 rectangles.*none.*group_id"),
        ([shape("cat", (1, 1), (9, 9)), shape("dog", (2, 2), (8, 8)), shape("ear", (5, 5))], "it in 2 of them"),
        (
            [shape("cat", (1, 1), (9, 9), group=1), shape("cat", (2, 2), (8, 8), group=1)],
            "one rectangle in the group 1",
        ),
        ([{"label": "ear", "shape_type": "point", "points": [[1]]}], "as a list of x, y"),
        ([{"label": "ear", "shape_type": "point", "points": []}], "one location of the point 'ear'"),
        ([{"shape_type": "point", "points": [[1, 1]]}], "'label' as a text"),
        ([5], "shapes as a list of objects"),
    ],
)
def test_ambiguous_and_broken_files_are_refused(tmp_path: Path, shapes: list[Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_annotations(write(tmp_path / "a.json", shapes))


def test_an_image_of_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.json", [shape("ear", (1, 1))])
    with pytest.raises(DatasetError, match=r"an image of its own.*b\.json.*'a\.png' again"):
        read_annotations(tmp_path)
