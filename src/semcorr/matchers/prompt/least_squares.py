"""A start in closed form: the token whose attention is nearest to the wanted one, all other tokens held fixed.

With frozen queries a position's score is linear in the token's embedding, and a softmax over tokens gives the wanted
share p where the score is logit(p) plus the log-sum-exp of the other tokens' scores. So one linear least-squares
problem over all crops, layers, heads and positions gives the token; its matrix is the same for all points and rounds.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.frozen_queries import FrozenCrops

_LOWEST = -8.0
"""Logits below this stand for no attention at all: how far below does not matter, and must not rule the fit."""

_RIDGE = 1e-3
"""Added to the diagonal, as a part of its mean: some directions of the embedding reach no key."""


@torch.no_grad()
def solve_token(
    reader: AttentionReader,
    shared: FrozenCrops,
    points: Sequence[Float[Tensor, "2"]],
    embeddings: Float[Tensor, "rows tokens dim"],
) -> Float[Tensor, "rows tokens dim"]:
    """Return the embeddings with the token that is read replaced by the solution for each row's point.

    ``points`` are in the model frame, one a row. A point outside a crop wants no attention there but its Gaussian's
    tail.
    """
    token, layers = reader.settings.token, reader.layers
    dim = embeddings.shape[-1]
    others = torch.cat([embeddings[:, :token], embeddings[:, token + 1 :]], dim=1)
    keys = reader.model.keys(others, layers)
    # What every number of an embedding adds to the key: keys are linear in the context.
    basis = reader.model.keys(torch.eye(dim)[None], layers)
    matrix = torch.zeros(dim, dim, dtype=torch.float64)
    right = torch.zeros(dim, len(embeddings), dtype=torch.float64)
    for layer in layers:
        heads = reader.heads[layer.name]
        adds = basis[layer.name][0, heads]
        count, _, size = adds.shape
        inner, asked = adds.new_zeros(count, size, size), adds.new_zeros(count, size, len(embeddings))
        for crop, queries in zip(shared.crops, shared.queries, strict=True):
            query = queries[layer.name][heads]
            height, width = query.shape[1:3]
            centres = torch.stack([crop.to_crop(point, reader.resolution) for point in points])
            wanted = _logits(centres / reader.resolution, reader.settings.sigma, (width, height)).to(query)
            flat = query.flatten(1, 2)
            scores = torch.einsum("hpd,rhtd->hprt", flat, keys[layer.name][:, heads])
            inner += flat.mT @ flat
            asked += flat.mT @ (scores.logsumexp(dim=-1) + wanted.flatten(1).T)
        matrix += (adds @ inner @ adds.mT).sum(dim=0).double().cpu()
        right += (adds @ asked).sum(dim=0).double().cpu()
    matrix.diagonal().add_(_RIDGE * matrix.diagonal().mean())
    solved = embeddings.clone()
    solved[:, token] = torch.linalg.solve(matrix, right).T.to(solved)
    return solved


def _logits(
    centres: Float[Tensor, "rows 2"], sigma: float, size: tuple[int, int]
) -> Float[Tensor, "rows height width"]:
    """Logits of the target Gaussian at the middles of a map's cells; ``centres`` and ``sigma`` in parts of its side."""
    # A point in the very middle of a cell would want an infinite score.
    lowest = torch.tensor(_LOWEST).sigmoid().item()
    width = size[0]
    return torch.logit(heatmaps.gaussian(centres.float() * width, sigma * width, size), eps=lowest)
