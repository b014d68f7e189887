import numpy as np
import pytest

from benchmarks.run_agreement import distances
from evaluation.handmade import pair_record, run_of
from semcorr.errors import RunError


def test_the_larger_distance_in_sides_of_the_image():
    points = [(10, 20), (30, 40)]
    wide = {"target_size": (200, 100)}
    one = run_of("one", [pair_record(0, points, **wide), pair_record(1, points, None), pair_record(2, points)])
    moved = pair_record(0, points, [(20, 5), (2, -30)], **wide)
    other = run_of("other", [moved, pair_record(1, points), pair_record(3, points)])
    np.testing.assert_allclose(distances(one, other), [0.1, 0.3])


def test_runs_of_other_pairs_are_refused():
    one, other = run_of("one", [pair_record(0, [(1, 2)])]), run_of("other", [pair_record(0, [(1, 3)])])
    with pytest.raises(RunError, match="not of the same pairs"):
        distances(one, other)
    with pytest.raises(RunError, match="no finished pair in common"):
        distances(one, run_of("none", [pair_record(4, [(1, 2)])]))
