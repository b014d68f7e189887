"""Pseudo-correspondences of a collection: mutual nearest neighbours among frozen features, and what they say."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from semcorr.matchers.features.mutual_neighbours import best_buddies

_NEAR, _ALIKE = 1.5, 2.5
"""In cells: matches this near to each other in one image are matched alike if they are this near in the other."""


@dataclass(frozen=True, kw_only=True)
class PseudoMatches:
    """The mutual neighbours of two images, as numbers of cells in reading order.

    Attributes:
        images: The two images' numbers.
        source, target: Cells.
    """

    images: tuple[int, int]
    source: Int[Tensor, " matches"]
    target: Int[Tensor, " matches"]


def pseudo_matches(
    first: int, second: int, features: Float[Tensor, "images channels grid grid"], *, consistent: int
) -> PseudoMatches:
    """Return the mutual nearest neighbours of two images that count.

    Args:
        first: An image's number.
        second: Another's.
        features: Of all images.
        consistent: The least :func:`consistency`; ASIC has no such condition, which is 0.
    """
    buddies = best_buddies(features[first], features[second])
    keep = consistency(buddies.source, buddies.target) >= consistent
    column, row = torch.stack([buddies.source, buddies.target])[:, keep].cpu().unbind(dim=2)
    source, target = row * features.shape[-1] + column
    return PseudoMatches(images=(first, second), source=source, target=target)


def consistency(source: Int[Tensor, "matches 2"], target: Int[Tensor, "matches 2"]) -> Int[Tensor, " matches"]:
    """Return how many neighbours of each match are matched to near where it is; cells are (column, row)."""
    near = torch.cdist(source.float(), source.float()) <= _NEAR
    alike = torch.cdist(target.float(), target.float()) <= _ALIKE
    return (near & alike).sum(dim=1) - 1  # a match is near itself


def shares(matches: list[PseudoMatches], images: int, grid: int) -> Float[Tensor, "images {grid} {grid}"]:
    """Return, for each cell of each image, in which share of the other images it has a mutual neighbour.

    Averaged over 3 x 3 cells: parts that all images have are where many cells have many.
    """
    counts = torch.zeros(images, grid * grid)
    for one in matches:
        for image, cells in zip(one.images, (one.source, one.target), strict=True):
            counts[image] += torch.bincount(cells, minlength=grid * grid)
    around = F.pad(counts.view(images, 1, grid, grid) / max(1, images - 1), (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(around, 3, stride=1)[:, 0]


def foreground(share: Float[Tensor, "images grid grid"], fraction: float) -> Bool[Tensor, "images grid grid"]:
    """Return the cells whose share is at least a fraction of the image's largest."""
    return share >= fraction * share.amax(dim=(1, 2), keepdim=True)
