"""The function for CVAT: with CVAT's own package, and with its own command against a server of one task."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from integrations.cvat_server import CvatTask, serving
from semcorr.errors import DatasetError, SettingsError
from semcorr.keypoints import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.toy.coco import ToyWorld
from semcorr.transfer import transfer_annotations

pytest.importorskip("cvat_cli", reason='CVAT\'s command is not installed: pip install "semcorr[cvat]"')

from cvat_cli.__main__ import main
from cvat_sdk.auto_annotation import BadFunctionError, DetectionFunctionContext, DetectionFunctionSpec

from semcorr.integrations.cvat import create

METHOD: dict[str, Any] = {"method": "dift", "model": "toy", "samples": 1, "device": "cpu", "calibration": "none"}


class Context(DetectionFunctionContext):
    """What CVAT says of an image."""

    frame_name = ""
    conf_threshold: float | None = None
    conv_mask_to_poly = False

    def __init__(self, frame_name: str, conf_threshold: float | None = None) -> None:
        self.frame_name, self.conf_threshold = frame_name, conf_threshold


def task_of(world: ToyWorld) -> CvatTask:
    document = json.loads(world.annotations.read_text(encoding="utf-8"))
    images = {}
    for one in document["images"]:
        with PIL.Image.open(world.images / one["file_name"]) as image:
            images[one["file_name"]] = image.copy()
    # CVAT's order is its own.
    return CvatTask(images=images, labels={"face": document["categories"][0]["keypoints"][::-1]})


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of CVAT's command is read from this machine or written to it."""
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", "token")
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))


def arguments(world: ToyWorld) -> list[str]:
    given = {"references": str(world.annotations), "images": str(world.images), **METHOD}
    listed = ["--function-module", "semcorr.integrations.cvat"]
    for name, value in given.items():
        listed += ["-p", f"{name}={type(value).__name__}:{value}"]
    return listed


def test_the_points_are_those_of_a_transfer(world: ToyWorld, dift: Matcher) -> None:
    records = transfer_annotations(read_annotations(world.annotations, world.images), matcher=dift).records
    function = create(str(world.annotations), str(world.images), min_confidence=0.9, **METHOD)
    assert isinstance(function.spec, DetectionFunctionSpec)  # which has checked itself
    (label,) = function.spec.labels
    names = [one.name for one in label.sublabels]
    assert (label.name, names) == ("face", list(records[0].objects[0].names))
    occluded = 0
    for record in records:
        (expected,) = record.objects
        with PIL.Image.open(record.path) as image:
            (skeleton,) = function.detect(Context(record.file), image)
            np.testing.assert_allclose([one.points for one in skeleton.elements], expected.points, rtol=1e-6)
            assert [one.occluded for one in skeleton.elements] == (expected.confidence < 0.9).tolist()
            occluded += sum(one.occluded for one in skeleton.elements)
            assert function.detect(Context(record.file, expected.score + 1e-6), image) == []
            assert len(function.detect(Context(record.file, expected.score - 1e-6), image)) == 1
    assert 0 < occluded < sum(len(record.objects[0].points) for record in records)


def test_what_is_annotated_or_unreadable_gets_no_skeleton(world: ToyWorld) -> None:
    function = create(str(world.annotations), str(world.images), **METHOD)
    with PIL.Image.open(world.images / "face-0000.png") as image:
        assert function.detect(Context("face-0000.png"), image) == []
        # Another image of that name, and the same under another.
        assert len(function.detect(Context("face-0000.png"), image.resize((128, 128)))) == 1
        assert len(function.detect(Context("other.png"), image)) == 1
    assert function.detect(Context("dot.png"), PIL.Image.new("RGB", (1, 1))) == []


def test_a_point_that_no_reference_shows_is_outside(world: ToyWorld, tmp_path: Path) -> None:
    document = json.loads(world.annotations.read_text(encoding="utf-8"))
    for one in document["annotations"]:
        one["keypoints"][:3] = [0, 0, 0]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    function = create(str(path), str(world.images), **METHOD)
    with PIL.Image.open(world.images / "face-0003.png") as image:
        (skeleton,) = function.detect(Context("face-0003.png"), image)
    assert [one.outside for one in skeleton.elements] == [True] + [False] * (len(skeleton.elements) - 1)
    assert not skeleton.elements[0].occluded


def test_a_saved_query_is_a_reference(world: ToyWorld, dift: Matcher, tmp_path: Path) -> None:
    names = ("left", "right")
    query = dift.describe(world.images / "face-0000.png", [(32, 43), (63, 41)], names=names)
    expected = dift.locate(query, world.images / "face-0003.png")
    path = query.save(tmp_path / "eyes.safetensors")
    function = create(str(path), label="face", device="cpu", calibration="none")
    with PIL.Image.open(world.images / "face-0003.png") as image:
        (skeleton,) = function.detect(Context("face-0003.png"), image)
    (label,) = function.spec.labels
    assert (label.name, [one.name for one in label.sublabels]) == ("face", list(names))
    np.testing.assert_allclose([one.points for one in skeleton.elements], expected.points, rtol=1e-6)


def test_errors_come_before_the_first_image(world: ToyWorld, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Expected min_confidence from 0 to 1, got 2"):
        create(str(world.annotations), str(world.images), min_confidence=2)
    with pytest.raises(DatasetError, match=r"none\.json"):
        create(str(tmp_path / "none.json"))


def drawn(task: CvatTask, scale: int = 2) -> PIL.Image.Image:
    """The uploaded skeletons on their images, for the documentation; occluded points are white."""
    panels = []
    for shape in task.shapes:
        image = list(task.images.values())[shape["frame"]].convert("RGB")
        panel = image.resize((scale * image.width, scale * image.height))
        draw = PIL.ImageDraw.Draw(panel)
        for one in shape["elements"]:
            hue = 360 * (one["label_id"] - 1000) // len(shape["elements"])
            fill = "white" if one["occluded"] else f"hsv({hue}, 100%, 100%)"
            draw.circle([scale * value for value in one["points"]], 4, fill=fill, outline="black")
        panels.append(np.asarray(panel))
    return PIL.Image.fromarray(np.concatenate(panels, axis=1))


@pytest.mark.slow
@pytest.mark.usefixtures("command")
def test_its_own_command_annotates_a_task(world: ToyWorld) -> None:
    task = task_of(world)
    with serving(task) as url:
        assert main(["--server-host", url, "task", "auto-annotate", "1", *arguments(world)]) == 0
        assert [one["frame"] for one in task.shapes] == [2, 3, 4, 5]  # the first two are annotated
        for shape in task.shapes:
            assert (shape["label_id"], shape["type"], shape["source"]) == (101, "skeleton", "auto")
            # CVAT's own ids, matched by the points' names.
            assert sorted(one["label_id"] for one in shape["elements"]) == list(range(1000, 1008))
        if folder := os.environ.get("SEMCORR_DOC_IMAGES"):
            drawn(task).save(Path(folder, "cvat-skeletons.png"), optimize=True)
        assert main(["--server-host", url, "function", "create-native", "points", *arguments(world)]) == 0
        path, body = task.uploads[-1]
        assert (path, body["kind"], body["labels_v2"][0]["name"]) == ("POST /api/functions", "detector", "face")
        task.labels = {"animal": ["nose"]}
        with pytest.raises(BadFunctionError, match="'face' is not in dataset"):
            main(["--server-host", url, "task", "auto-annotate", "1", *arguments(world)])


@pytest.mark.slow
@pytest.mark.usefixtures("command")
def test_it_runs_as_an_agent(world: ToyWorld) -> None:
    task = task_of(world)
    parameters = {"type": "annotate_task", "task": 1, "threshold": 0.0, "conv_mask_to_poly": False}
    task.requests = [{"ar_id": "one", "ar_params": {**parameters, "mapping": {"face": {"name": "face"}}}}]
    with serving(task) as url:
        assert main(["--server-host", url, "function", "run-agent", "7", "--burst", *arguments(world)]) == 0
    (completed,) = [body for path, body in task.uploads if path.endswith("/requests/one/complete")]
    assert [one["frame"] for one in completed["annotations"]["shapes"]] == [2, 3, 4, 5]
