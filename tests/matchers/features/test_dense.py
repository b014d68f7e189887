"""Dense matches are what every point alone is found as, in any number of points and in the mirror."""

import dataclasses

import numpy as np
import pytest

from closeness import leads
from semcorr.errors import FlowError, PointError
from semcorr.imaging.image import Image
from semcorr.matchers.attention_dift import AttentionDiftMatcher, settings_of
from semcorr.matchers.dense import dense_flow, step_of
from semcorr.matchers.features import matcher as feature_matcher
from semcorr.matchers.features.dift import DiftBuddyMatcher, DiftBuddySettings, DiftMatcher, DiftSettings
from semcorr.matchers.wrappers.mirror import MirrorMatcher, mirror
from semcorr.models.diffusion import DiffusionModel
from semcorr.settings import override

SETTINGS = DiftSettings(prompt=None, samples=1, noise="none", resolution=128)


@pytest.fixture(scope="module")
def dift(sd1: DiffusionModel) -> DiftMatcher:
    return DiftMatcher(sd1, SETTINGS)


def test_a_flow_holds_the_match_of_every_point(
    dift: DiftMatcher, source: Image, target: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_matcher, "_POINTS", 7)  # several parts, the last of another length
    flow = dense_flow(dift, source, target, step=25)
    assert flow.displacement.shape == (4, 6, 2)
    assert (flow.source_size, flow.target_size, flow.step) == (source.size, target.size, 25)
    xs, ys = np.meshgrid((np.arange(6) + 0.5) * 25, (np.arange(4) + 0.5) * 25)
    for row, column in ((0, 1), (2, 4), (3, 5)):
        point = np.array([[xs[row, column], ys[row, column]]])
        alone = dift.locate(dift.describe(source, point), target)
        assert leads(alone.heatmaps).min() > 1e-5  # else rounding, which depends on how many are looked for, decides
        np.testing.assert_allclose(flow.target_points()[row, column], alone.points[0], atol=1e-3)
        assert flow.confidence[row, column] == pytest.approx(alone.confidence[0], abs=1e-5)


def test_only_points_in_the_mask_are_located(dift: DiftMatcher, source: Image, target: Image) -> None:
    mask = np.zeros((100, 150), dtype=bool)
    mask[:50, :75] = True
    flow = dense_flow(dift, source, target, step=25, mask=mask)
    assert flow.known.tolist() == [[column < 3 and row < 2 for column in range(6)] for row in range(4)]
    with pytest.raises(PointError, match="No point of the grid is in the mask"):
        dense_flow(dift, source, target, step=25, mask=~np.ones((100, 150), dtype=bool))
    with pytest.raises(FlowError, match="step must be 1 or more"):
        dense_flow(dift, source, target, step=1000)
    assert (step_of((1280, 200), None), step_of((20, 10), None), step_of((1280, 200), 3)) == (20, 1, 3)


def test_an_image_in_the_mirror_is_matched_in_the_mirror(dift: DiftMatcher, source: Image) -> None:
    flow = dense_flow(MirrorMatcher(dift), source, mirror(source), step=10)
    truth = flow.points() * [-1, 1] + [150, 0]
    assert np.abs(flow.target_points() - truth).max() < 10
    assert flow.confidence.mean() > 0.95


def test_best_buddies_and_methods_without_features_give_flows_too(
    sd1: DiffusionModel, source: Image, target: Image
) -> None:
    buddies = DiftBuddyMatcher(sd1, DiftBuddySettings(**vars(SETTINGS), levels=1))
    same = dense_flow(buddies, source, source, step=20)
    np.testing.assert_allclose(same.displacement, 0, atol=1e-3)
    settings = override(
        settings_of("fast"), neutral="zeros", steps=1, optimize_crops=4, locate_crops=4, resolution=64,
        dift_prompt=None, dift_samples=1, dift_resolution=64,
    )  # fmt: skip
    both = AttentionDiftMatcher(sd1, settings)
    calls: list[tuple[str, int, int]] = []
    flow = dense_flow(
        both, source, target, step=11, progress=lambda stage, done, total, **_: calls.append((stage, done, total))
    )
    point = flow.points()[5, 7][None]
    alone = both.locate(both.describe(source, point), target)
    assert leads(alone.heatmaps).min() > 1e-4 * alone.heatmaps.max()
    np.testing.assert_allclose(flow.target_points()[5, 7], alone.points[0], atol=1e-3)
    count = flow.known.size
    assert count > 64
    assert [one for one in calls if one[0] == "locate"] == [("locate", 64, count), ("locate", count, count)]
    assert dataclasses.replace(flow, step=11).known.all()
