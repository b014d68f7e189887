"""A start in closed form: the token whose attention is nearest to the target, all other tokens held fixed.

With frozen queries a position's score is linear in the token's embedding, and a softmax over tokens gives the target
share p where the score is logit(p) plus the log-sum-exp of the other tokens' scores. So one linear least-squares
problem over all crops, layers, heads and positions gives the token; its matrix is the same for all points and rounds.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.attention_targets import AttentionTargets

_LOWEST = -8.0
"""Logits below this stand for no attention at all: how far below must not dominate the fit."""

_RIDGE = 1e-3
"""Added to the diagonal, as a fraction of its mean: some directions of the embedding reach no key."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenEquations:
    """Normal equations of one image, in float64 on the CPU: those of several images add up.

    Attributes:
        matrix: The same for all rows.
        right: A column for each row.
    """

    matrix: Float[Tensor, "dim dim"]
    right: Float[Tensor, "dim rows"]


@torch.no_grad()
def token_equations(
    reader: AttentionReader,
    crops: Sequence[Crop],
    queries: Sequence[Mapping[str, Float[Tensor, "heads _height _width _dim"]]],
    targets: AttentionTargets,
    points: Sequence[int],
    embeddings: Float[Tensor, "rows tokens dim"],
) -> TokenEquations:
    """Return the equations of the token that is read, for each row's point.

    Args:
        reader: The model and settings.
        crops: Crops of the source image.
        queries: The frozen queries of each crop, by layer.
        targets: Where attention should be in the image. In a crop that does not contain it, a point's target is the
            tail of its Gaussian.
        points: The point of each row.
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
    # The logit of a point in the very middle of a cell would be infinite.
    lowest = torch.tensor(_LOWEST).sigmoid().item()
    for layer in layers:
        heads = reader.heads[layer.name]
        adds = basis[layer.name][0, heads]
        count, _, size = adds.shape
        inner, product = adds.new_zeros(count, size, size), adds.new_zeros(count, size, len(embeddings))
        for crop, crop_queries in zip(crops, queries, strict=True):
            query = crop_queries[layer.name][heads]
            height, width = query.shape[1:3]
            target = torch.logit(targets.cells(points, crop, (width, height)), eps=lowest).to(query)
            flat = query.flatten(1, 2)
            scores = torch.einsum("hpd,rhtd->hprt", flat, keys[layer.name][:, heads])
            inner += flat.mT @ flat
            product += flat.mT @ (scores.logsumexp(dim=-1) + target.flatten(1).T)
        matrix += (adds @ inner @ adds.mT).sum(dim=0).double().cpu()
        right += (adds @ product).sum(dim=0).double().cpu()
    return TokenEquations(matrix=matrix, right=right)


def solved(
    embeddings: Float[Tensor, "rows tokens dim"], token: int, images: Sequence[tuple[Sequence[int], TokenEquations]]
) -> Float[Tensor, "rows tokens dim"]:
    """Return the embeddings with the token that is read replaced by the solution over all images that show its point.

    Args:
        embeddings: Random starts.
        token: The token that is read.
        images: For each image, the rows whose points it shows, and its equations.
    """
    result = embeddings.clone()
    showing: dict[tuple[int, ...], list[int]] = {}
    for row in range(len(embeddings)):
        showing.setdefault(tuple(n for n, (rows, _) in enumerate(images) if row in rows), []).append(row)
    for numbers, rows in showing.items():
        matrix = sum(images[number][1].matrix for number in numbers[1:]) + images[numbers[0]][1].matrix
        right = sum(_columns(*images[number], rows) for number in numbers[1:]) + _columns(*images[numbers[0]], rows)
        matrix.diagonal().add_(_RIDGE * matrix.diagonal().mean())
        result[rows, token] = torch.linalg.solve(matrix, right).T.to(result)
    return result


def _columns(known: Sequence[int], equations: TokenEquations, rows: Sequence[int]) -> Float[Tensor, "dim rows"]:
    return equations.right[:, [known.index(row) for row in rows]]
