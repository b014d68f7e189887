"""``semcorr dense``."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.cli.main import main
from semcorr.imaging.flow import Flow

OPTIONS = ["--method", "dift", "--model", "toy", "--device", "cpu", "--set", "samples=1"]


@pytest.fixture
def image(tmp_path: Path) -> str:
    cells = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    PIL.Image.fromarray(cells).resize((96, 64), PIL.Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def test_flows_and_figures_are_written(image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, broken = tmp_path / "out", tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    command = ["dense", image, image, str(broken), *OPTIONS, "--step", "8", "--flo", "-o", str(out), "--json"]
    assert main(command) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["method"] == "dift"
    assert [one["target"] for one in document["broken"]] == [str(broken)]
    done = document["targets"][0]
    assert (done["points"], done["step"]) == (12 * 8, 8)
    assert {Path(name).name for name in done["files"]} == {
        "a-to-a.npz", "a-to-a.flo", "a-to-a-flow.png", "a-to-a-warped.png",
    }  # fmt: skip
    flow, fine = Flow.load(out / "a-to-a.npz"), Flow.load(out / "a-to-a.flo")
    assert flow.displacement.shape == (8, 12, 2)
    assert fine.displacement.shape == (64, 96, 2)
    # Features between cells are mixtures: to a cell of 6 x 4 pixels, everything is where it was.
    assert np.median(np.abs(flow.displacement)) < 6
    with PIL.Image.open(out / "a-to-a-warped.png") as warped:
        assert warped.size == (96, 64)


def test_a_mask_says_where(image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((64, 96), dtype=np.uint8)
    mask[:32] = 255
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    command = ["dense", image, image, *OPTIONS, "--step", "16", "-o", str(tmp_path), "--mask"]
    assert main([*command, str(tmp_path / "mask.png")]) == 0
    assert "12 points, mean confidence" in capsys.readouterr().out
    assert Flow.load(tmp_path / "a-to-a.npz").known.tolist() == [[True] * 6, [True] * 6, [False] * 6, [False] * 6]
    PIL.Image.fromarray(mask[:, :10]).save(tmp_path / "other.png")
    assert main([*command, str(tmp_path / "other.png")]) == 2
    assert "mask must be (height, width) of the image" in capsys.readouterr().err
