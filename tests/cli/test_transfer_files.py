"""``semcorr transfer`` on files that people have: missing and broken images, other sizes, its own output as input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.conftest import Ran
from semcorr.toy.coco import ToyWorld, write_coco

COARSE = ("--method", "dift", "--model", "toy", "--set", "samples=1", "--set", "resolution=32", "--device", "cpu")
BROKEN = ["cut.png", "empty.png", "gone.png"]


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> ToyWorld:
    """Two annotated faces and two others."""
    return write_coco(tmp_path_factory.mktemp("toy") / "coco", categories=("face",), support=2, targets=2, size=96)


@pytest.fixture
def damaged(drawings: ToyWorld, tmp_path: Path) -> dict[str, Path]:
    """The first two drawings annotated and the third without points; one missing, one empty, and one cut short.

    As COCO, as a Label Studio export, and as a table, each beside its images.
    """
    content = json.loads(drawings.annotations.read_text(encoding="utf-8"))
    (tmp_path / "images").mkdir()
    files = [image["file_name"] for image in content["images"][:3]]
    for file in files:
        shutil.copy(drawings.images / file, tmp_path / "images")
    (tmp_path / "images" / "empty.png").touch()
    (tmp_path / "images" / "cut.png").write_bytes((drawings.images / files[0]).read_bytes()[:400])
    names = content["categories"][0]["keypoints"]
    shown = [np.array(one["keypoints"]).reshape(-1, 3) for one in content["annotations"][:2]]

    content["images"] = [
        {"id": number, "file_name": file, "width": 96, "height": 96}
        for number, file in enumerate([*files, *BROKEN], start=1)
    ]
    (tmp_path / "coco.json").write_text(json.dumps(content), encoding="utf-8")

    def region(name: str, x: float, y: float) -> dict[str, Any]:
        value = {"x": (x + 0.5) / 0.96, "y": (y + 0.5) / 0.96, "width": 0.5, "keypointlabels": [name]}
        sizes = {"original_width": 96, "original_height": 96, "image_rotation": 0}
        return {"id": name, "type": "keypointlabels", "from_name": "kp", "to_name": "image", "value": value, **sizes}

    tasks = []
    for number, file in enumerate([*files, *BROKEN]):
        points = shown[number] if number < 2 else np.zeros((0, 3))
        regions = [region(name, x, y) for name, (x, y, v) in zip(names, points, strict=False) if v == 2]
        tasks.append({"id": number, "data": {"image": f"/{file}"}, "annotations": [{"result": regions}]})
    (tmp_path / "ls.json").write_text(json.dumps(tasks), encoding="utf-8")

    lines = ["image,name,x,y,category"]
    for file, points in zip(files[:2], shown, strict=True):
        lines += [f"{file},{n},{x + 0.5},{y + 0.5},face" for n, (x, y, v) in zip(names, points, strict=True) if v == 2]
    # A table names annotated images only: the missing one is annotated, too.
    lines += [f"gone.png,{names[0]},10,10,face"]
    (tmp_path / "points.csv").write_text("\n".join(lines), encoding="utf-8")
    return {kind: tmp_path / f"{kind}" for kind in ("coco.json", "ls.json", "points.csv")}


@pytest.mark.parametrize("kind", ["coco.json", "ls.json", "points.csv"])
def test_broken_images_cost_no_output_in_any_format(
    semcorr: Callable[..., Ran], damaged: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    out, images = tmp_path / "out.json", tmp_path / "images"
    formats = ("--format", "coco", "--format", "label-studio", "--format", "cvat", "--review", tmp_path / "page.html")
    ran = semcorr("transfer", damaged[kind], "--images", images, "-o", out, *formats, *COARSE, "--json")
    assert ran.status == 1, ran.err
    assert sorted(entry["image"] for entry in json.loads(ran.out)["broken"]) == BROKEN
    assert all(file in ran.err for file in BROKEN)
    document = json.loads(out.read_text(encoding="utf-8"))
    files = {image["id"]: image["file_name"] for image in document["images"]}
    objects = {files[one["image_id"]]: one for one in document["annotations"]}
    assert list(objects) == ["face-0000.png", "face-0001.png", "face-0002.png"]
    before = json.loads(damaged["coco.json"].read_text(encoding="utf-8"))["annotations"]
    for one, old in zip(objects.values(), before[:2], strict=False):
        visible = np.array(old["keypoints"]).reshape(-1, 3)[:, 2] == 2
        new = np.array(one["keypoints"]).reshape(-1, 3)[: len(visible)]
        if kind == "coco.json":  # others list key-points in the order in which they name them
            np.testing.assert_allclose(new[visible], np.array(old["keypoints"]).reshape(-1, 3)[visible])
        assert (new[:, 2] == 2).sum() == visible.sum()
    assert (tmp_path / "out.cvat.xml").exists()
    assert (tmp_path / "out.label-studio.json").exists()
    assert "gone.png" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_missing_support_is_replaced_and_its_annotations_stay(
    semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path
) -> None:
    shutil.copytree(drawings.images, tmp_path / "images")
    shutil.copy(drawings.annotations, tmp_path / "a.json")
    (tmp_path / "images" / "face-0000.png").unlink()
    out = tmp_path / "out.json"
    command = ("transfer", tmp_path / "a.json", "--images", tmp_path / "images", "-o", out, *COARSE)
    ran = semcorr(*command)
    assert ran.status == 1
    assert "face-0000.png" in ran.err
    document = json.loads(out.read_text(encoding="utf-8"))
    before = json.loads(drawings.annotations.read_text(encoding="utf-8"))
    assert document["annotations"][:2] == before["annotations"]
    assert document["semcorr"]["supports"] == {"face": 1}
    assert document["semcorr"]["unreadable"] == ["face-0000.png"]
    (tmp_path / "images" / "face-0001.png").unlink()
    ran = semcorr(*command, "--replace")
    assert (ran.status, "annotated image of 'face' that can be read" in ran.err) == (2, True)


def test_nothing_is_written_where_nothing_is_predicted(
    semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path
) -> None:
    (tmp_path / "a.png").touch()
    out = tmp_path / "out.json"
    ran = semcorr("transfer", drawings.annotations, tmp_path / "a.png", "--images", drawings.images, "-o", out, *COARSE)
    assert ran.status == 2
    assert "0 bytes" in ran.err
    assert "none of 1 images" in ran.err
    assert not out.exists()


def test_scaled_coordinates_are_predicted_and_written_in_the_declared_frame(
    semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path
) -> None:
    """Annotations of enlarged copies: all numbers are three times those of the images."""
    content = json.loads(drawings.annotations.read_text(encoding="utf-8"))
    plain, out, big = tmp_path / "plain.json", tmp_path / "out.json", tmp_path / "big.json"
    box = {"id": 90, "image_id": 3, "category_id": 1, "bbox": [10, 12, 70, 66], "area": 1, "iscrowd": 0}
    content["annotations"] = [*content["annotations"][:2], box]
    (tmp_path / "own.json").write_text(json.dumps(content), encoding="utf-8")
    for image in content["images"]:
        image |= {"width": 288, "height": 288}
    for one in content["annotations"]:
        one["bbox"] = [3 * value for value in one["bbox"]]
        points = np.array(one.get("keypoints", [])).reshape(-1, 3)
        points[:, :2] = np.where(points[:, 2:] > 0, 3 * (points[:, :2] + 0.5) - 0.5, 0)
        if len(points):
            one["keypoints"] = points.ravel().tolist()
    big.write_text(json.dumps(content), encoding="utf-8")
    ran = semcorr("transfer", big, "--images", drawings.images, "-o", out, *COARSE)
    assert ran.status == 2
    assert "288 x 288" in ran.err
    assert "96 x 96" in ran.err
    ran = semcorr("transfer", big, "--images", drawings.images, "-o", out, *COARSE, "--rescale")
    assert ran.status == 0, ran.err
    assert semcorr("transfer", tmp_path / "own.json", "--images", drawings.images, "-o", plain, *COARSE).status == 0
    rescaled, usual = (json.loads(path.read_text(encoding="utf-8")) for path in (out, plain))
    assert rescaled["images"] == content["images"]
    assert rescaled["annotations"][:2] == content["annotations"][:2]
    assert len(rescaled["annotations"]) == 4
    for one, other in zip(rescaled["annotations"][2:], usual["annotations"][2:], strict=True):
        assert one["id"] == other["id"]
        for large, small in zip(_predicted(one), _predicted(other), strict=True):
            np.testing.assert_allclose(large[:2] + 0.5, 3 * (small[:2] + 0.5), atol=0.5)
        np.testing.assert_allclose(one["bbox"], 3 * np.array(other["bbox"]), atol=0.5)


def test_a_target_of_another_size_is_listed(semcorr: Callable[..., Ran], drawings: ToyWorld, tmp_path: Path) -> None:
    content = json.loads(drawings.annotations.read_text(encoding="utf-8"))
    content["images"][2] |= {"width": 192, "height": 192}
    (tmp_path / "a.json").write_text(json.dumps(content), encoding="utf-8")
    ran = semcorr("transfer", tmp_path / "a.json", "--images", drawings.images, "-o", tmp_path / "out.json", *COARSE)
    assert ran.status == 1
    assert "192 x 192 pixels, and the file 'face-0002.png' has 96 x 96" in ran.err
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [one["image_id"] for one in document["annotations"]] == [1, 2, 4]


def _predicted(annotation: dict[str, Any]) -> np.ndarray:
    points = np.array(annotation["keypoints_found"], dtype=float).reshape(-1, 3)
    return points[np.isfinite(points[:, 0])]
