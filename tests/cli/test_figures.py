"""The figures that ``semcorr match`` writes on request: every layer's heat maps, and one of all targets."""

import json

import numpy as np
import PIL.Image
import pytest

POINTS = ["-p", "10.5", "20", "-p", "90", "60"]


@pytest.mark.slow
def test_layers_are_drawn_for_each_target_and_change_no_result(semcorr, images, quick, tmp_path):
    plain = semcorr("match", *images[:3], *POINTS, *quick, "--json", "-o", tmp_path / "a")
    ran = semcorr("match", *images[:3], *POINTS, *quick, "--layers", "--json", "-o", tmp_path / "b")
    assert (plain.status, ran.status) == (0, 0)
    for one, other in zip(json.loads(plain.out)["targets"], json.loads(ran.out)["targets"], strict=True):
        assert one["points"] == other["points"]
        assert "layers" not in one
        with PIL.Image.open(other["layers"]) as figure:
            figure.load()
            # Five panels, the fused map's and four layers', for each of two points.
            assert figure.width > 1000
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert names == sorted(f"image-0-to-image-{number}{what}.png" for number in (1, 2) for what in ("", "-layers"))


@pytest.mark.slow
def test_one_figure_of_all_targets(semcorr, images, quick, tmp_path):
    ran = semcorr("match", *images, *POINTS, *quick, "--figure", "-o", tmp_path / "out")
    assert ran.status == 0
    path = tmp_path / "out" / "image-0-to-many.png"
    assert f"Figure: {path}" in ran.out
    assert path.is_file()
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_target_named_like_the_layers_of_another_is_not_overwritten(semcorr, images, quick, tmp_path):
    second = tmp_path / "image-1-layers.png"
    PIL.Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(second)
    run = ["match", images[0], images[1], second, "-p", "5", "5", *quick, "--layers", "-o", tmp_path / "out"]
    assert semcorr(*run).status == 0
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "--method", "dift"], "'dift' does not read"),
        (["--layers", "--align-pose", "--method", "prompt"], "--align-pose"),
    ],
)
def test_figures_that_a_method_cannot_draw_are_refused_before_it_is_loaded(semcorr, images, tmp_path, options, message):
    ran = semcorr("match", *images[:2], "-p", "5", "5", *options, "--model", tmp_path / "no-such-model")
    assert ran.status == 2
    assert message in ran.err
