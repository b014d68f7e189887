"""The toy benchmark's pairs and baselines."""

import numpy as np
import pytest

from semcorr.evaluation.toy import (
    BASELINES,
    random_in_box,
    same_box_position,
    same_position,
    toy_pairs,
)
from semcorr.evaluation.toy_run import Benchmark, Outcome, run_baselines
from semcorr.evaluation.toy_table import build_table
from semcorr.toy.objects import CATEGORIES


@pytest.fixture(scope="module")
def pairs() -> list:
    return toy_pairs("val", sources=3, targets=2, size=64)


def test_every_category_is_equally_there(pairs: list) -> None:
    assert len(pairs) == 4 * 3 * 2
    assert {c: sum(p.category == c for p in pairs) for c in CATEGORIES} == dict.fromkeys(CATEGORIES, 6)


def test_the_published_benchmark_has_at_least_300_pairs() -> None:
    assert len(list(CATEGORIES)) * Benchmark().sources * Benchmark().targets >= 300
    assert Benchmark().split == "test"


def test_no_picture_is_used_twice(pairs: list) -> None:
    sources = {(p.category, p.source_seed) for p in pairs}
    targets = [(p.category, p.target_seed) for p in pairs]
    assert len(targets) == len(set(targets))
    assert not sources & set(targets)


def test_same_position(pairs: list) -> None:
    assert all((same_position(p) == p.source_points).all() for p in pairs)


def test_same_box_position_carries_corners_to_corners(pairs: list) -> None:
    pair = pairs[0]
    x0, y0, x1, y1 = pair.source_box
    corners = np.array([[x0, y0], [x1, y1], [(x0 + x1) / 2, (y0 + y1) / 2]])
    moved = same_box_position(_with_points(pair, corners))
    a0, b0, a1, b1 = pair.box
    assert np.allclose(moved, [[a0, b0], [a1, b1], [(a0 + a1) / 2, (b0 + b1) / 2]])


def _with_points(pair: object, points: np.ndarray) -> object:
    from dataclasses import replace

    return replace(pair, source_points=points, target_points=points, names=("p",) * len(points))  # type: ignore[type-var]


def test_random_stays_in_the_box_and_is_seeded(pairs: list) -> None:
    for pair in pairs:
        guess = random_in_box(pair)
        assert (guess >= pair.box[:2]).all()
        assert (guess <= pair.box[2:]).all()
        assert (guess == random_in_box(pair)).all()


def test_table_of_known_predictions() -> None:
    """The truth scores 1 in every group; a guess far outside scores 0; the lead is their difference."""
    benchmark = Benchmark(split="val", sources=3, targets=2, picture_size=64)
    pairs = benchmark.pairs()
    perfect = Outcome(
        name="truth", predictions=[p.target_points for p in pairs], describe_seconds=[1.0, 3.0], locate_seconds=[2.0]
    )
    lost = Outcome(
        name="lost", predictions=[p.target_points + 1000 for p in pairs], describe_seconds=[], locate_seconds=[]
    )
    rows = build_table(pairs, [perfect, lost, *run_baselines(benchmark)])
    assert [row.name for row in rows] == ["truth", "lost", *BASELINES]
    first, second, *_ = rows
    box = next(row for row in rows if row.name == "same position in the true box")
    assert (first.pck10, first.pck05, first.pck10_per_image, first.interval10) == (1.0, 1.0, 1.0, (1.0, 1.0))
    assert set(first.groups.values()) == {1.0}
    assert (second.pck10, set(second.groups.values())) == (0.0, {0.0})
    assert first.lead == pytest.approx(1 - box.pck10)
    assert first.lead_interval[0] <= first.lead <= first.lead_interval[1]
    assert (first.describe_seconds, first.locate_seconds, second.locate_seconds) == (2.0, 2.0, None)
    assert first.points == sum(len(p.names) for p in pairs)
