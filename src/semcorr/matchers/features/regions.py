"""Regions by features: a cell of the target takes its label from the most similar labelled cells of the examples.

Label propagation, as it is known from video (Jabri et al., 2020, "Space-Time Correspondence as a Contrastive Random
Walk"; with DIFT's features Tang et al., 2023): the nearest cells vote, weighted by a softmax over their cosines. A
cell's label is not one but the shares of its area, so that parts smaller than a cell count too.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import QueryError
from semcorr.imaging.label_map import LabelMap
from semcorr.matchers.features.cosine import unit
from semcorr.matchers.regions.examples import one_hot
from semcorr.matchers.regions.results import RegionQuery
from semcorr.matchers.regions.settings import RegionSettings

_CHUNK_NUMBERS = 2**24
"""Similarities that exist at once: 64 MB."""


def label_shares(
    label_map: LabelMap, labels: Sequence[int], features: Float[Tensor, "dim height width"], grid: int
) -> Float[Tensor, "cells labels_and_background"]:
    """Return the share of the background and of each of ``labels`` in the area of every cell, row by row.

    Of a cell that is ignored in part, shares are those of the rest; of one that is all ignored they are 0.

    Args:
        label_map: The regions of the image whose features these are.
        labels: Without the background's 0.
        features: They cover the whole image.
        grid: Cells along the longer side, as for :func:`region_scores`.
    """
    masks = torch.from_numpy(one_hot(label_map, labels))
    shares = F.adaptive_avg_pool2d(masks.float(), _grid_of(features, grid)).flatten(1).T
    if label_map.ignored:
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)
    return shares


def described_examples(query: RegionQuery, dim: int, grid: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return the features of each example of a query, and what :func:`label_shares` returned for it.

    Args:
        query: What ``describe_regions`` returned, perhaps read from a file.
        dim: The features' length.
        grid: Cells along the longer side.

    Raises:
        QueryError: It holds something else.
    """
    known, shares = [], []
    for number in range(len(query.image_sha256)):
        features, own = (query.tensors.get(f"{name}.{number}", np.zeros(0)) for name in ("features", "shares"))
        fits = features.dtype == own.dtype == np.float32 and features.ndim == 3 and len(features) == dim
        if fits and features.size:
            known.append(torch.from_numpy(features.copy()))
            shares.append(torch.from_numpy(own.copy()))
            fits = own.shape == (math.prod(_grid_of(known[-1], grid)), 1 + len(query.names))
        if not (fits and features.size):
            raise QueryError(
                f"The query's example {number + 1}: expected features of length {dim}, and the shares of "
                f"{1 + len(query.names)} labels in each of their cells. Describe the regions again."
            )
    return known, shares


def region_scores(
    examples: Sequence[Float[Tensor, "dim _h _w"]],
    shares: Sequence[Float[Tensor, "_cells labels"]],
    target: Float[Tensor, "dim _height _width"],
    settings: RegionSettings,
) -> Float[Tensor, "labels _rows _columns"]:
    """Return the score of the background and each label in every cell of the target; they add up to 1.

    Args:
        examples: The features of each example.
        shares: What :func:`label_shares` returns for it.
        target: The target's features.
        settings: Grid, neighbours and temperature.
    """
    known = torch.cat([_vectors(features.to(target), settings.grid) for features in examples])
    known_shares = torch.cat([one.to(target) for one in shares])
    labelled = known_shares.sum(dim=1) > 0  # the others are ignored
    known, known_shares = known[labelled], known_shares[labelled]
    count = min(settings.neighbours * len(examples), len(known))
    scores = []
    for some in _vectors(target, settings.grid).split(max(1, _CHUNK_NUMBERS // len(known))):
        cosines, index = (some @ known.T).topk(count, dim=1)
        weights = torch.softmax(cosines / settings.temperature, dim=1)
        scores.append(torch.einsum("cn,cnl->cl", weights, known_shares[index]))
    return torch.cat(scores).T.reshape(-1, *_grid_of(target, settings.grid))


def _vectors(features: Float[Tensor, "dim height width"], grid: int) -> Float[Tensor, "cells dim"]:
    """The features of every cell, of length 1, row by row."""
    size = _grid_of(features, grid)
    if size != tuple(features.shape[1:]):
        features = F.interpolate(features[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
    return unit(features.flatten(1).T)


def _grid_of(features: Float[Tensor, "dim height width"], grid: int) -> tuple[int, int]:
    """Rows and columns in the proportions of the features' own map, with ``grid`` cells along the longer side."""
    height, width = features.shape[1:]
    scale = grid / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
