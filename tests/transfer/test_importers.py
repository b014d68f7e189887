"""What Label Studio's and CVAT's own readers make of our files; ``make importers`` makes the Python that has them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semcorr.keypoints import Annotations, read_annotations
from semcorr.matchers.base import Matcher
from semcorr.review.objects import State
from semcorr.review.review import Review
from semcorr.toy.coco import ToyWorld
from semcorr.transfer import export as outputs
from semcorr.transfer import transfer_annotations

PYTHON = os.environ.get("SEMCORR_IMPORTERS_PYTHON", "")


def own_project(tasks: Path, export: Path) -> Annotations:
    """A project with names of its own, whose first task is annotated and whose others are empty."""
    text = tasks.read_text(encoding="utf-8").replace('"keypoints"', '"kp-1"').replace('"image"', '"img-1"')
    content = json.loads(text)
    content[0]["annotations"] = content[0]["predictions"]
    export.write_text(json.dumps([{**one, "predictions": []} for one in content]), encoding="utf-8")
    return read_annotations(export)


def read_by_them(*given: Path) -> dict[str, Any]:
    """What ``import_check.py`` prints of files."""
    script = Path(__file__).with_name("import_check.py")
    command = [PYTHON, str(script), *map(str, given)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def corrected(path: Path, world: ToyWorld, output: Path) -> Path:
    """The first object accepted with a point moved, a point of the second moved, the third rejected."""
    with Review(path, images=world.images, output=output).open() as review:
        for number, decision in enumerate(("accepted", "open", "rejected")):
            state = review.objects[number].state
            points = ((30.0, 20.0 + number, 2, "placed"), *state.points[1:])
            review.change({number: State(category="face", decision=decision, points=points)}, {number: 0})  # type: ignore[arg-type]
        return review.write()[0]


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="SEMCORR_IMPORTERS_PYTHON names no Python with the readers: make test-slow")
def test_their_own_readers_take_corrected_files(world: ToyWorld, dift: Matcher, tmp_path: Path) -> None:
    known = read_annotations(world.annotations, world.images)
    done = transfer_annotations(known, matcher=dift)
    files = outputs.paths_of(tmp_path / "out.json", ("label-studio", "cvat"))
    for name, path in files.items():
        outputs.write(name, path, known, lambda: done.records, min_confidence=0.0, info={"method": "dift"})
    folder = tmp_path / "cvat"
    folder.mkdir()
    tasks = corrected(files["label-studio"], world, tmp_path / "mine.json")
    corrected(files["cvat"], world, folder / "annotations.xml")
    (folder / "images").symlink_to(world.images)
    interface = tasks.with_suffix(".config.xml")
    result = read_by_them(tasks, interface, folder, tasks, interface)
    assert result["label_studio"] == {"tasks": 4, "errors": [[]] * 5, "notices_errors": True}
    items = result["cvat"]["items"]
    first, second, third = (items[Path(record.file).stem] for record in done.records[:3])
    assert [one[1] for one in (first[0], second[0])] == [[30.0, 20.0], [30.0, 21.0]]
    assert third == []


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="SEMCORR_IMPORTERS_PYTHON names no Python with the readers: make test-slow")
def test_their_own_readers_take_our_files(world: ToyWorld, dift: Matcher, tmp_path: Path) -> None:
    known = read_annotations(world.annotations, world.images)
    done = transfer_annotations(known, matcher=dift)
    files = outputs.paths_of(tmp_path / "out.json", ("label-studio", "cvat"))
    folder = tmp_path / "cvat"
    files["cvat"] = folder / "annotations.xml"
    for name, path in files.items():
        outputs.write(name, path, known, lambda: done.records, min_confidence=0.0, info={"method": "dift"})
    (folder / "images").symlink_to(world.images)
    project = own_project(files["label-studio"], tmp_path / "export.json")
    back, interface = outputs.write(
        "label-studio", tmp_path / "back.json", project, lambda: done.records[1:], min_confidence=0.0, info={}
    )
    result = read_by_them(files["label-studio"], tmp_path / "out.config.xml", folder, back, interface)
    assert result["label_studio"] == {"tasks": 4, "errors": [[]] * 4, "notices_errors": True}
    assert result["project"] == {"tasks": 4, "errors": [[]] * 4, "notices_errors": True}
    items = result["cvat"]["items"]
    for record in done:
        one = record.objects[0]
        read = dict(items[Path(record.file).stem])
        for name, point in zip(one.names, one.points, strict=True):
            if np.isfinite(point).all():
                np.testing.assert_allclose(read[name], point, atol=0.011)
