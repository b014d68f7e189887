"""The backend for Label Studio, asked what Label Studio asked of it."""

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from integrations.serving import REFRESH, REQUESTS, BackendClient, label_studio, serving
from semcorr.cli.main import main
from semcorr.errors import DatasetError, SettingsError
from semcorr.integrations.label_studio.backend import UNTRAINED, Backend, from_file, from_projects
from semcorr.integrations.label_studio.images import TaskImages
from semcorr.integrations.label_studio.project import Project
from semcorr.integrations.label_studio.server_client import LabelStudioServer
from semcorr.keypoints import Category, read_annotations
from semcorr.matchers.base import Matcher
from semcorr.toy.coco import ToyWorld, write_coco
from semcorr.transfer import transfer_annotations
from semcorr.transfer.plan import TransferSettings

pytest.importorskip("uvicorn", reason='The server is not installed: pip install "semcorr[app]"')

CONFIGURATION: str = REQUESTS["setup"]["schema"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ToyWorld:
    """The drawings of the project that was recorded, smaller."""
    folder = tmp_path_factory.mktemp("faces") / "coco"
    return write_coco(folder, categories=("face",), support=3, targets=5, size=96)


@pytest.fixture(scope="module")
def truth(faces: ToyWorld) -> dict[str, dict[str, tuple[float, float]]]:
    """The points of the drawings that are not annotated, in percent, by the drawing and the key-point."""
    known = read_annotations(faces.truth, faces.images)
    names = known.categories["face"].keypoints
    return {
        image.file: {
            name: (100 * x / 96, 100 * y / 96)
            for name, (x, y) in zip(names, image.instances[0].points, strict=True)
            if np.isfinite(x)
        }
        for image in known.images
        if image.instances
    }


@pytest.fixture(scope="module")
def backend(faces: ToyWorld, dift: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    images = TaskImages(faces.images, None, tmp_path_factory.mktemp("downloads"))
    read = from_file(faces.annotations, faces.images, dift, TransferSettings())
    made = Backend(read, images, min_confidence=0.0, for_all=True)
    made.start()
    return made


@pytest.fixture(scope="module")
def client(backend: Backend) -> Iterator[BackendClient]:
    with serving(backend) as (asking, _):
        yield asking


def points_of(result: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """The key-points of regions, in percent."""
    return {
        one["value"]["keypointlabels"][0]: (one["value"]["x"], one["value"]["y"])
        for one in result
        if one["type"] == "keypointlabels"
    }


def test_it_is_connected(client: BackendClient) -> None:
    for path in ("/", "/health"):
        assert client.ask(path) == (200, {"status": "UP", "model_class": "semcorr"})
    status, answer = client.ask("/setup", REQUESTS["setup"])
    assert status == 200
    assert answer["model_version"].startswith("semcorr dift ")
    assert client.ask("/webhook", REQUESTS["annotation_created"]) == (201, {"status": "ignored"})
    assert client.ask("/is_training") == (200, {"is_training": False})


def test_tasks_get_the_points_of_a_transfer(faces: ToyWorld, dift: Matcher, client: BackendClient) -> None:
    known = read_annotations(faces.annotations, faces.images)
    expected = {record.file: record.objects[0] for record in transfer_annotations(known, matcher=dift)}
    status, answer = client.ask("/predict", REQUESTS["batch"])
    assert (status, len(answer["results"])) == (200, 3)
    for task, prediction in zip(REQUESTS["batch"]["tasks"], answer["results"], strict=True):
        assert prediction["model_version"] == answer["model_version"]
        file = task["data"]["photo"].partition("-")[2]
        points = points_of(prediction["result"])
        if file in expected:  # one is annotated
            one = expected[file]
            assert prediction["score"] == pytest.approx(one.score, abs=1e-4)
            assert {region["from_name"] for region in prediction["result"]} == {"points"}
            np.testing.assert_allclose([points[name] for name in one.names], 100 * one.points / 96, atol=1e-3)
            scores = [region["score"] for region in prediction["result"]]
            np.testing.assert_allclose(scores, one.confidence, atol=1e-4)


def test_a_rectangle_gets_its_points(client: BackendClient, truth: dict[str, dict[str, tuple[float, float]]]) -> None:
    """Whether a person draws it now or has drawn it: the points name it as their parent."""
    for request, file, key in (
        ("rectangle", "face-0003.png", "FBYbRRXjyL"),
        ("boxed", "face-0007.png", "mine"),
    ):
        status, answer = client.ask("/predict", REQUESTS[request])
        (prediction,) = answer["results"]
        box, *points = prediction["result"]
        assert (status, box["type"], box["id"]) == (200, "rectanglelabels", key)
        assert box["value"]["rectanglelabels"] == ["face"]
        assert {one["parentID"] for one in points} == {key}
        predicted = points_of(points)
        distances = [np.hypot(*np.subtract(predicted[name], at)) for name, at in truth[file].items()]
        assert np.median(distances) < 10


def test_a_click_moves_to_what_it_means(
    client: BackendClient, truth: dict[str, dict[str, tuple[float, float]]]
) -> None:
    x, y = truth["face-0003.png"]["left eye"]
    request = copy.deepcopy(REQUESTS["click"])
    (clicked,) = request["params"]["context"]["result"]
    clicked["value"] |= {"x": x + 5, "y": y - 5}
    status, answer = client.ask("/predict", request)
    ((region,),) = [one["result"] for one in answer["results"]]
    assert (status, region["id"], region["type"], region["from_name"]) == (
        200,
        clicked["id"],
        "keypointlabels",
        "points",
    )
    assert region["value"]["keypointlabels"] == ["left eye"]
    assert np.hypot(region["value"]["x"] - x, region["value"]["y"] - y) < 4
    # Far from what is predicted the answer stays where the person pointed.
    clicked["value"] |= {"x": 92.0, "y": 90.0}
    ((region,),) = [one["result"] for one in client.ask("/predict", request)[1]["results"]]
    assert np.hypot(region["value"]["x"] - 92, region["value"]["y"] - 90) < 20
    for change in ({"is_positive": False}, {"value": {**clicked["value"], "keypointlabels": ["wing"]}}):
        other = copy.deepcopy(request)
        other["params"]["context"]["result"][0] |= change
        assert client.ask("/predict", other)[1]["results"][0]["result"] == []


def test_one_broken_task_costs_only_itself(client: BackendClient) -> None:
    request = copy.deepcopy(REQUESTS["batch"])
    request["tasks"][0]["data"] = {"photo": "/etc/passwd"}
    request["tasks"][1]["data"] = {}
    status, answer = client.ask("/predict", request)
    assert (status, [bool(one["result"]) for one in answer["results"]]) == (200, [False, False, True])


def test_what_does_not_fit_is_refused(backend: Backend) -> None:
    with serving(backend) as (client, notes):
        foreign = {**REQUESTS["setup"], "schema": CONFIGURATION.replace('value="', 'value="the ')}
        for path, content in (
            ("/setup", {**REQUESTS["setup"], "schema": "<View><Text name='t' value='$t'/></View>"}),
            ("/setup", {**foreign, "schema": foreign["schema"].replace("the $photo", "$photo")}),
            ("/setup", {**REQUESTS["setup"], "schema": "<!DOCTYPE x><View/>"}),
            ("/predict", {**REQUESTS["batch"], "tasks": [1]}),
            ("/predict", b"[["),
            ("/train", {"project": "1.2"}),
            ("/predict", json.dumps(REQUESTS["click"]).replace('"width": 0.3', '"width": 1e999').encode()),
        ):
            status, answer = client.ask(path, content)
            assert (status, "xpected" in answer) == (400, True), answer
        assert len(notes) == 7
        assert "Name them alike" in notes[1]
        # The guard's: another web page, another name of this machine, a path that there is not.
        assert client.ask("/setup", REQUESTS["setup"], origin="http://example.com")[0] == 403
        assert client.ask("/health", host="example.com")[0] == 421
        assert client.ask("/metrics")[0] == 404


def test_a_password_is_asked_for(backend: Backend) -> None:
    password = "pass:word"  # noqa: S105  # none of anything
    with serving(backend, password=password) as (client, _):
        assert client.ask("/health")[0] == 401
        assert client.ask("/setup", REQUESTS["setup"], authorization="Basic ***")[0] == 401
        assert client.with_password("word").ask("/health")[0] == 401
        assert client.with_password(password).ask("/setup", REQUESTS["setup"])[0] == 200


@pytest.mark.slow
def test_references_are_a_projects_own_tasks(faces: ToyWorld, dift: Matcher, tmp_path: Path) -> None:
    """Read when training is started, from the server, with the images that only the server has."""
    export = copy.deepcopy(REQUESTS["export"])
    files = {"/api/projects/1/export?exportType=JSON": json.dumps(export).encode()}
    for task in [*export, *REQUESTS["batch"]["tasks"]]:
        address = task["data"]["photo"]
        files[address] = (faces.images / address.partition("-")[2]).read_bytes()
    with label_studio(files) as url:
        server = LabelStudioServer(url, REFRESH)
        images = TaskImages(None, server, tmp_path / "downloads")
        backend = Backend(from_projects(server, images, tmp_path, dift, TransferSettings()), images, min_confidence=0.0)
        assert backend.setup(1, CONFIGURATION) == UNTRAINED
        backend.train(1, CONFIGURATION).join()
        version = backend.setup(1, CONFIGURATION)
        assert version != UNTRAINED
        results, said = backend.predict(1, CONFIGURATION, REQUESTS["batch"], None)
        assert said == version
        names = set(points_of(export[1]["annotations"][0]["result"]))
        assert [set(points_of(one["result"])) for one in results] == [names] * 3
        # The same annotations, exported later, are the same version.
        export[0]["updated_at"] = "later"
        files["/api/projects/1/export?exportType=JSON"] = json.dumps(export).encode()
        backend.train(1, CONFIGURATION).join()
        assert backend.setup(1, CONFIGURATION) == version
        notes: list[str] = []
        for key, message in (("wrong.key.here", "401"), ("0123", "LABEL_STUDIO_API_KEY")):
            other = LabelStudioServer(url, key)
            refused = Backend(
                from_projects(other, images, tmp_path, dift, TransferSettings()),
                images,
                min_confidence=0.0,
                note=notes.append,
            )
            refused.train(1, CONFIGURATION).join()
            assert message in notes[-1]
    with pytest.raises(SettingsError, match="Expected an address"):
        LabelStudioServer("file:///etc/passwd", "")


def test_labels_are_matched_by_name() -> None:
    face = Category(id=1, name="face", keypoints=("nose", "wing", "left eye"))
    project = Project.of(CONFIGURATION, {"face": face})
    assert project.categories["face"].keypoints == ("nose", "left eye")  # the others have no label
    # An only category is an only label, whatever its name; of several, each needs its own.
    assert Project.of(CONFIGURATION, {"head": face}).names == {"face": "head"}
    with pytest.raises(SettingsError, match="Name them alike"):
        Project.of(CONFIGURATION, {"head": face, "tail": face})
    plain = CONFIGURATION[: CONFIGURATION.index("<RectangleLabels")] + "</View>"
    assert Project.of(plain, {"head": face}).names == {"head": "head"}
    with pytest.raises(DatasetError, match="XML"):
        Project.of("<View>", {"face": face})


CHECK = """
import json, sys
from label_studio_sdk.label_interface import LabelInterface
content = json.load(sys.stdin)
interface = LabelInterface(content["configuration"])
interface.validate()
print(json.dumps([interface.validate_prediction(one, return_errors=True) for one in content["predictions"]]))
"""


@pytest.mark.slow
@pytest.mark.skipif("SEMCORR_IMPORTERS_PYTHON" not in os.environ, reason="make test-slow names a Python with the SDK")
def test_its_own_package_takes_the_predictions(client: BackendClient) -> None:
    answers = [client.ask("/predict", REQUESTS[name])[1] for name in ("batch", "boxed", "rectangle", "click")]
    predictions = [one for answer in answers for one in answer["results"]]
    wrong = copy.deepcopy(predictions[0])
    wrong["result"][0]["value"]["keypointlabels"] = ["nobody"]
    ran = subprocess.run(
        [os.environ["SEMCORR_IMPORTERS_PYTHON"], "-c", CHECK],
        input=json.dumps({"configuration": CONFIGURATION, "predictions": [*predictions, wrong]}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    *errors, of_wrong = json.loads(ran.stdout.splitlines()[-1])
    assert (errors, bool(of_wrong)) == ([[]] * len(predictions), True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected ANNOTATIONS, or with --label-studio the server"),
        (["--label-studio", "http://localhost:1"], "LABEL_STUDIO_API_KEY"),
        (["x.json", "--host", "192.0.2.1"], "SEMCORR_PASSWORD"),
        (["x.json", "--min-confidence", "2"], "from 0 to 1"),
        (["x.json", "--port", "70000"], "cannot be served"),
    ],
)
def test_the_command_refuses(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LABEL_STUDIO_API_KEY", "SEMCORR_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    assert main(["label-studio", *arguments]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
