"""The figures of discovered key-points, from points whose relation to the annotated ones is known."""

import numpy as np
import pytest

from benchmarks.engine.discovery import grid, held_out_errors


def test_points_that_determine_the_annotated_ones_have_no_error_and_constant_ones_say_the_mean():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (40, 3, 2))
    mixed = points.reshape(40, 6) @ rng.normal(size=(6, 4)) + 7
    known = mixed.reshape(40, 2, 2)
    assert held_out_errors(points, known, 20).max() < 1e-6
    constant = held_out_errors(np.broadcast_to(grid(3), points.shape), known, 20)
    expected = np.linalg.norm(known[20:] - known[:20].mean(axis=0), axis=-1).mean(axis=1)
    assert constant == pytest.approx(expected)


def test_a_grid_has_as_many_points_as_requested_inside_the_image():
    assert grid(4).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert grid(10).shape == (10, 2)
    assert len({tuple(point) for point in grid(10).tolist()}) == 10
