"""Key-point average precision (KAP): whether whole heat maps tell a key-point from all else in the target.

Mariotti et al., *Improving Semantic Correspondence with Viewpoint-Guided Spherical Maps* (CVPR 2024): every key-point
of the source gives a positive sample, the largest value of its map within alpha times the size of the true point, and a
negative one, the largest value elsewhere. A key-point that the target does not show gives a negative sample alone, the
largest value of all. KAP is the average precision of these samples. So a map with a second peak, on the other paw or
where nothing is to be predicted, costs something also where its highest peak is right.

Values of a pair are scaled to 0 to 1 together, and the cell nearest to the true point is always within, however coarse
the map is, as in the code of that publication (VICO-UoE/SphericalMaps), which pools the samples of a category. The code
of Jamais Vu (VICO-UoE/JamaisVu) takes the mean over pairs too, does without the nearest cell, and returns a positive
sample for key-points that the target does not show as well; neither is done here.
"""

import numpy as np
from jaxtyping import Float

from semcorr.evaluation.metrics.pck import is_correct

Samples = tuple[Float[np.ndarray, "_ alphas"], Float[np.ndarray, "_ alphas"]]
"""Positive and negative values of points at every alpha; NaN where there is none."""


def samples(
    maps: Float[np.ndarray, "points height width"],
    truth: Float[np.ndarray, "points 2"],
    size: tuple[int, int],
    scale: Float[np.ndarray, " 2"],
    threshold: float,
    alphas: tuple[float, ...],
) -> Samples:
    """The samples of a pair.

    Args:
        maps: The heat map of every key-point of the source, each over the whole target.
        truth: The true points in pixels of the target; NaN for those that it does not show.
        size: (width, height) of the target in pixels.
        scale: The factors for x and y that bring the target's pixels into the protocol's frame.
        threshold: The size that alpha is multiplied by, in pixels of that frame.
        alphas: The fractions.
    """
    height, width = maps.shape[1:]
    columns, rows = (np.arange(width) + 0.5) * size[0] / width, (np.arange(height) + 0.5) * size[1] / height
    centres = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(1, -1, 2)
    distances = np.linalg.norm((centres - truth[:, None]) * scale, axis=2)
    nearest = distances == distances.min(axis=1, keepdims=True)
    errors = distances / threshold if threshold > 0 else np.full_like(distances, np.inf)
    values = maps.reshape(len(maps), -1).astype(np.float64)
    values -= values.min(initial=np.inf)
    values /= max(values.max(initial=0.0), np.finfo(np.float64).tiny)
    inside = [is_correct(errors, alpha) | nearest for alpha in alphas]
    positive = np.stack([np.where(within, values, -np.inf).max(axis=1) for within in inside], axis=1)
    negative = np.stack([np.where(within, -np.inf, values).max(axis=1) for within in inside], axis=1)
    return _known(positive), _known(negative)


def _known(values: Float[np.ndarray, "points alphas"]) -> Float[np.ndarray, "points alphas"]:
    return np.where(np.isfinite(values), values, np.nan)


def average_precision(positive: Float[np.ndarray, " _"], negative: Float[np.ndarray, " _"]) -> float:
    """The sum over thresholds of the precision times what recall gains there; equal values share a threshold.

    NaN values are left out; NaN where no positive one is left.
    """
    positive, negative = positive[~np.isnan(positive)], negative[~np.isnan(negative)]
    if not len(positive):
        return np.nan
    values, index = np.unique(-np.concatenate([positive, negative]), return_inverse=True)
    every = np.bincount(index, minlength=len(values)).cumsum()
    gained = np.bincount(index[: len(positive)], minlength=len(values))
    return float((gained.cumsum() / every) @ gained / len(positive))
