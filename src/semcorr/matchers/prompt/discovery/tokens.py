"""The tokens whose attention shows key-points: losses while they are optimized, and the choice of the best."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging import heatmaps
from semcorr.matchers.prompt.discovery.views import maps_in_view


def locality_losses(maps: Float[Tensor, "images tokens side side"], sigma: float) -> Float[Tensor, " tokens"]:
    """Mean squared error of each token's maps against a Gaussian of peak 1 around their own peak.

    StableKeypoints (arXiv 2312.00065), localization loss. ``sigma`` is in pixels of the maps.
    """
    side = maps.shape[-1]
    target = heatmaps.gaussian(heatmaps.peak(maps.detach()), sigma, (side, side))
    return ((maps - target) ** 2).mean(dim=(0, 2, 3))


def equivariance_losses(
    maps: Float[Tensor, "images tokens side side"],
    of_views: Float[Tensor, "images tokens side side"],
    matrices: Float[Tensor, "images 2 3"],
) -> Float[Tensor, " tokens"]:
    """Mean squared error of each token's maps of views against those of the images, seen as the views see them.

    StableKeypoints (arXiv 2312.00065), equivariance loss. What a view shows beyond its image does not count.
    """
    expected, inside = maps_in_view(maps, matrices)
    return (((of_views - expected) ** 2) * inside).mean(dim=(0, 2, 3))


def most_local(losses: Float[Tensor, " tokens"], count: int) -> list[int]:
    """Return the ``count`` tokens of the least loss."""
    return losses.topk(min(count, len(losses)), largest=False).indices.tolist()


def choose_spread(
    points: Float[Tensor, "images tokens 2"],
    deviations: Float[Tensor, " tokens"],
    count: int,
    candidates: Sequence[int],
) -> list[int]:
    """Choose tokens that lie far from each other, by farthest-point choice.

    The first is the candidate of the least deviation; each next is the one whose least mean distance from those chosen
    is the largest.

    Args:
        points: Of each token in each image, in any unit.
        deviations: Of each token, such as how far its points move against the image under views of it.
        count: How many are chosen.
        candidates: The tokens to choose from, at least ``count``.
    """
    apart = torch.stack([(points - points[:, token, None]).norm(dim=-1).mean(dim=0) for token in candidates])
    chosen = [min(range(len(candidates)), key=lambda at: float(deviations[candidates[at]]))]
    while len(chosen) < count:
        rest = [at for at in range(len(candidates)) if at not in chosen]
        chosen.append(max(rest, key=lambda at: min(float(apart[one, candidates[at]]) for one in chosen)))
    return [candidates[at] for at in chosen]
