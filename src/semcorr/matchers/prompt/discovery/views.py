"""Views of an image under known affine transformations: what a key-point must move with."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from semcorr.matchers.prompt.discovery.settings import DiscoverySettings
from semcorr.matchers.seeds import seeded_generator

Matrix = Float[Tensor, "2 3"]
"""Takes (x, y, 1) of a view to (x, y) of the image, both from -1 to 1 across their frames."""


def draw_view(settings: DiscoverySettings, image_sha256: str, number: int) -> Matrix:
    """Return view ``number`` of an image; view 0 is the image itself. It depends on nothing else but the seed."""
    if number == 0:
        return torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    generator = seeded_generator(f"discover-view|{settings.seed}|{image_sha256}|{number}")
    turn, zoom, across, down = (torch.rand(4, generator=generator) * 2 - 1).tolist()
    angle, scale = math.radians(settings.turn) * turn, 1 + settings.zoom * zoom
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    side = -1.0 if settings.mirror and number % 2 == 0 else 1.0
    return torch.tensor([[cos * side, -sin, settings.shift * across], [sin * side, cos, settings.shift * down]])


def view_of(frame: Float[Tensor, "3 side side"], matrix: Matrix) -> Float[Tensor, "3 side side"]:
    """Return the view of an image in the model frame; beyond its edges is its reflection."""
    grid = F.affine_grid(matrix[None], [1, *frame.shape], align_corners=False)
    return F.grid_sample(frame[None], grid, padding_mode="reflection", align_corners=False)[0]


def maps_in_view(
    maps: Float[Tensor, "images tokens side side"], matrices: Float[Tensor, "images 2 3"]
) -> tuple[Float[Tensor, "images tokens side side"], Bool[Tensor, "images 1 side side"]]:
    """Return the maps of images as their views should have them, and where a view shows its image."""
    grid = F.affine_grid(matrices.to(maps), list(maps.shape), align_corners=False)
    inside = (grid.abs().amax(dim=-1) < 1)[:, None]
    return F.grid_sample(maps, grid, align_corners=False), inside


def points_in_image(
    points: Float[Tensor, "images tokens 2"], matrices: Float[Tensor, "images 2 3"]
) -> Float[Tensor, "images tokens 2"]:
    """Return where points of views are in their images; both as fractions of the frame."""
    centred = points * 2 - 1
    return (torch.einsum("nij,ntj->nti", matrices[:, :, :2], centred) + matrices[:, None, :, 2] + 1) / 2
