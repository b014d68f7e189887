"""A geometric prior: where points should be, judging by what two images have in common around them.

Cells of the source near the described points, and the cells of the target that are their mutual nearest neighbours by
features, mark the same positions of both, with many errors. An affine map that fits as many of them as possible
(RANSAC: Fischler and Bolles, 1981; then re-weighted least squares) says about where each point goes. Similarities are
raised near there, so that of several positions that look alike the right one is chosen.

One length says what is near: a fraction of the points' extent, so that the matches are those of the object that the
points are on, and not of a background that stays where it is. Positions are in units of each image's longer side,
(x, y), from its upper left corner.
"""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from semcorr.imaging.geometry import Size, lattice, scale_points

_REACH = 0.15
"""What is near, as a fraction of the extent of the described points."""
_CUT = 3.0
"""Cells farther from every point than so many times the reach do not count."""
_DRAWS, _SEED = 300, 0
_FITS = 5
_LARGEST, _LEAST = 2.5, 0.4
"""How much a map may enlarge and shrink in any direction."""
_CHUNK_NUMBERS = 2**24
"""Similarities that exist at once: 64 MB."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What the prior needs of a source.

    Attributes:
        features: Of the source or of a part of it, each cell of length 1.
        positions: Of the cells' middles.
        near: How much a match of each cell counts: 1 at a described point, less by a Gaussian of the distance.
        reach: What is near.
    """

    features: Float[Tensor, "dim rows columns"]
    positions: Float[Tensor, "rows columns 2"]
    near: Float[Tensor, "rows columns"]
    reach: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """An affine map from the source to the target.

    Attributes:
        map: A point (x, y, 1) times it is the point in the target.
        share: Of all cells near the described points, the share that has a match which agrees with the map, from 0 to
            1; cells and agreement count by Gaussians.
        reach: What is near.
    """

    map: Float[Tensor, "3 2"]
    share: float
    reach: float

    def expected(self, points: Float[Tensor, "points 2"]) -> Float[Tensor, "points 2"]:
        """Return where points of the source should be in the target."""
        return moved(points, self.map)


def moved(points: Float[Tensor, "points 2"], map_: Float[Tensor, "3 2"]) -> Float[Tensor, "points 2"]:
    """Return points under an affine map."""
    return _homogeneous(points) @ map_


def extent(points: Float[Tensor, "points 2"]) -> float:
    """Return the largest distance between two points; of one or two points it would say little, and is that of images.

    In units of the image's longer side.
    """
    return float(torch.cdist(points, points).max()) if len(points) > 2 else 1.0


def reach_of(points: Float[Tensor, "points 2"]) -> float:
    """Return what is near these points."""
    return _REACH * max(extent(points), 1e-3)


def nearness(
    positions: Float[Tensor, "rows columns 2"], points: Float[Tensor, "points 2"], reach: float
) -> Float[Tensor, "rows columns"]:
    """Return how much a match at each position counts: a Gaussian of the distance to the nearest described point."""
    squared = torch.cdist(positions.flatten(0, 1), points).amin(dim=1).unflatten(0, positions.shape[:2]) ** 2
    near = torch.exp(-squared / (2 * reach**2))
    return torch.where(squared <= (_CUT * reach) ** 2, near, 0.0)


def cell_positions(grid: Size, size: Size, like: Tensor) -> Float[Tensor, "{grid[1]} {grid[0]} 2"]:
    """Return the middles of the cells of a grid (columns, rows) over an image of ``size`` (width, height)."""
    return scale_points(torch.from_numpy(lattice(grid, 1)).to(like), grid, size) / max(size)


def fit(
    source: Source, target: Float[Tensor, "dim rows columns"], positions: Float[Tensor, "rows columns 2"]
) -> Fitted | None:
    """Return the map that most mutual matches agree with; None where the images have too little in common.

    Args:
        source: What is known of the source.
        target: Features of the target, each cell of length 1.
        positions: Of the target's cells.
    """
    cells, matched = _mutual_matches(source, target)
    here, there = source.positions.flatten(0, 1)[cells], positions.flatten(0, 1)[matched]
    counts = source.near.flatten()[cells]
    fitted = _ransac(here, there, counts, source.reach)
    if fitted is None:
        return None
    for _ in range(_FITS):
        fitted = _least_squares(here, there, counts * _agreement(here, there, fitted, source.reach))
    agreeing = counts @ _agreement(here, there, fitted, source.reach)
    return Fitted(map=fitted, share=float(agreeing / source.near.sum()), reach=source.reach)


def raise_near(
    cosines: Float[Tensor, "points rows columns"],
    positions: Float[Tensor, "rows columns 2"],
    expected: Float[Tensor, "points 2"],
    reach: float,
    weight: float,
) -> Float[Tensor, "points rows columns"]:
    """Return similarities raised by ``weight`` at the expected positions, and less around them, by a Gaussian."""
    squared = ((positions - expected[:, None, None]) ** 2).sum(dim=-1)
    return cosines + weight * torch.exp(-squared / (2 * reach**2))


def _homogeneous(points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 3"]:
    return F.pad(points, (0, 1), value=1.0)


def _mutual_matches(
    source: Source, target: Float[Tensor, "dim _ _"]
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Return the cells near the points, among all of the source, and the target's that are their mutual neighbours."""
    ours, theirs = source.features.flatten(1), target.flatten(1)
    near = source.near.flatten().nonzero()[:, 0]
    matched = _nearest(ours[:, near], theirs)
    different, number = matched.unique(return_inverse=True)  # many cells share one
    mutual: Bool[Tensor, " near"] = _nearest(theirs[:, different], ours)[number] == near
    return near[mutual], matched[mutual]


def _nearest(features: Float[Tensor, "dim some"], among: Float[Tensor, "dim all"]) -> Int[Tensor, " some"]:
    step = max(1, _CHUNK_NUMBERS // among.shape[1])
    parts = [(part.T @ among).argmax(dim=1) for part in features.split(step, dim=1)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.long, device=among.device)


def _agreement(
    here: Float[Tensor, "pairs 2"],
    there: Float[Tensor, "pairs 2"],
    maps: Float[Tensor, "*batch 3 2"],
    reach: float,
) -> Float[Tensor, "*batch pairs"]:
    """How well each pair agrees with each map: 1 where the map takes it, less by a Gaussian of the distance."""
    squared = ((_homogeneous(here) @ maps - there) ** 2).sum(dim=-1)
    return torch.exp(-squared / (2 * reach**2))


def _ransac(
    here: Float[Tensor, "pairs 2"], there: Float[Tensor, "pairs 2"], counts: Float[Tensor, " pairs"], reach: float
) -> Float[Tensor, "3 2"] | None:
    """The affine map through three pairs that most pairs agree with, among a fixed number of draws."""
    if len(here) < 4:
        return None
    # The same draws on every device.
    generator = torch.Generator().manual_seed(_SEED)
    draws = torch.randint(len(here), (_DRAWS, 3), generator=generator).to(here.device)
    corners = _homogeneous(here[draws])
    proper = torch.linalg.det(corners).abs() > reach**2  # three points in a line fix no map
    maps = torch.linalg.solve(corners[proper], there[draws[proper]])
    linear = maps[:, :2]
    stretch = torch.linalg.svdvals(linear)
    # Mirror images are the mirror wrapper's.
    usable = (stretch[:, 0] < _LARGEST) & (stretch[:, 1] > _LEAST) & (torch.linalg.det(linear) > 0)
    maps = maps[usable]
    if not len(maps):
        return None
    best: Tensor = maps[(_agreement(here, there, maps, reach) @ counts).argmax()]
    return best


def _least_squares(
    here: Float[Tensor, "pairs 2"], there: Float[Tensor, "pairs 2"], weights: Float[Tensor, " pairs"]
) -> Float[Tensor, "3 2"]:
    """The affine map of least weighted squared error."""
    rows = _homogeneous(here)
    weighted = rows.mT * weights
    ridge = 1e-8 * torch.eye(3, dtype=rows.dtype, device=rows.device)  # lest pairs in a line have no solution
    return torch.linalg.solve(weighted @ rows + ridge, weighted @ there)
