"""What Label Studio's and CVAT's own readers make of our files; ``make importers`` makes the Python that has them."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from semcorr.keypoints import Annotations, read_annotations
from semcorr.matchers.base import Matcher
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
    script = Path(__file__).with_name("import_check.py")
    given = (files["label-studio"], tmp_path / "out.config.xml", folder, back, interface)
    command = [PYTHON, str(script), *map(str, given)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])

    assert result["label_studio"] == {"tasks": 4, "errors": [[]] * 4, "notices_errors": True}
    assert result["project"] == {"tasks": 4, "errors": [[]] * 3, "notices_errors": True}
    items = result["cvat"]["items"]
    for record in done:
        one = record.objects[0]
        read = dict(items[Path(record.file).stem])
        for name, point in zip(one.names, one.points, strict=True):
            if np.isfinite(point).all():
                np.testing.assert_allclose(read[name], point, atol=0.011)
