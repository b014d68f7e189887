"""PF-WILLOW as COCO through the whole pipeline: the mechanics, since the bundled model does not know photographs."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from pycocotools.coco import COCO
from scipy.io import loadmat

from semcorr.cli import main

DATA = os.environ.get("SEMCORR_TEST_DATA")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA, reason="SEMCORR_TEST_DATA does not name a folder that holds pf-willow"),
]


@pytest.fixture
def willow() -> Callable[[bool], dict[str, Any]]:
    """All 100 photographs as COCO; the points of all, or of the first three of each class."""
    root = Path(str(DATA)) / "pf-willow"
    folders = sorted(path for path in root.iterdir() if path.is_dir())

    def document(everything: bool) -> dict[str, Any]:
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
        names = [f"point {number}" for number in range(10)]
        for kind, folder in enumerate(folders, start=1):
            content["categories"].append({"id": kind, "name": folder.name, "keypoints": names})
            for number, file in enumerate(sorted(folder.glob("*.mat"))):
                with PIL.Image.open(file.with_suffix(".png")) as photograph:
                    width, height = photograph.size
                image = len(content["images"]) + 1
                name = f"{folder.name}/{file.stem}.png"
                content["images"].append({"id": image, "file_name": name, "width": width, "height": height})
                points = loadmat(file)["pts_coord"].T.astype(float)
                (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
                box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
                annotation = {"id": image, "image_id": image, "category_id": kind, **box}
                if everything or number < 3:
                    annotation |= {"keypoints": [v for x, y in points.tolist() for v in (x, y, 2)], "num_keypoints": 10}
                content["annotations"].append(annotation)
        return content

    return document


def test_a_hundred_photographs(
    willow: Callable[[bool], dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known, truth, out = tmp_path / "known.json", tmp_path / "truth.json", tmp_path / "out.json"
    known.write_text(json.dumps(willow(False)), encoding="utf-8")
    truth.write_text(json.dumps(willow(True)), encoding="utf-8")
    quick = ["--method", "dift", "--model", "toy", "--set", "samples=1", "--device", "cpu"]
    images = f"{DATA}/pf-willow"
    review = [
        "--review",
        str(tmp_path / "review.html"),
        "--format",
        "coco",
        "--format",
        "label-studio",
        "--format",
        "cvat",
    ]
    assert main(["transfer", str(known), "--images", images, "-o", str(out), *review, *quick]) == 0

    read = COCO(str(out))
    before = {record["id"]: record for record in willow(False)["annotations"]}
    assert sorted(read.getAnnIds()) == sorted(before)
    for record in read.loadAnns(read.getAnnIds()):
        had = before[record["id"]]
        assert {key: record[key] for key in ("image_id", "category_id", "bbox")} == {
            key: had[key] if key != "bbox" else pytest.approx(had[key], abs=0.006)
            for key in ("image_id", "category_id", "bbox")
        }
        if "keypoints" not in had:
            assert len(record["keypoints_found"]) == 30
    capsys.readouterr()
    assert main(["score", str(out), str(truth), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["objects"], scores["points"], scores["predicted_points"]) == (100, 1000, 1000)
