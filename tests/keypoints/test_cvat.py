"""CVAT for images 1.1, read and written back. Its own importer's answer: test_importers.py."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import numpy as np
import pytest

from semcorr.errors import DatasetError
from semcorr.keypoints import Annotations, Category, PredictedObject, TransferRecord, cvat, read_annotations
from semcorr.keypoints.annotation_format import ExportOptions

CATS = {"cat": Category(id=1, name="cat", keypoints=("ear", "tail", "paw"))}
DRAWING = (
    '<line x1="1" data-type="edge" data-node-from="7" data-node-to="9"></line>'
    '<circle data-node-id="7" data-label-name="paw"></circle><circle data-node-id="9" data-label-name="ear"></circle>'
)
META = (
    "<meta><task><name>cats</name><labels>"
    f"<label><name>cat</name><type>skeleton</type><svg>{escape(DRAWING)}</svg></label>"
    "<label><name>paw</name><type>points</type><parent>cat</parent></label>"
    "<label><name>ear</name><type>points</type><parent>cat</parent></label>"
    "<label><name>tail</name><type>points</type><parent>cat</parent></label>"
    "<label><name>ball</name><type>rectangle</type></label>"
    "</labels></task></meta>"
)
EAR, TAIL = ("ear", 20, 20, ""), ("tail", 80, 40, 'occluded="1"')


def skeleton(*points: tuple[str, float, float, str], source: str = "manual", more: str = "") -> str:
    parts = "".join(f'<points label="{name}" points="{x},{y}" {marks}/>' for name, x, y, marks in points)
    return f'<skeleton label="cat" source="{source}" {more}>{parts}</skeleton>'


def box(x0: float, y0: float, x1: float, y1: float, *, label: str = "cat", more: str = "") -> str:
    return f'<box label="{label}" source="manual" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}" {more}/>'


def image(number: int, *content: str) -> str:
    return f'<image id="{number}" name="{number}.png" width="200" height="100">{"".join(content)}</image>'


def read(folder: Path, *content: str, meta: str = META) -> Annotations:
    path = folder / "annotations.xml"
    lines = ["<annotations>", "<version>1.1</version>", meta, *content, "</annotations>"]
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_annotations(path)


def objects(folder: Path, *content: str) -> list[tuple[str, Any, list[int]]]:
    """Category, box and marks of each object of one image."""
    annotations = read(folder, image(0, skeleton(EAR)), image(1, *content)).images[1]
    return [(one.category, one.box, one.visibility.tolist()) for one in annotations.instances]


def test_skeletons_keep_marks_points_and_the_order_of_their_label(tmp_path: Path) -> None:
    annotations = read(tmp_path, image(3, skeleton(TAIL, EAR, ("paw", 5, 5, 'outside="1"'))))
    assert annotations.categories["cat"].keypoints == ("paw", "ear", "tail")
    assert annotations.categories["cat"].skeleton == ((1, 2),)
    (only,) = annotations.images
    assert (only.file, only.id, only.size) == ("3.png", "3", (200, 100))
    (instance,) = only.instances
    assert instance.visibility.tolist() == [0, 2, 1]
    np.testing.assert_array_equal(instance.points, [[np.nan, np.nan], [20, 20], [80, 40]])
    assert (instance.box, instance.annotated) == (None, True)


def test_labels_that_the_meta_lacks_are_taken_as_they_come(tmp_path: Path) -> None:
    assert read(tmp_path, image(0, skeleton(TAIL, EAR)), meta="").categories["cat"].keypoints == ("tail", "ear")


def test_a_box_around_a_skeleton_is_its_box_and_another_is_searched(tmp_path: Path) -> None:
    assert objects(tmp_path, box(0, 0, 10, 10), box(10, 10, 90, 50), skeleton(EAR, TAIL)) == [
        ("cat", (10, 10, 90, 50), [0, 2, 1]),
        ("cat", (0, 0, 10, 10), [0, 0, 0]),
    ]
    # The outer box is the tail's, since the inner one is all that is left for the ear.
    inner, outer = box(10, 10, 30, 30), box(0, 0, 100, 50)
    assert [extent for _, extent, _ in objects(tmp_path, inner, outer, skeleton(EAR), skeleton(TAIL))] == [
        (10, 10, 30, 30),
        (0, 0, 100, 50),
    ]
    with pytest.raises(DatasetError, match=r"one box around the skeleton 'cat' in line 5 .*got 2"):
        objects(tmp_path, inner, outer, skeleton(EAR))
    grouped = skeleton(EAR, more='group_id="4"'), box(100, 0, 120, 20, more='group_id="4"')
    assert objects(tmp_path, inner, *grouped)[0] == ("cat", (100, 0, 120, 20), [0, 2, 0])


def test_a_box_turns_about_its_middle(tmp_path: Path) -> None:
    # 40 x 20 around (100, 50): turned by a quarter it is 20 x 40.
    ((_, extent, _),) = objects(tmp_path, box(80, 40, 120, 60, more='rotation="90.0"'))
    np.testing.assert_allclose(extent, (90, 30, 110, 70), atol=1e-9)
    ((_, extent, _),) = objects(tmp_path, box(180, 40, 220, 60, more='rotation="180"'))
    np.testing.assert_allclose(extent, (180, 40, 200, 60), atol=1e-9)  # cut off at the image


def test_points_without_a_skeleton(tmp_path: Path) -> None:
    def point(name: str, x: float, y: float, source: str = "manual") -> str:
        return f'<points label="{name}" source="{source}" points="{x},{y}"/>'

    annotations = read(tmp_path, image(0, point("ear", 10, 10), point("tail", 20, 20)), meta="")
    assert list(annotations.categories) == ["object"]
    np.testing.assert_array_equal(annotations.images[0].instances[0].points, [[10, 10], [20, 20]])
    annotations = read(
        tmp_path, image(0, box(0, 0, 50, 50), box(60, 0, 99, 50), point("ear", 10, 10), point("ear", 70, 10))
    )
    assert [one.visibility.tolist() for one in annotations.images[0].instances] == [[0, 2, 0]] * 2
    with pytest.raises(DatasetError, match=r"'ear' in exactly one of 1 boxes in line 4 .*in none"):
        read(tmp_path, image(0, box(0, 0, 50, 50), point("ear", 70, 10)))
    with pytest.raises(DatasetError, match="'ear' again"):
        read(tmp_path, image(0, point("ear", 10, 10), point("ear", 20, 10)))
    several = '<points label="ear" points="1,2;3,4"/>'
    annotations = read(tmp_path, image(0, point("tail", 1, 1, "auto"), several))
    assert [one.predicted for one in annotations.images[0].instances] == [True]
    assert "1 points (several in one shape)" in annotations.notes[0]


def test_what_is_ignored_is_counted(tmp_path: Path) -> None:
    polygon, tag = '<polygon label="cat" points="1,1;2,2;3,1"/>', '<tag label="day"/>'
    notes = read(tmp_path, image(0, skeleton(EAR), polygon, polygon, tag, box(0, 0, 9, 9, label="ball"))).notes
    assert notes == (
        "shapes that are no skeletons, boxes or single points are ignored: 2 polygon, 1 tag",
        "boxes of labels without key-points are ignored: 1 ball",
    )
    assert objects(tmp_path, box(0, 0, 9, 9, label="ball")) == []


def test_what_a_program_made_is_predicted_until_a_person_changes_it(tmp_path: Path) -> None:
    made = [
        skeleton(EAR, source="auto", more='score="0.25"'),
        skeleton(("ear", 20, 20, 'outside="1"'), source="auto"),
        *(skeleton(EAR, source=source) for source in ("semi-auto", "manual", "file")),
    ]
    annotations = read(tmp_path, *(image(number, one) for number, one in enumerate(made)))
    marks = [
        (one.predicted, one.annotated, one.score) for one_image in annotations.images for one in one_image.instances
    ]
    assert marks == [(True, False, 0.25), (False, False, None), *[(False, True, None)] * 3]
    assert annotations.notes[0].endswith("1; no points are carried over from them")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected XML"),
        ("<annotations><image>", "expected XML"),
        ("<annotations>\n<image id='1'/></annotations>", "'name' of <image> in line 2"),
        ("<annotations/>", "expected skeletons or points"),
        ("<annotation/>", "Pascal VOC"),
        ("<html/>", "<html>"),
        ("<annotations>\n\n<track id='1'/></annotations>", "in line 3 of .* a <track> of CVAT for video"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>", "no DOCTYPE .* line 1"),
        ("<a>" * 101, "up to 100 deep"),
        (f"<annotations>{image(0, skeleton(EAR, EAR))}</annotations>", "'ear' again"),
        (f"<annotations>{image(0)}\n{image(0)}</annotations>", "'0.png' again"),
        (
            f"<annotations>{image(0, skeleton(('ear', 1, float('nan'), '')))}</annotations>",
            "'ear' in line 1 as 2 numbers",
        ),
        (f"<annotations>{image(0, skeleton(EAR)).replace('200', '0')}</annotations>", "from 1 to"),
    ],
)
def test_broken_and_other_files_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_annotations(path)


def test_entities_are_never_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    secret = tmp_path / "secret"
    secret.write_text("secret", encoding="utf-8")
    path.write_text(f'<!DOCTYPE a SYSTEM "{secret}"><annotations>&a;</annotations>', encoding="utf-8")
    with pytest.raises(DatasetError, match="no DOCTYPE") as error:
        read_annotations(path)
    assert "secret" not in str(error.value).replace(str(tmp_path), "")


# Written.


def written(known: Annotations, *records: TransferRecord) -> ET.Element:
    with TemporaryDirectory() as folder:
        (path,) = cvat.write(Path(folder) / "out.xml", known, lambda: records, ExportOptions(min_confidence=0.5))
        return ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314  # our own


def predicted(**changes: Any) -> PredictedObject:
    values = {
        "category": "cat",
        "names": ("paw", "ear", "tail"),
        "points": np.array([[10.5, 20.5], [30.25, 40.75], [np.nan, np.nan]]),
        "confidence": np.array([0.9, 0.3, 0.0]),
    }
    return PredictedObject(**{**values, **changes})


def record_of(file: str, *objects: PredictedObject) -> TransferRecord:
    return TransferRecord(file=file, path=Path(file), size=(200, 100), objects=objects)


def test_images_of_another_format(record: Callable[..., TransferRecord]) -> None:
    root = written(Annotations(path=Path("a.json"), categories=CATS, images=()), record())
    assert root.findtext("version") == "1.1"
    (only,) = root.findall("image")
    assert (only.get("name"), only.get("width"), only.get("height")) == ("b.png", "100", "50")
    points = {part.get("label"): (part.get("points"), part.get("outside")) for part in only.iter("points")}
    assert points["ear"] == ("10.50,20.50", "0")
    assert points["tail"] == ("30.25,40.75", "1")
    assert points["paw"][1] == "1"


def test_a_file_gets_back_all_that_was_in_it(tmp_path: Path) -> None:
    manual = skeleton(EAR, TAIL, more='z_order="3"')
    known = read(tmp_path, image(4, manual, '<tag label="day"/>'), image(5, box(0, 0, 50, 50)), image(6))
    before = [ET.tostring(one.source) for one in known.images]
    target = predicted(box=(0, 0, 50, 50), id="box-0")
    root = written(
        known, record_of("5.png", target), record_of("6.png", predicted()), record_of("new.png", predicted())
    )
    assert [one.get("id") for one in root.findall("image")] == ["4", "5", "6", "7"]
    assert ET.tostring(root.findall("image")[0]).strip() == before[0].strip()
    assert [ET.tostring(one.source) for one in known.images[1:]] == before[1:]  # copies are completed
    assert root.findtext("meta/task/name") == "cats"
    kept, made = root.findall("image")[1]
    assert {**kept.attrib, "group_id": ""} == {**known.images[1].source[0].attrib, "group_id": ""}
    assert (made.tag, made.get("source"), made.get("group_id")) == ("skeleton", "auto", kept.get("group_id"))

    path = tmp_path / "out.xml"
    path.write_bytes(ET.tostring(root))
    again = read_annotations(path)
    assert again.categories == known.categories
    manual_one, boxed, loose, _ = (one.instances[0] for one in again.images)
    np.testing.assert_array_equal(manual_one.points, known.images[0].instances[0].points)
    for one, extent in ((boxed, (0, 0, 50, 50)), (loose, None)):
        assert (one.predicted, one.score, one.box) == (True, 0.6, extent)
        np.testing.assert_array_equal(one.points, [[10.5, 20.5], [np.nan, np.nan], [np.nan, np.nan]])


def test_a_second_round_replaces_what_was_predicted(tmp_path: Path) -> None:
    auto = skeleton(EAR, source="auto")
    nothing = skeleton(("ear", 1, 1, 'outside="1"'), source="auto")
    known = read(tmp_path, image(0, skeleton(EAR), auto, box(0, 0, 50, 50)), image(1, nothing))
    first, second = known.images[0].instances
    assert (first.id, first.box) == ("skeleton-0+box-0", (0, 0, 50, 50))
    root = written(known, record_of("0.png", predicted(id=second.id)), record_of("1.png", predicted()))
    sources = [[one.get("source") for one in element.findall("skeleton")] for element in root.findall("image")]
    assert sources == [["manual", "auto"], ["auto"]]


def test_names_cannot_break_out_of_xml(record: Callable[..., TransferRecord]) -> None:
    nasty = '"><image name="'
    root = written(Annotations(path=Path("a"), categories={nasty: CATS["cat"]}, images=()), record(category=nasty))
    (only,) = root.findall("image/skeleton")
    assert only.get("label") == nasty
