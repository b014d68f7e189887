"""Several supports located at once: together they are right where some of them alone are not."""

import numpy as np
import pytest
import torch

from semcorr.imaging.geometry import mirror_points
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.features.cosine import vectors_at
from semcorr.matchers.features.hypercolumn import HypercolumnMatcher
from semcorr.matchers.results import Query
from semcorr.matchers.wrappers.calibration import CalibratedMatcher, Calibration, key_of
from semcorr.matchers.wrappers.float32_fallback import Float32Fallback
from semcorr.matchers.wrappers.mirror import MirrorMatcher, mirror
from semcorr.settings import override

POINTS = np.array([(100.0, 100.0), (150.0, 120.0), (110.0, 160.0), (140.0, 80.0)])


def noise(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = torch.from_numpy(random.random((1, 3, 12, 16)))
    large = torch.nn.functional.interpolate(coarse, size=(240, 320), mode="bicubic").clamp(0, 1)[0]
    return (large.movedim(0, -1).numpy() * 255).astype(np.uint8)


def moved(points: np.ndarray, dx: float, dy: float) -> np.ndarray:
    return points + np.array([dx, dy])


def shifted(dx: int, dy: int) -> Image:
    """An image whose content is to the right of, and below, where it is in the first."""
    return load_image(np.roll(noise(3), (dy, dx), axis=(0, 1)))


@pytest.fixture(scope="module")
def matcher() -> HypercolumnMatcher:
    # Supports of a transfer are described at one resolution.
    return HypercolumnMatcher.from_pretrained(device="cpu", enlarge=1)


def supports(matcher: HypercolumnMatcher) -> tuple[list[Query], list[list[int]]]:
    """Two supports of one object, each of which lacks a key-point; key-point 4 is nobody's."""
    first = matcher.describe(shifted(0, 0), POINTS[:3])
    second = matcher.describe(shifted(-30, 10), moved(POINTS, -30, 10)[[3, 1, 2]])
    return [first, second], [[0, 1, 2], [3, 1, 2]]


def test_one_support_is_located_exactly_as_alone(matcher: HypercolumnMatcher) -> None:
    target = shifted(40, 20)
    for points in (POINTS, POINTS[:2]):
        query = matcher.describe(shifted(0, 0), points)
        alone = matcher.locate(query, target)
        order = list(range(len(points)))
        together = matcher.locate_together([query], [order[::-1]], len(points), target)
        assert together is not None
        assert np.array_equal(together.points[::-1], alone.points)
        assert np.array_equal(together.confidence[::-1], alone.confidence)


def test_supports_that_lack_key_points_complete_each_other(matcher: HypercolumnMatcher) -> None:
    queries, keypoints = supports(matcher)
    located = matcher.locate_together(queries, keypoints, 5, shifted(40, 20))
    assert located is not None
    assert np.linalg.norm(located.points[:4] - moved(POINTS, 40, 20), axis=1).max() < 12
    assert (located.confidence[:4] > 0.3).all()
    assert np.isnan(located.points[4]).all()
    assert np.isnan(located.confidence[4])


def test_a_support_that_says_something_else_is_outvoted(matcher: HypercolumnMatcher) -> None:
    queries, keypoints = supports(matcher)
    other = matcher.describe(load_image(noise(8)), moved(POINTS[:3], 60, 20))
    target, right = shifted(40, 20), moved(POINTS[:3], 40, 20)
    alone = np.linalg.norm(matcher.locate(other, target).points - right, axis=1)
    assert alone.max() > 40
    located = matcher.locate_together([other, *queries], [[0, 1, 2], *keypoints], 4, target)
    assert located is not None
    assert np.linalg.norm(located.points[:3] - right, axis=1).max() < 12
    # Votes: the similarity of what each support has seen at the point with what the target has there.
    features = matcher.feature_maps([target])[0]
    there = vectors_at(features, torch.from_numpy(located.points).float(), target.size).numpy()
    assert located.votes is not None
    for row, (query, own) in enumerate(zip([other, *queries], [[0, 1, 2], *keypoints], strict=True)):
        similar = (query.tensors["vectors"] * there[own]).sum(axis=1)
        np.testing.assert_allclose(located.votes[row, own], similar, atol=1e-3)
        assert np.isnan(np.delete(located.votes[row], own)).all()
    assert (located.votes[1, [1, 2]] > located.votes[0, [1, 2]] + 0.1).all()


def test_views_of_all_supports_are_compared(matcher: HypercolumnMatcher) -> None:
    one = matcher.with_settings(override(matcher.settings, turns=4))
    upside_down = load_image(np.ascontiguousarray(shifted(10, 20).pixels[::-1, ::-1]))
    queries = [one.describe(shifted(dx, 0), moved(POINTS[:3], dx, 0)) for dx in (0, 30)]
    located = one.locate_together(queries, [[0, 1, 2]] * 2, 3, upside_down)
    assert located is not None
    right = np.array([320, 240]) - moved(POINTS[:3], 10, 20)
    assert np.linalg.norm(located.points - right, axis=1).max() < 15


def test_what_cannot_be_compared_at_once_is_left_to_each_alone(matcher: HypercolumnMatcher) -> None:
    plain = matcher.with_settings(override(matcher.settings, prior="none"))
    without, query = plain.describe(shifted(0, 0), POINTS), matcher.describe(shifted(0, 0), POINTS)
    order = list(range(4))
    assert plain.locate_together([without], [order], 4, shifted(0, 0)) is None
    heavier = matcher.with_settings(override(matcher.settings, prior_weight=0.5)).describe(shifted(0, 0), POINTS)
    assert matcher.locate_together([query, heavier], [order] * 2, 4, shifted(0, 0)) is None


def test_wrappers_locate_together_as_the_method(matcher: HypercolumnMatcher) -> None:
    queries, keypoints = supports(matcher)
    target = shifted(40, 20)
    own = matcher.locate_together(queries, keypoints, 5, target)
    forwarded = Float32Fallback(matcher, lambda: matcher).locate_together(queries, keypoints, 5, target)
    mirrored = MirrorMatcher(matcher).locate_together(queries, keypoints, 5, mirror(target))
    assert own is not None
    assert forwarded is not None
    assert mirrored is not None
    assert np.array_equal(forwarded.points, own.points, equal_nan=True)
    assert np.allclose(mirror_points(mirrored.points, target.size)[:4], own.points[:4], atol=1e-6)


def test_a_calibration_is_of_one_support_alone(matcher: HypercolumnMatcher) -> None:
    calibration = Calibration(
        method="hypercolumn",
        key=key_of("hypercolumn", matcher.identity()),
        confidence=(0.0, 1.0),
        probability=(0.2, 0.6),
        source={"dataset": "some"},
    )
    queries, keypoints = supports(matcher)
    calibrated = CalibratedMatcher(matcher, calibration, everywhere=True)
    target = shifted(40, 20)
    several = calibrated.locate_together(queries, keypoints, 5, target)
    one = calibrated.locate_together(queries[:1], keypoints[:1], 3, target)
    assert several is not None
    assert one is not None
    assert several.calibration is None
    assert one.calibration == str(calibration)
    own = matcher.locate(queries[0], target).confidence
    assert np.allclose(one.confidence, 0.2 + 0.4 * own)
