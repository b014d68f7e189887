"""Cosine similarity of vectors with a feature map, exactly, at any resolution, without ever enlarging the features.

Features enlarged bilinearly are a weighted sum of four cells' features, so their product with a vector is the same sum
of four products, and their squared length one of the cells' products with each other. Nothing as long as a feature is
kept for a pixel, only numbers.

A feature map (dim, height, width) covers its whole image; points (x, y) are in pixels of the image, (0, 0) being
its top-left corner, as everywhere (:mod:`semcorr.imaging.geometry`).
"""

from collections.abc import Iterator
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging.geometry import Size, scale_points

_TINY = 1e-12
_CHUNK_NUMBERS = 2**24
"""Numbers that a stripe of the target may take while it is searched: 64 MB."""


def vectors_at(
    features: Float[Tensor, "dim height width"], points: Float[Tensor, "points 2"], size: Size
) -> Float[Tensor, "points dim"]:
    """Return the features at points of an image of ``size`` (width, height), interpolated bilinearly, of length 1.

    Beyond the outermost cells' centres the features are those of the outermost cells.
    """
    height, width = features.shape[1:]
    in_cells = scale_points(points.to(features), size, (width, height))
    # grid_sample counts from -1 at the left or upper edge to 1 at the other.
    grid = in_cells / in_cells.new_tensor([width, height]) * 2 - 1
    vectors = F.grid_sample(features[None], grid[None, None], padding_mode="border", align_corners=False)
    return unit(vectors[0, :, 0].T)


def unit(vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Scale vectors to length 1; what has no length stays."""
    return F.normalize(vectors, dim=-1, eps=_TINY)


class Similarity:
    """The cosine of unit vectors with the features of one image, of any resolution.

    It equals that of the features enlarged bilinearly (pixel areas aligned) to the resolution asked for, as DIFT (Tang
    et al., 2023) does before it searches the nearest neighbour.
    """

    def __init__(self, features: Float[Tensor, "dim height width"], vectors: Float[Tensor, "points dim"]) -> None:
        self._features, self._vectors = features, vectors

    @cached_property
    def cells(self) -> Float[Tensor, "points height width"]:
        """Products with the cells' own features, which are not of length 1."""
        return torch.einsum("pd,dhw->phw", self._vectors, self._features)

    def split(self, points: int) -> Iterator["Similarity"]:
        """The same for so many points at a time."""
        if len(self._vectors) <= points:
            yield self
            return
        for part in self._vectors.split(points):
            yield Similarity(self._features, part)

    @cached_property
    def _of_cells(self) -> Float[Tensor, "points height width"]:
        return self.cells / self._features.norm(dim=0).clamp(min=_TINY)

    def of_cells(self) -> Float[Tensor, "points height width"]:
        """The cosine with every cell."""
        return self._of_cells

    def enlarged(self, size: Size) -> Float[Tensor, "points rows columns"]:
        """The cosine at every pixel of an image of ``size`` (width, height)."""
        return torch.cat([stripe for _, stripe in self._stripes(size)], dim=1)

    def peaks(self, size: Size) -> tuple[Float[Tensor, "points 2"], Float[Tensor, " points"]]:
        """The centres (x, y) of the pixels that are most similar, in an image of ``size``, and how similar they are.

        The first in reading order where several are equal. However large the image is, it is searched one stripe at
        a time.
        """
        best = self.cells.new_full((len(self.cells),), -torch.inf)
        points = self.cells.new_zeros(len(self.cells), 2)
        for top, stripe in self._stripes(size):
            value, index = stripe.flatten(1).max(dim=1)
            centres = torch.stack((index % size[0], index // size[0] + top), dim=1).to(points) + 0.5
            better = value > best
            points = torch.where(better[:, None], centres, points)
            best = torch.where(better, value, best)
        return points, best

    def _stripes(self, size: Size) -> Iterator[tuple[int, Float[Tensor, "points rows columns"]]]:
        """The image from top to bottom, some rows at a time, with the number of the first."""
        width, height = size
        rows, columns = self._features.shape[1:]
        down, across = (_enlarging(cells, pixels, self.cells) for cells, pixels in ((rows, height), (columns, width)))
        step = max(1, _CHUNK_NUMBERS // (3 * len(self.cells) * width))
        for top in range(0, height, step):
            weights = down[top : top + step]
            products = weights @ self.cells @ across.T
            yield top, products / self._lengths(weights, across).clamp(min=_TINY)

    def _lengths(
        self, down: Float[Tensor, "some rows"], across: Float[Tensor, "width columns"]
    ) -> Float[Tensor, "some width"]:
        """The length of the enlarged features: the square of a weighted sum of four cells is one of their products."""
        own, right, below, diagonal = self._products
        one_row, one_column = down**2, (across**2).T
        two_rows, two_columns = 2 * down[:, :-1] * down[:, 1:], (2 * across[:, :-1] * across[:, 1:]).T
        squared = one_row @ (own @ one_column + right @ two_columns)
        squared = squared + two_rows @ (below @ one_column + diagonal @ two_columns / 2)
        return squared.clamp(min=0).sqrt()

    @cached_property
    def _products(self) -> tuple[Float[Tensor, "_rows _columns"], ...]:
        """Of each cell with itself, with the next to the right, with the one below, and of both diagonals of four."""
        cells = self._features
        upper, lower = cells[:, :-1], cells[:, 1:]
        return (
            (cells**2).sum(dim=0),
            (cells[..., :-1] * cells[..., 1:]).sum(dim=0),
            (upper * lower).sum(dim=0),
            (upper[..., :-1] * lower[..., 1:] + upper[..., 1:] * lower[..., :-1]).sum(dim=0),
        )


def _enlarging(cells: int, pixels: int, like: Tensor) -> Float[Tensor, "{pixels} {cells}"]:
    """The matrix that resizes a row of cells bilinearly: no more than two cells, which are neighbours, for a pixel."""
    unit_rows = torch.eye(cells, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(unit_rows, size=pixels, mode="linear", align_corners=False)[0].T
