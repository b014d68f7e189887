import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from benchmarks import command, inputs
from benchmarks import point_scaling as scaling
from semcorr.models.diffusion import DiffusionModel

FEW = ["--set", "resolution=64", "--set", "steps=1", "--set", "rounds=1", "--set", "locate_crops=4"]


@pytest.mark.slow
def test_growth_is_measured_printed_and_drawn(
    tiny_model: DiffusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(scaling, "load", lambda *_: tiny_model)
    plot, file = tmp_path / "plots" / "scaling.png", tmp_path / "scaling.json"
    options = ["--preset", "paper", "--points", "1", "2", "4", "--images", "5", "--block", "2", "--image-points", "2"]
    assert command.main(scaling.app, [*options, *FEW, "--plot", str(plot), "--json", str(file)]) == 0
    out = capsys.readouterr().out
    for text in ("Points in one call", "describe: about", "One description in many images", "The last block took"):
        assert text in out
    with PIL.Image.open(plot) as written:
        assert written.size[0] > 500
    document = json.loads(file.read_text())
    assert [one["points"] for one in document["grown"]] == [1, 2, 4]
    assert [one["images"] for one in document["blocks"]] == [2, 2, 1]
    assert all(one["describe_seconds"] > 0 and one["locate_seconds"] > 0 for one in document["grown"])


@pytest.mark.slow
def test_stopped_it_prints_what_is_finished(
    tiny_model: DiffusionModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scaling, "load", lambda *_: tiny_model)
    monkeypatch.setattr(scaling, "over_images", stop)
    assert command.main(scaling.app, ["--preset", "paper", "--points", "1", *FEW]) == 130
    assert "Points in one call" in capsys.readouterr().out


def test_the_slope_is_what_a_point_adds():
    counts = np.array([1, 2, 5, 10, 100, 500])
    constant, each = scaling.slope(counts.tolist(), (3.0 + 0.25 * counts).tolist())
    assert (constant, each) == (pytest.approx(3.0), pytest.approx(0.25))


def test_more_points_begin_with_fewer_and_all_lie_inside():
    many, few = inputs.query_points(50, (200, 100)), inputs.query_points(5, (200, 100))
    assert np.array_equal(many[:5], few)
    assert len(np.unique(many, axis=0)) == 50
    assert (many > 0).all()
    assert (many < (200, 100)).all()
