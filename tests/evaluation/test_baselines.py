"""Guesses whose answers are worked out by hand."""

import dataclasses

import numpy as np
import pytest

from evaluation.handmade import pair_record
from semcorr.errors import RunError
from semcorr.evaluation.runs.baselines import BASELINES, oracle_grid, random_position, same_box_position, same_position
from semcorr.evaluation.runs.records import PairRecord

PAIR = pair_record(
    0,
    [[0, 0], [299.9, 99.9], [150, 51]],
    source_points=np.array([[10.0, 20.0], [50.0, 120.0], [20.0, 70.0]]),
    source_size=(100, 200),
    target_size=(300, 100),
    source_box=(10, 20, 50, 120),
    target_box=(100, 10, 180, 60),
)


def _with_truth(truth: np.ndarray) -> PairRecord:
    return dataclasses.replace(PAIR, names=("point",) * len(truth), source_points=truth, truth=truth)


def test_same_position_is_relative_to_the_image() -> None:
    """Three times as wide, half as high."""
    np.testing.assert_allclose(same_position(PAIR), [[30, 10], [150, 60], [60, 35]])


def test_same_box_position_carries_corners_to_corners() -> None:
    """The third point is a quarter to the right and half down in the box of 80 x 50."""
    np.testing.assert_allclose(same_box_position(PAIR), [[100, 10], [180, 60], [120, 35]])
    with pytest.raises(RunError, match="needs boxes"):
        same_box_position(dataclasses.replace(PAIR, target_box=None))


def test_oracle_grid_says_the_middle_of_the_cell() -> None:
    """Cells of 300/4 x 100/4 = 75 x 25; a truth on the far edge is in the last cell."""
    np.testing.assert_allclose(oracle_grid(PAIR, 4), [[37.5, 12.5], [262.5, 87.5], [187.5, 62.5]])
    edge = _with_truth(np.array([[300.0, 100.0]]))
    np.testing.assert_allclose(oracle_grid(edge, 4), [[262.5, 87.5]])


def test_random_is_uniform_in_the_box_and_seeded_by_the_pair() -> None:
    many = _with_truth(np.zeros((4000, 2)))
    guess = random_position(many)
    assert (guess >= (100, 10)).all()
    assert (guess <= (180, 60)).all()
    np.testing.assert_allclose(guess.mean(0), [140, 35], atol=2)
    assert np.array_equal(guess, random_position(many))
    assert not np.array_equal(guess, random_position(dataclasses.replace(many, pair="b-a")))
    anywhere = random_position(dataclasses.replace(many, target_box=None))
    np.testing.assert_allclose(anywhere.mean(0), [150, 50], atol=5)


def test_all_take_a_pair_without_points() -> None:
    nothing = _with_truth(np.zeros((0, 2)))
    assert {guess(nothing).shape for guess in BASELINES.values()} == {(0, 2)}
