"""Percentage of correct key-points, worked by hand."""

import numpy as np
import pytest

from semcorr.evaluation import pck


def test_threshold_counts_as_right() -> None:
    """Size 50 at alpha 0.1 allows 5 pixels: distances 5 (a 3-4-5 triangle), 0 and 5.001."""
    truth = np.array([[10.0, 10.0], [0.0, 0.0], [20.0, 20.0]])
    predicted = np.array([[13.0, 14.0], [0.0, 0.0], [20.0, 25.001]])
    assert pck.correct(predicted, truth, 50.0, 0.1).tolist() == [True, True, False]


def test_both_averages() -> None:
    """Pairs with 1 of 1, 1 of 4 and no points: per image (1 + 1/4) / 2, per point 2 / 5."""
    pairs = [np.array([True]), np.array([True, False, False, False]), np.zeros(0, dtype=bool)]
    assert pck.per_image(pairs) == pytest.approx(0.625)
    assert pck.per_point(pairs) == pytest.approx(0.4)


def test_no_points_give_zero_not_nan() -> None:
    empty = [np.zeros(0, dtype=bool)]
    assert pck.per_point(empty) == pck.per_image(empty) == 0.0
    assert pck.bootstrap(empty) == (0.0, 0.0)
    assert pck.bootstrap([]) == (0.0, 0.0)


def test_interval_of_a_coin() -> None:
    """400 pairs of one point, half of them right: the normal interval is 0.5 ± 1.96 · 0.5 / 20 = 0.451 to 0.549."""
    pairs = [np.array([i % 2 == 0]) for i in range(400)]
    low, high = pck.bootstrap(pairs, resamples=4000)
    assert low == pytest.approx(0.451, abs=0.006)
    assert high == pytest.approx(0.549, abs=0.006)


def test_pairs_are_drawn_whole() -> None:
    """100 pairs of 10 equal points vary as 100 draws, not as 1,000: ± 1.96 · 0.5 / 10."""
    pairs = [np.full(10, i % 2 == 0) for i in range(100)]
    low, high = pck.bootstrap(pairs, resamples=4000)
    assert high - low == pytest.approx(2 * 1.96 * 0.05, abs=0.025)


def test_difference_uses_the_same_pairs() -> None:
    """Where one method is right exactly when the other is, the difference is 0 in every resample."""
    pairs = [np.array([i % 3 == 0, i % 2 == 0]) for i in range(60)]
    assert pck.bootstrap_difference(pairs, pairs) == (0.0, 0.0)


def test_bootstrap_is_seeded() -> None:
    pairs = [np.array([i % 3 == 0]) for i in range(50)]
    assert pck.bootstrap(pairs, seed=1) == pck.bootstrap(pairs, seed=1)


def test_sides_must_match() -> None:
    with pytest.raises(ValueError, match="as many pairs"):
        pck.bootstrap_difference([np.array([True])], [])
