"""The changes' points are where the changed images have them; a perfect and a lost method differ."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from benchmarks import known_transforms as known_pairs
from benchmarks.command import main
from benchmarks.known_transforms import CHANGES, Change, measure
from semcorr.imaging.image import load_image
from semcorr.matchers.base import Matcher


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_marked_pixel_is_where_the_points_say(change: Change):
    rng = np.random.default_rng(0)
    for _ in range(20):
        column, row = int(rng.integers(0, 50)), int(rng.integers(0, 30))
        pixels = np.zeros((30, 50, 3), dtype=np.uint8)
        pixels[row, column] = 255
        changed = change.apply(load_image(pixels)).pixels.sum(axis=2)
        (truth,) = change.points(np.array([[column + 0.5, row + 0.5]]), (50, 30))
        if np.isnan(truth).any():
            assert not changed.any()
        else:
            y, x = np.unravel_index(changed.argmax(), changed.shape)
            assert changed[y, x] == 765
            assert truth.tolist() == [x + 0.5, y + 0.5]


@pytest.mark.slow
def test_the_command_tells_of_every_change_and_both_modes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(known_pairs, "CHANGES", CHANGES[2:])
    words = ["--methods", "dift", "--images", "1", "--grid", "2", "--device", "cpu"]
    assert main(known_pairs.app, [*words, "--photographs", str(tmp_path), "--json", str(tmp_path / "f.json")]) == 0
    outcomes: Sequence[dict[str, Any]] = json.loads((tmp_path / "f.json").read_text())["outcomes"]
    assert [(one["images"], one["change"], one["mode"]) for one in outcomes] == [
        (images, change, mode)
        for images in ("drawings", "photographs")
        for change in ("mirrored", "other colours")
        for mode in ("dense", "mutual")
    ]
    assert all(one["points"] == 4 for one in outcomes if one["mode"] == "dense")
    assert "mutual" in capsys.readouterr().out


def test_a_method_that_knows_the_truth_has_no_error_and_one_that_does_not_has():
    class Shift(Matcher):
        """Locates every point a tenth of the longer side to the right."""

        def identity(self) -> dict[str, Any]:
            return {}

        def describe(self, image: Any, points: Any, **_: Any) -> Any:
            return points

        def locate(self, query: Any, image: Any, **_: Any) -> Any:
            return type("Shifted", (), {"points": query + np.array([6.0, 0.0])})

    image = load_image(np.zeros((40, 60, 3), dtype=np.uint8))
    (outcome,) = measure(Shift(), "shift", "drawings", [image], CHANGES[3], 3)
    assert (outcome.points, outcome.mode) == (9, "dense")
    assert outcome.median == pytest.approx(0.1)
    assert (outcome.within_5, round(outcome.within_10)) == (0, 100)


def test_a_folder_without_photographs_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(known_pairs.app, ["--photographs", str(tmp_path)]) == 2
    assert "found none" in capsys.readouterr().err
