"""What a query keeps of its source for the geometric prior: one view of it, or several, each turned further.

The first view is the image as it is. A turned one is the image turned about the middle of the described points, which
comes to the image's middle: networks tell an object from the same object turned, and animals seen from above face any
way.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from semcorr.errors import QueryError
from semcorr.imaging.geometry import Size, lattice, scale_points
from semcorr.imaging.image import Image
from semcorr.matchers.features import geometric_prior
from semcorr.matchers.features.cosine import vectors_at

_AROUND = 1.0
"""How much of the source around the points is kept, as a fraction of their extent."""

_VECTORS, _POINTS = "view_vectors", "view_points"
_FEATURES, _NEAR, _CORNERS, _GRID, _REACH = "view_features", "view_near", "view_corners", "view_grid", "reach"
_SHARED = (_FEATURES, _NEAR, _CORNERS, _GRID, _REACH)


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """The described points as one view shows them.

    Attributes:
        vectors: Features at the points, each of length 1.
        points: Where they are, (x, y) in units of the view's longer side.
        source: What the prior needs.
    """

    vectors: Float[Tensor, "points dim"]
    points: Float[Tensor, "points 2"]
    source: geometric_prior.Source


def turned(
    image: Image, points: Float[np.ndarray, "points 2"], angle: float
) -> tuple[Image, Float[np.ndarray, "points 2"]]:
    """Return an image turned about the middle of points, which comes to its own middle, and the points in it.

    What lies outside the image is its reflection. ``angle`` is in radians, clockwise; the view has the image's size.
    """
    size = np.array(image.size, dtype=np.float64)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    from_view = (lattice(image.size, 1) - size / 2) @ turn + middle
    grid = torch.from_numpy(from_view / size * 2 - 1).float()
    pixels = torch.from_numpy(np.array(image.pixels)).movedim(-1, 0).float()
    sampled = F.grid_sample(pixels[None], grid[None], padding_mode="reflection", align_corners=False)[0]
    view = sampled.round().clamp(0, 255).to(torch.uint8).movedim(0, -1).numpy()
    return Image(pixels=view, name=f"{image.name}, turned"), (points - middle) @ turn.T + size / 2


def describe_views(
    image: Image,
    points: Float[np.ndarray, "points 2"],
    features: Float[Tensor, "dim rows columns"],
    turns: int,
    features_of: Callable[[Image], Float[Tensor, "dim rows columns"]],
) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
    """Return what a query keeps of its points and of the whole image.

    Args:
        image: The source.
        points: In its pixels.
        features: Of the image as it is.
        turns: Views, each turned by an equal angle; 1 is the image as it is.
        features_of: Computes the features of a turned image.
    """
    views = [(points, features)]
    for number in range(1, turns):
        view, moved = turned(image, points, 2 * math.pi * number / turns)
        views.append((moved, features_of(view)))
    grid, size = (features.shape[2], features.shape[1]), image.size
    positions = geometric_prior.cell_positions(grid, size, torch.zeros(0, dtype=torch.float64))
    reach = geometric_prior.reach_of(torch.from_numpy(points / max(size)))
    columns, rows = _window(points, grid, size)
    vectors, own, parts, near, corners = [], [], [], [], []
    for moved, its_features in views:
        at = torch.from_numpy(moved)
        vectors.append(vectors_at(its_features, at.float(), size))
        own.append(at / max(size))
        column, row = _corner(moved, (columns, rows), grid, size)
        part = (slice(row, row + rows), slice(column, column + columns))
        parts.append(F.normalize(its_features[:, *part], dim=0))
        near.append(geometric_prior.nearness(positions[part], own[-1], reach))
        corners.append((column, row))
    return (
        {_VECTORS: torch.stack(vectors, dim=1).cpu().numpy(), _POINTS: torch.stack(own, dim=1).numpy()},
        {
            _FEATURES: torch.stack(parts).half().cpu().numpy(),
            _NEAR: torch.stack(near).float().numpy(),
            _CORNERS: np.array(corners),
            _GRID: np.array(grid),
            _REACH: np.array(reach),
        },
    )


def has_views(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether a query, by the tensors of its points, keeps views of its source."""
    return _VECTORS in tensors


def read_views(
    tensors: Mapping[str, np.ndarray], shared: Mapping[str, np.ndarray], size: Size, like: Float[Tensor, "dim _h _w"]
) -> Iterator[View]:
    """Return the views that a query keeps, on the device of ``like``, the target's features.

    Args:
        tensors: The query's, of its points.
        shared: The query's, of the whole image.
        size: (width, height) of the source in pixels.
        like: Features of the target.

    Raises:
        QueryError: They do not fit the features, or there are none.
    """
    arrays = [*(tensors.get(name) for name in (_VECTORS, _POINTS)), *(shared.get(name) for name in _SHARED)]
    if any(array is None for array in arrays):
        raise QueryError("The query lacks what the geometric prior needs. Describe the points again.")
    vectors, points, features, near, corners, grid, reach = (torch.from_numpy(np.array(array)) for array in arrays)
    if vectors.shape[-1] != len(like) or features.shape[1] != len(like):
        raise QueryError(
            f"The query's features have {features.shape[1]} numbers, the target's {len(like)}. Describe the points "
            "again."
        )
    columns, rows = grid.tolist()
    positions = geometric_prior.cell_positions((columns, rows), size, like)
    height, width = near.shape[1:]
    for number, (column, row) in enumerate(corners.tolist()):
        source = geometric_prior.Source(
            features=features[number].to(like),
            positions=positions[row : row + height, column : column + width],
            near=near[number].to(like),
            reach=float(reach),
        )
        yield View(vectors=vectors[:, number].to(like), points=points[:, number].to(like), source=source)


def _window(points: Float[np.ndarray, "points 2"], grid: Size, size: Size) -> Size:
    """How many cells (columns, rows) around the points are kept, whichever way they are turned."""
    half = max(size) if len(points) < 3 else (0.5 + _AROUND) * geometric_prior.extent(torch.from_numpy(points))
    columns, rows = np.ceil(scale_points(np.array([2 * half, 2 * half]), size, grid)).astype(int).tolist()
    return min(columns, grid[0]), min(rows, grid[1])


def _corner(points: Float[np.ndarray, "points 2"], window: Size, grid: Size, size: Size) -> tuple[int, int]:
    """The first cell (column, row) of a window around points that lies in the grid."""
    middle = scale_points((points.min(axis=0) + points.max(axis=0)) / 2, size, grid)
    column, row = np.clip(np.round(middle - np.array(window) / 2), 0, np.array(grid) - window).astype(int).tolist()
    return column, row
