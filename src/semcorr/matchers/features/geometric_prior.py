"""A geometric prior: where a point should be, judging by what both images have in common around it.

Mutual nearest neighbours among the features of two images mark the same positions of both, with many errors. An affine
map that fits as many of them as possible (RANSAC: Fischler and Bolles, 1981; then re-weighted least squares) says
about where each point goes. Matches count by how near they are to the described points, so that the map is that of the
object that the points are on and not of a background. Similarities are raised near the expected position, so that of
several positions that look alike the right one is chosen; a map that few matches support raises them little.

Positions are in units of each image's longer side, (x, y), from its upper left corner.
"""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging.geometry import Size, lattice, patch_grid, scale_points
from semcorr.matchers.features.mutual_neighbours import best_buddies

GRID = 32
"""Cells along the longer side of the maps whose mutual nearest neighbours are taken."""

_DRAWS, _SEED = 300, 0
_WIDTH = 0.1
"""How far a match may be from where the map takes it: the standard deviation of the Gaussian that weighs it."""
_FITS = 5
_LARGEST, _LEAST = 2.5, 0.4
"""How much a map may enlarge and shrink in any direction."""
_AROUND = 0.1
"""The standard deviation of the Gaussian around the described points by which matches count."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expected:
    """Where points should be in the target.

    Attributes:
        points: (x, y) in units of the target's longer side.
        support: The share of mutual nearest neighbours that agree with the map, each weighted as for the fit.
    """

    points: Float[Tensor, "points 2"]
    support: float


def coarse(features: Float[Tensor, "dim height width"]) -> Float[Tensor, "dim _rows _columns"]:
    """Return features at most :data:`GRID` cells long, as a query keeps them: each cell of length 1."""
    height, width = features.shape[1:]
    columns, rows = patch_grid((width, height), min(GRID, max(height, width)), 1)
    small = F.interpolate(features[None], size=(rows, columns), mode="bilinear", antialias=True, align_corners=False)
    return F.normalize(small[0], dim=0)


def nearness(points: Float[Tensor, "points 2"], grid: Size, size: Size) -> Float[Tensor, "{grid[1]} {grid[0]}"]:
    """Return how much a match of each cell counts: 1 at a described point, less by a Gaussian of the distance.

    Args:
        points: The described points, (x, y) in units of the source's longer side.
        grid: (columns, rows) of :func:`coarse` features of the source.
        size: (width, height) of the source, in any unit.
    """
    positions = _positions(grid, size, points)
    squared = ((positions[..., None, :] - points) ** 2).sum(dim=-1).amin(dim=-1)
    return torch.exp(-squared / (2 * _AROUND**2))


def expected_points(
    source: Float[Tensor, "dim rows columns"],
    target: Float[Tensor, "dim _ _"],
    near: Float[Tensor, "rows columns"],
    points: Float[Tensor, "points 2"],
    sizes: tuple[Size, Size],
) -> Expected | None:
    """Return where points should be; None where the images have too little in common.

    Args:
        source: Features of the source, from :func:`coarse`.
        target: Features of the target, likewise.
        near: How much a match of each cell of the source counts, from :func:`nearness`.
        points: (x, y) in units of the source's longer side.
        sizes: (width, height) of the source and of the target, in any unit.
    """
    pairs = best_buddies(source, target)
    here, there = (
        _positions((features.shape[2], features.shape[1]), size, points)[cells[:, 1], cells[:, 0]]
        for cells, features, size in zip((pairs.source, pairs.target), (source, target), sizes, strict=True)
    )
    counts = near[pairs.source[:, 1], pairs.source[:, 0]].to(points)
    whole = _ransac(here, there, counts)
    if whole is None:
        return None
    for _ in range(_FITS):
        whole = _fit(here, there, counts * _agreement(here, there, whole))
    support = float((counts * _agreement(here, there, whole)).sum() / counts.sum())
    return Expected(points=_homogeneous(points) @ whole, support=support)


def raise_near(
    cosines: Float[Tensor, "points height width"],
    expected: Float[Tensor, "points 2"],
    size: Size,
    *,
    weight: float,
    width: float,
) -> Float[Tensor, "points height width"]:
    """Return similarities raised by ``weight`` at the expected positions, and less around them, by a Gaussian.

    Args:
        cosines: A map of the whole target for each point.
        expected: (x, y) in units of the target's longer side.
        size: (width, height) of the target, in any unit.
        weight: What is added at the position itself.
        width: The Gaussian's standard deviation, in the same units as positions.
    """
    positions = _positions((cosines.shape[2], cosines.shape[1]), size, cosines)
    squared = ((positions - expected[:, None, None]) ** 2).sum(dim=-1)
    return cosines + weight * torch.exp(-squared / (2 * width**2))


def _positions(grid: Size, size: Size, like: Tensor) -> Float[Tensor, "{grid[1]} {grid[0]} 2"]:
    """The middles of the cells of a grid (columns, rows) over an image, in units of the image's longer side."""
    cells = torch.from_numpy(lattice(grid, 1)).to(like)
    return scale_points(cells, grid, size) / max(size)


def _homogeneous(points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 3"]:
    return F.pad(points, (0, 1), value=1.0)


def _agreement(
    here: Float[Tensor, "pairs 2"], there: Float[Tensor, "pairs 2"], maps: Float[Tensor, "*batch 3 2"]
) -> Float[Tensor, "*batch pairs"]:
    """How well each pair agrees with each map: 1 where the map takes it, less by a Gaussian of the distance."""
    squared = ((_homogeneous(here) @ maps - there) ** 2).sum(dim=-1)
    return torch.exp(-squared / (2 * _WIDTH**2))


def _ransac(
    here: Float[Tensor, "pairs 2"], there: Float[Tensor, "pairs 2"], counts: Float[Tensor, " pairs"]
) -> Float[Tensor, "3 2"] | None:
    """The affine map through three pairs that most pairs agree with, among a fixed number of draws."""
    if len(here) < 3:
        return None
    # The same draws on every device.
    generator = torch.Generator().manual_seed(_SEED)
    draws = torch.randint(len(here), (_DRAWS, 3), generator=generator).to(here.device)
    corners = _homogeneous(here[draws])
    proper = torch.linalg.det(corners).abs() > 1e-3  # three points in a line fix no map
    maps = torch.linalg.solve(corners[proper], there[draws[proper]])
    linear = maps[:, :2]
    stretch = torch.linalg.svdvals(linear)
    # Mirror images are the mirror wrapper's.
    usable = (stretch[:, 0] < _LARGEST) & (stretch[:, 1] > _LEAST) & (torch.linalg.det(linear) > 0)
    maps = maps[usable]
    if not len(maps):
        return None
    best: Tensor = maps[(_agreement(here, there, maps) @ counts).argmax()]
    return best


def _fit(
    here: Float[Tensor, "pairs 2"], there: Float[Tensor, "pairs 2"], weights: Float[Tensor, " pairs"]
) -> Float[Tensor, "3 2"]:
    """The affine map of least weighted squared error."""
    rows = _homogeneous(here)
    weighted = rows.mT * weights
    ridge = 1e-6 * torch.eye(3, dtype=rows.dtype, device=rows.device)  # lest pairs in a line have no solution
    return torch.linalg.solve(weighted @ rows + ridge, weighted @ there)
