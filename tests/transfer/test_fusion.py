"""What several supports say together, and how they are located in one call."""

import dataclasses

import numpy as np
import pytest

from closeness import assert_close_to_scale, assert_same_peaks
from semcorr.imaging.image import load_image
from semcorr.keypoints import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Matches, Query
from semcorr.toy.coco import ToyWorld
from semcorr.transfer.fusion import can_join, fuse, fuse_near, join, locate_supports
from semcorr.transfer.support_queries import DescribedSupport, SupportQueries
from semcorr.transfer.supports import choose_supports


def matches_at(points: list[tuple[float, float]], confidence: list[float], side: int = 20) -> Matches:
    """Heat maps with a single bright pixel of 1 at each point, in a target of twice the map's size."""
    maps = np.zeros((len(points), side, side))
    for one, (x, y) in zip(maps, points, strict=True):
        one[int(y / 2), int(x / 2)] = 1
    array = np.array(points, dtype=float)
    return Matches(
        points=array,
        confidence=np.array(confidence),
        heatmaps=maps,
        image_size=(2 * side, 2 * side),
        image_sha256="",
        query_points=array,
    )


def support(keypoints: list[int]) -> DescribedSupport:
    query = Query(
        method="m",
        model_id="",
        model_revision=None,
        model_fingerprint="",
        settings={},
        points=np.zeros((len(keypoints), 2)),
        image_size=(1, 1),
        image_sha256="",
        tensors={},
    )
    return DescribedSupport(query=query, keypoints=np.array(keypoints))


def test_one_support_has_its_own_answer() -> None:
    result = fuse([support([0, 2])], [matches_at([(5, 7), (31, 9)], [0.25, 0.5])], 3, (40, 40))
    np.testing.assert_allclose(result.points[[0, 2]], [(5, 7), (31, 9)], atol=0.05)
    assert result.confidence.tolist() == [0.25, 0, 0.5]
    np.testing.assert_allclose(result.votes, [[0.25, np.nan, 0.5]])
    assert np.isnan(result.points[1]).all()


def test_the_majority_wins_and_the_dissenter_costs_confidence() -> None:
    groups = [support([0])] * 3
    result = fuse(groups, [matches_at([p], [0.81]) for p in [(5, 7), (5, 7), (35, 35)]], 1, (40, 40))
    np.testing.assert_allclose(result.points[0], (5, 7), atol=0.05)
    # Two of three agree: the third is 41 pixels away, and counts as nothing.
    assert result.confidence[0] == pytest.approx((0.81 * 2 / 3) ** 0.5, abs=0.01)
    np.testing.assert_allclose(result.votes[:, 0], [0.81, 0.81, 0], atol=0.01)


def test_a_surer_support_outweighs_an_unsure_one() -> None:
    result = fuse([support([0])] * 2, [matches_at([(5, 7)], [0.2]), matches_at([(35, 35)], [0.6])], 1, (40, 40))
    np.testing.assert_allclose(result.points[0], (35, 35), atol=0.05)


def test_nearness_falls_as_a_gaussian() -> None:
    # Both say (11, 11) together, since only the first one's map counts there; the second's own point is 4 pixels off.
    first, second = matches_at([(11, 11)], [1.0]), matches_at([(11, 11)], [1.0])
    object.__setattr__(second, "points", np.array([[15.0, 11.0]]))
    result = fuse([support([0])] * 2, [first, second], 1, (40, 40))
    near = np.exp(-(4**2) / (2 * 2**2))  # 0.05 of 40 pixels
    assert result.confidence[0] == pytest.approx(((1 + near) / 2) ** 0.5, abs=0.005)


def test_no_confidence_at_all_is_no_error() -> None:
    result = fuse([support([0])] * 2, [matches_at([(5, 7)], [0.0])] * 2, 1, (40, 40))
    np.testing.assert_allclose(result.points[0], (5, 7), atol=0.05)
    assert result.confidence[0] == 0


def test_points_of_several_images_in_one_call(dift: Matcher, world: ToyWorld) -> None:
    known = read_annotations(world.annotations, world.images)
    supports = {"face": choose_supports(known, known.categories["face"], 2)}
    described = SupportQueries(dift, supports, margin=0.2).described("face", cut=False)
    target = load_image(world.images / "face-0003.png")
    assert can_join([part.query for part in described], dift)
    together = locate_supports(dift, described, target)
    apart = [dift.locate(part.query, target) for part in described]
    assert len(together) == len(apart) == 2
    for one, other in zip(together, apart, strict=True):
        assert_close_to_scale(one.confidence, other.confidence)
        assert_close_to_scale(one.heatmaps, other.heatmaps)
        assert_same_peaks(one.points, other.points, one.heatmaps, other.heatmaps, target.size)
    joined = join([part.query for part in described])
    assert len(joined.points) == sum(len(part.keypoints) for part in described)


def test_a_location_chooses_among_peaks() -> None:
    """Of two peaks the one near the location counts, though the other is higher; far from both, the location itself."""
    (one,) = [matches_at([(31, 9)], [0.8])]
    maps = one.heatmaps.copy()
    maps[0, 15, 5] = 0.5  # at (11, 31) in the target
    one = dataclasses.replace(one, heatmaps=maps)
    point, confidence = fuse_near([support([4])], [one], 4, (12, 30), (40, 40))
    np.testing.assert_allclose(point, (11, 31), atol=0.3)
    assert confidence == pytest.approx(0.8 * 0.5)
    point, confidence = fuse_near([support([4])], [one], 4, (31, 10), (40, 40))
    np.testing.assert_allclose(point, (31, 9), atol=0.3)
    assert confidence == pytest.approx(0.8)
    point, confidence = fuse_near([support([4])], [one], 4, (3, 3), (40, 40))
    np.testing.assert_allclose(point, (3, 3), atol=1)
    assert confidence == 0
