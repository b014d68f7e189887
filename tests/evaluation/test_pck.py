"""Percentage of correct key-points, worked by hand."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcorr.evaluation.metrics import pck

ERRORS = np.array([0.05, 0.1, 0.11, 0.0, np.inf, 0.2])
"""Pair 0: 0.05, 0.1, 0.11; pair 1: 0, infinite; pair 2: none; pair 3: 0.2."""
PAIR = np.array([0, 0, 0, 1, 1, 3])


def test_counts_of_three_alphas() -> None:
    """At 0.05, 0.1 and 0.2: pair 0 has 1, 2, 3 of 3 right, pair 1 always 1 of 2, pair 3 is right at 0.2 alone."""
    counts = pck.count(ERRORS, PAIR, 4, (0.05, 0.1, 0.2))
    assert counts.right.tolist() == [[1, 2, 3], [1, 1, 1], [0, 0, 0], [0, 0, 1]]
    assert counts.total.tolist() == [3, 2, 0, 1]


def test_counts_of_no_alpha_and_of_nothing() -> None:
    """Without alphas there are no columns; at 0 just what has no error is right."""
    none = pck.count(ERRORS, PAIR, 4, ())
    assert none.right.shape == (4, 0)
    assert none.right.dtype == np.int64
    assert pck.count(ERRORS, PAIR, 4, (0.0,)).right.tolist() == [[0], [1], [0], [0]]


def test_averages_of_three_alphas() -> None:
    """Per image over the 3 pairs with points: (1/3 + 1/2 + 0) / 3, (2/3 + 1/2 + 0) / 3, (1 + 1/2 + 1) / 3."""
    averages = pck.averages(pck.count(ERRORS, PAIR, 4, (0.05, 0.1, 0.2)))
    np.testing.assert_allclose(averages.per_image, [5 / 18, 7 / 18, 5 / 6])
    np.testing.assert_allclose(averages.per_point, [2 / 6, 3 / 6, 5 / 6])


def test_rounding_cannot_push_a_point_off_the_threshold() -> None:
    """0.1 + 0.2 is 0.30000000000000004 in floating point, and on the threshold of 0.3; a billionth more is not."""
    errors = np.array([0.1 + 0.2, 0.3 * (1 + 1e-8)])
    assert errors[0] > 0.3
    assert pck.count(errors, np.array([0, 1]), 2, [0.3]).right.tolist() == [[1], [0]]


def test_both_averages() -> None:
    """Pairs with 1 of 1, 1 of 4 and no points: per image (1 + 1/4) / 2, per point 2 / 5."""
    averages = pck.averages(pck.Counts(right=np.array([[1], [1], [0]]), total=np.array([1, 4, 0])))
    assert averages.per_image[0] == pytest.approx(0.625)
    assert averages.per_point[0] == pytest.approx(0.4)


@pytest.mark.parametrize("pairs", [0, 1])
def test_no_points_give_no_number(pairs: int) -> None:
    empty = pck.Counts(right=np.zeros((pairs, 2), np.int64), total=np.zeros(pairs, np.int64))
    averages, ends = pck.averages(empty), pck.intervals(empty)
    assert np.isnan([averages.per_point, averages.per_image]).all()
    assert ends.per_point.shape == ends.per_image.shape == (2, 2)
    assert np.isnan([ends.per_point, ends.per_image]).all()
    assert np.isnan(pck.intervals(empty, empty).per_point).all()
    assert np.isnan(pck.area(np.zeros(0), np.zeros(0, np.int64), pairs, 0.2)).all()


def test_draws_of_pairs_without_points_are_left_out() -> None:
    """One pair of two has a point, which is right: in every draw that has points all are right."""
    counts = pck.Counts(right=np.array([[1], [0]]), total=np.array([1, 0]))
    ends = pck.intervals(counts)
    assert ends.per_point.tolist() == ends.per_image.tolist() == [[1, 1]]


def test_two_sides_that_never_have_points_together_have_no_difference() -> None:
    """Either draw of one pair out of one has points on one side alone."""
    one, none = (pck.Counts(right=np.zeros((1, 1), np.int64), total=np.array([n])) for n in (1, 0))
    assert np.isnan(pck.intervals(one, none).per_point).all()


def test_area_in_closed_form() -> None:
    """To 0.2: 0.15 + 0.1 + 0.09 of pair 0, 0.2 + 0 of pair 1, 0 of pair 3, each divided by 0.2."""
    image, point = pck.area(ERRORS, PAIR, 4, 0.2)
    assert point == pytest.approx((0.15 + 0.1 + 0.09 + 0.2) / 6 / 0.2)
    assert image == pytest.approx((0.34 / 3 + 0.1 + 0) / 3 / 0.2)


# --- intervals --------------------------------------------------------------------------------------------------------


def right_of(right: list[int], points: int = 1) -> pck.Counts:
    """So many right points, at one alpha, of pairs with ``points`` each."""
    return pck.Counts(right=np.array(right, dtype=np.int64)[:, None], total=np.full(len(right), points))


def test_interval_of_a_coin() -> None:
    """400 pairs of one point, half of them right: the normal interval is 0.5 ± 1.96 · 0.5 / 20 = 0.451 to 0.549."""
    ((low, high),) = pck.intervals(right_of([i % 2 for i in range(400)]), resamples=4000).per_point
    assert low == pytest.approx(0.451, abs=0.006)
    assert high == pytest.approx(0.549, abs=0.006)


def test_pairs_are_drawn_whole() -> None:
    """100 pairs of 10 equal points vary as 100 draws, not as 1,000: ± 1.96 · 0.5 / 10."""
    ((low, high),) = pck.intervals(right_of([10 * (i % 2) for i in range(100)], 10), resamples=4000).per_point
    assert high - low == pytest.approx(2 * 1.96 * 0.05, abs=0.025)


def test_difference_uses_the_same_pairs() -> None:
    """Where one method is right exactly when the other is, the difference is 0 in every resample."""
    counts = right_of([(i % 3 == 0) + (i % 2 == 0) for i in range(60)], 2)
    assert pck.intervals(counts).per_point[0, 0] > 0
    assert pck.intervals(counts, counts).per_point.tolist() == [[0, 0]]


def test_draws_are_seeded() -> None:
    counts = right_of([i % 3 == 0 for i in range(50)])
    first, second, other = (pck.intervals(counts, seed=seed).per_point.tolist() for seed in (1, 1, 2))
    assert first == second != other


def test_sides_must_match() -> None:
    with pytest.raises(ValueError, match=r"^expected as many pairs on both sides, got 1 and 0$"):
        pck.intervals(right_of([1]), right_of([]))


# --- many pairs, drawn by chance --------------------------------------------------------------------------------------

errors_of_pairs = st.lists(st.lists(st.floats(0, 0.5) | st.just(float("inf")), max_size=6), min_size=1, max_size=12)


def flattened(pairs: list[list[float]]) -> tuple[np.ndarray, np.ndarray, int]:
    errors = np.array([error for pair in pairs for error in pair], dtype=np.float64)
    return errors, np.repeat(np.arange(len(pairs)), [len(pair) for pair in pairs]), len(pairs)


@given(errors_of_pairs)
def test_area_is_the_mean_of_the_curve(pairs: list[list[float]]) -> None:
    """A sum over 2,000 alphas is off by at most one step where the curve jumps."""
    errors, pair, number = flattened(pairs)
    right = errors[:, None] <= (np.arange(2000) + 0.5) / 2000 * 0.2
    image, point = pck.area(errors, pair, number, 0.2)
    if not len(errors):
        assert np.isnan([image, point]).all()
        return
    assert image == pytest.approx(np.mean([right[pair == one].mean() for one in np.unique(pair)]), abs=1e-3)
    assert point == pytest.approx(right.mean(), abs=1e-3)


@given(errors_of_pairs, st.lists(st.floats(1e-3, 1), min_size=2, max_size=6))
def test_pck_grows_with_alpha(pairs: list[list[float]], alphas: list[float]) -> None:
    averages = pck.averages(pck.count(*flattened(pairs), sorted(alphas)))
    for values in (averages.per_image, averages.per_point):
        if not any(pairs):
            assert np.isnan(values).all()
            continue
        assert (np.diff(values) >= 0).all()
        assert ((values >= 0) & (values <= 1)).all()


def test_intervals_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same draws, one pair after the other; and blocks of any size give the same."""
    rng = np.random.default_rng(7)
    first = [rng.uniform(0, 0.3, size).tolist() for size in (3, 1, 0, 5, 2, 4, 0)]
    second = [rng.uniform(0, 0.3, len(pair)).tolist() for pair in first]
    alphas = (0.1, 0.2)
    drawn = np.random.default_rng(5).integers(len(first), size=(300, len(first)))
    images, points = [], []
    for row in drawn:
        for gains, average in ((images, plain_per_image), (points, plain_per_point)):
            sample = [[pairs[i] for i in row] for pairs in (first, second)]
            gains.append([average(sample[0], alpha) - average(sample[1], alpha) for alpha in alphas])
    counts = [pck.count(*flattened(pairs), alphas) for pairs in (first, second)]
    for cells in (1 << 20, 20):
        monkeypatch.setattr(pck, "_CELLS", cells)
        ends = pck.intervals(*counts, resamples=300, seed=5)
        np.testing.assert_allclose(ends.per_image, np.quantile(images, [0.025, 0.975], axis=0).T, atol=1e-12)
        np.testing.assert_allclose(ends.per_point, np.quantile(points, [0.025, 0.975], axis=0).T, atol=1e-12)


def test_blocks_are_of_as_many_resamples_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pck, "_CELLS", 40)
    assert [len(weights) for weights in pck._weights(10, 10, seed=0)] == [4, 4, 2]
    assert [len(weights) for weights in pck._weights(50, 2, seed=0)] == [1, 1]
    assert all((weights.sum(axis=1) == 10).all() for weights in pck._weights(10, 10, seed=0))


def test_what_is_not_asked_for_is_what_is_documented() -> None:
    rng = np.random.default_rng(0)
    counts = pck.Counts(right=rng.integers(0, 5, (40, 1)), total=rng.integers(5, 12, 40))
    explicit = pck.intervals(counts, resamples=2000, level=0.95, seed=0)
    np.testing.assert_array_equal(pck.intervals(counts).per_point, explicit.per_point)


def plain_per_image(pairs: list[list[float]], alpha: float) -> float:
    fractions = [sum(error <= alpha for error in pair) / len(pair) for pair in pairs if pair]
    return sum(fractions) / len(fractions) if fractions else 0.0


def plain_per_point(pairs: list[list[float]], alpha: float) -> float:
    errors = [error for pair in pairs for error in pair]
    return sum(error <= alpha for error in errors) / len(errors) if errors else 0.0


def test_a_whole_benchmark_needs_little_memory() -> None:
    """12,234 pairs: 2,000 resamples of them at once would be 200 MB for every array."""
    pairs = 12_234
    counts = pck.Counts(right=np.ones((pairs, 7), np.int64), total=np.full(pairs, 2))
    tracemalloc.start()
    ends = pck.intervals(counts, resamples=200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    np.testing.assert_allclose(ends.per_point, 0.5)
