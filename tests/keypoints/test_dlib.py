"""dlib's data sets, read and written back."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from semcorr.errors import DatasetError
from semcorr.keypoints import Annotations, Category, PredictedObject, TransferRecord, dlib, read_annotations
from semcorr.keypoints.annotation_format import ExportOptions
from semcorr.keypoints.base import AnnotatedImage, instance_of

HEAD = "<?xml version='1.0' encoding='ISO-8859-1'?>\n<?xml-stylesheet type='text/xsl' href='a.xsl'?>\n"


def part(name: str, x: float, y: float) -> str:
    return f"<part name='{name}' x='{x}' y='{y}'/>"


EARS = part("01", 12, 21) + part("00", 30, 22)


def box(*content: str, left: int = 10, top: int = 20, width: int = 40, height: int = 30, more: str = "") -> str:
    sides = f"top='{top}' left='{left}' width='{width}' height='{height}'"
    return f"<box {sides} {more}>{''.join(content)}</box>"


def image(name: str, *content: str, size: str = "width='200' height='100'") -> str:
    return f"<image file='{name}' {size}>{''.join(content)}</image>"


def read(folder: Path, *images: str, name: str = "a.xml") -> Annotations:
    path = folder / name
    text = f"{HEAD}<dataset>\n<name>Ears</name>\n<comment>By hand</comment>\n<images>\n"
    path.write_text(text + "\n".join(images) + "\n</images>\n</dataset>", encoding="utf-8")
    return read_annotations(path)


def test_parts_are_key_points_in_the_order_of_their_names(tmp_path: Path) -> None:
    annotations = read(tmp_path, image("a.png", box(EARS), box("<label>dog</label>", part("nose", 0, 1))))
    assert {name: one.keypoints for name, one in annotations.categories.items()} == {
        "object": ("00", "01"),
        "dog": ("nose",),
    }
    (only,) = annotations.images
    first, second = only.instances
    # A part is a pixel, of which a point is the centre; a box is edges.
    np.testing.assert_array_equal(first.points, [[30.5, 22.5], [12.5, 21.5]])
    np.testing.assert_array_equal(second.points, [[0.5, 1.5]])
    assert (first.box, first.id, first.annotated, only.size) == ((10, 20, 50, 50), "box-0", True, (200, 100))
    assert (annotations.format, annotations.notes) == ("dlib", ())


def test_boxes_without_parts_are_to_be_searched_and_ignored_ones_are_left_out(tmp_path: Path) -> None:
    annotations = read(
        tmp_path,
        image(
            "a.png",
            box(EARS),
            box(left=-5, top=80, width=20, height=40),
            box(EARS, more="ignore='1'"),
            box("<label>ball</label>"),
            box(left=300),
        ),
        image("b.png", box(part("00", 1, 2)), size=""),
        image("c.png"),
    )
    first, second, outside = annotations.images[0].instances
    assert (first.annotated, second.annotated) == (True, False)
    assert (second.box, second.id) == ((0, 80, 15, 100), "box-1")  # the part that is in the image
    assert (outside.box, outside.id) == (None, "box-4")
    assert annotations.notes == (
        "boxes to be ignored (ignore='1') are left out: 1",
        "boxes of labels without parts are ignored: ball",
    )
    (bare,) = annotations.images[1].instances
    assert (bare.visibility.tolist(), annotations.images[1].size) == ([2, 0], None)
    assert annotations.images[2].instances == ()


def test_what_a_program_made_is_predicted_until_it_is_accepted(tmp_path: Path) -> None:
    marks = ["", "detection_score='0.25'", "detection_score='2.5'", "semcorr='predicted'", "semcorr='accepted'"]
    annotations = read(tmp_path, *(image(f"{number}.png", box(EARS, more=one)) for number, one in enumerate(marks)))
    objects = [one.instances[0] for one in annotations.images]
    assert [(one.predicted, one.score) for one in objects] == [
        *((False, None), (True, 0.25), (True, None), (True, 0.0), (False, None))
    ]
    assert "predicted and not annotated (by their mark or detection_score): 3" in annotations.notes[0]
    # A detector's box without parts is nobody's prediction of parts.
    detected = read(tmp_path, image("a.png", box(EARS), box(more="detection_score='0.5'"))).images[0].instances[1]
    assert (detected.predicted, detected.box) == (False, (10, 20, 50, 50))


def test_encodings_and_line_ends(tmp_path: Path) -> None:
    text = f"{HEAD}<dataset><!-- <annotations> --><images>\r\n{image('Käfer.png', box(EARS))}</images></dataset>"
    for encoding in ("utf-8", "utf-8-sig", "iso-8859-1"):  # imglab writes the first and declares the last
        path = tmp_path / "a.xml"
        path.write_bytes(text.encode(encoding))
        assert [one.file for one in read_annotations(path).images] == ["Käfer.png"]
    path.write_bytes(text.replace("ISO-8859-1", "UTF-8").encode("iso-8859-1"))
    with pytest.raises(DatasetError, match=r"expected text \(UTF-8\)"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (image("a.png", box()), "boxes with parts"),
        ("", "boxes with parts"),
        (image("a.png", box(EARS)) + image("a.png"), "every image once in line 7"),
        (image("a.png", box(EARS, part("00", 1, 1))), "every part of a box once"),
        (image("a.png", box(part("00", 1, 1).replace("x=", "z="))), "an attribute 'x' of <part> in line 7"),
        (image("a.png", box(EARS).replace("top=", "up=")), "an attribute 'top' of <box>"),
        (image("a.png", box(part("00", float("nan"), 1))), "the part '00' in line 7 as 2 numbers"),
        (image("a.png", box(EARS, more="semcorr='maybe'")), "semcorr='predicted' or 'accepted' in line 7"),
        (image("a.png", box(EARS, more="detection_score='high'")), "'detection_score' in line 7 as 1 numbers"),
        (image("a.png", box(EARS), size="width='0' height='5'"), "from 1 to"),
        (image("a.png", box(EARS)).replace(" file=", " name="), "an attribute 'file' of <image>"),
        (image("a.png", box(EARS)).replace("<part", "<part "[:3] + "<"), "expected XML"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, content)


def test_entities_are_never_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text('<!DOCTYPE a [<!ENTITY b "c">]><dataset>&b;</dataset>', encoding="utf-8")
    with pytest.raises(DatasetError, match="no DOCTYPE"):
        read_annotations(path)


# Written.


def predicted(category: str = "object", **changes: Any) -> PredictedObject:
    values = {
        "names": ("00", "01"),
        "points": np.array([[10.5, 20.99], [30.25, 40.75]]),
        "confidence": np.array([0.9, 0.7]),
    }
    return PredictedObject(category=category, **{**values, **changes})


def record_of(file: str, *objects: PredictedObject) -> TransferRecord:
    return TransferRecord(file=file, path=Path(file), size=(200, 100), objects=objects)


def written(path: Path, known: Annotations, *records: TransferRecord) -> ET.Element:
    dlib.write(path, known, lambda: records, ExportOptions(min_confidence=0.5))
    return ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314  # our own


def test_a_file_gets_back_all_that_was_in_it(tmp_path: Path) -> None:
    manual = box(EARS, more="ignore='1' age='5'") + box(EARS, more="occluded='1'")
    known = read(tmp_path, image("a.png", manual), image("b.png", box(), box(left=70)), image("c.png"))
    before = [ET.tostring(one.source) for one in known.images]
    confidence = np.array([0.1, 0.2])
    root = written(
        tmp_path / "out.xml",
        known,
        record_of("b.png", predicted(id="box-1"), predicted(id="box-0", confidence=confidence)),
        record_of("c.png", predicted(), predicted(confidence=confidence)),
        record_of("new.png", predicted(names=("00", "01"), confidence=np.array([0.4, 0.7]))),
    )
    assert [ET.tostring(one.source) for one in known.images] == before  # copies are completed
    assert (root.findtext("name"), root.findtext("comment")) == ("Ears", "By hand")
    kept, boxed, whole, new = root.findall("images/image")
    plain = ET.fromstring(before[0])  # noqa: S314  # our own
    assert [(one.tag, one.attrib) for one in kept.iter()] == [(one.tag, one.attrib) for one in plain.iter()]
    empty, filled = boxed
    assert (len(empty), set(empty.attrib)) == (0, {"top", "left", "width", "height"})
    # The pixel that a point is in, since dlib has no fractions.
    assert [one.attrib for one in filled] == [
        {"name": "00", "x": "10", "y": "20"},
        {"name": "01", "x": "30", "y": "40"},
    ]
    assert (filled.get("left"), filled.get("semcorr"), filled.get("detection_score")) == ("70", "predicted", "0.8000")
    (made,) = whole
    assert [made.get(name) for name in ("left", "top", "width", "height")] == ["10", "20", "21", "21"]
    assert (new.get("file"), new.get("width"), len(new[0])) == ("new.png", "200", 1)

    again = read_annotations(tmp_path / "out.xml")
    assert [one.id for one in again.images[1].instances if one.predicted] == ["box-1"]
    assert [one.annotated for one in again.images[0].instances] == [True]
    (only,) = again.images[2].instances
    assert (only.predicted, only.score, only.box) == (True, 0.8, None)  # the box of its own points is none
    np.testing.assert_array_equal(only.points, [[10.5, 20.5], [30.5, 40.5]])
    # A second round replaces what was predicted.
    root = written(tmp_path / "again.xml", again, record_of("c.png", predicted(id="box-0", points=np.ones((2, 2)))))
    assert [[one.get("x") for one in element.iter("part")] for element in root.findall("images/image")][2] == ["1", "1"]


def test_other_formats(tmp_path: Path, record: Callable[..., TransferRecord]) -> None:
    cat = Category(id=1, name="cat", keypoints=("ear", "tail", "paw"))
    nasty = Category(id=2, name="<&'\"", keypoints=("a'b",))
    manual = instance_of(cat, {"tail": (2.9, 3, 1), "ear": (7, 8, 2)}, id=1)
    other = instance_of(nasty, {"a'b": (1, 1, 2)}, (0.5, 0, 9, 9.5), id=2, predicted=True, score=0.5)
    images = [AnnotatedImage(file="a.png", path=Path("a.png"), instances=(manual, other), size=(20, 10))]
    known = Annotations(path=Path("a.json"), categories={"cat": cat, nasty.name: nasty}, images=images)
    root = written(tmp_path / "out.xml", known, record())
    first, second = root.findall("images/image")
    assert [one.attrib for one in first[0].findall("part")] == [
        {"name": "ear", "x": "7", "y": "8"},
        {"name": "tail", "x": "2", "y": "3"},
    ]
    assert first[0].attrib == {"top": "3", "left": "2", "width": "6", "height": "6"}
    assert (first[1].findtext("label"), first[1].get("height")) == (nasty.name, "10")
    assert [one.get("name") for one in second.iter("part")] == ["ear"]
    again = read_annotations(tmp_path / "out.xml")
    assert [(one.category, one.predicted, one.score) for image in again.images for one in image.instances] == [
        *(("cat", False, None), (nasty.name, True, 0.5), ("cat", True, 0.6))
    ]


# The real one.


def independent(path: Path) -> tuple[list[str], list[list[int]], list[dict[str, tuple[int, int]]]]:
    """The files, the boxes (top, left, width, height) and the parts of a data set, by its text alone."""
    text = path.read_text(encoding="ascii").replace('"', "'")
    files = re.findall(r"<image file='([^']*)'", text)
    elements = text.split("<box ")[1:]
    boxes = [[int(side) for side in re.findall(r"(?:top|left|width|height)='(\d+)'", one)[:4]] for one in elements]
    part = r"<part name='(\d\d)' x='(\d+)' y='(\d+)'"
    return files, boxes, [{name: (int(x), int(y)) for name, x, y in re.findall(part, one)} for one in elements]


@pytest.mark.parametrize(("name", "images", "faces"), [("testing", 5, 25), ("training", 4, 18)])
def test_the_real_ones(photographs: Path, tmp_path: Path, name: str, images: int, faces: int) -> None:
    path = photographs / "faces-68" / f"{name}_with_face_landmarks.xml"
    annotations = read_annotations(path)
    files, boxes, parts = independent(path)
    objects = [one for image in annotations.images for one in image.instances]
    assert [image.file for image in annotations.images] == files
    assert (len(annotations.images), len(objects), len(parts)) == (images, faces, faces)
    assert annotations.categories["object"].keypoints == tuple(f"{number:02}" for number in range(68))
    for one, (top, left, width, height), own in zip(objects, boxes, parts, strict=True):
        np.testing.assert_array_equal(one.points, np.array([own[f"{number:02}"] for number in range(68)]) + 0.5)
        assert one.box == (left, top, left + width, top + height)
    assert all(image.path.is_file() for image in annotations.images)

    written(tmp_path / "out.xml", annotations)
    assert independent(tmp_path / "out.xml") == (files, boxes, parts)


def test_boxes_alone_are_refused(photographs: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"boxes with parts .*testing\.xml', got none: mark the parts of a few boxes"
    ):
        read_annotations(photographs / "faces-68" / "testing.xml")
