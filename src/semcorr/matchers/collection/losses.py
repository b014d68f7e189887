"""The losses that ASIC's network is trained with (Gupta et al., 2023, arXiv 2303.16201), as pure functions.

Weights and the stopped gradients are as in the authors' code, where it says more than the paper. Canonical coordinates
are (x, y), from -1 to 1 across the grid. Not here: the loss of a mask and that of parts, which need a saliency network
and co-segmented parts.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def keypoint_loss(
    source: Float[Tensor, "matches 2"], target: Float[Tensor, "matches 2"], temperature: float
) -> Float[Tensor, ""]:
    """Cross-entropy that canonical coordinates of a pseudo-correspondence are nearer to each other than to the others'.

    The equation of L_KP: with a_k and b_k the coordinates of match k in the two images, and d their distance,
    mean over k of -log softmax_j(-d(a_k, b_j) / temperature)[k] - log softmax_j(-d(a_j, b_k) / temperature)[k]; of the
    first term the gradient reaches a alone, of the second b alone.
    """
    index = torch.arange(len(source), device=source.device)
    to_target = -_distances(source, target.detach()) / temperature
    to_source = -_distances(target, source.detach()) / temperature
    return F.cross_entropy(to_target, index) + F.cross_entropy(to_source, index)


def _distances(first: Float[Tensor, "a 2"], second: Float[Tensor, "b 2"]) -> Float[Tensor, "a b"]:
    """Euclidean distances, whose gradient is finite at 0 too."""
    return ((first[:, None] - second) ** 2).sum(dim=-1).clamp(min=1e-12).sqrt()


def equivariance_loss(
    of_moved: Float[Tensor, "batch 2 height width"],
    moved: Float[Tensor, "batch 2 height width"],
    visible: Float[Tensor, "batch height width"],
) -> Float[Tensor, ""]:
    """How far the coordinates of a moved image are from the moved coordinates of the image.

    The equation of L_Equi: |phi(T I) - sg(T phi(I))| + |sg(phi(T I)) - T phi(I)| with T the transformation and sg a
    stopped gradient, averaged over all cells, where ``visible`` is 0 for what T brings in from outside or is no object.
    """
    difference = (of_moved - moved.detach()).abs() + (moved - of_moved.detach()).abs()
    return (difference * visible[:, None]).mean()


def total_variation(offsets: Float[Tensor, "batch 2 height width"]) -> Float[Tensor, ""]:
    """Mean Huber norm of the differences between neighbouring cells' offsets, along rows plus along columns.

    The equation of L_TV; offsets are the coordinates minus the cell's own position, so that a translation costs
    nothing. Differences are in cells, not in canonical units, so that the loss does not depend on the grid.
    """
    height, width = offsets.shape[2:]
    cells = offsets * offsets.new_tensor([width, height])[:, None, None] / 2
    down, across = cells[:, :, 1:] - cells[:, :, :-1], cells[..., 1:] - cells[..., :-1]
    return F.huber_loss(down, torch.zeros_like(down)) + F.huber_loss(across, torch.zeros_like(across))


def reconstruction_loss(
    canonical: Float[Tensor, "dim rows columns"],
    coordinates: Float[Tensor, "batch 2 height width"],
    features: Float[Tensor, "batch dim height width"],
    inside: Bool[Tensor, "batch height width"],
) -> Float[Tensor, ""]:
    """How much the canonical grid's features, read at the coordinates, differ from the image's; object cells alone.

    The equation of L_Recon with 1 - cosine of the frozen features in place of a perceptual distance of colours: the
    grid's entries are free and are trained along.
    """
    read = F.grid_sample(
        canonical.expand(len(coordinates), -1, -1, -1),
        coordinates.permute(0, 2, 3, 1),
        padding_mode="border",
        align_corners=False,
    )
    different = 1 - F.cosine_similarity(read, features, dim=1)
    return (different * inside).sum() / inside.sum().clamp(min=1)
