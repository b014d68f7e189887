"""``semcorr collect``, and what its folder is good for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from cli.test_stopping import wait_for
from semcorr.cli.main import main
from semcorr.imaging.flow import Flow
from windows import SHIFTS, SIDE, write_images

FEATURES = [
    "--device",
    "cpu",
    "--set",
    'layers=["4@96"]',
    "--set",
    "grid=16",
    "--set",
    "prior=none",
    "--set",
    "enlarge=1",
]
TRAINING = [
    text for value in ("grid=16", "dim=16", "width=8", "steps=30", "foreground=0") for text in ("--train", value)
]


def test_a_collection_is_trained_and_dense_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    paths = [str(path) for path in write_images(tmp_path)]
    (tmp_path / "broken.png").write_bytes(b"no image")
    folder = tmp_path / "out"
    command = ["collect", *paths, "-o", str(folder), *FEATURES, *TRAINING, "--json"]
    assert main([*command, str(tmp_path / "broken.png")]) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["images"], len(document["broken"])) == (4, 1)
    assert set(document["losses"]) == {"keypoints", "equivariance", "smoothness"}
    with PIL.Image.open(folder / "canonical.png") as figure:
        assert figure.width > figure.height
    assert main(command) == 0  # finished: nothing is trained again
    assert json.loads(capsys.readouterr().out)["losses"] == document["losses"]

    dense = ["dense", paths[0], paths[3], "--step", "8", "--model", str(folder), "-o", str(tmp_path / "flow")]
    assert main([*dense, "--method", "asic", "--json"]) == 0
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    flow = Flow.load(Path(target["files"][0]))
    inner = flow.displacement[3:-2, 3:-2].reshape(-1, 2)
    assert np.median(np.linalg.norm(inner + SHIFTS[3], axis=1)) < SIDE / 16


@pytest.mark.slow
def test_after_a_kill_the_same_command_continues_with_equal_results(
    tmp_path: Path, semcorr_process: Callable[..., Any], capsys: pytest.CaptureFixture[str]
):
    paths = [str(path) for path in write_images(tmp_path)]
    command = ["collect", *paths, *FEATURES, *TRAINING, "-o"]
    command[command.index("steps=30")] = "steps=200"
    process = semcorr_process(*command, tmp_path / "killed")
    wait_for(process, tmp_path / "killed", "training.safetensors", 1)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "collection.safetensors").exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # another number rounds differently
    try:
        assert main([*command, str(tmp_path / "whole")]) == main([*command, str(tmp_path / "killed")]) == 0
    finally:
        torch.set_num_threads(threads)
    assert "steps that were done before" in capsys.readouterr().out
    names = {"collection.json", "collection.safetensors", "canonical.png"}
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
    assert {path.name for path in (tmp_path / "killed").glob("[!.]*")} == names


@pytest.mark.parametrize(
    ("count", "more", "message"),
    [
        (2, [], "at least 3 images of one kind, got 2"),
        (4, ["--train", "stpes=3"], "Unknown setting 'stpes'. Did you mean 'steps'?"),
    ],
)
def test_wrong_collections_are_refused(
    count: int, more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    paths = [str(path) for path in write_images(tmp_path)[:count]]
    assert main(["collect", *paths, "-o", str(tmp_path / "out"), "--device", "cpu", *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
