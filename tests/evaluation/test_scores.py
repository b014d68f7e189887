"""Runs under every rule, worked by hand; groups; failed and empty pairs."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.handmade import pair_record
from semcorr.errors import RunError
from semcorr.evaluation.metrics.protocol import Protocol, named
from semcorr.evaluation.metrics.scores import (
    alternative,
    alternatives,
    by_category,
    by_flag,
    by_point,
    flags,
    macro,
    score,
    summarise,
)
from semcorr.evaluation.runs.records import PairRecord


def record(index: int, truth: Any, offsets: Any, **changes: Any) -> PairRecord:
    """A source of 100 x 100 with a box of 80 x 20, a target of 200 x 100 with a box of 40 x 20."""
    fields: dict[str, Any] = {
        "target_size": (200, 100),
        "source_box": (10.0, 10.0, 90.0, 30.0),
        "target_box": (100.0, 30.0, 140.0, 50.0),
    }
    return pair_record(index, truth, offsets, **(fields | changes))


# Pair 0: 4, 6 and 15 pixels off along x. Pair 1: 8 and 20 off along y. Pair 2 has no points. Pair 3 failed.
# In pairs 0, 1 and 3 the key-points' largest extent is 60 (x from 90 to 150).
RECORDS = [
    record(0, [[90, 30], [150, 60], [120, 40]], [[4, 0], [6, 0], [15, 0]], flags={"viewpoint": 0, "facing": "same"}),
    record(1, [[90, 20], [150, 60]], [[0, 8], [0, 20]], category="dog", flags={"viewpoint": 2, "facing": "opposite"}),
    record(2, [], [], category="dog", flags={"viewpoint": 10}),
    record(3, [[90, 30], [150, 60]], None, category="dog", flags={"viewpoint": 10}),
]


@pytest.mark.parametrize(
    ("threshold", "frame", "right"),
    [
        # At alpha 0.1, in pixels: 4 of a 40 x 20 box.
        ("target-box", None, [1, 0, 0, 0]),
        # 8 of an 80 x 20 box: 4 and 6 along x, and 8 along y, on the threshold.
        ("source-box", None, [2, 1, 0, 0]),
        # 20 of 200: all of pair 0, and 8 and 20, on the threshold, of pair 1.
        ("image", None, [3, 2, 0, 0]),
        # 6 of 60: 4, and 6, on the threshold.
        ("keypoints", None, [2, 0, 0, 0]),
        # Squashed to 512, x grow 2.56 times and y 5.12 times. The box is 102.4 both ways: 4 along x, 2 along y.
        ("target-box", "squash", [1, 0, 0, 0]),
        # 51.2 of 512: 20 along x, 10 along y. So 20 along y is wrong, which it is not in the image's own pixels.
        ("image", "squash", [3, 1, 0, 0]),
        # The source's box grows to 409.6 x 102.4: 40.96 is 16 along x and 8 along y, on the threshold.
        ("reference-spair", None, [3, 1, 0, 0]),
        # The largest coordinate is 150 · 2.56 = 384, plus 1: 38.5 is 15.04 along x and 7.52 along y.
        ("reference-willow", None, [3, 0, 0, 0]),
    ],
)
def test_every_rule_by_hand(threshold: str, frame: str | None, right: list[int]) -> None:
    """Per image over the 3 pairs with points (3, 2 and 2 of them); the failed pair's are wrong. Per point of 7."""
    scores = score(RECORDS, named(threshold, frame))
    assert scores.counts([0.1]).right[:, 0].tolist() == right
    averages = scores.averages([0.1])
    assert averages.per_image[0] == pytest.approx((right[0] / 3 + right[1] / 2 + right[3] / 2) / 3)
    assert averages.per_point[0] == pytest.approx(sum(right) / 7)


def test_on_the_threshold_is_right() -> None:
    """A box of 100 at alpha 0.05 allows 5 pixels: distances 5 (a 3-4-5 triangle), 0, 5.001, and 5 with rounding."""
    box = (0.0, 0.0, 100.0, 20.0)
    offsets = [([10, 10], [3, 4]), ([0, 0], [0, 0]), ([20, 20], [0, 5.001]), ([3.3, 0], [5, 0])]
    pairs = [record(index, [truth], [offset], target_box=box) for index, (truth, offset) in enumerate(offsets)]
    assert pairs[3].predicted[0, 0] - 3.3 > 5
    assert score(pairs, Protocol()).counts([0.05]).right[:, 0].tolist() == [1, 1, 0, 1]


def test_summary_by_hand() -> None:
    """Errors of the source box: 4/80, 6/80, 15/80, 8/80 and 20/80 = 0.05, 0.075, 0.1875, 0.1, 0.25.

    Their mean is 0.1325, their median 0.1. The area to 0.2 is (0.15 + 0.125 + 0.0125 + 0.1 + 0 + 0 + 0) / 7 / 0.2 per
    point, and per image the mean of 0.2875 / 3, 0.1 / 2 and 0, divided by 0.2. At 0.1: cat 2/3 both ways; dog per
    image (1/2 + 0) / 2 and per point 1/4.
    """
    summary = summarise(score(RECORDS, named("source-box")), [0.1])
    assert (summary.pairs, summary.points, summary.empty, summary.failed) == (4, 7, 1, 1)
    assert summary.mean_error == pytest.approx(0.1325)
    assert summary.median_error == pytest.approx(0.1)
    assert summary.area_per_point == pytest.approx(0.3875 / 7 / 0.2)
    assert summary.area_per_image == pytest.approx((0.2875 / 3 + 0.05) / 3 / 0.2)
    assert summary.macro.per_image[0] == pytest.approx((2 / 3 + 1 / 4) / 2)
    assert summary.macro.per_point[0] == pytest.approx((2 / 3 + 1 / 4) / 2)
    low, high = summary.intervals.per_image[0]
    assert low <= summary.averages.per_image[0] <= high


def test_groups_by_hand() -> None:
    scores = score(RECORDS, named("source-box"))
    right = {name: scores.counts([0.1], mask).right.sum() for name, mask in by_category(scores).items()}
    assert right == {"cat": 2, "dog": 1}
    # Pairs 1 and 3 per image: (1/2 + 0) / 2.
    assert scores.averages([0.1], by_category(scores)["dog"]).per_image[0] == pytest.approx(0.25)
    assert flags(scores) == ["viewpoint", "facing"]
    # 10 after 2, and the pair without points makes no group of its own.
    assert {name: int(mask.sum()) for name, mask in by_flag(scores, "viewpoint").items()} == {"0": 3, "2": 2, "10": 2}
    assert list(by_flag(scores, "facing")) == ["opposite", "same"]
    # Point a: 0.05 right, 0.1 right, failed. b: 0.075 right, 0.25 wrong, failed. c: wrong.
    points = {name: scores.averages([0.1], mask).per_point[0] for name, mask in by_point(scores).items()}
    assert points == pytest.approx({"a": 2 / 3, "b": 1 / 3, "c": 0})
    sets = by_point(scores, {"ends": {"a", "c"}, "none": {"z"}})
    assert {name: int(mask.sum()) for name, mask in sets.items()} == {"ends": 4}


def test_numbered_points_are_in_their_order() -> None:
    one = record(0, [[90, 30], [150, 60], [120, 40]], np.zeros((3, 2)), names=("10", "2", "tail"))
    assert list(by_point(score([one], Protocol()))) == ["2", "10", "tail"]


def test_failed_pairs_are_wrong_and_empty_ones_are_not() -> None:
    scores = score(RECORDS, Protocol())
    assert scores.failed.tolist() == [False, False, False, True]
    assert np.isinf(scores.errors[scores.pair == 3]).all()
    assert np.isfinite(scores.errors[scores.pair != 3]).all()


def test_no_prediction_is_zero_and_no_points_are_nan() -> None:
    for records, value in (([], np.nan), ([RECORDS[2]], np.nan), ([RECORDS[3]], 0)):
        summary = summarise(score(records, named("keypoints")), [0.1])
        for averages in (summary.averages, summary.macro):
            np.testing.assert_array_equal([averages.per_image, averages.per_point], [[value], [value]])
        assert summary.mean_error is None
        assert summary.median_error is None
        np.testing.assert_array_equal((summary.area_per_image, summary.area_per_point), value)


def test_coordinates_that_are_not_finite_are_wrong() -> None:
    odd = record(0, [[90, 30], [150, 60]], [[np.nan, 0], [np.inf, 0]])
    assert np.isinf(score([odd], Protocol()).errors).all()


def test_a_size_of_zero_takes_an_exact_hit() -> None:
    """One key-point has no extent."""
    hit, missed = (record(i, [[90, 30]], [[x, 0]]) for i, x in enumerate((0, 1)))
    assert score([hit, missed], named("keypoints")).errors.tolist() == [0, np.inf]


def test_other_predictions_of_the_records() -> None:
    one = RECORDS[0]
    rounds = {"1": one.truth + np.array([0, 30]), "2": one.truth, "10": one.truth}
    records = [replace(one, rounds=rounds, layers={"up/2": one.truth, "up/1": one.truth}), RECORDS[3]]
    assert alternatives(records, "rounds") == ["1", "2", "10"]
    assert alternatives(records, "layers") == ["up/2", "up/1"]
    assert alternatives(records, "crops") == []
    protocol = named("source-box")
    right = [score(records, protocol, alternative("rounds", n)).counts([0.1]).right.sum() for n in ("1", "2", "7")]
    # Nothing after 7 rounds: all wrong. And the failed pair is wrong throughout.
    assert right == [0, 3, 0]
    assert score(records, protocol, alternative("rounds", "7")).failed.all()


def test_broken_records_are_refused() -> None:
    with pytest.raises(RunError, match="pair-0 is broken: 1 predictions and 3 names for 3 points"):
        score([replace(RECORDS[0], predicted=np.zeros((1, 2)), confidence=np.zeros(1))], Protocol())
    with pytest.raises(RunError, match="2 names"):
        score([replace(RECORDS[0], names=("a", "b"))], Protocol())


@given(st.permutations(RECORDS))
def test_the_order_of_records_has_no_influence(records: list[PairRecord]) -> None:
    scores, expected = score(records, named("source-box")), score(RECORDS, named("source-box"))
    assert scores.errors.tobytes() == expected.errors.tobytes()
    assert [r.pair for r in scores.records] == [r.pair for r in expected.records]


def test_macro_counts_every_category_once() -> None:
    """One wrong pair of cats against 9 right ones of dogs: 1/2, not 9/10."""
    pairs = [record(0, [[90, 30]], [[50, 0]])] + [record(i, [[90, 30]], [[0, 0]], category="dog") for i in range(1, 10)]
    assert macro(score(pairs, Protocol()), [0.1]).per_image[0] == pytest.approx(0.5)


@pytest.mark.slow
def test_all_of_spair_is_scored_at_once() -> None:
    """12,234 pairs at 7 alphas: well under a second without the tests' checks; the bound is for a busy machine."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, (12_234, 7, 2))
    records = [record(i, truth[i], rng.normal(size=(7, 2)), category=str(i % 18)) for i in range(len(truth))]
    began = time.process_time()
    scores = score(records, Protocol())
    averages = scores.averages((0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3))
    assert time.process_time() - began < 5
    assert averages.per_point[-1] > 0.99
