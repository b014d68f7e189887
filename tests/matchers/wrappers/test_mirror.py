"""The mirror: on the bundled model, whose features depend on which way an object faces."""

import numpy as np
import pytest

import semcorr
from semcorr.datasets.toy_world import render_scene
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features.dift import DiftMatcher
from semcorr.matchers.wrappers.mirror import MirrorMatcher, mirror, other_sides

POINTS = [(70.5, 60.5), (128.5, 100.5), (180.5, 140.5)]


@pytest.fixture(scope="module")
def drawing() -> Image:
    return load_image(render_scene(3, 256, split="val", category="animal").image)


@pytest.fixture(scope="module")
def aligned() -> Matcher:
    return semcorr.load_matcher("dift", "toy", device="cpu", samples=1, align_pose=True)


def test_a_mirrored_image_gives_the_mirrored_truth(aligned: Matcher, drawing: Image):
    matches = aligned.locate(aligned.describe(drawing, POINTS), mirror(drawing))
    assert matches.points.tolist() == [[256 - x, y] for x, y in POINTS]
    np.testing.assert_allclose(matches.confidence, 1, atol=1e-5)
    # The heat map is the target's own, too: its peak is where the point is.
    for index, (x, y) in enumerate(POINTS):
        row, column = np.unravel_index(matches.heatmaps[index].argmax(), matches.heatmaps[index].shape)
        assert (column + 0.5, row + 0.5) == (256 - x, y)
    assert matches.image_sha256 == mirror(drawing).sha256


def test_an_image_that_needs_no_mirror_keeps_its_matches(aligned: Matcher, drawing: Image):
    matches = aligned.locate(aligned.describe(drawing, POINTS), drawing)
    assert matches.points.tolist() == [list(point) for point in POINTS]


def test_left_and_right_are_exchanged_in_the_mirror(aligned: Matcher, drawing: Image):
    names = ["left ear", "Right ear", "nose"]
    query = aligned.describe(drawing, POINTS, names=names)
    straight = aligned.locate(query, drawing)
    assert straight.points.tolist() == [list(point) for point in POINTS]
    mirrored = aligned.locate(query, mirror(drawing))
    (ax, ay), (bx, by), (cx, cy) = POINTS
    assert mirrored.points.tolist() == [[256 - bx, by], [256 - ax, ay], [256 - cx, cy]]
    assert mirrored.names == tuple(names)


def test_counterparts_are_matched_by_whole_words():
    assert other_sides(["left eye", "RIGHT EYE", "leftover", "eye", "left paw"], 5) == [1, 0, 2, 3, 4]
    assert other_sides(["paw_left_1", "paw_right_1"], 2) == [1, 0]
    assert other_sides(None, 3) == [0, 1, 2]


def test_it_is_part_of_what_a_run_is(aligned: Matcher):
    assert aligned.identity()["align_pose"] is True
    assert isinstance(aligned, MirrorMatcher)
    assert isinstance(aligned.matcher, DiftMatcher)


def test_the_mirror_image_of_a_mirror_image(drawing: Image):
    assert mirror(mirror(drawing)).sha256 == drawing.sha256
    assert np.array_equal(mirror(drawing).pixels[:, 0], drawing.pixels[:, -1])
