"""``semcorr match A B --mutual``."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.cli.main import main


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[str, str]:
    cells = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    whole = PIL.Image.fromarray(cells).resize((96, 64), PIL.Image.Resampling.BICUBIC)
    whole.save(tmp_path / "a.png")
    whole.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "b.png")
    return str(tmp_path / "a.png"), str(tmp_path / "b.png")


OPTIONS = ["--mutual", "--method", "dift", "--model", "toy", "--device", "cpu", "--set", "samples=1"]


def test_pairs_of_a_picture_with_itself_are_the_same_places(
    pictures: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert (
        main(["match", pictures[0], pictures[0], pictures[1], *OPTIONS, "--most", "7", "-o", str(out), "--json"]) == 0
    )
    same, flipped = json.loads(capsys.readouterr().out)["targets"]
    assert same["source"] == same["target"]
    assert len(same["source"]) == 7
    assert 0 < len(flipped["source"]) <= 7
    assert len(list(out.glob("*.png"))) == 2
    assert main(["match", *pictures, *OPTIONS, "-o", str(out)]) == 0
    assert "pairs\nPicture: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["-p", "1", "1"], "Leave out -p"),
        (["--most", "0"], "at least 1, got 0"),
        (["--method", "prompt"], "Mutual matches need a method on features"),
    ],
)
def test_what_does_not_go_together_is_told(
    pictures: tuple[str, str], more: list[str], told: str, capsys: pytest.CaptureFixture[str]
):
    options = ["--mutual", "--model", "toy", "--device", "cpu", *more]
    assert main(["match", *pictures, *options]) == 2
    assert told in capsys.readouterr().err
