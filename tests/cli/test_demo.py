import re

import numpy as np
import PIL.Image
import pytest

from semcorr.cli.demo import Score
from semcorr.errors import SettingsError
from semcorr.toy.scenes import first_scenes


def test_score_in_closed_form():
    score = Score(
        names=("a", "b", "c"),
        points=np.array([[3.0, 4.0], [10.0, 10.0], [1.0, 1.0]]),
        truth=np.array([[0.0, 0.0], [10.0, 15.1], [np.nan, np.nan]]),
        object_size=50.0,
    )
    np.testing.assert_allclose(score.errors, [5.0, 5.1, np.nan])
    np.testing.assert_allclose(score.fractions, [0.1, 0.102, np.nan])
    np.testing.assert_array_equal(score.known, [True, True, False])
    np.testing.assert_array_equal(score.right, [True, False, False])


def test_scenes_come_in_the_order_of_their_seeds():
    scenes = first_scenes("bird", 3, size=32)
    seeds = [seed for seed, _ in scenes]
    assert seeds == sorted(seeds)
    assert {scene.category for _, scene in scenes} == {"bird"}
    assert [seed for seed, _ in first_scenes("bird", 2, size=64)] == seeds[:2]


def test_an_unknown_category_is_refused():
    with pytest.raises(SettingsError, match="Did you mean 'bird'"):
        first_scenes("brid", 2, size=32)


def test_prints_every_point_beside_the_truth(semcorr, quick, tmp_path):
    ran = semcorr("demo", *quick, "--targets", 2, "-o", tmp_path / "demo.png")
    assert ran.status == 0
    scenes = first_scenes("animal", 3, size=256)
    visible = scenes[0][1].visible
    for name in visible:
        assert ran.out.count(f" {name} ") == 2
    known = sum(len(visible & scene.visible) for _, scene in scenes[1:])
    assert ran.out.count(" right ") + ran.out.count(" wrong ") == known
    assert f" of {known} points lie within 0.1" in ran.out
    with PIL.Image.open(tmp_path / "demo.png") as figure:
        figure.load()


def test_a_demo_needs_a_target(semcorr, quick, tmp_path):
    ran = semcorr("demo", *quick, "--targets", 0, "-o", tmp_path / "demo.png")
    assert ran.status == 2
    assert "at least 1 target" in ran.err


@pytest.mark.slow
def test_most_points_are_right_with_the_bundled_model(semcorr, tmp_path):
    ran = semcorr("demo", "-o", tmp_path / "demo.png")
    assert ran.status == 0, ran.err
    right, known = map(int, re.search(r"(\d+) of (\d+) points lie within", ran.out).groups())
    assert known >= 15
    assert right / known > 0.5
