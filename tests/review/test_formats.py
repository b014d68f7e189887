"""Corrections of each format are written in it, with its ids, and nothing else of the file changes."""

import copy
import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import PIL.Image

from semcorr.keypoints import read_annotations
from semcorr.review.objects import State, StatePoint
from semcorr.review.review import Review

SIZE = (200, 100)


def images(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        PIL.Image.fromarray(np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def number_of(review: Review, file: str, position: int = 0) -> int:
    """An object's number by its image and its number among the predicted ones of it."""
    own = [one.number for one in review.objects if review.image_of(one).file.endswith(file)]
    return own[position]


def decide(review: Review, number: int, decision: str = "open", **points: StatePoint | None) -> None:
    """Decide on an object; points by their names are set or taken away."""
    one = review.objects[number]
    names = review.annotations.categories[one.state.category].keypoints
    own = [points.get(name, old) for name, old in zip(names, one.state.points, strict=True)]
    changed = State(category=one.state.category, decision=decision, points=tuple(own))  # type: ignore[arg-type]
    review.change({number: changed}, {number: one.revision})


def states(review: Review) -> dict[tuple[str, Any], Any]:
    return {(review.image_of(one).file, one.instance.id): one.state.points for one in review.objects}


# Label Studio


def region(key: str, kind: str, label: str, **value: Any) -> dict[str, Any]:
    top = {name: value.pop(name) for name in ("score", "parentID", "meta") if name in value}
    return {
        "id": key,
        "from_name": "kp" if kind == "keypointlabels" else "box",
        "to_name": "img",
        "type": kind,
        "original_width": 200,
        "original_height": 100,
        "value": {**value, kind: [label]},
        **top,
    }


def animal(key: str, x: float, *names: str) -> list[dict[str, Any]]:
    """A rectangle from x per cent on, and key-points in it, each further on by two per cent."""
    area = region(key, "rectanglelabels", "cat", x=x, y=10, width=20, height=50, rotation=0, score=0.4)
    points = [
        region(f"{key}-{name}", "keypointlabels", name, x=x + 2 * n, y=20, width=1, score=0.3 + n / 10, parentID=key)
        for n, name in enumerate(names, 1)
    ]
    return [area, *points]


CHOICE = {"id": "c1", "from_name": "light", "to_name": "img", "type": "choices", "value": {"choices": ["dark"]}}


def task(number: int, annotated: Any = None, *predicted: Any) -> dict[str, Any]:
    return {
        "id": number,
        "data": {"image": f"{number}.png", "camera": "left"},
        "meta": {"mine": [1, 2.5, None]},
        "annotations": [] if annotated is None else [{"id": 70 + number, "lead_time": 3.5, "result": annotated}],
        "predictions": [
            {"id": 90 + n, "model_version": "semcorr dift", "score": 0.4, "result": one, "mislabeling": 0}
            for n, one in enumerate(predicted)
        ],
        "file_upload": f"{number}.png",
    }


def test_label_studio(tmp_path: Path) -> None:
    images(tmp_path / "images", 6)
    box = [region("mine", "rectanglelabels", "cat", x=50, y=10, width=30, height=60, rotation=0, meta={"text": ["a"]})]
    within = [{**box[0], "score": 0.5}, region("k", "keypointlabels", "ear", x=60, y=20, width=1, parentID="mine")]
    tasks = [
        task(1, [*animal("a", 10, "ear", "tail"), CHOICE]),
        task(2, None, animal("old", 5, "ear"), [*animal("o-0", 10, "ear", "tail"), CHOICE, *animal("o-1", 60, "tail")]),
        task(3, [CHOICE, *box], within),
        task(4, None, animal("o-0", 10, "ear", "tail")),
        task(5, None, animal("o-0", 10, "ear", "tail")),
        task(6, None, animal("o-0", 10, "ear", "tail")),
    ]
    path = tmp_path / "found.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    (tmp_path / "found.config.xml").write_text(
        "<View><Image name='img' value='$image'/><KeyPointLabels name='kp' toName='img'><Label value='ear' hotkey='e'/>"
        "<Label value='tail'/></KeyPointLabels></View>",
        encoding="utf-8",
    )
    with Review(path).open() as review:
        assert review.output.name == "found.corrected.json"
        decide(review, number_of(review, "2.png"), "accepted", tail=(60.0, 30.0, 2, "placed"))
        decide(review, number_of(review, "3.png"), "accepted", tail=(110.0, 30.0, 1, "placed"))
        decide(review, number_of(review, "4.png"), "rejected")
        decide(review, number_of(review, "5.png"), "open", ear=(22.0, 33.0, 2, "placed"))
        expected = states(review)
        files = review.write()
        assert review.write() == files  # it knows them as its own
    assert files[1].read_text(encoding="utf-8") == (tmp_path / "found.config.xml").read_text(encoding="utf-8")
    now = json.loads(files[0].read_text(encoding="utf-8"))
    # Untouched tasks are as they were.
    assert [now[0], now[5]] == [tasks[0], tasks[5]]
    # Of two predicted objects one is accepted: it is an annotation, the other is still predicted beside it.
    area, ear, tail = ({**one} for one in animal("o-0", 10, "ear", "tail"))
    ear |= {"origin": "prediction", "semcorr": "accepted"}
    tail |= {"origin": "manual", "semcorr": "placed", "value": {**tail["value"], "x": 30.0, "y": 30.0}}
    del tail["score"]
    task2 = copy.deepcopy(tasks[1])
    task2["predictions"][1]["result"] = [CHOICE, *animal("o-1", 60, "tail")]
    task2["annotations"] = [{"result": [area, ear, tail], "semcorr": {"replaces_predictions": False}}]
    assert now[1] == task2
    # In a person's own rectangle: it stays, and the points name it.
    task3 = copy.deepcopy(tasks[2])
    task3["predictions"][0]["result"] = []
    added = now[2]["annotations"][0]["result"][2:]
    task3["annotations"][0]["result"] += added
    assert now[2] == task3
    assert [(one["value"]["keypointlabels"], one["parentID"], one["semcorr"]) for one in added] == [
        (["ear"], "mine", "accepted"),
        (["tail"], "mine", "placed"),
    ]
    assert (added[1]["value"]["x"], added[1]["value"]["y"], added[1]["from_name"]) == (55.0, 30.0, "kp")
    # Of a rejected object the rectangle stays, as it is more than the extent of its points.
    task4 = copy.deepcopy(tasks[3])
    task4["predictions"][0]["result"] = [region("o-0", "rectanglelabels", "cat", **rectangle(tasks[3]))]
    assert now[3] == task4
    # An open one stays a prediction, in which one point is a person's.
    task5 = copy.deepcopy(tasks[4])
    moved = task5["predictions"][0]["result"][1]
    moved |= {"origin": "manual", "semcorr": "placed", "value": {**moved["value"], "x": 11.0, "y": 33.0}}
    del moved["score"]
    assert now[4] == task5
    with Review(files[0], images=tmp_path / "images").open() as again:
        assert states(again) == {
            key: points for key, points in expected.items() if key[0] in ("5.png", "6.png") or key == ("2.png", "o-1")
        }
    accepted = read_annotations(files[0], tmp_path / "images").images[1].instances[0]
    np.testing.assert_allclose(accepted.points, [[24, 20], [60, 30]])


def test_label_studio_without_ids_and_with_relations(tmp_path: Path) -> None:
    images(tmp_path, 3)
    plain = [{key: one[key] for key in one if key not in ("id", "parentID")} for one in animal("a", 10, "ear", "tail")]
    ends = [{"type": "relation", "from_id": "p-ear", "to_id": other} for other in ("p", "q")]
    related = [*animal("p", 10, "ear"), *animal("q", 60, "tail"), *ends]
    tasks = [task(1, animal("a", 10, "ear", "tail")), task(2, None, [CHOICE, *plain]), task(3, None, related)]
    path = tmp_path / "found.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    with Review(path).open() as review:
        for file in ("2.png", "3.png"):
            decide(review, number_of(review, file), "accepted")
        now = json.loads(review.write()[0].read_text(encoding="utf-8"))
    assert now[1]["predictions"][0]["result"] == [CHOICE]
    assert [one["type"] for one in now[1]["annotations"][0]["result"]] == [one["type"] for one in plain]
    # A relation goes with both of its ends; one that leads to what stays behind would lead nowhere.
    assert now[2]["predictions"][0]["result"] == animal("q", 60, "tail")
    assert now[2]["annotations"][0]["result"][-1] == ends[0]
    known = read_annotations(path.with_name("found.corrected.json")).images
    assert [one.annotated for image in known for one in image.instances] == [True, True, True, False]


def rectangle(one: dict[str, Any]) -> dict[str, Any]:
    area = one["predictions"][0]["result"][0]
    return {**{key: value for key, value in area["value"].items() if key != "rectanglelabels"}, "score": area["score"]}


# XML


def root_of(path: Path) -> ET.Element:
    return ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314  # our own file


def elements(path: Path, image: int) -> list[str]:
    """What is in an image, an element a text."""
    one = list(root_of(path).iter("image"))[image]
    return [ET.tostring(child, encoding="unicode").strip() for child in one]


def skeleton(label: str, source: str, *points: tuple[str, float, float, int, str], more: str = "") -> str:
    inner = "".join(
        f'<points label="{name}" source="{own}" outside="{outside}" occluded="0" points="{x:.2f},{y:.2f}" a="1" />'
        for name, x, y, outside, own in points
    )
    return f'<skeleton label="{label}" source="{source}" z_order="0" score="0.4000"{more}>{inner}</skeleton>'


def test_cvat(tmp_path: Path) -> None:
    images(tmp_path / "images", 5)
    ear, tail, paw = (("ear", 20, 30, 0, "auto"), ("tail", 50, 60, 0, "auto"), ("paw", 35, 45, 1, "auto"))
    auto = skeleton("cat", "auto", ear, tail, paw)
    drawn = skeleton("cat", "manual", *((name, 5, 6, 0, "manual") for name in ("ear", "tail", "paw")))
    box = (
        '<box label="cat" source="manual" occluded="0" xtl="10.00" ytl="10.00" xbr="90.00" ybr="90.00">'
        '<attribute name="a">b</attribute></box>'
    )
    polygon = '<polygon label="tree" source="manual" points="1,2;3,4;5,6" />'
    content = [[drawn, polygon], [polygon, auto, box], [auto], [box, auto, polygon], [auto]]
    listed = "".join(
        f'<image id="{n + 7}" name="{n}.png" width="200" height="100" subset="train">{"".join(one)}</image>'
        for n, one in enumerate(content, 1)
    )
    label = "".join(
        f"<label><name>{name}</name><type>points</type><parent>cat</parent></label>" for name in ("ear", "tail", "paw")
    )
    labels = f"<labels><label><name>cat</name><type>skeleton</type><color>#123456</color></label>{label}</labels>"
    path = tmp_path / "found.xml"
    path.write_text(
        f"<annotations><version>1.1</version><meta><task><id>3</id>{labels}</task><dumped>today</dumped></meta>{listed}"
        "<more kept='yes'/></annotations>",
        encoding="utf-8",
    )
    with Review(path).open() as review:
        decide(review, number_of(review, "2.png"), "accepted", paw=(40.5, 41.25, 1, "placed"), tail=None)
        decide(review, number_of(review, "3.png"), "open", ear=(21.0, 30.0, 2, "placed"))
        decide(review, number_of(review, "4.png"), "rejected")
        expected = states(review)
        (output,) = review.write()
    before, now = root_of(path), root_of(output)
    # The head, what follows, and untouched images are as they were, with their order and their own attributes.
    assert [one.tag for one in now] == ["version", "meta", *["image"] * 5, "more"]
    for tag in ("meta", "more"):
        assert ET.tostring(now.find(tag)).strip() == ET.tostring(before.find(tag)).strip()  # type: ignore[arg-type]
    assert [one.attrib for one in now.findall("image")] == [one.attrib for one in before.findall("image")]
    assert (elements(output, 0), elements(output, 4)) == (elements(path, 0), elements(path, 4))
    accepted = skeleton(
        "cat",
        "semi-auto",
        ("ear", 20, 30, 0, "semi-auto"),
        ("tail", 50, 60, 1, "auto"),
        ("paw", 40.5, 41.25, 0, "manual"),
    ).replace('outside="0" occluded="0" points="40.50', 'outside="0" occluded="1" points="40.50')
    assert elements(output, 1) == [polygon, accepted, box]
    partly = skeleton("cat", "auto", ("ear", 21, 30, 0, "manual"), tail, paw)
    assert elements(output, 2) == [partly]
    assert elements(output, 3) == [box, polygon]
    with Review(output).open() as again:
        assert states(again) == {key: points for key, points in expected.items() if key[0] in ("3.png", "5.png")}


def test_dlib(tmp_path: Path) -> None:
    images(tmp_path / "images", 5)
    own = '<box top="15" left="10" width="41" height="31" semcorr="predicted" detection_score="0.4000" age="3">'
    parts = '<part name="0" x="10" y="15" /><part name="1" x="50" y="45" /></box>'
    drawn = (
        '<box top="5" left="5" width="90" height="80" semcorr="predicted" detection_score="0.4000"><label>cat</label>'
    )
    mine = (
        '<box top="1" left="2" width="60" height="50" truncated="1">'
        '<part name="0" x="5" y="6" /><part name="1" x="7" y="8" /></box>'
    )
    content = [[mine], [own + parts], [own + parts, mine], [drawn + parts], [own + parts]]
    texts = ["".join(one) for one in content]
    listed = "".join(f'<image file="images/{n}.png" mine="yes">{one}</image>' for n, one in enumerate(texts, 1))
    path = tmp_path / "found.xml"
    path.write_text(
        f"<dataset><name>faces</name><comment>ours</comment><tags><tag>x</tag></tags><images>{listed}</images></dataset>",
        encoding="utf-8",
    )
    with Review(path).open() as review:
        decide(review, number_of(review, "2.png"), "accepted", **{"1": (60.7, 50.2, 1, "placed")})
        decide(review, number_of(review, "3.png"), "open", **{"0": (12.0, 20.0, 2, "placed")})
        decide(review, number_of(review, "4.png"), "rejected")
        expected = states(review)
        (output,) = review.write()
    root = root_of(output)
    assert [root.findtext(path) for path in ("name", "comment", "tags/tag")] == ["faces", "ours", "x"]
    assert {one.get("mine") for one in root.iter("image")} == {"yes"}

    def flat(image: int) -> list[str]:
        return ["".join(line.strip() for line in one.splitlines()) for one in elements(output, image)]

    assert (flat(0), flat(4)) == ([mine], [own + parts])
    accepted = own.replace('"predicted"', '"accepted"').replace('width="41" height="31"', 'width="51" height="36"')
    placed = '<part name="0" x="10" y="15" semcorr="accepted" /><part name="1" x="60" y="50" semcorr="placed" /></box>'
    assert flat(1) == [accepted + placed]
    partly = own.replace('top="15" left="10" width="41" height="31"', 'top="20" left="12" width="39" height="26"')
    assert flat(2) == [
        f'{partly}<part name="0" x="12" y="20" semcorr="placed" /><part name="1" x="50" y="45" /></box>',
        mine,
    ]
    assert flat(3) == ['<box top="5" left="5" width="90" height="80"><label>cat</label></box>']
    with Review(output).open() as again:
        # dlib has whole pixels only.
        whole = {
            key: tuple((np.floor(x) + 0.5, np.floor(y) + 0.5, mark, who) for x, y, mark, who in points)
            for key, points in expected.items()
            if key[0] in ("images/3.png", "images/5.png")
        }
        assert states(again) == whole


HEAD = "scorer,,,me,me,me,me\nbodyparts,,,ear,ear,tail,tail\ncoords,,,x,y,x,y\n"
MADE = (
    "scorer,,,semcorr,semcorr,semcorr,semcorr,semcorr,semcorr\nbodyparts,,,ear,ear,ear,tail,tail,tail\n"
    "coords,,,x,y,likelihood,x,y,likelihood\n"
)


def rows(path: Path) -> dict[str, list[str]]:
    return {row[2]: row[3:] for row in list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[3:]}


def test_deeplabcut(tmp_path: Path) -> None:
    images(tmp_path / "labeled-data" / "video", 6)
    name = "labeled-data,video,"
    path = tmp_path / "found.csv"
    path.write_text(
        f"{HEAD}{name}1.png,1.50,2.000,3,4\n"
        + "".join(f"{name}{n}.png,10.10,20.00,30.00,40.00\n" for n in range(2, 6))
        + f"{name}6.png,10.10,20.00,,\n",
        encoding="utf-8",
    )
    path.with_suffix(".machinelabels.csv").write_text(
        MADE
        + "".join(f"{name}{n}.png,10.10,20.00,0.9000,30.00,40.00,0.6000\n" for n in range(2, 6))
        + f"{name}6.png,10.10,20.00,0.9000,7.00,8.00,0.1000\n",
        encoding="utf-8",
    )
    with Review(path).open() as review:
        decide(review, number_of(review, "2.png"), "accepted", tail=(33.5, 44.5, 1, "placed"))
        decide(review, number_of(review, "3.png"), "open", tail=(33.5, 44.5, 2, "placed"))
        decide(review, number_of(review, "4.png"), "rejected")
        expected = states(review)
        output, made = review.write()
    assert output.read_text(encoding="utf-8").startswith(HEAD)
    same = ["10.10", "20.00", "30.00", "40.00"]
    assert rows(output) == {
        "1.png": ["1.50", "2.000", "3", "4"],
        "2.png": ["10.10", "20.00", "33", "44"],
        "3.png": ["10.10", "20.00", "33", "44"],
        "4.png": [""] * 4,
        "5.png": same,
        "6.png": ["10.10", "20.00", "", ""],
    }
    # What is accepted is no prediction; a person's point of an open animal has no likelihood.
    assert rows(made) == {
        "3.png": ["10.10", "20.00", "0.9000", "33", "44", ""],
        "5.png": ["10.10", "20.00", "0.9000", "30.00", "40.00", "0.6000"],
        "6.png": ["10.10", "20.00", "0.9000", "7.00", "8.00", "0.1000"],
    }
    with Review(output).open() as again:
        left = ("3.png", "5.png", "6.png")
        assert states(again) == {key: points for key, points in expected.items() if key[0].endswith(left)}


def recategorized(path: Path, category: str) -> tuple[str, Any]:
    """The category and the points that are read of the only predicted object after it was given another category."""
    with Review(path).open() as review:
        (one,) = review.objects
        names = review.annotations.categories[category].keypoints
        old = dict(zip(review.annotations.categories[one.state.category].keypoints, one.state.points, strict=True))
        state = State(category=category, decision="accepted", points=tuple(old.get(name) for name in names))
        review.change({0: state}, {0: 0})
        output = review.write()[0]
    known = read_annotations(output)
    (accepted,) = [one for image in known.images for one in image.instances if image.file.endswith("2.png")]
    assert not accepted.predicted
    points = dict(zip(known.categories[accepted.category].keypoints, accepted.points.tolist(), strict=True))
    return accepted.category, {name: point for name, point in points.items() if not np.isnan(point).any()}


def test_another_category_is_written_and_keeps_points_of_the_same_names(tmp_path: Path) -> None:
    images(tmp_path, 2)
    dog = [{**animal("d", 60, "ear", "nose")[0]}, *animal("d", 60, "ear", "nose")[1:]]
    dog[0]["value"]["rectanglelabels"] = ["dog"]
    own = [region("b", "rectanglelabels", "cat", x=5, y=5, width=40, height=70, rotation=0)]
    in_a_box = [*own, *({**one, "parentID": "b"} for one in animal("o-0", 10, "ear", "tail")[1:])]
    first = task(1, [*animal("a", 10, "ear", "tail"), *dog])
    for name, second in (("plain", task(2, None, animal("o-0", 10, "ear", "tail"))), ("drawn", task(2, own, in_a_box))):
        (tmp_path / f"{name}.json").write_text(json.dumps([first, second]), encoding="utf-8")
        assert recategorized(tmp_path / f"{name}.json", "dog") == ("dog", {"ear": [24, 20]})

    cat = skeleton("cat", "auto", ("ear", 20, 30, 0, "auto"), ("tail", 50, 60, 0, "auto"))
    known = skeleton("dog", "manual", ("ear", 1, 2, 0, "manual"), ("nose", 50, 60, 0, "manual"))
    path = tmp_path / "found.xml"
    both = '<annotations><image id="1" name="1.png">{}</image><image id="2" name="2.png">{}</image></annotations>'
    path.write_text(both.format(known, cat), encoding="utf-8")
    assert recategorized(path, "dog") == ("dog", {"ear": [20, 30]})

    box = '<box top="5" left="5" width="90" height="80"{}><label>{}</label><part name="0" x="10" y="15"/>{}</box>'
    known, cat = box.format("", "dog", '<part name="2" x="3" y="4"/>'), box.format(' semcorr="predicted"', "cat", "")
    path = tmp_path / "dlib.xml"
    image = "<image file='{}.png'>{}</image>"
    path.write_text(
        f"<dataset><images>{image.format(1, known)}{image.format(2, cat)}</images></dataset>", encoding="utf-8"
    )
    assert recategorized(path, "dog") == ("dog", {"0": [10.5, 15.5]})
