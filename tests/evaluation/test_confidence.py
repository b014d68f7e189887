"""Figures of confidence against loops and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcorr.evaluation.metrics.confidence import (
    calibration_error,
    confident_half,
    ranking_area,
    risk_coverage_area,
)

POINTS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def split(points: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one for one, _ in points]), np.array([right for _, right in points])


def test_a_perfect_order_and_its_opposite() -> None:
    confidence, right = np.linspace(1, 0, 10), np.arange(10) < 5
    assert confident_half(confidence, right) == 1
    assert confident_half(-confidence, right) == 0
    expected = np.mean([0] * 5 + [(k - 5) / k for k in range(6, 11)])
    assert risk_coverage_area(confidence, right) == pytest.approx(expected)
    assert risk_coverage_area(-confidence, right) == pytest.approx(np.mean([1] * 5 + [5 / k for k in range(6, 11)]))


def test_of_equally_confident_points_none_comes_first() -> None:
    right = np.array([True, False, False, True, False])
    for order in ([0, 1, 2, 3, 4], [4, 2, 1, 3, 0]):
        assert confident_half(np.full(5, 0.3), right[order]) == pytest.approx(0.4)
        assert risk_coverage_area(np.full(5, 0.3), right[order]) == pytest.approx(0.6)
    # One sure and right; three alike, of which one is right; half of five is two points.
    assert confident_half(np.array([0.9, 0.5, 0.5, 0.5, 0.1]), right) == pytest.approx((1 + 1 / 3) / 2)


def test_the_middle_of_an_odd_number_is_in_neither_half() -> None:
    assert confident_half(np.array([3.0, 2.0, 1.0]), np.array([False, True, True])) == 0
    assert confident_half(np.array([1.0]), np.array([True])) == 1


@given(POINTS)
def test_the_area_of_a_ranking_is_the_fraction_of_ordered_pairs(points: list[tuple[float, bool]]) -> None:
    pairs = [
        1.0 if sure > unsure else 0.5 if sure == unsure else 0.0
        for sure, one in points
        for unsure, other in points
        if one and not other
    ]
    area = ranking_area(*split(points))
    assert area == pytest.approx(np.mean(pairs)) if pairs else np.isnan(area)


@given(POINTS)
def test_calibration_error_is_that_of_a_plain_loop(points: list[tuple[float, bool]]) -> None:
    confidence, right = split(points)
    expected = 0.0
    for lower in range(10):
        inside = [(c, r) for c, r in points if (lower <= c * 10 < lower + 1) or (lower == 9 and c == 1)]
        if inside:
            mean, share = np.mean([c for c, _ in inside]), np.mean([r for _, r in inside])
            expected += abs(mean - share) * len(inside) / len(points)
    assert calibration_error(confidence, right) == pytest.approx(expected, abs=1e-12)


def test_a_true_probability_has_no_error_and_a_boast_has_what_it_adds() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(200_000)
    right = rng.random(200_000) < truth
    assert calibration_error(truth, right) < 0.005
    # Squeezed to 0.5 the truth is left; raised by 0.2, that is what is too much.
    assert calibration_error(0.3 + 0.4 * truth, rng.random(200_000) < 0.1 + 0.4 * truth) == pytest.approx(0.2, abs=0.01)


@given(POINTS)
def test_areas_and_halves_are_parts_of_one(points: list[tuple[float, bool]]) -> None:
    confidence, right = split(points)
    assert -1e-12 <= risk_coverage_area(confidence, right) <= 1 + 1e-12
    assert -1e-12 <= confident_half(confidence, right) <= 1 + 1e-12
