"""Baselines: guesses that need no model, which any method should beat.

Each takes a pair's record (with the truth, which no method is given) and returns points in pixels of the target.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from semcorr.errors import RunError
from semcorr.evaluation.runs.records import PairRecord

Guess = Callable[[PairRecord], Float[np.ndarray, "points 2"]]


def same_position(pair: PairRecord) -> Float[np.ndarray, "points 2"]:
    """The same relative position in the image."""
    return pair.source_points / np.array(pair.source_size) * np.array(pair.target_size)


def same_box_position(pair: PairRecord) -> Float[np.ndarray, "points 2"]:
    """The same relative position in the target's true box.

    Raises:
        RunError: The data set has no boxes.
    """
    if pair.source_box is None or pair.target_box is None:
        raise RunError("same-box-position needs boxes, and this data set has none. Judge by same-position instead.")
    (a0, b0, a1, b1), (x0, y0, x1, y1) = pair.source_box, pair.target_box
    return (pair.source_points - (a0, b0)) / (a1 - a0, b1 - b0) * (x1 - x0, y1 - y0) + (x0, y0)


def random_position(pair: PairRecord) -> Float[np.ndarray, "points 2"]:
    """Uniform in the target's true box, or in the whole image if there are no boxes; seeded by the pair."""
    x0, y0, x1, y1 = pair.target_box or (0, 0, *pair.target_size)
    seed = int.from_bytes(hashlib.sha256(pair.pair.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).uniform((x0, y0), (x1, y1), size=(len(pair.truth), 2))


def oracle_grid(pair: PairRecord, cells: int = 16) -> Float[np.ndarray, "points 2"]:
    """The centre of the cell that holds the truth: the best result of a heat map of cells x cells over the image."""
    cell = np.array(pair.target_size) / cells
    return (np.clip(np.floor(pair.truth / cell), 0, cells - 1) + 0.5) * cell


def guessed(record: PairRecord, guess: Guess) -> PairRecord:
    """The pair with a guess as its prediction: without time and confidence, and never failed.

    Raises:
        RunError: As the guess.
    """
    return replace(
        record,
        predicted=guess(record),
        confidence=np.zeros(len(record.truth)),
        layers={},
        rounds={},
        crops={},
        describe_seconds=0.0,
        locate_seconds=0.0,
        error="",
    )


BASELINES: Mapping[str, Guess] = {
    "same-position": same_position,
    "same-box-position": same_box_position,
    "random": random_position,
    "oracle-grid": oracle_grid,
}
"""Every baseline by the name that ``--method`` takes."""
