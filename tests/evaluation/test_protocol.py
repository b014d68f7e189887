"""Threshold rules and frames, worked by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluation.handmade import pair_record
from semcorr.errors import SettingsError
from semcorr.evaluation.metrics.protocol import Protocol, named, target_scales, threshold_sizes
from semcorr.evaluation.metrics.scores import score
from semcorr.evaluation.runs.records import PairRecord


def record(**changes: Any) -> PairRecord:
    """A source of 400 x 200 with a box of 200 x 50, a target of 100 x 50 with a box of 40 x 40, two points."""
    fields: dict[str, Any] = {
        "source_size": (400, 200),
        "target_size": (100, 50),
        "source_box": (10.0, 10.0, 210.0, 60.0),
        "target_box": (10.0, 5.0, 50.0, 45.0),
        "source_points": np.array([[20.0, 20.0], [200.0, 50.0]]),
    }
    return pair_record(0, [[20, 10], [80, 45]], **(fields | changes))


def threshold_size(one: PairRecord, protocol: Protocol) -> float:
    return threshold_sizes([one], protocol).item()


@pytest.mark.parametrize(
    ("threshold", "frame", "expected"),
    [
        ("target-box", None, 40),  # 40 x 40
        ("source-box", None, 200),  # 200 x 50
        ("image", None, 100),  # 100 x 50
        ("keypoints", None, 60),  # x from 20 to 80, y from 10 to 45
        ("reference-spair", "original", 200),
        ("reference-willow", "original", 81),  # the largest of 20, 10, 80, 45, plus 1
        # Squashed to 512 x 512, the target's x grow 5.12 times and its y 10.24 times.
        ("target-box", "squash", 409.6),  # 40 · 5.12 = 204.8, 40 · 10.24 = 409.6
        ("image", "squash", 512),
        ("keypoints", "squash", 358.4),  # 60 · 5.12 = 307.2, 35 · 10.24 = 358.4
        ("reference-willow", None, 461.8),  # 80 · 5.12 = 409.6, 45 · 10.24 = 460.8, plus 1
        # The source's x grow 1.28 times and its y 2.56 times.
        ("source-box", "squash", 256),  # 200 · 1.28 = 256, 50 · 2.56 = 128
        ("reference-spair", None, 256),
    ],
)
def test_size_by_hand(threshold: str, frame: str | None, expected: float) -> None:
    assert threshold_size(record(), named(threshold, frame)) == pytest.approx(expected)


def test_another_side() -> None:
    assert threshold_size(record(), Protocol(threshold="image", frame="squash", side=256)) == 256


def test_swapping_source_and_target_swaps_their_boxes() -> None:
    one = record()
    two = replace(
        one,
        source_size=one.target_size,
        target_size=one.source_size,
        source_box=one.target_box,
        target_box=one.source_box,
        source_points=one.truth,
        truth=one.source_points,
    )
    sizes = {rule: (threshold_size(one, named(rule)), threshold_size(two, named(rule))) for rule in RULES}
    assert sizes["target-box"] == (40, 200)
    assert sizes["source-box"] == (200, 40)
    assert sizes["image"] == (100, 400)
    assert sizes["keypoints"] == (60, 180)
    assert sizes["reference-spair"] == pytest.approx((256, 409.6))
    # 40 · 512 / 100 and 200 · 512 / 400
    assert sizes["reference-cub"] == pytest.approx((204.8, 256))
    # 200 · 1.28 = 256, 50 · 2.56 = 128
    assert sizes["reference-willow"] == pytest.approx((461.8, 257))


RULES = ("target-box", "source-box", "image", "keypoints", "reference-spair", "reference-willow", "reference-cub")


def test_scales_of_a_frame() -> None:
    """A target of 100 x 50."""
    assert target_scales([record()], Protocol()).tolist() == [[1, 1]]
    np.testing.assert_allclose(target_scales([record()], Protocol(frame="squash")), [[5.12, 10.24]])


@pytest.mark.parametrize("rule", RULES)
def test_an_image_twice_as_large_changes_nothing(rule: str) -> None:
    """All coordinates, sizes and boxes doubled: the same errors. Only the rule that adds a pixel in pixels differs."""
    small = record(predicted=np.array([[23.0, 14.0], [70.0, 40.0]]))
    large = replace(
        small,
        source_size=(800, 400),
        target_size=(200, 100),
        source_box=(20.0, 20.0, 420.0, 120.0),
        target_box=(20.0, 10.0, 100.0, 90.0),
        truth=2 * small.truth,
        predicted=2 * small.predicted,
    )
    assert score([small], named(rule)).errors == pytest.approx(score([large], named(rule)).errors)
    if rule == "reference-willow":
        original = named(rule, "original")
        assert threshold_size(large, original) == 2 * threshold_size(small, original) - 1


def test_padding_changes_nothing() -> None:
    """A method that letterboxes: 100 x 50 scaled 5.12 times to 512 x 256, 128 rows of padding above and below.

    It finds (102.4, 199.68) and (409.6, 358.4) there. Back in the image: (102.4 / 5.12, (199.68 - 128) / 5.12) =
    (20, 14) and (80, 45): 4 pixels and 0 from the truth. The box's longer side is 40, so 0.1 and 0. With the padding
    counted the image's side would be as long as its width and errors along y would be halved in the squashed frame.
    """
    predicted = (np.array([[102.4, 199.68], [409.6, 358.4]]) - (0, 128)) / 5.12
    padded = record(predicted=predicted)
    scores = score([padded], Protocol())
    np.testing.assert_allclose(scores.errors, [0.1, 0], atol=1e-12)
    assert scores.counts([0.1, 0.0999]).right.tolist() == [[2, 1]]
    squashed = score([padded], Protocol(frame="squash"))
    # 4 · 10.24 = 40.96 of 409.6: the same here, because the box's height is what is stretched most.
    np.testing.assert_allclose(squashed.errors, [0.1, 0], atol=1e-12)


def test_frames_differ_where_an_image_is_not_square() -> None:
    """4 pixels along x: 4 of 40 in the image; squashed 20.48 of 409.6."""
    moved = record(predicted=np.array([[24.0, 10.0], [80.0, 45.0]]))
    assert score([moved], Protocol()).errors[0] == pytest.approx(0.1)
    assert score([moved], Protocol(frame="squash")).errors[0] == pytest.approx(0.05)
    square = replace(moved, target_size=(100, 100))
    for frame in ("original", "squash"):
        assert score([square], named("target-box", frame)).errors[0] == pytest.approx(0.1)


def test_reference_rules_are_squashed_by_default() -> None:
    assert Protocol(threshold="reference-spair") == Protocol(threshold="reference-spair", frame="squash")
    assert named("reference-willow").squashed
    assert not named("reference-willow", "original").squashed
    assert not Protocol().squashed


def test_names() -> None:
    assert str(Protocol()) == "target box, original pixels"
    assert str(Protocol(threshold="keypoints", frame="squash")) == "extent of the key-points, squashed to 512 × 512"
    assert str(named("reference-spair")) == "reference-spair (source box), squashed to 512 × 512"


@pytest.mark.parametrize(("rule", "side"), [("target-box", "target"), ("source-box", "source")])
def test_a_missing_box_says_which_rule_fits(rule: str, side: str) -> None:
    bare = record(source_box=None, target_box=None)
    with pytest.raises(SettingsError, match=f"{side}'s box, and the pair pair-0 has none.*keypoints.*image"):
        threshold_size(bare, named(rule))
    assert threshold_size(bare, named("image")) == 100


def test_pairs_without_points_have_no_extent() -> None:
    none = np.zeros((0, 2))
    empty = record(names=(), truth=none, source_points=none, predicted=none, confidence=np.zeros(0))
    assert threshold_sizes([empty, record()], named("keypoints")).tolist() == [0, 60]
    assert threshold_sizes([], named("target-box")).tolist() == []


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"'target_box'.* Did you mean 'target-box'"):
        named("target_box")
    with pytest.raises(SettingsError, match=r"Unknown frame 'squashed'.* Did you mean 'squash'"):
        named("image", "squashed")
    with pytest.raises(SettingsError, match="at least 1 pixel"):
        named("image", side=0)
