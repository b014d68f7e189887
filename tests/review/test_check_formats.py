"""Annotated objects that a check lists, corrected: each format keeps its own entries, and nothing else changes."""

import copy
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from review.files import SIZE, write_coco
from review.test_formats import CHOICE, HEAD, animal, elements, images, rows, skeleton, task
from semcorr.keypoints import read_annotations
from semcorr.keypoints.check import Finding
from semcorr.review.objects import State
from semcorr.review.review import Review


def review_of(path: Path, images: Path | None = None, **options: Any) -> Review:
    """A review in which every object is listed."""
    read = read_annotations(path, images)
    findings = [
        Finding(kind="far", suspicion=0.5, reason="why", file=image.file, position=position)
        for image in read.images
        for position in range(len(image.instances))
    ]
    return Review(path, images=images, findings=findings, **options)


def correct(review: Review, number: int, decision: str = "open", *, order: Sequence[int] = (), **points: Any) -> None:
    """Decide on an object: points by their names, or all in another order."""
    one = review.all_objects[number]
    names = review.annotations.categories[one.state.category].keypoints
    known = one.state.points
    own = [points.get(name, point) for name, point in zip(names, known, strict=True)]
    if order:
        own = [
            point if index == from_ else (*known[from_][:3], "placed")
            for index, (from_, point) in enumerate(zip(order, own, strict=True))
        ]  # type: ignore[index]
    state = State(category=one.state.category, decision=decision, points=tuple(own))  # type: ignore[arg-type]
    review.change({number: state}, {number: one.revision})


def points_in(path: Path, images: Path | None = None) -> Mapping[str, list[tuple[bool, list[Any]]]]:
    """By image, whether each object is predicted, and its points; None for what is not marked."""
    return {
        image.file: [
            (
                one.predicted,
                [
                    tuple(np.round(xy, 6).tolist()) if mark else None
                    for xy, mark in zip(one.points.tolist(), one.visibility, strict=True)
                ],
            )
            for one in image.instances
        ]
        for image in read_annotations(path, images).images
    }


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """Five annotated objects in COCO's format, the second accepted after it was predicted, and one predicted."""
    path = write_coco(tmp_path / "data")
    content = json.loads(path.read_text(encoding="utf-8"))
    for number, one in enumerate(content["annotations"][1:5], 2):
        for key in ("score", "keypoints_found", "semcorr"):
            one.pop(key)
        one |= {"keypoints": [10.25, number, 2, 60, 40, 1, 5, 6, 0], "num_keypoints": 2, "mine": [number]}
    content["annotations"][1] |= {
        "score": 0.5,
        "semcorr": {"predicted": True, "accepted": True, "points": ["accepted", "placed", None], "more": 1},
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_coco(annotated: Path) -> None:
    before = json.loads(annotated.read_text(encoding="utf-8"))
    with review_of(annotated).open() as review:
        by_id = {one.instance.id: one.number for one in review.objects}
        # The predicted one comes first, as it does where only such are reviewed.
        assert by_id == {6: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5}
        ear, tail, _ = review.all_objects[3].state.points
        assert (ear, tail) == ((10.75, 3.5, 2, "annotated"), (60.5, 40.5, 1, "annotated"))
        correct(review, by_id[1], order=(1, 0, 2))
        correct(review, by_id[2], ear=(30.5, 31.5, 2, "placed"))
        correct(review, by_id[3], "accepted")
        correct(review, by_id[4], "rejected")
        correct(review, by_id[5], tail=(60.5, 40.5, 2, "annotated"))
        # A person's decision alone makes an annotated object accepted.
        assert [review.all_objects[by_id[number]].state.decision for number in (1, 5)] == ["open", "open"]
        (output,) = review.write()
    now = json.loads(output.read_text(encoding="utf-8"))
    expected = copy.deepcopy(before)
    one, two, _, four, five, _ = expected["annotations"]
    one["keypoints"] = [60, 40, 2, 10, 12, 2, 30, 50, 1]
    two["keypoints"][:3] = [30, 31, 2]
    two["semcorr"]["points"] = ["placed", "placed", None]
    five["keypoints"][5] = 2
    expected["annotations"].remove(four)
    assert now == expected
    assert json.loads(annotated.read_text(encoding="utf-8")) == before


def test_what_is_accepted_as_it_is_and_undone_is_written_as_it_was(annotated: Path) -> None:
    with review_of(annotated).open() as review:
        first = review.all_objects[3].state
        correct(review, 3, ear=(1.0, 2.0, 2, "placed"))
        review.change({3: first}, {3: review.all_objects[3].revision})
        correct(review, 4, "accepted")
        assert review.counts() == {"open": 5, "accepted": 1}
        (output,) = review.write()
    assert json.loads(output.read_text(encoding="utf-8")) == json.loads(annotated.read_text(encoding="utf-8"))


def test_the_box_of_an_accepted_object_follows_its_points(annotated: Path) -> None:
    """Where it is but their extent; ear and tail span 10.75 to 60.5 and 2.5 to 40.5 in the file."""
    content = json.loads(annotated.read_text(encoding="utf-8"))
    content["annotations"][1]["bbox"] = [10.75, 2.5, 49.75, 38]
    annotated.write_text(json.dumps(content), encoding="utf-8")
    with review_of(annotated).open() as review:
        correct(review, 2, ear=(20.5, 12.5, 2, "placed"))
        (output,) = review.write()
    now = json.loads(output.read_text(encoding="utf-8"))["annotations"][1]
    assert (now["bbox"], now["area"]) == ([20.5, 12.5, 40, 28], 1120)


def test_table(tmp_path: Path) -> None:
    images(tmp_path, 3)
    path = tmp_path / "points.csv"
    path.write_text(
        "image,name,x,y,visible\n1.png,ear,1.5,2.25,2\n1.png,tail,30,4,1\n2.png,ear,5,6,2\n2.png,tail,7,8,2\n3.png,ear,9,10,2\n",
        encoding="utf-8",
    )
    with review_of(path).open() as review:
        correct(review, 0, order=(1, 0))
        correct(review, 2, "rejected")
        (output,) = review.write()
    lines = list(csv.DictReader(output.read_text(encoding="utf-8").splitlines()))
    assert [[line[key] for key in ("image", "name", "x", "y", "visible", "predicted")] for line in lines] == [
        ["1.png", "ear", "30.0", "4.0", "1", "0"],
        ["1.png", "tail", "1.5", "2.25", "2", "0"],
        ["2.png", "ear", "5.0", "6.0", "2", "0"],
        ["2.png", "tail", "7.0", "8.0", "2", "0"],
    ]


def test_label_studio(tmp_path: Path) -> None:
    images(tmp_path, 4)
    relation = {"type": "relation", "from_id": "a-ear", "to_id": "b"}
    two = [*animal("a", 10, "ear", "tail"), CHOICE, *animal("b", 60, "tail"), relation]
    marked = animal("c", 10, "ear", "tail")
    marked[1] |= {"origin": "prediction", "semcorr": "accepted"}
    tasks = [
        task(1, two, animal("old", 5, "ear")),
        task(2, marked),
        task(3, animal("d", 10, "ear", "tail")),
        task(4, animal("e", 10, "ear", "tail")),
    ]
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    with review_of(path).open() as review:
        keys = [one.instance.id for one in review.all_objects]
        correct(review, keys.index("a"), ear=None)
        correct(review, keys.index("b"), ear=(150.0, 30.0, 2, "placed"))
        correct(review, keys.index("c"), order=(1, 0))
        correct(review, keys.index("d"), "rejected")
        correct(review, keys.index("e"), "accepted")
        output, _ = review.write()
    now = json.loads(output.read_text(encoding="utf-8"))
    expected = copy.deepcopy(tasks)
    # The point is gone, and with it what led to it; a new one stands behind the object's others.
    area, _, tail = animal("a", 10, "ear", "tail")
    result = now[0]["annotations"][0].pop("result")
    expected[0]["annotations"][0].pop("result")
    assert result[:-1] == [area, tail, CHOICE, *animal("b", 60, "tail")]
    assert (result[-1]["value"]["x"], result[-1]["value"]["y"]) == (75.0, 30.0)
    assert (result[-1]["value"]["keypointlabels"], result[-1]["parentID"]) == (["ear"], "b")
    # Exchanged: only what was a prediction says that a person has set it.
    _, ear, tail = expected[1]["annotations"][0]["result"]
    ear["value"]["x"], tail["value"]["x"] = tail["value"]["x"], ear["value"]["x"]
    ear |= {"origin": "manual", "semcorr": "placed"}
    del ear["score"]
    expected[2]["annotations"][0]["result"] = []
    assert now == expected
    known = points_in(output, tmp_path)
    assert known["1.png"] == [(False, [None, (28.0, 20.0)]), (False, [(150.0, 30.0), (124.0, 20.0)])]


def test_label_studio_with_predicted_objects_in_the_same_task(tmp_path: Path) -> None:
    images(tmp_path, 1)
    one = task(1, animal("a", 10, "ear", "tail"), animal("o", 60, "ear", "tail"))
    one["annotations"][0]["semcorr"] = {"replaces_predictions": False}
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([one]), encoding="utf-8")
    with review_of(path).open() as review:
        assert [two.instance.predicted for two in review.objects] == [True, False]
        correct(review, 0, "accepted")
        correct(review, 1, order=(1, 0))
        output, _ = review.write()
    assert points_in(output, tmp_path)["1.png"] == [
        (False, [(28.0, 20.0), (24.0, 20.0)]),
        (False, [(124.0, 20.0), (128.0, 20.0)]),
    ]


def test_cvat(tmp_path: Path) -> None:
    images(tmp_path, 4)
    ear, tail, paw = (("ear", 20, 30, 0, "manual"), ("tail", 50, 60, 0, "semi-auto"), ("paw", 35, 45, 1, "manual"))
    drawn = skeleton("cat", "manual", ear, tail, paw)
    box = '<box label="cat" source="manual" occluded="0" xtl="10.00" ytl="10.00" xbr="90.00" ybr="90.00" />'
    other = '<box label="cat" source="manual" occluded="0" xtl="150.00" ytl="10.00" xbr="190.00" ybr="90.00" />'
    polygon = '<polygon label="tree" source="manual" points="1,2;3,4;5,6" />'
    content = [[drawn, polygon, box], [other, drawn, box], [drawn], [drawn]]
    listed = "".join(
        f'<image id="{n}" name="{n}.png" width="200" height="100">{"".join(one)}</image>'
        for n, one in enumerate(content, 1)
    )
    path = tmp_path / "annotations.xml"
    path.write_text(f"<annotations><version>1.1</version>{listed}</annotations>", encoding="utf-8")
    with review_of(path).open() as review:
        where = {(review.image_of(one).file, str(one.instance.id)): one.number for one in review.objects}
        correct(review, where["1.png", "skeleton-0+box-0"], order=(1, 0, 2), paw=(40.0, 41.0, 1, "placed"))
        correct(review, where["2.png", "skeleton-0+box-1"], "rejected")
        correct(review, where["3.png", "skeleton-0"], ear=None)
        correct(review, where["4.png", "skeleton-0"], "accepted")
        # An annotated box without points stays one, if it is right.
        correct(review, where["2.png", "box-0"], "accepted")
        assert review.all_objects[where["2.png", "box-0"]].state.decision == "accepted"
        (output,) = review.write()
    moved = skeleton(
        "cat", "manual", ("ear", 50, 60, 0, "manual"), ("tail", 20, 30, 0, "manual"), ("paw", 40, 41, 0, "manual")
    )
    moved = moved.replace('outside="0" occluded="0" points="40.00', 'outside="0" occluded="1" points="40.00')
    assert elements(output, 0) == [moved, polygon, box]
    assert elements(output, 1) == [other]
    assert elements(output, 2) == [skeleton("cat", "manual", ("ear", 20, 30, 1, "manual"), tail, paw)]
    assert elements(output, 3) == [drawn]


def test_dlib(tmp_path: Path) -> None:
    images(tmp_path / "images", 3)
    parts = '<part name="0" x="5" y="6"{0} /><part name="1" x="7" y="8" /></box>'
    box = '<box top="1" left="2" width="60" height="50" truncated="1">' + parts.format(' mine="y"')
    accepted = '<box top="1" left="2" width="60" height="50" semcorr="accepted">' + parts.format(' semcorr="accepted"')
    content = [box + accepted, box, box]
    listed = "".join(f'<image file="images/{n}.png">{one}</image>' for n, one in enumerate(content, 1))
    path = tmp_path / "faces.xml"
    path.write_text(f"<dataset><images>{listed}</images></dataset>", encoding="utf-8")
    with review_of(path).open() as review:
        correct(review, 0, order=(1, 0))
        correct(review, 1, **{"1": (20.7, 30.2, 2, "placed")})
        correct(review, 2, "rejected")
        correct(review, 3, "accepted")
        (output,) = review.write()

    def flat(image: int) -> str:
        return "".join(line.strip() for one in elements(output, image) for line in one.splitlines())

    exchanged = box.replace('x="5" y="6"', 'x="7" y="8"', 1).replace(
        '<part name="1" x="7" y="8"', '<part name="1" x="5" y="6"'
    )
    moved = accepted.replace('x="7" y="8" />', 'x="20" y="30" semcorr="placed" />')
    assert [flat(number) for number in range(3)] == [exchanged + moved, "", box]


def test_deeplabcut(tmp_path: Path) -> None:
    images(tmp_path / "labeled-data" / "video", 4)
    name = "labeled-data,video,"
    path = tmp_path / "labels.csv"
    path.write_text(
        f"{HEAD}{name}1.png,1.50,2.000,3,4\n{name}2.png,10.10,20.00,,\n{name}3.png,5.0,6,7,8\n{name}4.png,5.0,6,7,8\n",
        encoding="utf-8",
    )
    with review_of(path).open() as review:
        correct(review, 0, order=(1, 0))
        correct(review, 1, tail=(33.5, 44.5, 2, "placed"))
        correct(review, 2, "rejected")
        correct(review, 3, "accepted")
        output, _ = review.write()
    assert output.read_text(encoding="utf-8").startswith(HEAD)
    assert rows(output) == {
        "1.png": ["3", "4", "1.5", "2"],
        "2.png": ["10.10", "20.00", "33", "44"],
        "3.png": [""] * 4,
        "4.png": ["5.0", "6", "7", "8"],
    }
    assert [one for own in points_in(output).values() for one, _ in own] == [False] * 3


def test_a_point_outside_the_image_does_not_hold_up_the_others(annotated: Path) -> None:
    content = json.loads(annotated.read_text(encoding="utf-8"))
    content["annotations"][2]["keypoints"][:2] = [SIZE[0] + 20, 5]
    annotated.write_text(json.dumps(content), encoding="utf-8")
    with review_of(annotated).open() as review:
        correct(review, 3, tail=(11.5, 12.5, 2, "placed"))
        (output,) = review.write()
    (now,) = [one for one in json.loads(output.read_text(encoding="utf-8"))["annotations"] if one["id"] == 3]
    assert now["keypoints"] == [SIZE[0] + 20, 5, 2, 11, 12, 2, 5, 6, 0]


def test_another_category_of_an_annotated_object(tmp_path: Path) -> None:
    """Points of the same names stay; a rectangle gets the other label."""
    images(tmp_path, 2)
    dog = animal("d", 60, "ear", "nose")
    dog[0]["value"]["rectanglelabels"] = ["dog"]
    path = tmp_path / "tasks.json"
    path.write_text(
        json.dumps([task(1, [*animal("a", 10, "ear", "tail"), *dog]), task(2, animal("b", 10, "ear", "tail"))])
    )
    with review_of(path).open() as review:
        (one,) = [one for one in review.objects if one.instance.id == "b"]
        names = review.annotations.categories["dog"].keypoints
        ear = one.state.points[review.annotations.categories["cat"].keypoints.index("ear")]
        points = tuple(ear if name == "ear" else None for name in names)
        review.change({one.number: State(category="dog", decision="open", points=points)}, {one.number: 0})
        output, _ = review.write()
    (known,) = read_annotations(output, tmp_path).images[1].instances
    assert (known.category, known.predicted) == ("dog", False)
    np.testing.assert_allclose(known.points[names.index("ear")], [24, 20])
