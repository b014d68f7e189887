"""Label Studio's exports read, and written back into their project. Its own importer's answer: test_importers.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import PIL.Image
import pytest

from semcorr.errors import DatasetError
from semcorr.keypoints import Annotations, Category, PredictedObject, TransferRecord, label_studio, read_annotations
from semcorr.keypoints.annotation_format import ExportOptions
from semcorr.keypoints.label_studio.addresses import image_fields, possible_paths

SIZE = (200, 100)


def region(kind: str, label: str, **values: Any) -> dict[str, Any]:
    """A region of an image of 200 x 100 pixels; coordinates are percent."""
    more = {key: values.pop(key) for key in ("id", "parentID", "image_rotation") if key in values}
    names = {"from_name": f"my-{kind}", "to_name": "photo"}
    sides = {"original_width": SIZE[0], "original_height": SIZE[1]}
    return {**more, **names, **sides, "type": kind, "value": {**values, kind: [label]}}


def box(x: float, y: float, width: float, height: float, label: str = "cat", **more: Any) -> dict[str, Any]:
    return region("rectanglelabels", label, x=x, y=y, width=width, height=height, **more)


def point(label: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    return region("keypointlabels", label, x=x, y=y, width=1, **more)


def task(*results: Any, image: str = "/data/upload/1/0a1b2c3d-cat.png", number: int = 1) -> dict[str, Any]:
    return {"id": number, "data": {"image": image}, "annotations": [{"result": list(results)}]}


def read(folder: Path, content: Any, **files: str) -> Annotations:
    """Read a file of ``content``, with further files beside it."""
    path = folder / "export.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return read_annotations(path)


def objects(folder: Path, *results: Any) -> list[tuple[str, Any, list[str]]]:
    """Category, box and key-points of each object of one task."""
    annotations = read(folder, [task(*results)])
    return [
        (
            one.category,
            one.box,
            [
                name
                for name, mark in zip(annotations.categories[one.category].keypoints, one.visibility, strict=True)
                if mark
            ],
        )
        for one in annotations.images[0].instances
    ]


def save_image(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size).save(path)


# Which points are whose.


def test_an_export(tmp_path: Path) -> None:
    save_image(tmp_path / "cat.png")
    annotations = read(tmp_path, [task(box(10, 20, 50, 40, id="r"), point("ear", 25, 50), region("choices", "happy"))])
    (only,) = annotations.images
    assert only.file == "cat.png"  # the name before the upload
    assert only.size == SIZE
    (instance,) = only.instances
    assert (instance.category, instance.box, instance.id) == ("cat", (20, 20, 120, 60), "r")
    np.testing.assert_array_equal(instance.points, [[50, 50]])
    assert annotations.notes == ()


def test_a_point_belongs_to_its_parent_or_to_the_only_rectangle_around_it(tmp_path: Path) -> None:
    one, two = box(0, 0, 50, 50, id="one"), box(40, 40, 60, 60, id="two")
    assert objects(
        tmp_path, one, two, point("ear", 10, 10), point("ear", 90, 90), point("tail", 45, 45, parentID="two")
    ) == [
        ("cat", (0, 0, 100, 50), ["ear"]),
        ("cat", (80, 40, 200, 100), ["ear", "tail"]),
    ]


@pytest.mark.parametrize(("x", "y", "count"), [(45, 45, "2"), (10, 90, "none")])
def test_a_point_in_several_rectangles_or_none_is_refused_with_task_and_label(
    tmp_path: Path, x: float, y: float, count: str
) -> None:
    with pytest.raises(DatasetError, match=rf"'tail'.*task 1 .*in {count} of them"):
        objects(tmp_path, box(0, 0, 50, 50), box(40, 40, 60, 60), point("tail", x, y))


def test_a_point_outside_the_only_rectangle_is_refused_and_with_its_parent_taken(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'ear'.*in none of them, at \(180.0, 90.0\)"):
        objects(tmp_path, box(0, 0, 50, 50), point("ear", 90, 90))
    assert objects(tmp_path, box(0, 0, 50, 50, id="a"), point("ear", 90, 90, parentID="a"))[0][2] == ["ear"]


def test_a_label_twice_for_one_object_is_refused(tmp_path: Path) -> None:
    twice = [point("ear", 10, 10), point("ear", 20, 20)]
    with pytest.raises(DatasetError, match=r"task 1 .*'ear' twice"):
        objects(tmp_path, *twice)
    with pytest.raises(DatasetError, match=r"of one 'cat' once in task 1 .*'ear' twice"):
        objects(tmp_path, box(0, 0, 50, 50), *twice)
    with pytest.raises(DatasetError, match="one label for every region"):
        objects(tmp_path, {**twice[0], "value": {"x": 1, "y": 1, "keypointlabels": ["ear", "tail"]}})


def test_parents_that_are_not_there(tmp_path: Path) -> None:
    assert len(objects(tmp_path, point("ear", 1, 1, parentID="gone"), point("tail", 2, 2, parentID="gone"))) == 1
    assert objects(tmp_path, box(0, 0, 50, 50), point("ear", 1, 1, parentID="gone"))[0][2] == ["ear"]
    with pytest.raises(DatasetError, match="'gone', 'lost'"):
        objects(tmp_path, point("ear", 1, 1, parentID="gone"), point("tail", 2, 2, parentID="lost"))


def test_a_relation_and_a_parent_of_the_parent_say_whose_a_point_is(tmp_path: Path) -> None:
    boxes = [box(0, 0, 60, 60, id="a"), box(10, 10, 60, 60, id="b")]
    related = {"type": "relation", "from_id": "p", "to_id": "b", "direction": "right"}
    points = [point("ear", 20, 20, id="p"), point("tail", 20, 20, id="q", parentID="p")]
    with pytest.raises(DatasetError, match="'ear'"):
        objects(tmp_path, *boxes, *points)
    with pytest.raises(DatasetError, match="'tail'"):  # related is the parent, and not the child
        objects(tmp_path, *boxes, *points, related)
    points[0]["parentID"] = "b"
    assert [names for *_, names in objects(tmp_path, *boxes, *points)] == [[], ["ear", "tail"]]
    with pytest.raises(DatasetError, match="relations to 2"):
        objects(tmp_path, *boxes, point("ear", 20, 20, id="p"), related, {**related, "to_id": "a"})


def test_polygons_and_ellipses_hold_points_where_there_are_no_rectangles(tmp_path: Path) -> None:
    # A triangle with its right angle at the top left, and an ellipse that is turned to stand upright.
    triangle = region("polygonlabels", "cat", id="t", points=[[0, 0], [50, 0], [0, 100]])
    oval = region("ellipselabels", "dog", id="e", x=75, y=50, radiusX=20, radiusY=10, rotation=90)
    drawn = objects(tmp_path, triangle, oval, point("ear", 10, 10), point("ear", 75, 85))
    assert [(kind, names) for kind, _, names in drawn] == [("cat", ["ear"]), ("dog", ["ear"])]
    assert drawn[0][1] == (0, 0, 100, 100)
    np.testing.assert_allclose(drawn[1][1], (140, 10, 160, 90), atol=1e-6)
    with pytest.raises(DatasetError, match="in none of them"):
        objects(tmp_path, triangle, oval, point("ear", 45, 45))
    mask = region("brushlabels", "cat", id="m", format="rle", rle=[1, 2])
    assert objects(tmp_path, mask, point("ear", 10, 10, parentID="m")) == [("cat", None, ["ear"])]
    notes = read(tmp_path, [task(box(0, 0, 50, 50), triangle, point("ear", 10, 10))]).notes
    assert notes == ("1 regions of the type polygon that are ignored (task 1)",)


def test_rectangles_are_turned_about_their_corner_in_pixels(tmp_path: Path) -> None:
    # 40 x 20 pixels at (100, 20), turned clockwise by a quarter: it hangs down to the left of its corner.
    turned = box(50, 20, 20, 20, rotation=90)
    ((_, extent, names),) = objects(tmp_path, turned, point("ear", 45, 40))
    np.testing.assert_allclose(extent, (80, 20, 100, 60), atol=1e-9)
    assert names == ["ear"]
    with pytest.raises(DatasetError, match="in none of them"):
        objects(tmp_path, turned, point("ear", 55, 30))  # in the rectangle before it was turned
    # By 45 degrees a square of side s spans s * sqrt(2), and its extent's corners are outside of it.
    side = 20
    tilted = box(50, 30, 100 * side / 200, side, rotation=45)
    ((_, extent, _),) = objects(tmp_path, tilted, point("ear", 50, 44))
    half = side / 2**0.5
    np.testing.assert_allclose(extent, (100 - half, 30, 100 + half, 30 + 2 * half), atol=1e-9)
    with pytest.raises(DatasetError, match="in none of them"):
        objects(tmp_path, tilted, point("ear", 44, 32))


def test_the_extent_is_cut_off_at_the_image(tmp_path: Path) -> None:
    ((_, extent, _),) = objects(tmp_path, box(90, 80, 20, 40), point("ear", 95, 95))
    assert extent == (180, 80, 200, 100)


def test_regions_of_a_turned_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"task 1 .*turned by 90 degrees"):
        objects(tmp_path, point("ear", 10, 10, image_rotation=90))


def test_plain_regions_with_labels_beside_them(tmp_path: Path) -> None:
    def pair(kind: str, key: str, label: str, **values: Any) -> list[dict[str, Any]]:
        whole = region("labels", label, id=key, **values)
        plain = {**whole, "type": kind, "from_name": "shape", "value": values}
        return [plain, whole]

    regions = pair("rectangle", "r", "cat", x=0, y=0, width=50, height=50) + pair(
        "keypoint", "k", "ear", x=5, y=5, width=1
    )
    assert objects(tmp_path, *regions) == [("cat", (0, 0, 100, 50), ["ear"])]
    assert objects(tmp_path, regions[1], regions[3]) == [("cat", (0, 0, 100, 50), ["ear"])]
    notes = read(tmp_path, [task(*regions, {**regions[2], "id": "other"})]).notes
    assert notes == ("1 regions without a label (task 1)",)


def test_points_without_a_rectangle_are_of_the_only_category(tmp_path: Path) -> None:
    boxed = task(box(0, 0, 50, 50), point("ear", 5, 5), image="a.png")
    loose = task(point("ear", 5, 5), image="b.png", number=2)
    assert list(read(tmp_path, [boxed, loose]).categories) == ["cat"]
    assert list(read(tmp_path, [loose]).categories) == ["object"]
    dogs = task(box(0, 0, 50, 50, label="dog"), point("snout", 5, 5), image="c.png", number=3)
    assert read(tmp_path, [boxed, loose, dogs]).images[1].instances[0].category == "cat"  # it has the ear
    dogs = task(box(0, 0, 50, 50, label="dog"), point("ear", 5, 5), image="c.png", number=3)
    with pytest.raises(DatasetError, match=r"task 2 .*2 of the categories cat, dog"):
        read(tmp_path, [boxed, loose, dogs])


# Kinds of files, addresses and fields.


def test_other_kinds_of_exports_say_the_same(tmp_path: Path) -> None:
    whole = task(box(0, 0, 50, 50), point("ear", 5, 5), image="a.png")
    stored = {**whole["annotations"][0], "id": 7, "task": {"id": 1, "data": whole["data"]}}
    sides = {"original_width": SIZE[0], "original_height": SIZE[1]}
    small = {
        "image": "a.png",
        "id": 1,
        "kp": [{"x": 5, "y": 5, "width": 1, "keypointlabels": ["ear"], **sides}],
        "box": [{"x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["cat"], **sides}],
        "annotator": 1,
        "created_at": "2024-05-01T10:00:00Z",
    }
    for content in ([whole], whole, stored, [stored], [small]):
        annotations = read(tmp_path, content)
        (only,) = annotations.images
        assert (only.file, only.size) == ("a.png", SIZE)
        (instance,) = only.instances
        assert (instance.category, instance.box) == ("cat", (0, 0, 100, 50))
        np.testing.assert_array_equal(instance.points, [[10, 5]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "empty list"),
        ([1], "list of tasks"),
        ([{"data": {}}], "one field of 'data'"),
        ([{"image_id": 1, "keypoints": []}], "got a list of annotations"),
        ([{"id": 1, "result": [], "task": 5}], "without their tasks"),
        ([{"image": "a.png", "annotations": [{"label": "a", "coordinates": {}}]}], "CreateML"),
        ([{"data_row": {}}], "Labelbox"),
        ([task()], "expected key-points .* got none"),
        ([task(region("choices", "happy"))], "got choices"),
        ([task({**point("a", 1, 1), "value": {"keypointlabels": ["a"]}})], "'x' and 'y' of 'a' in task 1"),
        ([task(point("a", 1, 1), image="data:image/png;base64,AAAA")], "task 1 .*base64"),
        ([task(point("a", 1, 1)), task(point("a", 1, 1), number=2)], "in task 1 and task 2"),
        ([task({**point("a", 1, 1), "original_width": 7}, point("b", 1, 1))], "200 x 100"),
        ([task({**point("a", 1, 1), "to_name": "other"}, point("b", 1, 1))], "regions of one image"),
    ],
)
def test_broken_and_other_files_are_refused_by_name(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, content)


def test_the_image_is_the_field_that_may_be_one(tmp_path: Path) -> None:
    def data(**values: Any) -> list[dict[str, Any]]:
        return [{**task(point("ear", 5, 5)), "data": values}]

    assert read(tmp_path, data(text="a dog", photo="x/dog.PNG", page="https://host/7")).images[0].file == "x/dog.PNG"
    assert read(tmp_path, data(text="a dog", page="s3://bucket/7")).images[0].file == "bucket/7"
    both = data(image="a.png", mask="b.png")
    with pytest.raises(DatasetError, match=r"'image' \('a.png'\) and 'mask' \('b.png'\).*export.config.xml"):
        read(tmp_path, both)
    config = '<View><Image name="photo" value="$mask"/></View>'
    assert read(tmp_path, both, export__config__xml=config).images[0].file == "b.png"
    assert image_fields({"a": "data:image/png;base64,AA", "b": 5}) == ["a"]


@pytest.mark.parametrize(
    ("address", "first"),
    [
        ("/data/local-files/?d=day2/img%201.png", "day2/img 1.png"),
        ("/data/local-files/?d=day2\\img.png", "day2\\img.png"),
        ("http://localhost:8080/data/local-files/?d=day2/img.png&x=1", "day2/img.png"),
        ("s3://bucket/folder/x.png", "bucket/folder/x.png"),
        ("https://host/a/x.png?sig=1&d=2#part", "a/x.png"),
        ("azure-blob://store/x.png", "store/x.png"),
        ("/data/upload/3/0000000b-my%20name.png", "/data/upload/3/0000000b-my name.png"),
        ("a/100%25?.png", "a/100%25?.png"),
    ],
)
def test_addresses_keep_their_folders(address: str, first: str) -> None:
    assert possible_paths(address)[0] == first


def test_an_uploaded_name_is_tried_without_what_the_upload_put_before_it() -> None:
    assert possible_paths("/data/upload/3/0000000b-x.png")[-1] == "x.png"
    assert possible_paths("folder/0000000b-x.png") == ("folder/0000000b-x.png",)


def test_equal_names_in_several_folders_are_distinguished(tmp_path: Path) -> None:
    for name in ("day1/a.png", "day2/a.png"):
        save_image(tmp_path / "images" / name)
    both = [
        task(point("ear", 5, 5), image="/data/local-files/?d=day2/a.png"),
        task(image="s3://bucket/all/day1/a.png", number=2),
    ]
    annotations = read(tmp_path, both)
    assert [one.file for one in annotations.images] == ["day2/a.png", "day1/a.png"]
    both[1]["data"]["image"] = "https://host/day2/a.png?d=day1/a.png"
    with pytest.raises(DatasetError, match=r"task 1: /data/local.* and .*task 2: https"):
        read(tmp_path, both)


def test_a_size_that_is_not_declared_is_the_image_s(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    bare = [
        task(
            {key: value for key, value in point("ear", 5, 5).items() if "original" not in key},
            image=image,
            number=number,
        )
        for number, image in enumerate(("a.png", "b.png"))
    ]
    annotations = read(tmp_path, bare)
    np.testing.assert_array_equal(annotations.images[0].instances[0].points, [[10, 5]])
    assert annotations.images[1].instances == ()  # it is listed as missing when its turn comes
    assert annotations.notes == (
        "1 tasks whose regions say no size ('original_width') and whose image is not there (task 1)",
    )


def test_which_annotation_counts_and_what_is_ignored_is_said(tmp_path: Path) -> None:
    first, second = task(point("ear", 5, 5), image="a.png"), task(image="b.png", number=2)
    first["annotations"] += [
        {"result": [point("ear", 10, 10)]},
        {"result": [point("ear", 1, 1)], "was_cancelled": True},
    ]
    second["annotations"] = [{"result": [point("ear", 1, 1)], "was_cancelled": True}]
    second["drafts"] = [{"result": []}]
    annotations = read(tmp_path, [first, second])
    np.testing.assert_array_equal(annotations.images[0].instances[0].points, [[20, 10]])
    assert annotations.images[1].instances == ()
    assert annotations.notes == (
        "1 annotations of which a later one of the same task counts (task 1)",
        "1 drafts that nobody submitted (task 2)",
        "1 annotations that were cancelled (task 2)",
    )


def test_rectangles_of_categories_without_key_points_are_left_out_and_counted(tmp_path: Path) -> None:
    annotations = read(tmp_path, [task(box(0, 0, 50, 50), point("ear", 5, 5), box(60, 60, 9, 9, label="ball"))])
    assert [one.category for one in annotations.images[0].instances] == list(annotations.categories) == ["cat"]
    assert annotations.notes == ("1 regions of categories without key-points that are ignored (task 1)",)
    assert 'value="ball"' in label_studio.labelling_config(annotations)


# Predictions, and the way back.


def predicted(name: str = "ear", confidence: float = 0.9, **changes: Any) -> PredictedObject:
    values = {
        "category": "cat",
        "names": (name, "tail"),
        "points": np.array([[10.5, 20.5], [30.25, 40.75]]),
        "confidence": np.array([confidence, 0.1]),
    }
    return PredictedObject(**{**values, **changes})


def record(file: str, *objects: PredictedObject) -> TransferRecord:
    return TransferRecord(file=file, path=Path(file), size=SIZE, objects=objects)


def written(folder: Path, known: Annotations, *records: TransferRecord) -> tuple[list[dict[str, Any]], Annotations]:
    """The tasks that are written, and what is read again from them and the configuration beside them."""
    options = ExportOptions(min_confidence=0.5, info={"method": "dift"})
    path, interface = label_studio.write(folder / "out.json", known, lambda: records, options)
    assert interface == folder / "out.config.xml"
    return json.loads(path.read_text(encoding="utf-8")), read_annotations(path)


def project(folder: Path) -> Annotations:
    """A task with everything, one with a turned box to look in, and one with nothing; controls of its own."""
    entries = [
        task(
            box(0, 0, 50, 50, id="r0"), point("ear", 5, 5, parentID="r0"), point("tail", 9, 9, parentID="r0"), number=7
        ),
        task(box(50, 20, 20, 20, rotation=90, id="r1"), image="", number=8),
        task(image="", number=9),
    ]
    for number, entry in enumerate(entries):
        entry["data"] = {"img": f"/data/upload/3/0000000{number}-{number}.png", "text": "hello"}
        entry["meta"] = {"note": number}
        save_image(folder / f"{number}.png")
    return read(folder, entries)


def test_a_project_gets_its_own_tasks_back_with_predictions(tmp_path: Path) -> None:
    known = project(tmp_path)
    boxed = predicted(box=known.images[1].instances[0].box, id="r1")
    before = [json.loads(json.dumps(one.source)) for one in known.images]
    tasks, again = written(tmp_path, known, record("1.png", boxed), record("2.png", predicted()))
    assert [{key: value for key, value in one.items() if key != "predictions"} for one in tasks] == before
    assert "predictions" not in tasks[0]
    (made,) = tasks[1]["predictions"]
    rectangle, ear = made["result"]
    assert {key: value for key, value in rectangle.items() if key != "score"} == before[1]["annotations"][0]["result"][
        0
    ]
    assert (ear["parentID"], ear["from_name"], ear["to_name"]) == ("r1", "my-keypointlabels", "photo")
    assert (ear["value"]["x"], ear["value"]["y"]) == (5.25, 20.5)
    assert (made["model_version"], made["score"], ear["score"]) == ("semcorr dift", 0.5, 0.9)

    assert again.categories == known.categories
    person, box_only, nothing = ([*one.instances] for one in again.images)
    np.testing.assert_array_equal(person[0].points, known.images[0].instances[0].points)
    assert not person[0].predicted
    assert [(one.predicted, one.score, one.id, one.box) for one in (*box_only, *nothing)] == [
        (True, 0.5, "r1", boxed.box),
        (True, 0.5, "key-points", None),
    ]
    for one in (*box_only, *nothing):
        np.testing.assert_allclose(one.points, [[10.5, 20.5], [np.nan, np.nan]], atol=1e-3)


def test_a_second_round_replaces_what_was_predicted_and_keeps_the_rest(tmp_path: Path) -> None:
    known = project(tmp_path)
    _, once = written(tmp_path, known, record("1.png", predicted(id="r1")), record("2.png", predicted()))
    tasks, twice = written(tmp_path, once, record("1.png", predicted("tail", 0.8, names=("tail", "ear"), id="r1")))
    assert [len(one.get("predictions", [])) for one in tasks] == [0, 1, 1]
    assert [one.instances[0].score for one in twice.images] == [None, 0.45, 0.5]
    # Another program's predictions stay, and what it drew for other objects is drawn along.
    other = {"model_version": "theirs", "result": [box(0, 0, 9, 9, id="x"), point("ear", 5, 5, parentID="x")]}
    sources = [one.source for one in known.images]
    sources[1] = {**sources[1], "predictions": [other]}
    tasks, both = written(tmp_path, read(tmp_path, sources), record("1.png", predicted(id="r1")))
    assert tasks[1]["predictions"][0] == other
    assert [(one.id, one.predicted) for one in both.images[1].instances] == [("r1", True), ("x", True)]


def test_what_a_person_submitted_from_a_prediction_is_an_annotation(tmp_path: Path) -> None:
    tasks, _ = written(tmp_path, project(tmp_path), record("1.png", predicted(id="r1")), record("2.png", predicted()))
    for one in tasks[1:]:
        one["annotations"] = [{"result": one["predictions"][0]["result"]}]
    accepted = read(tmp_path, tasks)
    assert list(accepted.categories) == ["cat"]
    assert [[instance.annotated for instance in one.instances] for one in accepted.images] == [[True]] * 3
    assert accepted.notes == ()
    for one in tasks[1:]:
        one["annotations"] = [{"result": [box(0, 0, 50, 50, id="new"), point("ear", 5, 5, parentID="new")]}]
    redrawn = read(tmp_path, tasks)
    assert [[instance.id for instance in one.instances] for one in redrawn.images] == [["r0"], ["new"], ["new"]]
    assert redrawn.notes == ("2 predicted objects that annotations of the same task have replaced (task 8, task 9)",)


def test_controls_of_a_project_with_plain_key_points(tmp_path: Path) -> None:
    whole = region("labels", "ear", id="k", x=5, y=5, width=1)
    plain = {**whole, "type": "keypoint", "from_name": "shape", "value": {"x": 5, "y": 5, "width": 1}}
    known = read(tmp_path, [task(plain, whole, image="a.png"), task(image="b.png", number=2)])
    tasks, again = written(tmp_path, known, record("b.png", predicted(category="object", names=("ear", "new"))))
    made = tasks[1]["predictions"][0]["result"]
    assert [(one["type"], one["from_name"], one["id"]) for one in made] == [
        ("keypoint", "shape", "object-0-ear"),
        ("labels", "my-labels", "object-0-ear"),
    ]
    assert made[1]["value"]["labels"] == ["ear"]
    assert list(again.categories) == ["object"]
    interface = ET.fromstring(label_studio.labelling_config(known))  # noqa: S314  # our own
    assert [(one.tag, one.get("name"), one.get("toName")) for one in interface][1:3] == [
        ("KeyPoint", "shape", "photo"),
        ("Labels", "my-labels", "photo"),
    ]


def test_images_of_another_format_become_tasks(record: Callable[..., TransferRecord], tmp_path: Path) -> None:
    categories = {"cat": Category(id=1, name="cat", keypoints=("ear", "tail", "paw"))}
    known = Annotations(path=Path("a.json"), categories=categories, images=())
    boxed, loose = record(box=(10, 5, 60, 30)), record()
    (entry,) = label_studio.tasks([boxed], known, min_confidence=0.5, version="semcorr dift")
    assert entry["data"] == {"image": "b.png"}
    (prediction,) = entry["predictions"]
    assert prediction["score"] == pytest.approx(0.6)
    rectangle, ear = prediction["result"]  # the tail is not confident enough, and no support shows the paw
    assert rectangle["value"] == {
        "x": 10,
        "y": 10,
        "width": 50,
        "height": 50,
        "rotation": 0,
        "rectanglelabels": ["cat"],
    }
    assert (ear["value"]["x"], ear["value"]["y"], ear["parentID"]) == (10.5, 41.0, rectangle["id"])
    # Without a box the extent of its points is drawn: a region has to tell the category.
    tasks = list(label_studio.tasks([loose], known, min_confidence=0.2, version="semcorr dift"))
    path = tmp_path / "out.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    (instance,) = read_annotations(path).images[0].instances
    assert (instance.category, instance.predicted, instance.score) == ("cat", True, pytest.approx(0.6))
    np.testing.assert_allclose(instance.points, [[10.5, 20.5], [30.25, 40.75]], atol=1e-3)


def test_names_cannot_break_out_of_the_configuration() -> None:
    nasty = '"><Image name="'
    known = Annotations(
        path=Path("a"), categories={"c": Category(id=1, name="c", keypoints=(nasty,))}, images=(), format="csv"
    )
    interface = ET.fromstring(label_studio.labelling_config(known))  # noqa: S314  # our own
    assert [node.get("value") for node in interface.iter("Label")] == [nasty, "c"]
