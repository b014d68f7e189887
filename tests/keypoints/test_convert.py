"""Annotations of one format written in another; what each format keeps is what the documentation's table says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from keypoints.rich import NAMES, kept_by_the_table, write_rich
from semcorr.cli.main import main
from semcorr.errors import DatasetError, ImageError, SettingsError
from semcorr.keypoints import Annotations, Instance, read_annotations
from semcorr.keypoints.annotation_format import read_only
from semcorr.keypoints.contents import KINDS, contents
from semcorr.keypoints.convert import convert_annotations
from semcorr.keypoints.formats import FORMATS

WRITTEN = [one.name for one in FORMATS.values() if one.write is not read_only]
HERE = [name for name in WRITTEN if name != "sleap"]
"""Those that need no further package; SLEAP's is tested in test_their_readers.py."""


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    return write_rich(tmp_path / "given")


def target(folder: Path, name: str) -> Path:
    return folder / name / ("data.yaml" if name == "yolo-pose" else f"out{FORMATS[name].suffix}")


def marked(annotations: Annotations) -> list[tuple[str, list[float]]]:
    """The name and location of every marked point, sorted."""
    return sorted(
        (name, xy)
        for image in annotations.images
        for one in image.instances
        for name, xy, mark in zip(
            annotations.categories[one.category].keypoints, one.points.tolist(), one.visibility.tolist(), strict=True
        )
        if mark > 0
    )


def test_the_table_names_all_formats_and_all_that_is_counted() -> None:
    rows = kept_by_the_table()
    assert set(KINDS) <= rows.keys()
    assert all(list(row) == WRITTEN for row in rows.values())


@pytest.mark.parametrize("name", HERE)
def test_a_format_keeps_what_the_table_says(rich: Path, tmp_path: Path, name: str) -> None:
    # With a category named, what is read counts as another format's, COCO's as well.
    done = convert_annotations(
        rich, target(tmp_path, name), format=name, images=rich.parent / "images", categories=("cat",)
    )
    rows = kept_by_the_table()
    for kind in KINDS:
        assert done.before[kind]
        cell, kept = rows[kind][name], done.before[kind] - done.lost.get(kind, 0)
        assert (cell == "yes") == (kept == done.before[kind]), (kind, cell, kept)
        assert (cell == "–") == (kept == 0), (kind, cell, kept)


@pytest.mark.parametrize("name", HERE)
def test_points_come_back_from_every_format(rich: Path, tmp_path: Path, name: str) -> None:
    images = rich.parent / "images"
    there = convert_annotations(rich, target(tmp_path, name), format=name, images=images)
    own = tmp_path / name if name == "yolo-pose" else images
    back = tmp_path / "back.json"
    convert_annotations(there.files[0], back, images=own)
    given, again = read_annotations(rich, images), read_annotations(back, own)
    # dlib's key-points are pixels.
    for one, other in zip(marked(given), marked(again), strict=True):
        assert one[0] == other[0]
        np.testing.assert_allclose(one[1], other[1], atol=0.5 if name == "dlib" else 0.011)
    if name != "dlib":
        (category,) = again.categories.values()
        assert category.keypoints == NAMES


def test_a_round_trip_within_a_format_changes_nothing(rich: Path, tmp_path: Path) -> None:
    images = rich.parent / "images"
    for name in HERE:
        first = convert_annotations(rich, target(tmp_path / "1", name), format=name, images=images)
        own = first.files[0].parent if name == "yolo-pose" else images
        second = convert_annotations(first.files[0], target(tmp_path / "2", name), format=name, images=own)
        one, other = (
            read_annotations(first.files[0], own),
            read_annotations(second.files[0], second.files[0].parent if name == "yolo-pose" else images),
        )
        assert contents(one) == contents(other) == second.after, name
        for image, again in zip(one.images, other.images, strict=True):
            assert image.file == again.file
            for instance, copy in zip(image.instances, again.instances, strict=True):
                assert_same(instance, copy)


def assert_same(one: Instance, other: Instance) -> None:
    assert (one.category, one.predicted, one.score) == (other.category, other.predicted, other.score)
    np.testing.assert_array_equal(one.visibility, other.visibility)
    np.testing.assert_allclose(one.points, other.points, atol=1e-3)
    assert (one.box is None) == (other.box is None)
    np.testing.assert_allclose(one.box or (0,) * 4, other.box or (0,) * 4, atol=1e-3)


def test_the_command_says_what_is_not_kept(rich: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, images = tmp_path / "points.csv", str(rich.parent / "images")
    assert main(["convert", str(rich), str(out), "--images", images]) == 0
    said = capsys.readouterr()
    assert said.out == f"COCO to a table: 3 images with objects, 4 objects, 9 points.\nWritten: {out}\n"
    flat = " ".join(said.err.split())
    assert "A table does not keep: 1 of 4 images with objects, 1 of 1 images without objects, 1 of 5 objects" in flat
    assert "2 of 2 boxes, 1 of 5 confidences of points, 2 of 2 lines of skeletons." in flat

    before = out.read_bytes()
    assert main(["convert", str(rich), str(out), "--images", images]) == 2
    assert "exists. Choose another name, or write over it with --replace." in " ".join(capsys.readouterr().err.split())
    assert out.read_bytes() == before
    assert main(["convert", str(out), str(out), "--replace", "--images", images]) == 2
    assert "is read from" in capsys.readouterr().err
    assert main(["convert", str(rich), str(out), "--replace", "--images", images, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["from"], said["to"], said["files"]) == ("coco", "csv", [str(out)])
    assert said["lost"]["boxes"] == 2


def test_categories_are_chosen(rich: Path, tmp_path: Path) -> None:
    content = json.loads(rich.read_text(encoding="utf-8"))
    content["categories"].append({"id": 8, "name": "dog", "keypoints": ["nose"]})
    content["annotations"].append({"id": 9, "image_id": 4, "category_id": 8, "keypoints": [5, 5, 2]})
    rich.write_text(json.dumps(content), encoding="utf-8")
    images = rich.parent / "images"
    for name in HERE:
        out = target(tmp_path, name)
        if name == "yolo-pose":
            with pytest.raises(DatasetError, match=r"different ones: cat \(3\), dog \(1\).*--category cat"):
                convert_annotations(rich, out, format=name, images=images)
            assert not out.exists()
        done = convert_annotations(rich, out, format=name, images=images, categories=("dog",))
        assert done.after["points"] == 1
    with pytest.raises(SettingsError, match=r"Unknown category 'dogs'. Did you mean 'dog'"):
        convert_annotations(rich, tmp_path / "a.csv", images=images, categories=("dogs",))


@pytest.mark.parametrize(
    ("out", "name", "message"),
    [
        ("out.txt", None, "Name it with --format: coco (.json)"),
        ("out.xml", "coco", "ends in .json for coco"),
        ("out.json", "labelme", "labelme is read and not written"),
        ("out.json", "cocco", "Did you mean 'coco'"),
    ],
)
def test_targets_that_cannot_be_are_refused(
    rich: Path, tmp_path: Path, out: str, name: str | None, message: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        convert_annotations(rich, tmp_path / out, format=name)


@pytest.mark.parametrize("given", [(), ("--category", "cat")])
def test_coco_has_a_margin_around_points_where_one_is_asked_for(
    rich: Path, tmp_path: Path, given: tuple[str, ...]
) -> None:
    content = json.loads(rich.read_text(encoding="utf-8"))
    content["annotations"].append({"id": 6, "image_id": 5, "category_id": 7, "keypoints": [5.5, 6.5, 2, *[0] * 6]})
    rich.write_text(json.dumps(content), encoding="utf-8")
    arguments = ["convert", str(rich), str(tmp_path / "out.json"), "--images", str(rich.parent / "images"), *given]
    assert main([*arguments, "--margin", "0.5"]) == 0
    content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    boxes = [one.get("bbox") for one in content["annotations"]]
    # One drawn; half of 10 pixels around (80, 60) to (90, 70); half of 20 around (10, 10) to (30, 20), which ends at
    # the edge of the image; one drawn; half of 20 around (12, 13) to (32, 23); a single point.
    assert boxes[:5] == [[10, 5, 60, 50], [75, 55, 20, 20], [0, 0, 40, 30], [8, 8, 40, 32], [2, 3, 40, 30]]
    assert boxes[5:] in ([None], [[6, 7, 0, 0]])
    assert content["annotations"][2]["area"] == 1200
    keypoints = [one.get("keypoints") for one in json.loads(rich.read_text(encoding="utf-8"))["annotations"]]
    assert [one["keypoints"] for one in content["annotations"] if any(one.get("keypoints", ()))] == [
        one for one in keypoints if one
    ]


@pytest.mark.parametrize("name", ["coco", "label-studio", "cvat", "yolo-pose"])
def test_images_of_unknown_size_are_no_silent_loss(tmp_path: Path, name: str) -> None:
    given = tmp_path / "points.csv"
    given.write_text("image,name,x,y\na.png,ear,1,2\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"needs the size of every image.*1, which are not there: a\.png.*--images"):
        convert_annotations(given, target(tmp_path / "out", name), format=name)


def test_coordinates_of_a_reduced_copy_are_not_taken_for_the_images_own(rich: Path, tmp_path: Path) -> None:
    content = json.loads(rich.read_text(encoding="utf-8"))
    content["images"][0] |= {"width": 50, "height": 40}  # of an image of 100 x 80
    content["annotations"][1]["keypoints"] = [39.5, 29.5, 2, 0, 0, 0, 44.5, 34.5, 2]
    rich.write_text(json.dumps(content), encoding="utf-8")
    images, out = rich.parent / "images", tmp_path / "out.csv"
    with pytest.raises(ImageError, match=r"50 x 40 pixels.*100 x 80.*--rescale"):
        convert_annotations(rich, out, images=images)
    convert_annotations(rich, out, images=images, rescale=True)
    np.testing.assert_allclose(
        read_annotations(out, images).images[0].instances[1].points[[0, 2]], [[80, 60], [90, 70]]
    )
    # These say the size.
    for name in ("cvat", "yolo-pose"):
        path = convert_annotations(rich, target(tmp_path, name), format=name, images=images).files[0]
        first = read_annotations(path, None if name == "yolo-pose" else images).images[0]
        part = first.instances[1].points[0] / first.size
        np.testing.assert_allclose(part, [0.8, 0.75], atol=1e-6)
