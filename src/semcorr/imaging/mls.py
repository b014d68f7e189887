"""Moving least squares: carry any point by what is known of a few.

Schaefer, McPhail and Warren, 2006, "Image deformation using moving least squares". For every point v the affine map (or
the similarity, or the rigid motion) that takes the controls p to where they went, q, with least squared error is fitted
anew, each control weighted by 1 / |p - v|^(2 alpha).
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from semcorr.errors import PointError, SettingsError

MlsKind = Literal["affine", "similarity", "rigid"]

_CHUNK_NUMBERS = 2**22
"""Weights that exist at once: 32 MB."""
_NEAR = 1e-12
"""A point nearer to a control than this part of the controls' extent lies on it."""
_FLAT = 1e-9
"""Controls whose spread across is less than this part of that along lie on a line: no affine map can be told."""


def moving_least_squares(
    points: Float[np.ndarray, "points 2"],
    controls: Float[np.ndarray, "_ 2"],
    moved: Float[np.ndarray, "_ 2"],
    *,
    kind: MlsKind = "affine",
    alpha: float = 1.0,
    weights: Float[np.ndarray, " _"] | None = None,
) -> Float[np.ndarray, "points 2"]:
    """Return where ``points`` go when ``controls`` go to ``moved``.

    A point on a control goes where that goes. One control moves everything; of controls on a line only similarities can
    be told, and are, whatever ``kind`` asks for beyond them.

    Args:
        points: (x, y), in any unit.
        controls: (x, y), in the same unit.
        moved: where the controls are in the other picture, in its own unit.
        kind: what is fitted around every point.
        alpha: how fast a control's weight falls with its distance.
        weights: a further weight for each control, for instance how sure its match is.

    Raises:
        PointError: there are no controls, or not as many of them, of where they went, and of weights.
        SettingsError: alpha is not positive.
    """
    if not alpha > 0:
        raise SettingsError(f"Expected alpha to be positive, got {alpha}.")
    own = np.ones(len(controls)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(controls) or not len(controls) == len(moved) == len(own) or own.min() < 0 or not own.sum() > 0:
        raise PointError(
            "Expected one or more controls, as many places that they went to, and weights of at least 0, not all 0; "
            f"got {len(controls)}, {len(moved)} and {len(own)}."
        )
    keep = own > 0
    p, q, own = controls[keep].astype(np.float64), moved[keep].astype(np.float64), own[keep]
    asked = np.asarray(points, dtype=np.float64)
    step = max(1, _CHUNK_NUMBERS // len(p))
    parts = [_moved(asked[i : i + step], p, q, kind, alpha, own) for i in range(0, len(asked), step)]
    return np.concatenate(parts) if parts else np.zeros((0, 2))


def _moved(
    v: Float[np.ndarray, "points 2"],
    p: Float[np.ndarray, "controls 2"],
    q: Float[np.ndarray, "controls 2"],
    kind: MlsKind,
    alpha: float,
    own: Float[np.ndarray, " controls"],
) -> Float[np.ndarray, "points 2"]:
    squared = ((v[:, None] - p) ** 2).sum(axis=-1)
    extent = max(float(np.ptp(p, axis=0).max()), 1.0)
    on = squared <= (_NEAR * extent) ** 2
    # Relative to the nearest control, so that no power overflows; the common factor has no effect.
    nearest = np.maximum(squared.min(axis=1, keepdims=True), (_NEAR * extent) ** 2)
    weight = own * (np.maximum(squared, nearest) / nearest) ** -alpha
    total = weight.sum(axis=1, keepdims=True)
    p_mean, q_mean = weight @ p / total, weight @ q / total
    dp, dq = p - p_mean[:, None], q - q_mean[:, None]
    around = v - p_mean
    if kind == "affine":
        result = q_mean + _affine(around, dp, dq, weight)
    else:
        result = q_mean + _similar(around, dp, dq, weight, rigid=kind == "rigid")
    found: Float[np.ndarray, "points 2"] = np.where(on.any(axis=1)[:, None], q[on.argmax(axis=1)], result)
    return found


def _affine(around: np.ndarray, dp: np.ndarray, dq: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(v - p*) (sum w p^T p)^-1 (sum w p^T q): the paper's equation 5."""
    moment = np.einsum("vc,vci,vcj->vij", weight, dp, dp)
    mixed = np.einsum("vc,vci,vcj->vij", weight, dp, dq)
    low, high = np.linalg.eigvalsh(moment).T
    sound = low > _FLAT * high
    result = _similar(around, dp, dq, weight, rigid=False)
    if sound.any():
        solved = np.linalg.solve(moment[sound], mixed[sound])
        result[sound] = np.einsum("vi,vij->vj", around[sound], solved)
    return result


def _similar(around: np.ndarray, dp: np.ndarray, dq: np.ndarray, weight: np.ndarray, *, rigid: bool) -> np.ndarray:
    """The best rotation and scale (equation 6), and without the scale (equation 8), as a complex number."""
    a, b = dp[..., 0] + 1j * dp[..., 1], dq[..., 0] + 1j * dq[..., 1]
    turn = (weight * a.conj() * b).sum(axis=1)
    size = np.abs(turn) if rigid else (weight * np.abs(a) ** 2).sum(axis=1)
    # One control, or all in one place: nothing is turned, everything is shifted.
    factor = np.divide(turn, size, out=np.ones_like(turn), where=size > 0)
    gone = factor * (around[:, 0] + 1j * around[:, 1])
    return np.stack((gone.real, gone.imag), axis=1)
