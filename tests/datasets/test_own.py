"""A folder of one's own, with COCO key-points."""

import json

import numpy as np
import PIL.Image
import pytest

from semcorr.datasets import own, registry
from semcorr.datasets.check import check
from semcorr.errors import DatasetError

NAMES = ["nose", "left ear", "right ear"]


def annotation(number, image, category, marks, box=None):
    record = {"id": number, "image_id": image, "category_id": category, "keypoints": [v for m in marks for v in m]}
    return {**record, "bbox": box} if box else record


@pytest.fixture
def content():
    return {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 2, "file_name": "b.png", "width": 50, "height": 30},
            {"id": 3, "file_name": "c.jpg"},
        ],
        "categories": [
            {"id": 7, "name": "cat", "keypoints": NAMES},
            {"id": 8, "name": "dog", "keypoints": NAMES[:1]},
        ],
        "annotations": [
            annotation(1, 1, 7, [(1, 2, 2), (3, 4, 2), (5, 6, 1)], [0, 1, 10, 20]),
            annotation(2, 2, 7, [(7, 8, 2), (0, 0, 0), (9, 10, 2)], [5, 5, 20, 10]),
            annotation(3, 3, 7, [(1, 1, 2), (2, 2, 2), (3, 3, 2)], [0, 0, 4, 4]),
            annotation(4, 3, 7, [(11, 1, 2), (12, 2, 2), (13, 3, 2)], [9, 0, 6, 6]),  # the larger cat of that image
            annotation(5, 3, 8, [(4, 4, 2)], [4, 4, 2, 2]),
            {"id": 6, "image_id": 1, "category_id": 8, "bbox": [0, 0, 1, 1]},  # no key-points: not for us
        ],
    }


@pytest.fixture
def folder(tmp_path, save_image, content):
    save_image(tmp_path / "a.png", (40, 30))
    save_image(tmp_path / "images" / "b.png", (50, 30))
    upright = PIL.Image.Exif()
    upright[0x0112] = 6  # lies on its side: 25 x 35 for a person
    save_image(tmp_path / "c.jpg", (35, 25), exif=upright)
    (tmp_path / "points.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def test_all_ordered_pairs(folder):
    dataset = registry.load("own", folder)
    assert [pair.id for pair in dataset.pairs] == [
        *("a.png-b.png:cat", "a.png-c.jpg:cat", "b.png-a.png:cat", "b.png-c.jpg:cat"),
        *("c.jpg-a.png:cat", "c.jpg-b.png:cat"),
    ]
    assert (dataset.setting, dataset.threshold) == ("all", "target-box")
    pair = dataset.pairs[0]
    assert pair.names == ("nose",)  # the only point that can be seen in both
    assert pair.target.path == folder / "images" / "b.png"
    np.testing.assert_array_equal(pair.source.points, [[1.5, 2.5]])
    np.testing.assert_array_equal(pair.target.points, [[7.5, 8.5]])
    assert (pair.source.box, pair.target.box) == ((0, 1, 10, 21), (5, 5, 25, 15))
    other = dataset.pairs[1]
    assert other.names == ("nose", "left ear")
    assert other.target.size == (25, 35)
    np.testing.assert_array_equal(other.target.points, [[11.5, 1.5], [12.5, 2.5]])


def test_the_file_itself_can_be_named(folder):
    (folder / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"expected one file of key-points in .*, got other.json, points.json"):
        own.load(folder)
    assert len(own.load(folder / "points.json").pairs) == 6


@pytest.mark.parametrize("text", ["source,target\nb.png,a.png\nc.jpg, a.png\n", "b.png a.png\n\nc.jpg\ta.png\n"])
def test_a_list_of_pairs(folder, text):
    (folder / "pairs.csv").write_text(text, encoding="utf-8")
    dataset = registry.load("own", folder)
    assert dataset.setting == "listed"
    assert [pair.id for pair in dataset.pairs] == ["b.png-a.png:cat", "c.jpg-a.png:cat"]
    assert len(registry.load("own", folder, setting="all").pairs) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png b.png c.jpg", "expected two file names in line 1 of .* got 'a.png b.png c.jpg'"),
        ("a.png b.png\na.png d.png", "in line 2 of .* got 'd.png', which has no key-points"),
        ("z.png d.png", "in line 1 of .* got 'z.png'"),
    ],
)
def test_a_broken_list_is_refused(folder, text, message):
    (folder / "pairs.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        own.load(folder)


def test_no_list_is_refused(folder):
    with pytest.raises(DatasetError, match=r"expected pairs\.csv or pairs\.txt in .* got neither"):
        own.load(folder, setting="listed")


def test_boxes_are_not_needed(folder, content):
    for record in content["annotations"]:
        record.pop("bbox", None)
    (folder / "points.json").write_text(json.dumps(content), encoding="utf-8")
    dataset = own.load(folder)
    assert (dataset.threshold, dataset.pairs[0].target.box) == ("image", None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("annotations", None, "expected 'annotations' as a list in .* got None"),
        ("categories", [], "expected every annotation's category in .* got category_id 7 in annotation 1"),
        ("annotations", [], "expected images that share a category"),
        ("annotations", [annotation(1, 1, 7, [(1, 2, 2)])], "expected 'keypoints' of annotation 1 as 9 numbers"),
        (
            "annotations",
            [annotation(5, 1, 7, [(1, 2, 2), (1, 2, 0.9), (0, 0, 0)])],
            "got 0.9 for 'left ear' of annotation 5",
        ),
        ("annotations", [annotation(5, 1, 7, [(1, 2, 2)] * 3) | {"iscrowd": "x"}], "'iscrowd' as 0 or 1"),
        ("images", [{"id": number, "file_name": ".."} for number in (1, 2, 3)], "expected images by their names"),
        ("images", [{"id": 1}, {"id": 2}, {"id": 3}], "expected 'file_name' as a text"),
    ],
)
def test_a_broken_file_is_refused(folder, content, key, value, message):
    (folder / "points.json").write_text(json.dumps({**content, key: value}), encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        own.load(folder)


def test_an_image_without_a_size_must_be_readable(folder):
    (folder / "c.jpg").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"expected an image in '.*c.jpg', got something unreadable"):
        own.load(folder)
    (folder / "c.jpg").unlink()
    with pytest.raises(DatasetError, match=r"expected the image '.*c.jpg', which is not there"):
        own.load(folder)


def test_no_file_is_refused(tmp_path):
    with pytest.raises(
        DatasetError, match=r"Own data: expected a file of key-points, such as a .json file of COCO's, in"
    ):
        own.load(tmp_path)


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("annotations", "image_id", []),
        ("images", "id", [1]),
        ("categories", "id", {}),
        ("annotations", "category_id", None),
    ],
)
def test_ids_that_are_none_are_refused(folder, content, key, field, value):
    content[key][0][field] = value
    (folder / "points.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match=f"expected '{field}' as a whole number or a text"):
        own.load(folder)


def test_names_and_sizes_that_no_system_has_are_refused(folder, content):
    content["images"][0]["width"] = 10**400
    (folder / "points.json").write_text(json.dumps(content), encoding="utf-8")
    assert own.load(folder).pairs[0].source.size == (40, 30)  # the image's own
    content["images"][0] |= {"width": 40, "file_name": "x" * 300}
    (folder / "points.json").write_text(json.dumps(content), encoding="utf-8")
    assert any(pair.source.path.name == "x" * 300 for pair in own.load(folder).pairs)  # missing like any other
    (folder / "pairs.csv").write_text("y" * 140_000 + ",b.png\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="expected two file names a line"):
        own.load(folder)


def test_pairs_without_common_visible_points_are_refused(folder, content):
    """Each image shows another point."""
    first, second = [(1, 2, 2), (0, 0, 0), (0, 0, 0)], [(7, 8, 1), (3, 4, 2), (9, 10, 1)]
    content["annotations"] = [annotation(1, 1, 7, first), annotation(2, 2, 7, second)]
    (folder / "points.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"seen \(v = 2\) in both images of a pair in '.*points.json', got none"):
        own.load(folder)


def test_where_no_point_is_marked_visible_all_marked_ones_count(folder, content):
    """Converters of 300-W write 1 for every point, and no names."""
    first, second = [(1, 2, 1), (0, 0, 0), (5, 6, 1)], [(7, 8, 1), (3, 4, 1), (9, 10, 1)]
    content["annotations"] = [annotation(1, 1, 7, first), annotation(2, 2, 7, second)]
    content["categories"][0]["keypoints"] = []
    (folder / "points.json").write_text(json.dumps(content), encoding="utf-8")
    dataset = own.load(folder)
    assert [pair.names for pair in dataset.pairs] == [("1", "3")] * 2
    np.testing.assert_array_equal(dataset.pairs[0].source.points, [[1.5, 2.5], [5.5, 6.5]])
    assert dataset.notes == ("no point is marked as visible (v = 2), so all that are marked (v = 1) are measured",)


def test_a_choice_of_pairs_without_points_is_refused(folder, content):
    """The dogs' only point is covered in one of the images; the cats have points."""
    content["annotations"] += [annotation(7, 2, 8, [(4, 4, 1)])]
    (folder / "points.json").write_text(json.dumps(content), encoding="utf-8")
    assert len(registry.load("own", folder).pairs) == 8
    with pytest.raises(DatasetError, match="none of the 2 pairs chosen has a key-point that can be seen"):
        registry.load("own", folder, categories=["dog"])


def write(folder, content, **changes):
    (folder / "points.json").write_text(json.dumps({**content, **changes}), encoding="utf-8")


def test_an_image_of_another_size_is_refused_with_both(folder, content):
    content["images"][0] |= {"width": 80, "height": 60}
    write(folder, content)
    with pytest.raises(DatasetError, match=r"declare 80 x 60 pixels, and the file 'a.png' has 40 x 30.* --rescale"):
        registry.load("own", folder)
    with pytest.raises(DatasetError, match="declare 80 x 60"):
        check("own", folder)


def test_coordinates_of_an_enlarged_copy_are_scaled_on_demand(folder, content):
    content["images"][0] |= {"width": 80, "height": 60}
    write(folder, content)
    pair = registry.load("own", folder, rescale=True).pairs[0]
    # A pixel's middle, (1.5, 2.5) of the copy that is twice as large.
    np.testing.assert_allclose(pair.source.points, [[0.75, 1.25]])
    assert (pair.source.size, pair.source.box) == ((40, 30), (0, 0.5, 5, 10.5))
    np.testing.assert_array_equal(pair.target.points, [[7.5, 8.5]])


@pytest.mark.parametrize("size", [(80, 30), (40, 33), (39, 60)])
def test_another_aspect_ratio_is_refused_whatever_is_asked(folder, content, size):
    content["images"][0] |= {"width": size[0], "height": size[1]}
    write(folder, content)
    with pytest.raises(DatasetError, match="another aspect ratio"):
        registry.load("own", folder, rescale=True)


def test_swapped_sides_are_a_note_and_coordinates_outside_an_error(folder, content):
    content["images"][2] |= {"width": 35, "height": 25}  # upright it is 25 x 35
    write(folder, content)
    dataset = registry.load("own", folder)
    assert dataset.pairs[1].target.size == (25, 35)
    assert "'c.jpg' is 25 x 35 pixels upright, and the annotations declare 35 x 25" in dataset.notes[0]
    assert any(dataset.notes[0][1:] in finding.message for finding in check("own", folder).findings)
    content["annotations"][3]["bbox"] = [9, 0, 25, 6]  # to x = 34, which only the image as it is stored has
    write(folder, content)
    with pytest.raises(DatasetError, match="those of the image as it is stored"):
        registry.load("own", folder)


def test_crowds_and_predicted_objects_are_no_truth(folder, content):
    content["annotations"][3] |= {"semcorr": {"predicted": True}}  # the larger cat of c.jpg
    content["annotations"][4] |= {"iscrowd": "1"}
    write(folder, content)
    dataset = registry.load("own", folder)
    np.testing.assert_array_equal(dataset.pairs[1].target.points, [[1.5, 1.5], [2.5, 2.5]])
    assert dataset.notes == (
        "annotations of crowds (iscrowd) are ignored: 1 of 'dog'",
        "predicted objects are no truth and are ignored: 1 of 'cat'",
    )
    for record in content["annotations"]:
        record["score"] = 0.5
    write(folder, content)
    with pytest.raises(DatasetError, match=r"got none\. .*Predicted objects are no truth and are ignored: 4 of 'cat'"):
        own.load(folder)


def test_names_and_ids_of_other_tools(folder, content):
    for number, file in enumerate(("C:\\data\\a.png", "images\\b.png", "/home/me/C.JPG"), start=1):
        content["images"][number - 1] |= {"id": str(number), "file_name": file}
    for record in content["annotations"]:
        record["image_id"] = str(record["image_id"])
    content["categories"].insert(0, {"id": 0, "name": "cat", "supercategory": "none"})
    write(folder, content)
    dataset = registry.load("own", folder)
    assert [pair.source.path for pair in dataset.pairs[::2]] == [
        *(folder / "a.png", folder / "images" / "b.png", folder / "c.jpg")
    ]
    assert dataset.notes[0].startswith("image names that differ from the file's in case")


def test_two_categories_of_a_name_are_refused(folder, content):
    content["categories"].append({"id": 9, "name": "cat", "keypoints": NAMES})
    content["annotations"].append(annotation(7, 1, 9, [(1, 2, 2)] * 3))
    write(folder, content)
    with pytest.raises(DatasetError, match="got 'cat' for both 7 and 9"):
        own.load(folder)


def test_a_project_of_deeplabcut_is_measured_by_the_extent_of_its_points(tmp_path, save_image):
    frames = tmp_path / "labeled-data" / "day1"
    for name in ("a", "b", "c", "d"):
        save_image(frames / f"{name}.png", (40, 30))
    rows = ["scorer,me,me,me,me", "bodyparts,snout,snout,tail,tail", "coords,x,y,x,y"]
    rows += [f"labeled-data/day1/{row}" for row in ("a.png,1,2,3,4", "b.png,5,6,,", "c.png,39.4,8,9,10", "d.png,,,,")]
    (frames / "CollectedData_me.csv").write_text("\n".join(rows), encoding="utf-8")
    for data in (tmp_path, frames / "CollectedData_me.csv"):
        dataset = registry.load("own", data)
        assert [(pair.id, pair.names) for pair in dataset.pairs[:2]] == [
            ("labeled-data/day1/a.png-labeled-data/day1/b.png:animal", ("snout",)),
            ("labeled-data/day1/a.png-labeled-data/day1/c.png:animal", ("snout", "tail")),
        ]
        assert (len(dataset.pairs), dataset.threshold, dataset.pairs[1].source.size) == (6, "keypoints", (40, 30))
        np.testing.assert_array_equal(dataset.pairs[1].target.points, [[39.9, 8.5], [9.5, 10.5]])
    (frames / "CollectedData_me.csv").write_text("\n".join([*rows[:4], *rows[5:7]]), encoding="utf-8")
    (frames / "c.png").unlink()
    with pytest.raises(DatasetError, match=r"expected the image '.*c.png', which is not there"):
        own.load(tmp_path)


def test_a_data_set_of_dlibs_is_measured_by_its_boxes(tmp_path, save_image):
    def image(name, *boxes):
        sides = "<box top='1' left='2' width='{}' height='9'>{}<part name='1' x='5' y='6'/></box>"
        return f"<image file='{name}'>{''.join(sides.format(*one) for one in boxes)}</image>"

    for name in ("a.png", "b.png"):
        save_image(tmp_path / name, (40, 30))
    extra = "<part name='0' x='3' y='4'/>"
    images = image("a.png", (10, extra), (20, ""), (5, extra)) + image("b.png", (7, extra))
    (tmp_path / "faces.xml").write_text(f"<dataset><images>{images}</images></dataset>", encoding="utf-8")
    (tmp_path / "pairs.csv").write_text("b.png,a.png\n", encoding="utf-8")
    dataset = registry.load("own", tmp_path)
    assert [pair.id for pair in dataset.pairs] == ["b.png-a.png:object"]
    (pair,) = dataset.pairs
    assert (dataset.threshold, pair.target.box, pair.names) == ("target-box", (2, 1, 22, 10), ("1",))  # the largest
    assert check("own", tmp_path / "faces.xml").whole
    (tmp_path / "other.csv").write_text("image,name,x,y\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"expected one file of key-points in .*got faces.xml, other.csv"):
        own.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "pairs", "points", "threshold"),
    [
        pytest.param("mouse-open-field", 116 * 115, 4 * 116 * 115, "keypoints", marks=pytest.mark.slow),
        ("faces-68/training_with_face_landmarks.xml", 4 * 3, 68 * 4 * 3, "target-box"),
        ("faces-68/testing_with_face_landmarks.xml", 5 * 4, 68 * 5 * 4, "target-box"),
    ],
)
def test_the_real_sets(photographs, name, pairs, points, threshold):
    report = check("own", photographs / name)
    assert (report.whole, report.total.pairs, report.total.points) == (True, pairs, points)
    assert registry.load("own", photographs / name, limit=1).threshold == threshold
