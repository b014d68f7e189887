"""A start in closed form: the token whose attention is nearest to the target, all other tokens held fixed.

With frozen queries a position's score is linear in the token's embedding, and a softmax over tokens gives the target
share p where the score is logit(p) plus the log-sum-exp of the other tokens' scores. So one linear least-squares
problem over all crops, layers, heads and positions gives the token; its matrix is the same for all points and rounds.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.attention_reader import AttentionReader

_LOWEST = -8.0
"""Logits below this stand for no attention at all: how far below must not dominate the fit."""

_RIDGE = 1e-3
"""Added to the diagonal, as a fraction of its mean: some directions of the embedding reach no key."""


@torch.no_grad()
def solve_token(
    reader: AttentionReader,
    crops: Sequence[Crop],
    queries: Sequence[Mapping[str, Float[Tensor, "heads _height _width _dim"]]],
    points: Sequence[Float[Tensor, "2"]],
    embeddings: Float[Tensor, "rows tokens dim"],
) -> Float[Tensor, "rows tokens dim"]:
    """Return the embeddings with the token that is read replaced by the solution for each row's point.

    Args:
        reader: The model and settings.
        crops: Crops of the source image.
        queries: The frozen queries of each crop, by layer.
        points: Points of the model frame, one for each row. In a crop that does not contain it, a point's target is
            the tail of its Gaussian.
        embeddings: Random starts.
    """
    token, layers = reader.settings.token, reader.layers
    dim = embeddings.shape[-1]
    others = torch.cat([embeddings[:, :token], embeddings[:, token + 1 :]], dim=1)
    keys = reader.model.keys(others, layers)
    # What each dimension of an embedding adds to the key: keys are linear in the context.
    basis = reader.model.keys(torch.eye(dim)[None], layers)
    matrix = torch.zeros(dim, dim, dtype=torch.float64)
    right = torch.zeros(dim, len(embeddings), dtype=torch.float64)
    for layer in layers:
        heads = reader.heads[layer.name]
        adds = basis[layer.name][0, heads]
        count, _, size = adds.shape
        inner, product = adds.new_zeros(count, size, size), adds.new_zeros(count, size, len(embeddings))
        for crop, crop_queries in zip(crops, queries, strict=True):
            query = crop_queries[layer.name][heads]
            height, width = query.shape[1:3]
            centres = torch.stack([crop.to_crop(point, reader.resolution) for point in points])
            target = _logits(centres / reader.resolution, reader.settings.sigma, (width, height)).to(query)
            flat = query.flatten(1, 2)
            scores = torch.einsum("hpd,rhtd->hprt", flat, keys[layer.name][:, heads])
            inner += flat.mT @ flat
            product += flat.mT @ (scores.logsumexp(dim=-1) + target.flatten(1).T)
        matrix += (adds @ inner @ adds.mT).sum(dim=0).double().cpu()
        right += (adds @ product).sum(dim=0).double().cpu()
    matrix.diagonal().add_(_RIDGE * matrix.diagonal().mean())
    solved = embeddings.clone()
    solved[:, token] = torch.linalg.solve(matrix, right).T.to(solved)
    return solved


def _logits(
    centres: Float[Tensor, "rows 2"], sigma: float, size: tuple[int, int]
) -> Float[Tensor, "rows height width"]:
    """Logits of the target Gaussian at the middles of a map's cells.

    ``centres`` and ``sigma`` are fractions of the map's side.
    """
    # The logit of a point in the very middle of a cell would be infinite.
    lowest = torch.tensor(_LOWEST).sigmoid().item()
    width = size[0]
    return torch.logit(heatmaps.gaussian(centres.float() * width, sigma * width, size), eps=lowest)
