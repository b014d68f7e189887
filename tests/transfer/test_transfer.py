"""Points carried over: to copies, whose truth is known, and to the right images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from semcorr.errors import TransferError
from semcorr.keypoints import Annotations, PredictedObject, TransferRecord, read_annotations
from semcorr.matchers.base import Matcher
from semcorr.toy.coco import ToyWorld
from semcorr.transfer import export, transfer_annotations
from semcorr.transfer.targets import select_targets


def names(annotations: Annotations, *, images: Path | None = None, paths: list[Path] | None = None) -> list[str]:
    selection = select_targets(annotations, ["face"], images=images, paths=paths or ())
    return [target.file for target in selection.targets]


def test_a_copy_has_the_same_points(world: ToyWorld, dift: Matcher, tmp_path: Path) -> None:
    known = read_annotations(world.annotations, world.images)
    # The one support is the drawing that shows most.
    source = max(known.images[:2], key=lambda image: (image.instances[0].visibility == 2).sum())
    copy = tmp_path / "copy.png"
    shutil.copy(source.path, copy)
    (record,) = transfer_annotations(known, [copy], matcher=dift, support=1)
    truth, seen = source.instances[0].points, source.instances[0].visibility == 2
    (predicted,) = record.objects
    # A cell of the feature map is 6 pixels wide.
    assert np.hypot(*(predicted.points[seen] - truth[seen]).T).max() <= 6
    assert (predicted.confidence[seen] > 0.9).all()
    assert np.isnan(predicted.points[~seen]).all()


def test_each_box_gets_points_of_its_own(world: ToyWorld, dift: Matcher, tmp_path: Path) -> None:
    """Two copies in one image, each with a box: each gets its own points, in the image's pixels."""
    document = json.loads(world.annotations.read_text(encoding="utf-8"))
    annotation = document["annotations"][0]
    source = PIL.Image.open(world.images / document["images"][0]["file_name"])
    collage = PIL.Image.new("RGB", (300, 220), (90, 90, 90))
    corners = [(4, 3), (190, 110)]
    for corner in corners:
        collage.paste(source, corner)
    collage.save(tmp_path / "collage.png")
    shutil.copy(world.images / document["images"][0]["file_name"], tmp_path)
    x, y, w, h = annotation["bbox"]
    boxes = [
        {"id": 100 + n, "image_id": 99, "category_id": 1, "bbox": [x + dx, y + dy, w, h], "iscrowd": 0}
        for n, (dx, dy) in enumerate(corners)
    ]
    document["images"] = [document["images"][0], {"id": 99, "file_name": "collage.png", "width": 300, "height": 220}]
    document["annotations"] = [annotation, *boxes]
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")

    (record,) = transfer_annotations(tmp_path / "a.json", matcher=dift, margin=0.0)
    truth = np.array(annotation["keypoints"]).reshape(-1, 3)
    seen = truth[:, 2] == 2
    assert [predicted.id for predicted in record.objects] == [100, 101]
    for predicted, corner in zip(record.objects, corners, strict=True):
        errors = np.hypot(*(predicted.points[seen] - truth[seen, :2] - 0.5 - corner).T)
        assert np.median(errors) <= 6
        assert errors.max() <= 12


def test_targets_of_the_file_then_of_the_folder(world: ToyWorld, tmp_path: Path) -> None:
    known = read_annotations(world.annotations, world.images)
    assert names(known) == [f"face-000{number}.png" for number in (2, 3, 4, 5)]
    only = Annotations(path=known.path, categories=known.categories, images=known.images[:2])
    assert names(only, images=world.images) == [f"face-000{number}.png" for number in (2, 3, 4, 5)]
    assert names(known, paths=[world.images / "face-0004.png"]) == ["face-0004.png"]
    with pytest.raises(TransferError, match="Expected images without points"):
        names(only)
    with pytest.raises(TransferError, match="Expected images without points"):
        names(known, paths=[tmp_path])


def test_files_of_folders_keep_their_relative_paths(world: ToyWorld, tmp_path: Path) -> None:
    known = read_annotations(world.annotations, world.images)
    (tmp_path / "one" / "two").mkdir(parents=True)
    for file in ("one/a.PNG", "one/two/a.png", "one/.hidden.png", "one/notes.txt"):
        shutil.copy(world.images / "face-0002.png", tmp_path / file)
    assert names(known, images=tmp_path, paths=[tmp_path / "one"]) == ["one/a.PNG", "one/two/a.png"]


def test_broken_images_are_listed_and_the_rest_is_done(world: ToyWorld, dift: Matcher, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    shutil.copy(world.images / "face-0002.png", tmp_path / "b.png")
    calls: list[tuple[str, int, int]] = []

    def progress(stage: str, done: int, total: int, **_: Any) -> None:
        calls.append((stage, done, total))

    first, second = transfer_annotations(
        world.annotations, [tmp_path], images=world.images, matcher=dift, progress=progress
    )
    assert "a.png" in (first.error or "")
    assert second.error is None
    assert [entry for entry in calls if entry[0] == "transfer"] == [("transfer", 1, 2), ("transfer", 2, 2)]


def test_unknown_categories_are_an_error(world: ToyWorld, dift: Matcher) -> None:
    with pytest.raises(TransferError, match=r"'fase'.*Did you mean 'face'"):
        transfer_annotations(world.annotations, images=world.images, matcher=dift, categories=["fase"])


def test_records_survive_being_written(world: ToyWorld, dift: Matcher) -> None:
    record = transfer_annotations(world.annotations, images=world.images, matcher=dift, support=1).records[0]
    again = TransferRecord.from_json(record.to_json())
    np.testing.assert_array_equal(again.objects[0].points, record.objects[0].points)
    np.testing.assert_array_equal(again.objects[0].confidence, record.objects[0].confidence)
    assert (again.file, again.size, again.path) == (record.file, record.size, record.path)


def test_supervision_takes_a_record(world: ToyWorld, dift: Matcher) -> None:
    pytest.importorskip("supervision")
    record = transfer_annotations(world.annotations, images=world.images, matcher=dift, support=1).records[0]
    points = record.to_supervision()
    known = np.isfinite(record.objects[0].points[:, 0])
    np.testing.assert_allclose(points.xy[0, known], record.objects[0].points[known], atol=1e-3)
    assert points.data["class_name"].tolist() == ["face"]
    assert len(TransferRecord(file="a", path=Path("a"), error="broken").to_supervision()) == 0


def test_of_one_file_under_two_ids_each_object_stays_in_its_own(world: ToyWorld, tmp_path: Path) -> None:
    """The first id has an annotated object, the second a box; the points go into the box's own annotation."""
    document = json.loads(world.annotations.read_text(encoding="utf-8"))
    file, annotation = document["images"][0]["file_name"], document["annotations"][0]
    document["images"] = [{"id": number, "file_name": file, "width": 96, "height": 96} for number in (5, 9)]
    box = {"id": 70, "image_id": 9, "category_id": 1, "bbox": [10, 20, 30, 40], "iscrowd": 0}
    document["annotations"] = [annotation | {"image_id": 5}, box]
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    known = read_annotations(tmp_path / "a.json", world.images)
    (target,) = select_targets(known, ["face"], images=world.images).targets
    assert [(region.id, region.box) for region in target.regions] == [(70, (10, 20, 40, 60))]
    names = known.categories["face"].keypoints
    predicted = PredictedObject(
        category="face",
        names=names,
        points=np.full((len(names), 2), 30.5),
        confidence=np.ones(len(names)),
        box=target.regions[0].box,
        id=70,
    )
    record = TransferRecord(file=target.file, path=target.path, size=(96, 96), objects=(predicted,))
    export.write("coco", tmp_path / "out.json", known, lambda: [record], min_confidence=0.5, info={})
    first, second = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["annotations"]
    assert first == document["annotations"][0]
    assert (second["id"], second["image_id"], second["bbox"]) == (70, 9, [10, 20, 30, 40])
    assert second["keypoints"] == [30, 30, 2] * len(names)
