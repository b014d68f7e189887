"""Heat maps as pure functions: Gaussian targets, enlarging, fusing, peaks, and the agreement of rounds.

A map is a tensor (..., height, width). Points are (x, y) in the frame of ``semcorr.imaging.geometry``, in pixels of the
map.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from semcorr.imaging.geometry import Crop, Size, scale_points

Peak = Literal["cell", "parabola", "soft", "gaussian"]
"""How a point is taken from a map, in the settings of every method; see :func:`find_peak`."""

SOFT_WINDOW = 2
"""Default radius of a soft peak, in cells around the largest one."""

_SOFT_TEMPERATURE = 0.1
"""Of a soft peak, as a fraction of a map's range of values: chosen on validation drawings for means of heat maps
(:mod:`semcorr.transfer.supports`); it locates a known Gaussian to a tenth of a cell."""

_SOFT_STEPS = 5
"""Samples per cell and axis of a soft peak. Odd, so that a cell's centre is one of them."""

_CHUNK_VALUES = 2**22
"""Values of enlarged maps that exist at once: 16 MB."""


def gaussian(
    centres: Float[Tensor, "*batch 2"], sigma: float, size: Size, pixel_centre: float = 0.5
) -> Float[Tensor, "*batch height width"]:
    """Return a Gaussian of peak 1 around each centre: exp(-|pixel - centre|^2 / (2 sigma^2)), in the centres' dtype.

    ``centres`` and ``sigma`` are in pixels of a map of ``size`` (width, height). ``pixel_centre`` is the point of a
    pixel at which its value is taken: 0.5 in the continuous frame; 0.0 for the integers, as in the authors' code.
    """
    width, height = size
    columns = torch.arange(width, device=centres.device, dtype=centres.dtype) + pixel_centre
    rows = torch.arange(height, device=centres.device, dtype=centres.dtype) + pixel_centre
    across = torch.exp(-((columns - centres[..., 0:1]) ** 2) / (2 * sigma**2))
    down = torch.exp(-((rows - centres[..., 1:2]) ** 2) / (2 * sigma**2))
    return down[..., :, None] * across[..., None, :]


def upsample(maps: Float[Tensor, "*batch h w"], size: Size) -> Float[Tensor, "*batch height width"]:
    """Resize maps bilinearly to ``size`` (width, height), pixel areas aligned (``align_corners=False``)."""
    width, height = size
    if maps.shape[-2:] == (height, width):
        return maps
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    resized = F.interpolate(flat, size=(height, width), mode="bilinear", align_corners=False)
    return resized.reshape(*maps.shape[:-2], height, width)


def fuse_mean(maps: Iterable[Float[Tensor, "*batch _h _w"]], size: Size) -> Float[Tensor, "*batch height width"]:
    """Enlarge each of the maps to ``size`` (width, height) and average them, each with the same weight.

    ``maps`` may be a list of maps of different resolutions (layers), or a tensor that is averaged over its first axis.
    """
    total: Tensor | None = None
    count = 0
    for each in maps:
        enlarged = upsample(each, size)
        total = enlarged if total is None else total + enlarged
        count += 1
    if total is None:
        raise ValueError("There are no maps to fuse: at least one is needed.")
    return total / count


def softmax_pixels(maps: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch height width"]:
    """Return the softmax over all pixels of each map, which then sums to one (authors' code, before fusing layers)."""
    return maps.flatten(-2).softmax(-1).reshape(maps.shape)


def peak(maps: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch 2"]:
    """Return the centre (x, y) of each map's largest pixel, the first in row-major order of equal ones; float32."""
    width = maps.shape[-1]
    index = maps.flatten(-2).argmax(-1)
    cell = torch.stack((index % width, index // width), dim=-1)
    return cell.to(torch.float32) + 0.5


def peak_value(maps: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch"]:
    """Return the largest value of each map."""
    return maps.flatten(-2).amax(-1)


def agreement(points: Float[Tensor, "points rounds 2"], scale: float) -> Float[Tensor, " points"]:
    """Return the agreement of the rounds of each point, from 0 (all far apart) to 1 (all at the same position).

    The mean over all pairs of rounds of exp(-d^2 / (2 scale^2)), where d is the distance between the two positions and
    ``scale`` is in the same pixels as the points. The agreement of a single round is 1.
    """
    rounds = points.shape[1]
    if rounds < 2:
        return points.new_ones(points.shape[0])
    first, second = torch.triu_indices(rounds, rounds, offset=1, device=points.device)
    squared = ((points[:, first] - points[:, second]) ** 2).sum(-1)
    return torch.exp(-squared / (2 * scale**2)).mean(-1)


class CoverageMean:
    """The mean of maps that each cover a crop of a canvas: their sum divided by the number of crops over each pixel.

    ``shape`` is (rows, ..., height, width) of the canvas, in model-frame pixels. Rows have crops of their own; the axes
    between (layers, heads) share the crop of their row. Crops when locating: authors' code.
    """

    def __init__(
        self, shape: Sequence[int], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        if len(shape) < 3:
            raise ValueError(f"The canvas must be (rows, ..., height, width), got {tuple(shape)}.")
        self._sum = torch.zeros(*shape, device=device, dtype=dtype)
        self._coverage = torch.zeros(shape[0], *shape[-2:], device=device, dtype=dtype)

    def add(self, maps: Float[Tensor, "rows *rest h w"], crops: Crop | Sequence[Crop]) -> None:
        """Add one map per row, enlarged bilinearly to its crop; a single crop is used for all rows."""
        rows = self._sum.shape[0]
        per_row = [crops] * rows if isinstance(crops, Crop) else list(crops)
        if maps.shape[:-2] != self._sum.shape[:-2] or len(per_row) != rows:
            raise ValueError(
                f"Expected maps {tuple(self._sum.shape[:-2])} + (h, w) and {rows} crops, got {tuple(maps.shape)} and "
                f"{len(per_row)} crops."
            )
        for row, crop in enumerate(per_row):
            down, across = crop.slices
            if down.stop > self._sum.shape[-2] or across.stop > self._sum.shape[-1]:
                raise ValueError(f"{crop} reaches beyond the canvas {tuple(self._sum.shape[-2:])} (height, width).")
            self._sum[row, ..., down, across] += upsample(maps[row], (crop.width, crop.height))
            self._coverage[row, down, across] += 1

    def mean(self) -> Float[Tensor, "rows *rest height width"]:
        """Return the mean so far; 0 where there was no crop."""
        rows, height, width = self._coverage.shape
        between = self._sum.ndim - 3
        coverage = self._coverage.reshape(rows, *(1,) * between, height, width)
        return self._sum / coverage.clamp(min=1)

    def covered(self) -> Float[Tensor, "rows height width"]:
        """Return the number of crops that covered each pixel."""
        return self._coverage.clone()


class CropPaste:
    """The mean of a :class:`CoverageMean` canvas for maps of the same crops, as matrix products.

    Enlarging a map bilinearly and pasting it is linear along each axis, so one product with the concatenated matrices
    of all crops makes the canvas, which is written once. ``side`` is that of the canvas, in model-frame pixels.
    """

    def __init__(self, crops: Sequence[Crop], side: int) -> None:
        self._crops, self._side = tuple(crops), side
        # By the size of the maps: the same for all calls.
        self._matrices: dict[tuple[int, int, torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def mean(self, maps: Float[Tensor, "crops *batch h w"]) -> Float[Tensor, "*batch side side"]:
        """Return the mean over the first ``len(maps)`` crops; 0 where there is no crop."""
        count, batch = len(maps), maps.shape[1:-2]
        maps = maps.flatten(1, -3)
        down, across = (matrices[:count] for matrices in self._enlarging(maps))
        wide = maps @ across[:, None].transpose(-1, -2)  # (crops, batch, h, side)
        total = down.movedim(0, 1).flatten(1) @ wide.movedim(0, 1).flatten(1, 2)
        covered = maps.new_zeros(self._side, self._side)
        for crop in self._crops[:count]:
            covered[crop.slices] += 1
        return (total / covered.clamp(min=1)).unflatten(0, batch)

    def _enlarging(self, maps: Tensor) -> tuple[Float[Tensor, "crops side h"], Float[Tensor, "crops side w"]]:
        """Return, for every crop, the matrices that enlarge a map to it within the canvas: downwards and across."""
        height, width = maps.shape[-2:]
        key = (height, width, maps.dtype, maps.device)
        if key not in self._matrices:
            down = self._axis(height, maps, [(crop.top, crop.height) for crop in self._crops])
            across = self._axis(width, maps, [(crop.left, crop.width) for crop in self._crops])
            self._matrices[key] = down, across
        return self._matrices[key]

    def _axis(self, length: int, like: Tensor, spans: Sequence[tuple[int, int]]) -> Float[Tensor, "crops side _"]:
        """Return, for each (first pixel, pixels), the matrix that enlarges ``length`` values to them in the canvas."""
        matrices = like.new_zeros(len(spans), self._side, length)
        unit = torch.eye(length, dtype=like.dtype, device=like.device)[None]
        for matrix, (first, pixels) in zip(matrices, spans, strict=True):
            enlarged = F.interpolate(unit, size=pixels, mode="linear", align_corners=False)
            matrix[first : first + pixels] = enlarged[0].T
        return matrices


def find_peak(
    maps: Float[Tensor, "*batch height width"],
    kind: Peak = "cell",
    *,
    grid: Size | None = None,
    window: float = SOFT_WINDOW,
    temperature: float | None = None,
) -> Float[Tensor, "*batch 2"]:
    """Return the position (x, y) of each map's peak, in pixels of the map; float32, never outside it.

    ``"cell"`` is the centre of the largest pixel (:func:`peak`), as methods were published. The others are finer: the
    map is reduced to the cells it was enlarged from, because the values between them hold no information, and the
    largest cell at that pixel or next to it is refined (:func:`refine_peak`).

    Args:
        maps: Maps whose peak is their largest pixel.
        kind: ``"cell"``, ``"parabola"``, ``"soft"`` or ``"gaussian"``.
        grid: (columns, rows) of cells that the maps were enlarged from; by default their own pixels.
        window: As in :func:`refine_peak`.
        temperature: As in :func:`refine_peak`.
    """
    largest = peak(maps)
    if kind == "cell":
        return largest
    height, width = maps.shape[-2:]
    columns, rows = (width, height) if grid is None else (min(grid[0], width), min(grid[1], height))
    cells = maps.reshape(-1, height, width)
    if (columns, rows) != (width, height):
        # With antialiasing each cell is a symmetric mean around its centre, so peaks do not move.
        cells = F.interpolate(cells[:, None], size=(rows, columns), mode="bilinear", antialias=True)[:, 0]
    at = scale_points(largest.reshape(-1, 2), (width, height), (columns, rows)).long()
    at = _largest(cells.masked_fill(~_near(at, 1, (columns, rows)), -torch.inf))
    refined = refine_peak(cells, at, kind, window=window, temperature=temperature)
    return scale_points(refined, (columns, rows), (width, height)).reshape(*maps.shape[:-2], 2)


def refine_peak(
    cells: Float[Tensor, "points height width"],
    at: Int[Tensor, "points 2"],
    kind: Peak,
    *,
    window: float = SOFT_WINDOW,
    temperature: float | None = None,
) -> Float[Tensor, "points 2"]:
    """Return the position (x, y), in cells and float32, of the peak that each map has at the cell ``at``.

    Args:
        cells: Maps as a network made them, not enlarged.
        at: (column, row) of a cell of each map that no neighbour exceeds.
        kind: ``"cell"``: the cell's centre. ``"parabola"``: :func:`parabola_peak`. ``"soft"``: :func:`soft_peak` of the
            maps enlarged bilinearly, so that cells are fine enough for the sum. ``"gaussian"``: :func:`gaussian_peak`.
        window: Radius of ``"soft"``, or standard deviation of ``"gaussian"``, in cells.
        temperature: Of these two, in the unit of the maps; by default a tenth of each map's range.
    """
    if kind == "cell":
        return at.to(torch.float32) + 0.5
    if kind == "parabola":
        return parabola_peak(cells, at)
    if temperature is None:
        low, high = cells.flatten(1).aminmax(dim=1)
        scale = (_SOFT_TEMPERATURE * (high - low)).clamp(min=torch.finfo(cells.dtype).tiny)[:, None, None]
        cells, temperature = (cells - low[:, None, None]) / scale, 1.0
    if kind == "gaussian":
        return gaussian_peak(cells, at, window, temperature)
    height, width = cells.shape[1:]
    size = (width * _SOFT_STEPS, height * _SOFT_STEPS)
    middle, radius = at * _SOFT_STEPS + _SOFT_STEPS // 2, int(window * _SOFT_STEPS) + _SOFT_STEPS // 2
    step = max(1, _CHUNK_VALUES // (size[0] * size[1]))
    peaks = [
        soft_peak(upsample(chunk, size), radius, temperature, centres)
        for chunk, centres in zip(cells.split(step), middle.split(step), strict=True)
    ]
    return torch.cat(peaks) / _SOFT_STEPS


def parabola_peak(
    maps: Float[Tensor, "*batch height width"], at: Int[Tensor, "*batch 2"] | None = None
) -> Float[Tensor, "*batch 2"]:
    """Return the peak (x, y) to a fraction of a pixel: per axis, the vertex of the parabola through three pixels.

    At the edge, where a neighbour is missing, it is the pixel's centre; the vertex is at most half a pixel from it.
    ``at`` is the pixel (column, row) that is refined, by default the largest.
    """
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, height, width)
    column, row = (_largest(flat) if at is None else at.reshape(-1, 2)).unbind(1)
    number = torch.arange(len(flat), device=maps.device)

    def shift(index: Tensor, last: int, value: Callable[[Tensor], Tensor]) -> Tensor:
        before, top, after = value((index - 1).clamp(min=0)), value(index), value((index + 1).clamp(max=last))
        curvature = before - 2 * top + after
        inside = (index > 0) & (index < last) & (curvature < 0)
        offset = 0.5 * (before - after) / torch.where(inside, curvature, -1.0)
        return torch.where(inside, offset, 0.0).clamp(-0.5, 0.5)

    across = shift(column, width - 1, lambda index: flat[number, row, index])
    down = shift(row, height - 1, lambda index: flat[number, index, column])
    refined = torch.stack((column + 0.5 + across, row + 0.5 + down), dim=-1).to(torch.float32)
    return refined.reshape(*maps.shape[:-2], 2)


def soft_peak(
    maps: Float[Tensor, "*batch height width"],
    radius: int,
    temperature: float,
    at: Int[Tensor, "*batch 2"] | None = None,
) -> Float[Tensor, "*batch 2"]:
    """Return the mean position (x, y) under a softmax over the pixels within ``radius`` of the largest on both axes.

    ``temperature`` is in the unit of the maps: the lower it is, the more the largest pixel counts. ``at`` is another
    pixel (column, row) for the centre.
    """
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, height, width)
    middle = _largest(flat) if at is None else at.reshape(-1, 2)
    outside = ~_near(middle, radius, (width, height))
    columns = torch.arange(width, device=maps.device)
    rows = torch.arange(height, device=maps.device)
    weights = (flat / temperature).masked_fill(outside, -torch.inf).flatten(1).softmax(1).reshape(flat.shape)
    across = (weights.sum(dim=1) * (columns + 0.5)).sum(dim=1)
    down = (weights.sum(dim=2) * (rows + 0.5)).sum(dim=1)
    return torch.stack((across, down), dim=-1).to(torch.float32).reshape(*maps.shape[:-2], 2)


def gaussian_peak(
    maps: Float[Tensor, "points height width"], at: Int[Tensor, "points 2"], sigma: float, temperature: float
) -> Float[Tensor, "points 2"]:
    """Return the mean position (x, y) under a softmax over all pixels, weighted by a Gaussian around a pixel.

    "Kernel soft-argmax" (Lee et al., 2019, "SFNet").

    Args:
        maps: Any maps.
        at: (column, row) of the pixel of each map that the Gaussian is centred on.
        sigma: Its standard deviation in pixels.
        temperature: In the unit of the maps: the lower it is, the more the largest values count.
    """
    height, width = maps.shape[-2:]
    columns = torch.arange(width, device=maps.device)
    rows = torch.arange(height, device=maps.device)
    squared = (columns - at[:, :1])[:, None] ** 2 + (rows - at[:, 1:])[..., None] ** 2
    logits = maps / temperature - squared / (2 * sigma**2)
    weights = logits.flatten(1).softmax(1).reshape(maps.shape)
    across = (weights.sum(dim=1) * (columns + 0.5)).sum(dim=1)
    down = (weights.sum(dim=2) * (rows + 0.5)).sum(dim=1)
    return torch.stack((across, down), dim=-1).to(torch.float32)


def _largest(maps: Float[Tensor, "points height width"]) -> Int[Tensor, "points 2"]:
    """Return the (column, row) of each map's largest pixel, the first in row-major order."""
    index, width = maps.flatten(1).argmax(1), maps.shape[2]
    return torch.stack((index % width, index // width), dim=1)


def _near(at: Int[Tensor, "points 2"], radius: int, size: Size) -> Bool[Tensor, "points height width"]:
    """Return which pixels of a map of ``size`` (width, height) are within ``radius`` of a pixel on both axes."""
    columns, rows = (torch.arange(length, device=at.device) for length in size)
    near_columns = (columns - at[:, :1]).abs() <= radius
    near_rows = (rows - at[:, 1:]).abs() <= radius
    return near_rows[:, :, None] & near_columns[:, None, :]


def second_peak(
    maps: Float[Tensor, "points height width"], size: Size, *, apart: float = 0.15
) -> Float[Tensor, " points"]:
    """Return the height of each map's largest value away from its peak: 0 is the median, 1 the peak or a flat map.

    Args:
        maps: Maps that cover the whole image.
        size: (width, height) of the image, in its own pixels.
        apart: Distance from the peak at which "away" begins, as a fraction of the image's longer side.
    """
    height, width = maps.shape[1:]
    shape = maps.new_tensor([size[0] / width, size[1] / height]) / max(size)
    at = peak(maps) * shape
    across = (torch.arange(width, device=maps.device) + 0.5) * shape[0]
    down = (torch.arange(height, device=maps.device) + 0.5) * shape[1]
    distance = torch.hypot(across - at[:, 0, None, None], down[:, None] - at[:, 1, None, None])
    low = maps.flatten(1).median(dim=1).values
    away = maps.masked_fill(distance <= apart, -torch.inf).flatten(1).amax(dim=1)
    span = peak_value(maps) - low
    return torch.where(span > 0, (away - low) / span, 1.0).clamp(0, 1)
