"""Coordinate frames and the conversions between them. No other module converts coordinates.

A point is (x, y): x to the right, y down, in pixels of its image, continuous. (0, 0) is the top-left *corner* of the
image and (width, height) its bottom-right corner, so the centre of the pixel in column i and row j is
(i + 0.5, j + 0.5). Resizing is then a pure scale, with no half pixel to remember. A size is always (width, height); a
tensor is (..., height, width).

The *model frame* is the image squashed (not padded) to the square that the network works on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from semcorr.errors import PointError

if TYPE_CHECKING:
    from torch import Tensor
else:
    # Annotation files are read without PyTorch, whose import takes longer than all else; it is imported where it works.
    Tensor = Any

Size = tuple[int, int]
Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of the image."""
# Points as a caller may pass them: anything that NumPy makes an array of, or nested sequences.
PointsLike = ArrayLike | Sequence[Any]
Points = TypeVar("Points", np.ndarray, Tensor)


def check_points(points: PointsLike, size: Size, *, image: str = "the image") -> Float[np.ndarray, "points 2"]:
    """Return the points as a float64 array (N, 2), or say what is wrong with them.

    Args:
        points: (x, y) in pixels of the image, both edges included.
        size: (width, height) of the image.
        image: Name of the image in messages.

    Raises:
        PointError: There are no points, their shape is not (N, 2), or one is not finite or lies outside.
    """
    try:
        array = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PointError(f"Points must be numbers, a list of (x, y) pairs, got {points!r}: {error}.") from error
    if array.size == 0:
        raise PointError("No points were given: name at least one (x, y) in pixels of the image.")
    if array.ndim != 2 or array.shape[1] != 2:
        hint = " For one point write [(x, y)]." if array.shape == (2,) else ""
        raise PointError(f"Points must be a list of (x, y) pairs, shape (N, 2), got shape {array.shape}.{hint}")
    width, height = size
    for number, (x, y) in enumerate(array.tolist(), start=1):
        if not np.isfinite((x, y)).all():
            raise PointError(f"Point {number} is ({x:g}, {y:g}): both coordinates must be finite numbers.")
        if not (0 <= x <= width and 0 <= y <= height):
            swapped = " As (y, x) it would be inside: are the two swapped?" if x <= height and y <= width else ""
            raise PointError(
                f"Point {number} is ({x:g}, {y:g}), outside {image}, which is {width} x {height} pixels: x must be "
                f"from 0 to {width}, y from 0 to {height}.{swapped if min(x, y) >= 0 else ''}"
            )
    return array


def scale_points(points: Points, from_size: Size, to_size: Size) -> Points:
    """Convert points (..., 2) of an image of ``from_size`` to the same image resized to ``to_size``."""
    scale = (to_size[0] / from_size[0], to_size[1] / from_size[1])
    return _affine(points, scale, (0.0, 0.0))


def mirror_points(points: Points, size: Size) -> Points:
    """Convert points (..., 2) of an image of ``size`` to the image mirrored left to right, or back."""
    return _affine(points, (-1.0, 1.0), (float(size[0]), 0.0))


def lattice(size: Size, step: int) -> Float[np.ndarray, "height width 2"]:
    """Return the points ((column + 0.5) step, (row + 0.5) step) that lie inside an image of ``size``.

    With ``step`` 1 they are the pixel centres. No point lies on the right or lower edge, so each is in a pixel. There
    are none if ``step`` is twice a side or more.
    """
    axes = [(np.arange((2 * length + step - 1) // (2 * step)) + 0.5) * step for length in size]
    return np.stack(np.meshgrid(*axes), axis=-1)


def enlarge(
    grid: Float[Tensor, "channels height width"], step: int, size: Size, *, nearest: bool = False
) -> Float[Tensor, "channels _ _"]:
    """Interpolate values at the points of ``lattice(size, step)`` to the centres of all pixels of an image of ``size``.

    Bilinear, or the value of the nearest point; constant beyond the outermost points.
    """
    import torch.nn.functional as F

    mode = "nearest" if nearest else "bilinear"
    fine = F.interpolate(grid[None], scale_factor=step, mode=mode, align_corners=None if nearest else False)
    missing = [max(0, length - have) for length, have in zip(size, (fine.shape[-1], fine.shape[-2]), strict=True)]
    width, height = size
    return F.pad(fine, (0, missing[0], 0, missing[1]), mode="replicate")[0, :, :height, :width]


def sample(
    image: Float[Tensor, "channels height width"], points: Float[Tensor, "rows columns 2"]
) -> Float[Tensor, "channels rows columns"]:
    """Sample an image at points in its own pixels: bilinear between pixel centres, constant beyond them."""
    import torch.nn.functional as F

    height, width = image.shape[-2:]
    unit = scale_points(points, (width, height), (2, 2)) - 1  # grid_sample's frame: corners at -1 and 1
    return F.grid_sample(image[None], unit[None], mode="bilinear", padding_mode="border", align_corners=False)[0]


def squash(image: Float[Tensor, "3 height width"], resolution: int) -> Float[Tensor, "3 {resolution} {resolution}"]:
    """Resize to a square without keeping the aspect ratio: the model frame."""
    return resize(image, (resolution, resolution))


def resize(image: Float[Tensor, "channels height width"], size: Size) -> Float[Tensor, "channels {size[1]} {size[0]}"]:
    """Resize to ``size`` (width, height), edge to edge.

    Bilinear; along an axis that shrinks, the kernel widens with the factor to prevent aliasing.
    """
    import torch.nn.functional as F

    width, height = size
    return F.interpolate(image[None], size=(height, width), mode="bilinear", align_corners=False, antialias=True)[0]


def patch_grid(size: Size, resolution: int, patch: int) -> Size:
    """Return the whole patches (columns, rows) of an image of ``size`` whose longer side is resized to ``resolution``.

    Each side is rounded to the nearest number of patches, half a patch up, and has at least one.
    """
    longer = max(size)
    columns, rows = (max(1, (2 * side * resolution + longer * patch) // (2 * longer * patch)) for side in size)
    return columns, rows


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole pixels of the model frame: (left, top) is its first pixel."""

    left: int
    top: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.left < 0 or self.top < 0 or self.width < 1 or self.height < 1:
            raise ValueError(f"A crop starts at 0 or later and has at least one pixel each way, got {self}.")

    @property
    def slices(self) -> tuple[slice, slice]:
        """(rows, columns) to index the last two axes of a tensor with."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def cut(self, image: Float[Tensor, "*batch channels height width"], resolution: int) -> Float[Tensor, "..."]:
        """Cut the rectangle out of ``image`` and resize it to ``resolution`` x ``resolution``.

        Bilinear with pixel centres aligned to the frame's (``align_corners=False``) and no antialiasing, as in the
        authors' code.
        """
        import torch.nn.functional as F

        height, width = image.shape[-2:]
        if self.left + self.width > width or self.top + self.height > height:
            raise ValueError(f"{self} reaches beyond the image of {width} x {height} pixels.")
        region = image[..., *self.slices]
        flat = region.reshape(-1, *region.shape[-3:])
        size = (resolution, resolution)
        resized = F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
        return resized.reshape(*region.shape[:-2], *size)

    def to_crop(self, points: Points, resolution: int) -> Points:
        """Convert model-frame points (..., 2) to points of the crop resized to ``resolution`` x ``resolution``."""
        scale = (resolution / self.width, resolution / self.height)
        return _affine(points, scale, (-self.left * scale[0], -self.top * scale[1]))

    def to_frame(self, points: Points, resolution: int) -> Points:
        """Convert points of the crop resized to ``resolution`` x ``resolution`` to model-frame points."""
        return _affine(points, (self.width / resolution, self.height / resolution), (float(self.left), float(self.top)))


def crop_around(box: Box, margin: float, size: Size) -> Crop:
    """Return a square crop around a box (x0, y0, x1, y1), clipped to an image of ``size`` (width, height).

    Its side is the box's longer one plus ``margin`` of it at both ends. A square keeps its proportions in the model
    frame.

    Raises:
        PointError: No pixel of the image is in the box.
    """
    (x0, y0, x1, y1), (width, height) = box, size
    if not (np.isfinite(box).all() and min(x1, width) > max(x0, 0) and min(y1, height) > max(y0, 0)):
        raise PointError(
            f"Box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) lies outside the image, which is {width} x {height} pixels."
        )
    half = (0.5 + margin) * max(x1 - x0, y1 - y0)
    edges = []
    for low, high, length in ((x0, x1, width), (y0, y1, height)):
        middle = (low + high) / 2
        first = min(max(int(np.floor(middle - half)), 0), length - 1)
        edges.append((first, max(min(int(np.ceil(middle + half)), length) - first, 1)))
    (left, across), (top, down) = edges
    return Crop(left=left, top=top, width=across, height=down)


def _affine(points: Points, scale: Sequence[float], shift: Sequence[float]) -> Points:
    if hasattr(points, "new_tensor"):
        tensor: Any = points
        tensor = tensor if tensor.is_floating_point() else tensor.float()
        return cast("Points", tensor * tensor.new_tensor(scale) + tensor.new_tensor(shift))
    return cast("Points", np.asarray(points, dtype=np.float64) * np.asarray(scale) + np.asarray(shift))


def from_pixel_indices(indices: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 2"]:
    """Convert pixel indices (column, row), each of which names a pixel by its centre, to continuous points."""
    return indices + 0.5


def to_pixel_indices(points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 2"]:
    """Convert continuous points to pixel indices (column, row), fractions included: inverse of from_pixel_indices."""
    return points - 0.5


def pixel_points(indices: Float[np.ndarray, "points 2"], size: Size) -> Float[np.ndarray, "points 2"]:
    """Convert a benchmark's pixel indices to continuous points of an image of ``size``.

    All points move by the same half pixel, so distances and the sizes of boxes do not change. Some annotations count
    from 1, and a point on the last row or column then lies half a pixel outside: points less than a pixel outside are
    moved onto the edge.
    """
    return moved_inside(from_pixel_indices(indices), size)


def moved_inside(points: Float[np.ndarray, "points 2"], size: Size) -> Float[np.ndarray, "points 2"]:
    """Move points that are less than a pixel outside an image of ``size`` onto its edge; NaN stays NaN."""
    inside = np.clip(points, 0, size)
    return np.where(np.abs(points - inside) < 1, inside, points)


def corner_box(left: float, top: float, width: float, height: float) -> Box:
    """Convert a box given by its corner and size to (x0, y0, x1, y1)."""
    return left, top, left + width, top + height


def scaled_box(box: Box | None, scale: tuple[float, float]) -> Box | None:
    """A box (x0, y0, x1, y1) with its x and y multiplied."""
    if box is None:
        return None
    (x0, y0, x1, y1), (x, y) = box, scale
    return x0 * x, y0 * y, x1 * x, y1 * y
