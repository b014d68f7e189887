"""Key-point average precision, against samples and figures made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.handmade import pair_record, run_of
from semcorr.errors import RunError
from semcorr.evaluation.metrics.kap import average_precision, samples
from semcorr.evaluation.metrics.pck import mean_intervals
from semcorr.evaluation.report.groups import ReportOptions
from semcorr.evaluation.report.kap import kap_report
from semcorr.evaluation.runs.records import PairRecord

ONE = np.ones(2)
# A target of 4 x 1 pixels under a map of as many cells, whose centres are at 0.5, 1.5, 2.5 and 3.5.
SEEN, HIDDEN = [0.2, 0.8, 1.0, 0.0], [0.5, 0.0, 0.0, 0.0]


def test_samples_by_hand() -> None:
    """Of 10 pixels, 0.1 reaches the first two cells and 0.05 the first; of a hidden point all cells are elsewhere."""
    truth = np.array([[0.5, 0.5], [np.nan, np.nan]])
    positive, negative = samples(np.array([[SEEN], [HIDDEN]]), truth, (4, 1), ONE, 10.0, (0.05, 0.1))
    np.testing.assert_array_equal(positive, [[0.2, 0.8], [np.nan, np.nan]])
    np.testing.assert_array_equal(negative, [[1.0, 1.0], [0.5, 0.5]])


def test_values_are_scaled_over_a_pair() -> None:
    """Values from 2 to 6: what differs by a factor and a summand is the same."""
    truth = np.array([[0.5, 0.5], [3.5, 0.5]])
    maps = np.array([[SEEN], [HIDDEN]])
    for scaled in (maps, 4 * maps + 2):
        positive, negative = samples(scaled, truth, (4, 1), ONE, 10.0, (0.1,))
        np.testing.assert_allclose(positive, [[0.8], [0.0]])
        np.testing.assert_allclose(negative, [[1.0], [0.5]])
    flat, _ = samples(np.full((1, 1, 4), 7.0), truth[:1], (4, 1), ONE, 10.0, (0.1,))
    np.testing.assert_array_equal(flat, [[0.0]])


def test_the_nearest_cell_is_always_within_and_may_be_all() -> None:
    """Also where no box gives the threshold a size; a threshold beyond the image leaves nothing elsewhere."""
    truth = np.array([[1.9, 0.5]])
    for threshold in (0.1, 0.0):
        positive, negative = samples(np.array([[SEEN]]), truth, (4, 1), ONE, threshold, (0.1,))
        np.testing.assert_array_equal((positive, negative), ([[0.8]], [[1.0]]))
    positive, negative = samples(np.array([[SEEN]]), truth, (4, 1), ONE, 100.0, (1.0,))
    np.testing.assert_array_equal((positive, negative), ([[1.0]], [[np.nan]]))


def test_distances_are_in_the_protocols_frame() -> None:
    """2 pixels are 1 apart when x is halved."""
    positive, _ = samples(np.array([[SEEN]]), np.array([[0.5, 0.5]]), (4, 1), np.array([0.5, 1.0]), 10.0, (0.1,))
    np.testing.assert_array_equal(positive, [[1.0]])


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        ([0.9, 0.4], [0.6, 0.1], 0.5 * 1 + 0.5 * 2 / 3),
        ([0.9], [0.1, 0.2], 1.0),
        ([0.1], [0.9, 0.9], 1 / 3),
        ([0.5], [0.5], 0.5),
        ([0.5, np.nan], [np.nan], 1.0),
        ([np.nan], [0.3], np.nan),
        ([], [], np.nan),
    ],
)
def test_average_precision_by_hand(positive: list[float], negative: list[float], expected: float) -> None:
    got = average_precision(np.array(positive, dtype=np.float64), np.array(negative, dtype=np.float64))
    np.testing.assert_allclose(got, expected)


@pytest.mark.slow
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=12))
def test_average_precision_agrees_with_sklearn(drawn: list[tuple[bool, int]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = np.array([label for label, _ in drawn] + [True])
    values = np.array([value for _, value in drawn] + [2], dtype=np.float64)
    expected = metrics.average_precision_score(labels, values)
    np.testing.assert_allclose(average_precision(values[labels], values[~labels]), expected)


def test_means_and_their_intervals() -> None:
    """Half of the pairs have 1 and half 0: a mean of 100 drawn pairs has a standard deviation of 0.05."""
    values = np.array([[0.0, 1.0], [1.0, 1.0]] * 50 + [[np.nan, 0.0]])
    means, ends = mean_intervals(values)
    np.testing.assert_allclose(means, [0.5, 1.0])
    np.testing.assert_allclose(ends, [[0.4, 0.6], [1.0, 1.0]], atol=0.02)
    assert np.isnan(mean_intervals(values[-1:])[1]).all()


def record(index: int, **changes: object) -> PairRecord:
    box = {"target_size": (4, 1), "target_box": (0.0, 0.0, 10.0, 1.0)}
    return pair_record(index, [(0.5, 0.5)], (0, 0) if index < 2 else None, **(box | changes))


def test_a_report_by_hand() -> None:
    """0.8 against 1.0 and, hidden, 0.5: 1/2. 1.0 against 0.2: 1. A failed pair, 0 against 1: 1/2."""
    records = [record(0, source_unmatched={"more": (1.0, 0.5)}), record(1, category="dog"), record(2)]
    maps = {0: np.array([[SEEN], [HIDDEN]]), 1: np.array([[[1.0, 0.0, 0.2, 0.0]]])}
    runs = [run_of("mine", records), run_of("random", records, method={"name": "random"})]
    report = kap_report(runs, ReportOptions(alphas=(0.1,)), lambda _: lambda one: maps.get(one.index))
    (table,) = report.tables
    (row,) = table.rows
    values = dict(zip((column.key for column in table.columns), row.values, strict=True))
    assert values["kap@0.1 per image"] == pytest.approx(100 * (1 / 2 + 1 + 1 / 2) / 3)
    # In order: 1.0 right with two that are wrong, 0.8 right, 0.5 wrong, 0.2 wrong, 0 right: 1/3, 2/4 and 3/7.
    assert values["kap@0.1 all points"] == pytest.approx(100 * (1 / 3 + 2 / 4 + 3 / 7) / 3)
    # The dog's alone: 1. Of the others 0.8 is second and 0 is last of five, behind 1, 0.5 and a second 1.
    assert values["kap@0.1 per category"] == pytest.approx(100 * (1 + (1 / 3 + 2 / 5) / 2) / 2)
    assert values["kap@0.1 per image 95%"] == (50, 100)
    assert "KAP@0.1 per image" in report.markdown()
    with pytest.raises(RunError, match="Expected the images of pair pair-0"):
        kap_report(runs[:1], ReportOptions(), lambda _: lambda _: None)


def test_what_has_no_points_has_no_figure() -> None:
    run = run_of("mine", [pair_record(0, [], target_box=(0.0, 0.0, 10.0, 1.0))])
    (table,) = kap_report([run], ReportOptions(), lambda _: lambda _: None).tables
    assert set(table.rows[0].values) == {None}
