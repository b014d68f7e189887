import re

import numpy as np
import PIL.Image
import pytest
import scipy.io

from semcorr.cli import demo as cli_demo
from semcorr.demo.photos import read_pairs, with_banner
from semcorr.demo.scoring import Score
from semcorr.demo.toy import first_scenes
from semcorr.errors import ImageError, SettingsError


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


def test_an_unknown_category_is_told():
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
    with PIL.Image.open(tmp_path / "demo.png") as picture:
        picture.load()


def test_a_demo_needs_a_target(semcorr, quick, tmp_path):
    ran = semcorr("demo", *quick, "--targets", 0, "-o", tmp_path / "demo.png")
    assert ran.status == 2
    assert "at least 1 target" in ran.err


@pytest.fixture
def willow(tmp_path, pictures):
    """A folder laid out like the raw data set: two sub-classes, ten points beside each photograph."""
    rng = np.random.default_rng(5)
    for number, picture in enumerate(pictures):
        folder = tmp_path / "data" / "pf-willow" / f"duck({'SM'[number % 2]})"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(picture.read_bytes())
        points = rng.uniform(1, 59, (2, 10))
        scipy.io.savemat(folder / f"{number}.mat", {"pts_coord": points})
    return tmp_path / "data"


def test_pairs_are_read_one_a_sub_class_first(willow):
    pairs = read_pairs(willow, 10)
    assert [pair.title for pair in pairs] == ["duck(M): 1.png to 3.png", "duck(S): 0.png to 2.png"]
    assert len(read_pairs(willow / "pf-willow", 1)) == 1
    pair = pairs[0]
    assert pair.source_points.shape == (10, 2)
    raw = scipy.io.loadmat(pair.target.with_suffix(".mat"))["pts_coord"]
    np.testing.assert_array_equal(pair.target_points, raw.T)
    assert pair.object_size == max(np.ptp(raw[0]), np.ptp(raw[1]))


def test_a_folder_without_pairs_is_told(tmp_path):
    with pytest.raises(ImageError, match="got no pair"):
        read_pairs(tmp_path, 1)
    with pytest.raises(ImageError, match="no folder"):
        read_pairs(tmp_path / "none", 1)


def test_a_broken_annotation_is_told(willow):
    path = willow / "pf-willow" / "duck(S)" / "0.mat"
    path.write_bytes(b"no MATLAB file")
    with pytest.raises(ImageError, match=r"0\.mat"):
        read_pairs(willow, 1)
    scipy.io.savemat(path, {"other": np.zeros(3)})
    with pytest.raises(ImageError, match="pts_coord"):
        read_pairs(willow, 1)


def test_photographs_are_matched_and_a_broken_one_is_told(semcorr, quick, willow, tmp_path, monkeypatch):
    (willow / "pf-willow" / "duck(S)" / "2.png").write_bytes(b"")
    monkeypatch.setenv("SEMCORR_TEST_DATA", str(willow))
    ran = semcorr("demo-photos", *quick, "--pairs", 2, "-o", tmp_path / "photos.png")
    assert ran.status == 1
    assert "2.png" in ran.err
    assert "duck(M): 1.png to 3.png" in ran.out
    assert "of 10 points lie within" in ran.out
    assert "does not know photographs" not in ran.out  # it is not the bundled model
    assert (tmp_path / "photos.png").is_file()


def test_no_data_is_told(semcorr, monkeypatch):
    monkeypatch.delenv("SEMCORR_TEST_DATA", raising=False)
    ran = semcorr("demo-photos")
    assert ran.status == 2
    assert "SEMCORR_TEST_DATA" in ran.err


def test_the_banner_is_above_the_picture():
    picture = PIL.Image.new("RGB", (900, 50), (10, 200, 30))
    sheet = with_banner(picture, cli_demo._NOT_FOR_PHOTOS)
    assert sheet.width == 900
    np.testing.assert_array_equal(np.asarray(sheet)[-50:], np.asarray(picture))
    above = np.asarray(sheet)[:-50]
    assert (above < 128).any()
    # Nothing is cut off at the right.
    assert (above[:, -6:] == 255).all()


@pytest.mark.slow
def test_photographs_with_the_bundled_model_say_that_it_does_not_know_them(semcorr, photographs, tmp_path):
    few = [word for pair in ("rounds=1", "steps=2", "locate_crops=4") for word in ("--set", pair)]
    ran = semcorr("demo-photos", photographs, "--pairs", 1, "--method", "prompt", *few, "-o", tmp_path / "photos.png")
    assert ran.status == 0, ran.err
    assert "does not know photographs" in ran.out


@pytest.mark.slow
def test_most_points_are_right_with_the_bundled_model(semcorr, tmp_path):
    ran = semcorr("demo", "-o", tmp_path / "demo.png")
    assert ran.status == 0, ran.err
    right, known = map(int, re.search(r"(\d+) of (\d+) points lie within", ran.out).groups())
    assert known >= 15
    assert right / known > 0.5
