"""Moving least squares: carry any point by the known displacements of a few.

Schaefer, McPhail and Warren, 2006, "Image deformation using moving least squares". For every point v the affine map (or
the similarity, or the rigid motion) that takes the controls p to where they went, q, with least squared error is fitted
anew, each control weighted by 1 / |p - v|^(2 alpha).
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from semcorr.errors import PointError, SettingsError

MlsKind = Literal["affine", "similarity", "rigid"]

_CHUNK_WEIGHTS = 2**22
"""Weights that exist at once: 32 MB."""
_NEAR = 1e-12
"""A point nearer to a control than this fraction of the controls' extent lies on it."""
_FLAT = 1e-9
"""Controls whose second variance is below this fraction of the first are collinear and fix no affine map."""


def moving_least_squares(
    points: Float[np.ndarray, "points 2"],
    controls: Float[np.ndarray, "_ 2"],
    moved: Float[np.ndarray, "_ 2"],
    *,
    kind: MlsKind = "affine",
    alpha: float = 1.0,
    weights: Float[np.ndarray, " _"] | None = None,
) -> Float[np.ndarray, "points 2"]:
    """Return the positions of ``points`` under the deformation that takes ``controls`` to ``moved``.

    A point on a control moves with it. A single control translates everything; collinear controls fix only a
    similarity, which is then fitted even if ``kind`` is ``"affine"``.

    Args:
        points: (x, y), in any unit.
        controls: (x, y), in the same unit.
        moved: Positions of the controls in the other image, in its own unit.
        kind: The map that is fitted around every point.
        alpha: How fast the weight of a control falls with its distance.
        weights: A further weight for each control, such as the confidence of its match.

    Raises:
        PointError: There are no controls, or the numbers of controls, moved controls and weights differ.
        SettingsError: alpha is not positive.
    """
    if not alpha > 0:
        raise SettingsError(f"Expected alpha to be positive, got {alpha}.")
    own = np.ones(len(controls)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(controls) or not len(controls) == len(moved) == len(own) or own.min() < 0 or not own.sum() > 0:
        raise PointError(
            "Expected one or more controls, as many moved controls, and weights of at least 0, not all 0; "
            f"got {len(controls)}, {len(moved)} and {len(own)}."
        )
    keep = own > 0
    p, q, own = controls[keep].astype(np.float64), moved[keep].astype(np.float64), own[keep]
    queries = np.asarray(points, dtype=np.float64)
    step = max(1, _CHUNK_WEIGHTS // len(p))
    chunks = [_moved(queries[i : i + step], p, q, kind, alpha, own) for i in range(0, len(queries), step)]
    return np.concatenate(chunks) if chunks else np.zeros((0, 2))


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
    moved: Float[np.ndarray, "points 2"] = np.where(on.any(axis=1)[:, None], q[on.argmax(axis=1)], result)
    return moved


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
    """Return the best rotation and scale (equation 6), or rotation alone (equation 8), as a complex number."""
    a, b = dp[..., 0] + 1j * dp[..., 1], dq[..., 0] + 1j * dq[..., 1]
    turn = (weight * a.conj() * b).sum(axis=1)
    size = np.abs(turn) if rigid else (weight * np.abs(a) ** 2).sum(axis=1)
    # One control, or all at the same position: a translation.
    factor = np.divide(turn, size, out=np.ones_like(turn), where=size > 0)
    product = factor * (around[:, 0] + 1j * around[:, 1])
    return np.stack((product.real, product.imag), axis=1)
