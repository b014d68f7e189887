"""``semcorr mutual``."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.cli.main import main


@pytest.fixture
def images(tmp_path: Path) -> tuple[str, str]:
    cells = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    whole = PIL.Image.fromarray(cells).resize((96, 64), PIL.Image.Resampling.BICUBIC)
    whole.save(tmp_path / "a.png")
    whole.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "b.png")
    return str(tmp_path / "a.png"), str(tmp_path / "b.png")


OPTIONS = ["--method", "dift", "--model", "toy", "--device", "cpu", "--set", "samples=1"]


def test_pairs_of_an_image_with_itself_are_the_same_points(
    images: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert main(["mutual", images[0], images[0], images[1], *OPTIONS, "--most", "7", "-o", str(out), "--json"]) == 0
    same, flipped = json.loads(capsys.readouterr().out)["targets"]
    assert same["source"] == same["target"]
    assert len(same["source"]) == 7
    assert 0 < len(flipped["source"]) <= 7
    assert len(list(out.glob("*.png"))) == 2
    pairs = tmp_path / "pairs.json"
    assert main(["mutual", *images, *OPTIONS, "-o", str(out), "--pairs", str(pairs)]) == 0
    records = json.loads(pairs.read_text(encoding="utf-8"))
    np.testing.assert_array_equal(
        [[one["keypoint_image_0"]["x"] + 0.5 for one in records][:7]], [[x for x, _ in flipped["source"]]]
    )
    assert "pairs\nFigure: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-p", "1", "1"], "Unknown option: -p"),
        (["--most", "0"], "at least 1, got 0"),
        (["--method", "prompt"], "Mutual matches need a method on features"),
    ],
)
def test_wrong_options_are_refused(
    images: tuple[str, str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    options = ["--model", "toy", "--device", "cpu", *more]
    assert main(["mutual", *images, *options]) == 2
    assert message in capsys.readouterr().err
