"""COCO files as people's tools write them: read as what they say, or refused by the entry's own name."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semcorr.errors import DatasetError
from semcorr.keypoints import Annotations, read_annotations

BASE: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 50}, {"id": 2, "file_name": "b.png"}],
    "categories": [{"id": 3, "name": "cat", "keypoints": ["ear", "tail"]}],
    "annotations": [
        {"id": 8, "image_id": 1, "category_id": 3, "keypoints": [1, 2, 2, 3, 4, 1], "bbox": [0, 1, 20, 30]},
        {"id": 9, "image_id": 2, "category_id": 3, "bbox": [5, 6, 40, 30]},
    ],
}

Read = Callable[[Any], Annotations]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def write_and_read(document: Any) -> Annotations:
        path = tmp_path / "a.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return read_annotations(path)

    return write_and_read


def changed(key: str, number: int, **fields: Any) -> dict[str, Any]:
    """The base with fields of one entry changed; None takes a field out."""
    document = copy.deepcopy(BASE)
    document[key][number] |= fields
    return document


def test_covered_points_are_annotated_points(read: Read) -> None:
    (cat,) = read(changed("annotations", 0, keypoints=[0, 0, 1, 3, 4, 1], num_keypoints=0)).images[0].instances
    assert cat.annotated
    np.testing.assert_array_equal(cat.points, [[0.5, 0.5], [3.5, 4.5]])
    assert cat.visibility.tolist() == [1, 1]


@pytest.mark.parametrize("mark", [3, 0.98, 1.5, -1, 1000])
def test_unknown_marks_are_refused_with_the_point_and_the_annotation(read: Read, mark: float) -> None:
    with pytest.raises(DatasetError, match=rf"got {mark:g} for 'tail' of annotation 8. If it is a score, write 2"):
        read(changed("annotations", 0, keypoints=[1, 2, 2, 3, 4, mark]))
    with pytest.raises(DatasetError, match=rf"got {mark:g} for 'ear' of annotation 8, and 1 more like it"):
        read(changed("annotations", 0, keypoints=[1, 2, mark, 3, 4, mark]))


@pytest.mark.parametrize("mark", [None, "visible", [], {}])
def test_marks_that_are_no_numbers_are_refused(read: Read, mark: object) -> None:
    with pytest.raises(DatasetError, match="'keypoints' of annotation 8 as 6 numbers"):
        read(changed("annotations", 0, keypoints=[1, 2, 2, 3, 4, mark]))


@pytest.mark.parametrize("marks", [(2.0, 1.0), ("2", "1"), (2, 1)])
def test_marks_may_be_written_as_fractions_and_texts(read: Read, marks: tuple[Any, Any]) -> None:
    values = ["1.5", 2, marks[0], 3, 4, marks[1]]
    (cat,) = read(changed("annotations", 0, keypoints=values)).images[0].instances
    assert cat.visibility.tolist() == [2, 1]
    np.testing.assert_array_equal(cat.points, [[2.0, 2.5], [3.5, 4.5]])


@pytest.mark.parametrize(
    ("value", "crowd"),
    [(0, 0), (1, 1), ("0", 0), ("1", 1), (False, 0), (True, 1), (None, 0), (0.0, 0), (1.0, 1), (" 0 ", 0)],
)
def test_crowds_are_left_out_and_counted(read: Read, value: object, crowd: int) -> None:
    annotations = read(changed("annotations", 0, iscrowd=value))
    assert len(annotations.images[0].instances) == 1 - crowd
    assert annotations.notes == (("annotations of crowds (iscrowd) are ignored: 1 of 'cat'",) if crowd else ())


@pytest.mark.parametrize("value", [2, "no", "true", 0.5, [], [1], {}])
def test_crowd_flags_that_are_none_are_refused(read: Read, value: object) -> None:
    with pytest.raises(DatasetError, match=r"'iscrowd' as 0 or 1 in .* in annotation 8"):
        read(changed("annotations", 0, iscrowd=value))


def test_boxes_of_categories_without_key_points_are_ignored_and_counted(read: Read) -> None:
    document = copy.deepcopy(BASE)
    document["categories"] += [{"id": 4, "name": "car"}, {"id": 5, "name": "ball", "keypoints": []}]
    document["annotations"] += [
        {"id": 20 + number, "image_id": 1 + number % 2, "category_id": category, "bbox": [0, 0, 5, 5], **fields}
        for number, (category, fields) in enumerate(
            [(4, {}), (4, {"keypoints": []}), (5, {"keypoints": [], "num_keypoints": 0}), (4, {"keypoints": [0] * 6})]
        )
    ]
    annotations = read(document)
    assert [[one.category for one in image.instances] for image in annotations.images] == [["cat"], ["cat"]]
    assert annotations.notes == ("boxes of categories without key-points are ignored: 3 of 'car', 1 of 'ball'",)
    assert list(annotations.categories) == ["cat"]


def test_points_of_a_category_that_does_not_name_them_are_numbered(read: Read) -> None:
    document = copy.deepcopy(BASE)
    document["categories"].append({"id": 4, "name": "car"})
    document["annotations"][1] |= {"category_id": 4, "keypoints": [1, 2, 1, 0, 0, 0]}
    document["annotations"].append({"id": 10, "image_id": 2, "category_id": 4, "keypoints": [0, 0, 0, 5, 6, 2]})
    annotations = read(document)
    assert annotations.categories["car"].keypoints == ("1", "2")
    assert [one.visibility.tolist() for one in annotations.images[1].instances] == [[1, 0], [0, 2]]
    assert annotations.notes == ("categories that do not name their key-points, which are numbered from 1: 'car' (2)",)
    # Of one more there is no telling which is which.
    document["annotations"][2]["keypoints"] += [7, 8, 2]
    with pytest.raises(DatasetError, match=r"names of the key-points, for the category 'car' \(4\) .* annotation 9"):
        read(document)


def test_points_beside_cocos_own_are_not_read_and_named(read: Read) -> None:
    annotations = read(changed("annotations", 0, face_kpts=[1, 2, 2], foot_kpts=[3, 4, 2], face_box=[0, 0, 1, 1]))
    assert annotations.notes == ("key-points beside COCO's own are not read: the fields face_kpts, foot_kpts",)


@pytest.mark.parametrize("first", [True, False])
def test_a_root_category_of_the_same_name_is_ignored(read: Read, first: bool) -> None:
    document = copy.deepcopy(BASE)
    root = {"id": 0, "name": "cat", "supercategory": "none"}
    document["categories"].insert(0 if first else 1, root)
    annotations = read(document)
    assert (annotations.categories["cat"].id, annotations.categories["cat"].keypoints) == (3, ("ear", "tail"))
    assert annotations.images[0].annotated
    assert annotations.document["categories"] == document["categories"]
    # Boxes of a root are boxes of a category without key-points.
    document["annotations"][1]["category_id"] = 0
    assert read(document).notes == ("boxes of categories without key-points are ignored: 1 of 'cat'",)


@pytest.mark.parametrize("first", [True, False])
def test_of_two_categories_of_a_name_the_one_with_annotations_counts(read: Read, first: bool) -> None:
    document = copy.deepcopy(BASE)
    document["categories"].insert(0 if first else 1, {"id": 5, "name": "cat", "keypoints": ["other"]})
    annotations = read(document)
    assert annotations.categories["cat"].id == 3
    assert annotations.notes == ("categories of another's name and without annotations are ignored: 'cat' (5)",)
    document["annotations"].append({"id": 10, "image_id": 1, "category_id": 5, "keypoints": [1, 1, 2]})
    with pytest.raises(DatasetError, match=r"got 'cat' for both (3 and 5|5 and 3), and both have annotations"):
        read(document)


def test_entries_of_one_file_become_one_image_and_keep_their_ids(read: Read) -> None:
    document = changed("images", 1, file_name="a.png")
    annotations = read(document)
    (image,) = annotations.images
    assert (image.id, image.size) == (1, (100, 50))
    assert [(one.id, one.annotated) for one in image.instances] == [(8, True), (9, False)]
    assert annotations.notes[0].startswith("image files that are named under several ids: 1, such as 'a.png'")
    document["images"][1] |= {"width": 200, "height": 100}
    with pytest.raises(DatasetError, match=r"one size of 'a.png' .* images 1 and 2 with \(100, 50\) and \(200, 100\)"):
        read(document)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"width": 100, "height": 50}, (100, 50)),
        ({"width": "100", "height": " 50"}, (100, 50)),
        ({"width": 100.0, "height": 50.0}, (100, 50)),
        ({"width": 100, "height": None}, None),
        ({"width": 0, "height": 0}, None),
        ({"width": -1, "height": 50}, None),
        ({"width": 99.5, "height": 50}, None),
        ({"width": "wide", "height": 50}, None),
        ({"width": True, "height": True}, None),
        ({"width": 10**400, "height": 1}, None),
        ({"width": "9" * 5000, "height": 1}, None),
        ({"width": [100], "height": {}}, None),
    ],
)
def test_declared_sizes(read: Read, fields: dict[str, Any], size: tuple[int, int] | None) -> None:
    assert read(changed("images", 0, **fields)).images[0].size == size


@pytest.mark.parametrize("box", [None, [], [3, 4, 0, 0], [3, 4, 5, 0]])
def test_no_box_is_none(read: Read, box: object) -> None:
    annotations = read(changed("annotations", 1, bbox=box))
    assert annotations.images[1].instances[0].box is None
    assert annotations.notes == (("boxes without extent are ignored: 1, the first of annotation 9",) if box else ())


def test_a_box_with_a_negative_side_is_refused(read: Read) -> None:
    with pytest.raises(DatasetError, match=r"'bbox' of annotation 8 as x, y, width and height .* a side is negative"):
        read(changed("annotations", 0, bbox=[217, 181, -189, -152]))


@pytest.mark.parametrize("image", ["1", 2**70, -3, 0])
@pytest.mark.parametrize("own", ["8", "a-b", 2**80])
def test_ids_of_every_kind_stay_what_they_are(read: Read, image: int | str, own: int | str) -> None:
    document = changed("images", 0, id=image)
    document["annotations"][0] |= {"id": own, "image_id": image, "category_id": "x"}
    document["annotations"][1]["category_id"] = document["categories"][0]["id"] = "x"
    annotations = read(document)
    assert (annotations.images[0].id, annotations.images[0].instances[0].id) == (image, own)
    assert annotations.categories["cat"].id == "x"


def test_an_id_as_a_number_and_as_a_text_is_refused_and_said(read: Read) -> None:
    with pytest.raises(DatasetError, match=r"image_id '1' in annotation 8. The id 1 is there, but one is a number"):
        read(changed("annotations", 0, image_id="1"))
    with pytest.raises(DatasetError, match=r"got image_id '77' in annotation 8\. Correct"):
        read(changed("annotations", 0, image_id="77"))


@pytest.mark.parametrize("value", [None, [], True, 1.5])
def test_ids_that_are_none_are_refused(read: Read, value: object) -> None:
    for key, number in (("images", 0), ("annotations", 0), ("categories", 0)):
        with pytest.raises(DatasetError, match="expected 'id' as a whole number or a text"):
            read(changed(key, number, id=value))


@pytest.mark.parametrize(
    ("fields", "predicted", "score"),
    [
        ({}, False, None),
        ({"semcorr": {"predicted": True}, "score": 0.75}, True, 0.75),
        ({"semcorr": {"predicted": True}}, True, None),
        ({"semcorr": {"predicted": True, "accepted": True}, "score": 0.75}, False, None),
        ({"semcorr": {"predicted": True, "accepted": False}}, True, None),
        ({"semcorr": {"predicted": False}, "keypoints_found": [1, 2, 0.9, 3, 4, 0.8], "score": 0.8}, False, None),
        ({"semcorr": {"accepted": True}, "score": 1}, False, None),
        ({"semcorr": "accepted", "score": 1}, False, None),
        ({"semcorr": "predicted"}, True, None),
        ({"keypoints_found": [1, 2, 0.9, 3, 4, 0.8], "score": 0.8}, True, 0.8),  # before there were marks
        ({"score": 0.8}, True, 0.8),  # another program's results
        ({"score": None}, False, None),
        ({"score": 12.5}, True, None),
        ({"score": 0.8, "keypoints": [0, 0, 0, 0, 0, 0]}, False, None),  # a detector's box is no prediction of points
        ({"score": 0.8, "keypoints": None}, False, None),
        ({"semcorr": {"predicted": True}, "keypoints": [0] * 6, "keypoints_found": [1, 2, 0.1] * 2}, True, None),
    ],
)
def test_who_made_the_points(read: Read, fields: dict[str, Any], predicted: bool, score: float | None) -> None:
    annotations = read(changed("annotations", 0, **fields))
    (cat,) = annotations.images[0].instances
    assert (cat.predicted, cat.score) == (predicted, score)
    assert cat.annotated == (not predicted and bool((cat.visibility > 0).any()))
    assert bool(annotations.notes) == predicted


@pytest.mark.parametrize("mark", [True, "yes", {}, {"predicted": 1}, {"predicted": True, "accepted": "no"}, [1], 7])
def test_an_unknown_mark_is_refused(read: Read, mark: object) -> None:
    with pytest.raises(DatasetError, match=r"as 'semcorr' in .* in annotation 8"):
        read(changed("annotations", 0, semcorr=mark))


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ([[5, 6, 40, 10, 20, 30], [3, 8, 4, 8, 4, 9]], (3, 6, 40, 30)),
        ([[], [5, 6, 40, 10, 20, 30, 5.5, 6.5]], (5, 6, 40, 30)),
        ([[5, 6, 40, 6, 20, 6]], None),
        ([], None),
        ({"counts": "abc", "size": [4, 4]}, None),
    ],
)
def test_polygons_are_a_box_where_there_is_no_other(read: Read, segmentation: object, box: object) -> None:
    without, beside = (changed("annotations", 1, segmentation=segmentation, bbox=bbox) for bbox in (None, [5, 6, 2, 3]))
    assert read(without).images[1].instances[0].box == box
    assert read(beside).images[1].instances[0].box == (5, 6, 7, 9)


@pytest.mark.parametrize("missing", ["null", "none"])
def test_no_annotations_are_none(read: Read, missing: str) -> None:
    document = {key: value for key, value in BASE.items() if key != "annotations"}
    annotations = read(document | ({"annotations": None} if missing == "null" else {}))
    assert not any(image.instances for image in annotations.images)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (BASE["annotations"], "a whole COCO file, .* got a list of annotations or results"),
        (changed("images", 0, file_name=None), "'file_name', the name of a file, .* got None for image 1"),
        ({**BASE, "images": [{"id": 1}]}, "got image_id 2 in annotation 9|'file_name'.* got 'nothing' for image 1"),
        (changed("categories", 0, keypoints=["ear", "ear"]), "different names of key-points .* category 3"),
        (changed("categories", 0, keypoints=["ear", ["tail"]]), "'keypoints' as a list of names .* category 3"),
        (changed("annotations", 0, keypoints=[1, 2]), "'keypoints' of annotation 8 as 6 numbers"),
        (changed("annotations", 0, bbox=[1, 2]), "'bbox' of annotation 8 as 4 numbers"),
        *(
            (changed("annotations", 0, bbox=None, segmentation=polygons), "a polygon of 'segmentation' of annotation 8")
            for polygons in ([1, 2, 3, 4, 5, 6], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [[1, 2, 3, 4, 5, "a"]])
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(read: Read, document: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(document)
