"""The pictures that ``semcorr match`` writes when asked: each layer's maps, and the paper's figures."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

POINTS = ["-p", "10.5", "20", "-p", "90", "60"]


@pytest.mark.slow
def test_layers_stand_beside_each_picture_and_change_no_result(semcorr, pictures, quick, tmp_path):
    plain = semcorr("match", *pictures[:3], *POINTS, *quick, "--json", "-o", tmp_path / "a")
    ran = semcorr("match", *pictures[:3], *POINTS, *quick, "--layers", "--json", "-o", tmp_path / "b")
    assert (plain.status, ran.status) == (0, 0)
    for one, other in zip(json.loads(plain.out)["targets"], json.loads(ran.out)["targets"], strict=True):
        assert one["points"] == other["points"]
        assert "layers" not in one
        with PIL.Image.open(other["layers"]) as picture:
            picture.load()
            # Five panels, the fused map's and four layers', for each of two points.
            assert picture.width > 1000
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert names == sorted(f"picture-0-to-picture-{number}{what}.png" for number in (1, 2) for what in ("", "-layers"))


@pytest.mark.slow
def test_one_figure_of_all_targets(semcorr, pictures, quick, tmp_path):
    ran = semcorr("match", *pictures, *POINTS, *quick, "--figure", "many", "-o", tmp_path / "out")
    assert ran.status == 0
    path = tmp_path / "out" / "picture-0-to-many.png"
    assert f"Figure: {path}" in ran.out
    assert path.is_file()
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.slow
def test_the_figure_of_the_method_for_each_target(semcorr, pictures, quick, tmp_path):
    ran = semcorr("match", *pictures[:3], *POINTS, *quick, "--figure", "method", "--json", "-o", tmp_path / "out")
    assert ran.status == 0
    for target in json.loads(ran.out)["targets"]:
        assert target["method"].endswith("-method.png")
        assert Path(target["method"]).is_file()


def test_a_target_called_as_another_ones_layers_is_not_overwritten(semcorr, pictures, quick, tmp_path):
    second = tmp_path / "picture-1-layers.png"
    PIL.Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(second)
    run = ["match", pictures[0], pictures[1], second, "-p", "5", "5", *quick, "--layers", "-o", tmp_path / "out"]
    assert semcorr(*run).status == 0
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--layers", "--method", "dift"], "'dift' does not read"),
        (["--figure", "method", "--method", "attention-dift"], "use --method prompt"),
        (["--layers", "--align-pose"], "--align-pose"),
        (["--mutual", "--layers"], "With --mutual"),
    ],
)
def test_pictures_that_a_method_cannot_make_are_refused_before_it_is_loaded(semcorr, pictures, tmp_path, options, told):
    points = [] if "--mutual" in options else ["-p", "5", "5"]
    ran = semcorr("match", *pictures[:2], *points, *options, "--model", tmp_path / "no-such-model")
    assert ran.status == 2
    assert told in ran.err
