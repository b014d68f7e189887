import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from semcorr.errors import PointError, SettingsError
from semcorr.imaging.mls import moving_least_squares

RNG = np.random.default_rng(0)
CONTROLS = RNG.uniform(0, 100, (7, 2))
POINTS = RNG.uniform(-20, 120, (40, 2))


def turn(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, s], [-s, c]])


MAPS = {
    "affine": np.array([[1.3, 0.4], [-0.2, 0.7]]),
    "similarity": 1.7 * turn(40),
    "rigid": turn(-110),
}


@pytest.mark.parametrize(
    ("kind", "fitted"), [(a, b) for a in MAPS for b in MAPS if list(MAPS).index(b) >= list(MAPS).index(a)]
)
def test_a_map_of_the_kind_is_reproduced(kind: str, fitted: str):
    """What is fitted reproduces maps of its own kind and of the narrower ones."""
    shift = np.array([5.0, -9.0])
    moved_points = moving_least_squares(POINTS, CONTROLS, CONTROLS @ MAPS[fitted] + shift, kind=kind)
    np.testing.assert_allclose(moved_points, POINTS @ MAPS[fitted] + shift, atol=1e-9)


def one_point(v: np.ndarray, p: np.ndarray, q: np.ndarray, kind: str, alpha: float, own: np.ndarray) -> np.ndarray:
    """The definition: minimise sum_i w_i |M p_i + T - q_i|^2 over the kind's maps, then apply it to v."""
    w = np.sqrt(own / np.linalg.norm(p - v, axis=1) ** (2 * alpha))
    if kind == "affine":
        design = np.column_stack([p, np.ones(len(p))])
        solved, *_ = np.linalg.lstsq(design * w[:, None], q * w[:, None], rcond=None)
        return np.append(v, 1) @ solved
    if kind == "similarity":
        # Unknowns a, b, s, t of x' = a x - b y + s, y' = b x + a y + t.
        rows = [[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in p]
        solved, *_ = np.linalg.lstsq(
            np.concatenate(rows) * np.repeat(w, 2)[:, None], q.ravel() * np.repeat(w, 2), rcond=None
        )
        a, b, s, t = solved
        return np.array([a * v[0] - b * v[1] + s, b * v[0] + a * v[1] + t])
    # Orthogonal Procrustes by singular values (Kabsch), reflections excluded.
    p0, q0 = np.average(p, axis=0, weights=w**2), np.average(q, axis=0, weights=w**2)
    u, _, vt = np.linalg.svd(((p - p0) * w[:, None] ** 2).T @ (q - q0))
    rotation = u @ np.diag([1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return (v - p0) @ rotation + q0


@pytest.mark.parametrize("kind", list(MAPS))
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_it_is_the_weighted_least_squares_fit_of_every_point(kind: str, alpha: float):
    moved, own = CONTROLS + RNG.normal(0, 8, CONTROLS.shape), RNG.uniform(0.2, 2, len(CONTROLS))
    expected = [one_point(v, CONTROLS, moved, kind, alpha, own) for v in POINTS]
    moved_points = moving_least_squares(POINTS, CONTROLS, moved, kind=kind, alpha=alpha, weights=own)
    np.testing.assert_allclose(moved_points, expected, atol=1e-6)


@given(
    controls=arrays(np.float64, (6, 2), elements=st.integers(0, 50), unique=True),
    moved=arrays(np.float64, (6, 2), elements=st.floats(-100, 100)),
    kind=st.sampled_from(list(MAPS)),
)
def test_controls_go_where_they_go(controls: np.ndarray, moved: np.ndarray, kind: str):
    np.testing.assert_array_equal(moving_least_squares(controls, controls, moved, kind=kind), moved)


@pytest.mark.parametrize("kind", list(MAPS))
def test_one_control_moves_everything(kind: str):
    moved_points = moving_least_squares(POINTS, np.array([[3.0, 4.0]]), np.array([[10.0, 2.0]]), kind=kind)
    np.testing.assert_allclose(moved_points, POINTS + np.array([7, -2]), atol=1e-9)


def test_collinear_controls_fix_a_similarity():
    line = np.array([[0.0, 0], [1, 1], [5, 5]])
    moved_points = moving_least_squares(POINTS, line, line @ MAPS["similarity"])
    np.testing.assert_allclose(moved_points, POINTS @ MAPS["similarity"], atol=1e-7)


def test_a_control_without_weight_is_not_there():
    moved = CONTROLS + RNG.normal(0, 8, CONTROLS.shape)
    weights = np.ones(7)
    weights[[2, 5]] = 0
    rest = weights > 0
    moved_points = moving_least_squares(POINTS, CONTROLS, moved, weights=weights)
    np.testing.assert_allclose(moved_points, moving_least_squares(POINTS, CONTROLS[rest], moved[rest]), atol=1e-9)


def test_points_in_many_parts_are_the_same(monkeypatch: pytest.MonkeyPatch):
    moved = CONTROLS + RNG.normal(0, 8, CONTROLS.shape)
    whole = moving_least_squares(POINTS, CONTROLS, moved)
    monkeypatch.setattr("semcorr.imaging.mls._CHUNK_WEIGHTS", 20)
    np.testing.assert_allclose(moving_least_squares(POINTS, CONTROLS, moved), whole, atol=1e-12)
    assert moving_least_squares(POINTS[:0], CONTROLS, moved).shape == (0, 2)


def test_impossible_arguments_are_refused():
    with pytest.raises(PointError, match=r"one or more controls.*got 0, 0 and 0"):
        moving_least_squares(POINTS, CONTROLS[:0], CONTROLS[:0])
    with pytest.raises(PointError, match="got 7, 6 and 7"):
        moving_least_squares(POINTS, CONTROLS, CONTROLS[:6])
    with pytest.raises(SettingsError, match="alpha to be positive"):
        moving_least_squares(POINTS, CONTROLS, CONTROLS, alpha=0)
