"""Files that version 0.1 wrote are read, and what it began is continued.

``expected.json`` holds what version 0.1 itself gave for them.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semcorr.cli.main import main
from semcorr.matchers.load import load_matcher
from semcorr.matchers.results import Matches, Query

FILES = Path(__file__).parent
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text(encoding="utf-8"))
CLOSE = 0.05
"""Pixels, of images 128 and 256 wide; processors differ by 2e-5 of a cell (``docs/results/processors.json``)."""


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str, str], Path]:
    """Copies a file or folder of this folder to a temporary one, under another name."""

    def to(name: str, new: str) -> Path:
        target = tmp_path / new
        (shutil.copytree if (FILES / name).is_dir() else shutil.copyfile)(FILES / name, target)
        return target

    return to


@pytest.mark.parametrize("method", ["prompt", "dift", "attention-dift"])
def test_a_query_is_located(method: str) -> None:
    query = Query.load(FILES / f"{method}.safetensors")
    matcher = load_matcher(method, "toy", calibration="none", device="cpu")
    matches = matcher.locate(query, FILES / "world" / "images" / "animal-0001.png")
    np.testing.assert_allclose(matches.points, EXPECTED["queries"][method]["points"], atol=CLOSE)
    np.testing.assert_allclose(matches.confidence, EXPECTED["queries"][method]["confidence"], atol=1e-3)


def test_matches_are_read() -> None:
    matches = Matches.load(FILES / "matches.safetensors")
    assert matches.points.tolist() == [[1.5, 2.5], [3, 4]]
    assert matches.names == ("eye", "tail")
    document = matches.to_dict()
    assert document["layer_names"] == ["up_blocks.1.attentions.0"]
    assert [point["rounds"] for point in document["points"]] == [[[1, 2], [2, 3]], [[3, 4], [3, 3]]]
    assert [point["layers"] for point in document["points"]] == [[[1, 1]], [[2, 2]]]
    assert "located in float32" in json.dumps(document)


def test_a_calibration_applies_to_the_settings_that_it_was_fitted_to() -> None:
    matcher = load_matcher("prompt", "toy", "fast", calibration=FILES / "calibration.json", device="cpu")
    query = Query.load(FILES / "prompt.safetensors")
    matches = matcher.locate(query, FILES / "world" / "images" / "animal-0001.png")
    assert "toy val" in (matches.calibration or "")


def test_the_bundled_calibration_applies_to_a_query() -> None:
    query = Query.load(FILES / "attention-dift.safetensors")
    matcher = load_matcher("attention-dift", "toy", device="cpu")
    matches = matcher.locate(query, FILES / "world" / "images" / "animal-0001.png")
    assert "2,225 points of toy val" in (matches.calibration or "")


@pytest.mark.slow
def test_a_run_is_continued(copy: Callable[[str, str], Path]) -> None:
    run = copy("run", "run")
    before = (run / "records" / "1-of-1.0.jsonl").read_bytes()
    assert main(["eval", "toy", "--method", "prompt", "--preset", "fast", "--limit", "4", "-o", str(run)]) == 0
    assert (run / "records" / "1-of-1.0.jsonl").read_bytes() == before
    (new,) = set((run / "records").iterdir()) - {run / "records" / "1-of-1.0.jsonl"}
    records = [json.loads(line) for line in new.read_text(encoding="utf-8").splitlines()]
    assert [record["pair"] for record in records] == list(EXPECTED["run"])
    apart = np.concatenate([np.subtract(record["predicted"], EXPECTED["run"][record["pair"]]) for record in records])
    # Of two cells that are nearly equal another processor may prefer the other.
    assert np.mean(np.abs(apart).max(axis=1) < CLOSE) > 0.8
    assert np.abs(apart).max() < 4


@pytest.mark.slow
def test_a_transfer_is_continued(copy: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    world = copy("world", "world")
    output = copy("transfer", "found.json.work").with_name("found.json")
    command = ["transfer", str(world / "annotations.json"), "--images", str(world / "images"), "-o", str(output)]
    assert main([*command, "--model", "toy", "--support", "1"]) == 0
    assert "2 of them before" in " ".join(capsys.readouterr().out.split())
    document = json.loads(output.read_text(encoding="utf-8"))
    files = {image["id"]: image["file_name"] for image in document["images"]}
    predicted = {files[one["image_id"]]: one for one in document["annotations"] if "semcorr" in one}
    assert sorted(predicted) == sorted(EXPECTED["transfer"])
    for file, expected in EXPECTED["transfer"].items():
        (points,) = (value for key, value in predicted[file].items() if key.startswith("keypoints_"))
        np.testing.assert_allclose(points, expected, atol=CLOSE)
