"""What ``semcorr check`` lists: faults that are put into drawings and into published annotations, and these first."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.injected_faults import injected, measure
from semcorr.cli.main import main
from semcorr.errors import DatasetError
from semcorr.keypoints.check import Finding, check_annotations
from semcorr.keypoints.check.geometry import Shapes
from semcorr.keypoints.check.shape_findings import shape_findings
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.spec import MatcherSpec
from semcorr.toy.coco import write_coco
from semcorr.transfer.check_matches import match_findings

FAULTY = (3, 11, 20)
"""Numbers of the drawings that get a fault."""


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawings of faces, whose truth is free of faults."""
    folder = tmp_path_factory.mktemp("toy")
    world = write_coco(folder / "world", categories=("face",), support=1, targets=24, size=64)
    world.annotations.unlink()
    return world.truth.parent


@pytest.fixture
def changed(faces: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], object]], Path]:
    """A copy of the drawings with a changed file of annotations."""

    def change(how: Callable[[dict[str, Any]], object]) -> Path:
        shutil.copytree(faces, tmp_path / "world")
        path = tmp_path / "world" / "truth.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        how(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return change


def rows(content: dict[str, Any], number: int) -> np.ndarray:
    return np.array(content["annotations"][number]["keypoints"], dtype=float).reshape(-1, 3)


def exchange(content: dict[str, Any], number: int, *pairs: tuple[str, str]) -> None:
    names, points = content["categories"][0]["keypoints"], rows(content, number)
    for pair in pairs:
        first, second = map(names.index, pair)
        points[[first, second]] = points[[second, first]]
    content["annotations"][number]["keypoints"] = points.ravel().tolist()


def ids(findings: Sequence[Finding]) -> set[object]:
    return {one.id for one in findings}


def faulty_ids(content: dict[str, Any]) -> set[object]:
    return {content["annotations"][number]["id"] for number in FAULTY}


def test_drawings_without_faults_have_nothing_that_is_sure(faces: Path) -> None:
    report = check_annotations(faces / "truth.json")
    assert report.notes == ()
    assert [one for one in report.findings if one.kind != "far" or one.suspicion > 0.7] == []


@pytest.mark.parametrize("pairs", [[("left ear", "right ear")], [("left eye", "right eye"), ("left ear", "right ear")]])
def test_exchanged_sides_are_listed_first(changed, pairs: list[tuple[str, str]]) -> None:
    def fault(content: dict[str, Any]) -> None:
        for number in FAULTY:
            exchange(content, number, *pairs)

    path = changed(fault)
    findings = check_annotations(path).findings[: len(FAULTY)]
    assert ids(findings) == faulty_ids(json.loads(path.read_text(encoding="utf-8")))
    for one in findings:
        assert one.kind == "exchanged"
        assert "left and right" in one.reason
        if len(pairs) == 1:
            assert set(one.keypoints) == {*pairs[0]}


def test_points_in_reverse_order_are_listed_first(changed) -> None:
    def fault(content: dict[str, Any]) -> None:
        for number in FAULTY:
            content["annotations"][number]["keypoints"] = rows(content, number)[::-1].ravel().tolist()

    findings = check_annotations(changed(fault)).findings[: len(FAULTY)]
    assert [one.kind for one in findings] == ["exchanged"] * len(FAULTY)
    assert all("reverse order" in one.reason for one in findings)


def test_moved_points_are_listed_first_and_named(changed) -> None:
    def fault(content: dict[str, Any]) -> None:
        for number, name in zip(FAULTY, ("chin", "nose", "left eye"), strict=True):
            points = rows(content, number)
            extent = np.ptp(points[points[:, 2] > 0, :2], axis=0).max()
            points[content["categories"][0]["keypoints"].index(name), :2] += (0.3 * extent, -0.2 * extent)
            content["annotations"][number]["keypoints"] = points.ravel().tolist()

    path = changed(fault)
    content = json.loads(path.read_text(encoding="utf-8"))
    findings = {one.id: one for one in check_annotations(path).findings[: len(FAULTY)]}
    assert {*findings} == faulty_ids(content)
    for number, name in zip(FAULTY, ("chin", "nose", "left eye"), strict=True):
        one = findings[content["annotations"][number]["id"]]
        assert (one.kind, one.keypoints[0]) == ("far", name)


def test_points_outside_and_at_the_corner_are_listed_first(changed) -> None:
    def fault(content: dict[str, Any]) -> None:
        content["annotations"][3]["keypoints"][:2] = [70, 10]
        content["annotations"][11]["keypoints"][:3] = [0, 0, 2]

    path = changed(fault)
    content = json.loads(path.read_text(encoding="utf-8"))
    first = content["categories"][0]["keypoints"][0]
    findings = check_annotations(path).findings
    outside, corner = (next(one for one in findings if one.kind == kind) for kind in ("outside", "visibility"))
    assert (outside.id, outside.keypoints) == (content["annotations"][3]["id"], (first,))
    assert outside is findings[0]
    assert "64 x 64, at (70.5, 10.5)" in outside.reason
    assert (corner.id, corner.keypoints) == (content["annotations"][11]["id"], (first,))


def test_duplicates_are_listed_first(changed) -> None:
    def fault(content: dict[str, Any]) -> None:
        again = dict(content["annotations"][3], id=900)
        again["keypoints"] = [value + 0.3 * (number % 3 < 2) for number, value in enumerate(again["keypoints"])]
        image = dict(content["images"][11], id=901, file_name="again.png")
        copied = dict(content["annotations"][11], id=902, image_id=901)
        content["annotations"] += [again, copied]
        content["images"].append(image)

    path = changed(fault)
    content = json.loads(path.read_text(encoding="utf-8"))
    shutil.copyfile(path.parent / "images" / content["images"][11]["file_name"], path.parent / "images" / "again.png")
    reasons = {(one.file, one.id): one.reason for one in check_annotations(path).findings[:3]}
    image, other = content["images"][3], content["images"][11]
    assert reasons[image["file_name"], 900] == "it is the same object as object {} of this image".format(
        content["annotations"][3]["id"]
    )
    assert reasons["again.png", None] == f"it is the same image as {other['file_name']!r}, byte for byte"
    assert (
        reasons["again.png", 902] == f"its points are those of an object in {other['file_name']!r}, to the last digit"
    )


def test_sizes_marks_and_boxes(changed) -> None:
    def fault(content: dict[str, Any]) -> None:
        content["images"][2]["width"] = 80
        content["annotations"][5]["keypoints"][2] = 0
        content["annotations"][6]["bbox"] = [0, 0, 6, 6]
        tiny = np.array([[20, 20, 2]] * 8) + np.arange(8)[:, None] * (0.5, 0.25, 0)
        content["annotations"][7] |= {"keypoints": tiny.ravel().tolist(), "bbox": [20, 20, 3.5, 1.75]}
        content["annotations"][8]["keypoints"][:2] = content["annotations"][8]["keypoints"][3:5]

    path = changed(fault)
    (path.parent / "images" / json.loads(path.read_text(encoding="utf-8"))["images"][9]["file_name"]).unlink()
    listed = {(one.kind, one.file, one.reason) for one in check_annotations(path).findings if one.kind != "far"}
    reasons = {(kind, file): reason for kind, file, reason in listed}
    files = [image["file_name"] for image in json.loads(path.read_text(encoding="utf-8"))["images"]]
    assert "declare 80 x 64 pixels, and the file" in reasons["size", files[2]]
    assert reasons["size", files[9]] == f"1 of 24 images with objects are not there: {files[9]}"
    assert "with coordinates and the mark v = 0" in reasons["visibility", files[5]]
    assert reasons["tiny", files[6]] == "it is 6 pixels large"
    assert reasons["box", files[6]].endswith("far outside the object's box")
    assert reasons["tiny", files[7]] == "it is 3.5 pixels large"
    assert "at one location" in reasons["duplicate", files[8]]


def test_names_and_orders_of_categories(changed) -> None:
    def fault(content: dict[str, Any]) -> None:
        known = content["categories"][0]["keypoints"]
        content["categories"].append({"id": 8, "name": "turned", "keypoints": known[::-1]})
        content["categories"].append({"id": 9, "name": "half", "keypoints": ["left ear", "nose"]})

    reasons = {one.category: one.reason for one in check_annotations(changed(fault)).findings if one.kind == "order"}
    assert reasons["turned"].startswith("'turned' has the key-points of 'face' in another order")
    assert "and none for the other side: left ear" in reasons["half"]


def test_few_objects_are_said(changed) -> None:
    def fault(content: dict[str, Any]) -> None:
        del content["annotations"][7:]
        for one in content["annotations"]:
            one["keypoints"] = [
                1 if number % 3 == 2 and value else value for number, value in enumerate(one["keypoints"])
            ]

    assert check_annotations(changed(fault)).notes == (
        "no point is marked as visible (v = 2), only as covered (v = 1): some trainers ignore such points",
        "'face' has 7 objects with at least 4 points: from 8 on their shapes are compared",
    )


def _residual(z: np.ndarray, b: np.ndarray) -> float:
    """Of a least squares fit of shift, turn and scale, by NumPy's solver."""
    matrix, expected = _unknowns(b), z.T.ravel()
    return float(np.sqrt(((matrix @ _solution(z, b) - expected) ** 2).sum() / len(b)))


def _solution(z: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(_unknowns(b), z.T.ravel(), rcond=None)[0]


def _unknowns(b: np.ndarray) -> np.ndarray:
    """The matrix whose product with the fit's four unknowns are all x, then all y."""
    x, y, one, nothing = *b.T, np.ones(len(b)), np.zeros(len(b))
    return np.concatenate([np.stack([x, -y, one, nothing], axis=1), np.stack([y, x, nothing, one], axis=1)])


def test_gains_and_deviations_are_those_of_least_squares_fits() -> None:
    rng = np.random.default_rng(1)
    points = np.array([[0, 0], [4, 1], [5, 4], [1, 6], [2, 3]]) + 0.3 * rng.normal(size=(6, 5, 2))
    points[2, 4] = np.nan  # Then one other is left out wherever this point counts.
    compared = Shapes(points, [[4, 3, 2, 1, 0]]).compare(0)
    others = [1, 2, 3, 4, 5]
    turned, flipped = points[0, ::-1], points[0] * (-1, 1)
    swapped = points[0, [1, 0, 2, 3, 4]]

    def gain(other: np.ndarray) -> float:
        ratios = []
        for number in others:
            known = np.isfinite(points[number, :, 0])
            ratios.append(
                _residual(points[0][known], points[number][known]) / _residual(other[known], points[number][known])
            )
        return float(np.median(ratios))

    assert compared.exchanged[0, 1] == pytest.approx(gain(swapped))
    assert compared.permuted == pytest.approx((gain(turned),))
    assert compared.mirrored == pytest.approx(gain(flipped))
    assert compared.exchanged[1, 0] == 0
    assert compared.exchanged[0, 4] == 0  # of four others there are too few
    distances = []
    for number in others:
        rest = [1, 2, 3, 4] if number != 2 else [1, 2, 3]
        x, y = _unknowns(points[number, :1]) @ _solution(points[0, rest], points[number, rest])
        distances.append(np.hypot(*(points[0, 0] - (x, y))))
    first, second = np.triu_indices(5, 1)
    unit = np.median(np.linalg.norm(points[0, first] - points[0, second], axis=1))
    assert compared.deviations[0] == pytest.approx(np.median(distances) / unit)


def test_shapes_do_not_depend_on_where_and_how_large_objects_are() -> None:
    rng = np.random.default_rng(2)
    points = np.array([[0, 0], [4, 1], [5, 4], [1, 6], [2, 3]]) + 0.3 * rng.normal(size=(9, 5, 2))
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    elsewhere = np.stack([points[0] @ turn * 30 + (500, -200), *points[1:]])
    first, second = Shapes(points).compare(0), Shapes(elsewhere).compare(0)
    np.testing.assert_allclose(first.exchanged, second.exchanged)
    np.testing.assert_allclose(first.deviations, second.deviations)


def test_an_object_without_extent_is_not_compared() -> None:
    points = np.array([[0.0, 0], [4, 1], [5, 4], [1, 6]]) + np.arange(9)[:, None, None] * 0.01
    points[3] = 7
    compared = Shapes(points).compare(3)
    assert np.isnan(compared.deviations).all()
    assert not compared.exchanged.any()


def test_objects_that_are_alike_to_the_last_digit_are_in_order() -> None:
    """Rounding says nothing, though points on a line fit in reverse order too."""
    line = np.arange(5)[:, None] * (3.0, 1.0)
    compared = Shapes(line + np.arange(9)[:, None, None] * 7.1, [[4, 3, 2, 1, 0]]).compare(0)
    assert compared.permuted == (1.0,)
    assert compared.mirrored <= 1


def test_coordinates_that_no_image_has_are_listed(changed) -> None:
    path = changed(lambda content: content["annotations"][3]["keypoints"].__setitem__(0, 1e308))
    first = check_annotations(path).findings[0]
    assert (first.kind, first.file) == ("outside", "face-0004.png")


def test_the_mouse_has_one_frame_with_exchanged_ears(photographs: Path) -> None:
    report = check_annotations(photographs / "mouse-open-field")
    first, *others = report.findings
    assert (first.kind, first.file, first.keypoints) == (
        "exchanged",
        "labeled-data/m4s1/img0102.png",
        ("leftear", "rightear"),
    )
    assert all(one.kind == "far" and one.suspicion < 0.6 for one in others)
    assert len(others) < 6


def test_an_exchange_in_the_mouse_is_listed(photographs: Path) -> None:
    number = 50
    annotations = read_annotations(photographs / "mouse-open-field")
    images = list(annotations.images)
    (one,) = images[number].instances
    images[number] = replace(images[number], instances=(replace(one, points=one.points[[0, 2, 1, 3]]),))
    findings = sorted(shape_findings(replace(annotations, images=images)), key=lambda one: -one.suspicion)
    assert images[number].file in {one.file for one in findings[:2]}


@pytest.mark.parametrize(
    "name",
    ["300w", "animalpose", "ap10k", "atrw", "coco", "cofw", "fly", "horse10", "locust", "macaque", "zebra"],
)
def test_a_fault_in_published_annotations_is_listed_first(photographs: Path, tmp_path: Path, name: str) -> None:
    path = photographs / "animals" / name / f"test_{name}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    one = content["annotations"][1]
    point = next(number for number, mark in enumerate(one["keypoints"][2::3]) if mark)
    one["keypoints"][3 * point] = 10_000
    (tmp_path / "faulty.json").write_text(json.dumps(content), encoding="utf-8")
    before = check_annotations(path).findings
    first, *others = check_annotations(tmp_path / "faulty.json", path.parent).findings
    assert (first.kind, first.id, first.suspicion) == ("outside", one["id"], 1.0)
    assert not any(two.kind == "outside" for two in before)
    assert len(others) <= len(before) + 3


def test_the_command(changed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = changed(lambda content: exchange(content, 3, ("left ear", "right ear")))
    out = tmp_path / "list.json"
    assert main(["check", str(path), "--most", "1", "--json", str(out)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("1.00  face-0004.png, object 4: left and right look exchanged: 'left ear' and ")
    assert printed[-1] == f"Written: {out}"
    assert "24 images with objects, 24 objects" in printed[-2]
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["format"] == "coco"
    assert document["findings"][0]["keypoints"] == ["left ear", "right ear"]
    assert set(document["findings"][0]) == {*Finding.__dataclass_fields__}
    assert main(["check", str(path), "--most", "-1"]) == 2
    assert main(["check", str(path), "--json", str(path)]) == 2
    assert "exists. Choose another name, or write over it with --replace" in capsys.readouterr().err
    before = path.read_bytes()
    assert main(["check", str(path), "--json", str(path), "--replace"]) == 2
    assert "is read from and cannot be written to" in capsys.readouterr().err
    assert path.read_bytes() == before
    small = json.loads(path.read_text(encoding="utf-8"))
    del small["annotations"][1:], small["images"][1:]
    path.write_text(json.dumps(small), encoding="utf-8")
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out.endswith("nothing is suspicious.\n")


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="which is not there"):
        check_annotations(tmp_path / "nothing.json")


def test_the_benchmark_shifts_all_points_alike_and_geometry_sees_nothing(faces: Path) -> None:
    annotations = read_annotations(faces / "truth.json")
    changed = injected(annotations, [(3, 0)], "shifted", np.random.default_rng(0))
    before, after = (one.images[3].instances[0].points for one in (annotations, changed))
    steps = (after - before)[np.isfinite(before).all(axis=1)]
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape))
    largest = np.nanmax(np.linalg.norm(before[:, None] - before, axis=2))
    assert np.linalg.norm(steps[0]) == pytest.approx(0.3 * largest)
    listed = [(one.file, round(one.suspicion, 6)) for one in shape_findings(annotations)]
    assert [(one.file, round(one.suspicion, 6)) for one in shape_findings(changed)] == listed


@pytest.mark.slow
def test_points_that_are_all_shifted_are_listed_by_matches(changed) -> None:
    def fault(content: dict[str, Any]) -> None:
        del content["images"][12:], content["annotations"][12:]
        points = rows(content, 3)
        points[:, :2] = np.clip(points[:, :2] + (14, -10), 0, 63)
        content["annotations"][3]["keypoints"] = points.ravel().tolist()

    path = changed(fault)
    matcher = MatcherSpec(method="dift", model="toy").load()
    report = check_annotations(path, further=lambda annotations: match_findings(annotations, matcher))
    first = report.findings[0]
    assert (first.kind, first.file) == ("far", "face-0004.png")
    assert "from where other annotated objects predict it" in first.reason


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("exchanged", 17), ("moved", 11)])
def test_of_twenty_faults_in_the_mouse_most_stand_first(photographs: Path, kind: str, least: int) -> None:
    annotations = read_annotations(photographs / "mouse-open-field")
    measured = {row["fault"]: row for row in measure("mouse", annotations, 20, 2)}
    assert measured[kind]["faults"] == 20
    assert measured[kind]["first"] >= least
