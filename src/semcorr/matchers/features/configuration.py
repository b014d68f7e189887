"""The configuration of points as a prior: a turn, scale and shift under which all points look right at once.

The highest similarities of two points say where the whole configuration would be; the best of all such hypotheses is
the one under which every point is similar to what is near its position. It needs no matches around the points, so that
it holds for an object that moves before a background.

Positions are in units of each image's longer side, (x, y), from its upper left corner.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

MOST_POINTS = 100
"""Of more points no configuration is sought: every pair would have to be tried."""

_PEAKS, _APART = 4, 2
"""Peaks of each point's map that count, and the cells that two of them are apart."""
_PAIRS = 12
"""Pairs of points whose peaks make hypotheses, the farthest apart first."""
_PRICE = 3.0
"""What a distance from the position costs a point: this, times its square in extents of the configuration."""
_SCALE_PRICE = 1.0
"""What a change of scale costs all points together: this, times the square of its logarithm."""
_LARGEST = 2.0
"""How much the configuration may grow or shrink."""
_TURN = math.pi / 4
"""How far the configuration may turn."""
_NEAR = 0.06
"""How far from its position a point is looked for, in units of the longer side; more would cost more than it brings."""


def score(
    cosines: Float[Tensor, "points rows columns"],
    positions: Float[Tensor, "rows columns 2"],
    expected: Float[Tensor, "hypotheses points 2"],
    extent: float,
) -> Float[Tensor, " hypotheses"]:
    """Return how similar the points are to what is near their expected positions, the mean over points."""
    return _at(_best_near(cosines, positions, extent), positions, expected).mean(dim=1)


def fit_configuration(
    cosines: Float[Tensor, "points rows columns"],
    positions: Float[Tensor, "rows columns 2"],
    points: Float[Tensor, "points 2"],
) -> tuple[float, Float[Tensor, "3 2"]] | None:
    """Return the score of the best similarity transform and its map: a point (x, y, 1) times it is in the target.

    None for fewer than 3 points or too many, and where no transform is within bounds.

    Args:
        cosines: A map of the whole target for each point.
        positions: Of its cells.
        points: In the source.
    """
    if not 3 <= len(points) <= MOST_POINTS:
        return None
    extent = float(torch.cdist(points, points).max())
    if extent == 0:
        return None
    peaks = torch.view_as_complex(_peaks(cosines, positions))
    own = torch.view_as_complex(points.contiguous())
    first, second = _far_pairs(points)
    factor = (peaks[second][:, None, :] - peaks[first][:, :, None]) / (own[second] - own[first])[:, None, None]
    shift = peaks[first][:, :, None] - factor * own[first][:, None, None]
    factor, shift = factor.flatten(), shift.flatten()
    usable = (factor.abs() > 1 / _LARGEST) & (factor.abs() < _LARGEST) & (factor.angle().abs() < _TURN)
    factor, shift = factor[usable], shift[usable]
    if not len(factor):
        return None
    expected = torch.view_as_real(factor[:, None] * own + shift[:, None])
    worth = score(cosines, positions, expected, extent) - _SCALE_PRICE * factor.abs().log() ** 2 / len(points)
    best = int(worth.argmax())
    a, b = factor[best], shift[best]
    rows = torch.stack((torch.stack((a.real, a.imag)), torch.stack((-a.imag, a.real)), torch.stack((b.real, b.imag))))
    return float(worth[best]), rows


def _far_pairs(points: Float[Tensor, "points 2"]) -> Int[Tensor, "2 pairs"]:
    """Pairs of different points, the farthest apart first."""
    pairs = torch.triu_indices(len(points), len(points), 1, device=points.device)
    apart = torch.cdist(points, points)[pairs[0], pairs[1]]
    order = apart.argsort(descending=True, stable=True)[:_PAIRS]
    return pairs[:, order[apart[order] > 0]]


def _peaks(
    cosines: Float[Tensor, "points rows columns"], positions: Float[Tensor, "rows columns 2"]
) -> Float[Tensor, "points peaks 2"]:
    """Positions of the highest local maxima of each map."""
    largest = F.max_pool2d(cosines[:, None], 2 * _APART + 1, 1, _APART)[:, 0]
    alone = torch.where(cosines >= largest, cosines, -torch.inf).flatten(1)
    index = alone.topk(min(_PEAKS, alone.shape[1]), dim=1).indices
    return positions.flatten(0, 1)[index].contiguous()


def _best_near(
    cosines: Float[Tensor, "points rows columns"], positions: Float[Tensor, "rows columns 2"], extent: float
) -> Float[Tensor, "points rows columns"]:
    """The highest similarity near each cell, less the price of its distance, which is a sum over the axes."""
    result = cosines
    for axis, cell in ((-1, _step(positions, 1)), (-2, _step(positions, 0))):
        radius = max(1, math.floor(_NEAR / cell)) if cell else 0
        length = result.shape[axis]
        pads = (radius, radius, 0, 0) if axis == -1 else (0, 0, radius, radius)
        padded = F.pad(result, pads, value=-torch.inf)
        shifted = [
            padded.narrow(axis, offset, length) - _PRICE * ((offset - radius) * cell / extent) ** 2
            for offset in range(2 * radius + 1)
        ]
        result = torch.stack(shifted).amax(dim=0)
    return result


def _at(
    maps: Float[Tensor, "points rows columns"],
    positions: Float[Tensor, "rows columns 2"],
    expected: Float[Tensor, "hypotheses points 2"],
) -> Float[Tensor, "hypotheses points"]:
    """The values of the cells that positions lie in, 0 outside the image."""
    rows, columns = maps.shape[1:]
    steps = expected.new_tensor([_step(positions, 1) or 1.0, _step(positions, 0) or 1.0])
    cells = ((expected - positions[0, 0]) / steps).round().long()
    column, row = cells.unbind(-1)
    inside = (column >= 0) & (row >= 0) & (column < columns) & (row < rows)
    point = torch.arange(len(maps), device=maps.device)
    values = maps[point, row.clamp(0, rows - 1), column.clamp(0, columns - 1)]
    return torch.where(inside, values, 0.0)


def _step(positions: Float[Tensor, "rows columns 2"], axis: int) -> float:
    """The distance of two neighbouring cells along an axis; 0 if there is one cell only."""
    if positions.shape[axis] < 2:
        return 0.0
    other = positions[0, 1] if axis == 1 else positions[1, 0]
    return float((other - positions[0, 0]).abs().max())
