"""The guided filter: coarse maps of an image take over its edges (He et al., 2013, "Guided Image Filtering").

In every window a map is fitted as a linear function of the image's colours; a pixel's value is the mean of what the
windows around it say. The coefficients are fitted at a smaller size and enlarged (He and Sun, 2015, "Fast Guided
Filter"), so that time and memory do not grow with the image's pixels times the maps.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from semcorr.imaging.geometry import resize
from semcorr.imaging.heatmaps import upsample

WORKING_SIDE = 512
"""The longer side, in pixels, at which coefficients are fitted."""


def guided_maps(
    image: Float[Tensor, "3 height width"], maps: Float[Tensor, "maps _h _w"], *, radius: float, smoothness: float
) -> Iterator[Float[Tensor, "height width"]]:
    """Yield each map at the image's resolution, with the image's edges.

    Args:
        image: The guide, in [0, 1].
        maps: Maps of the whole image, of any resolution.
        radius: Of the windows, in parts of the image's longer side.
        smoothness: Variance of colour below which a window is taken for flat, and the map is averaged; the paper's ε.
    """
    height, width = image.shape[-2:]
    scale = min(1.0, WORKING_SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    guide, cells = resize(image, size), max(1, round(radius * max(size)))
    mean, inverse = _statistics(guide, cells, smoothness)
    for one in maps:
        coarse = upsample(one[None], size)
        offset = _box(coarse, cells)
        together = _box(guide * coarse, cells) - mean * offset
        slope = torch.einsum("abhw,bhw->ahw", inverse, together)
        offset = offset - (slope * mean).sum(dim=0, keepdim=True)
        fitted = F.interpolate(_box(torch.cat((slope, offset)), cells)[None], size=(height, width), mode="bilinear")[0]
        yield (fitted[:3] * image).sum(dim=0) + fitted[3]


def _statistics(
    guide: Float[Tensor, "3 height width"], cells: int, smoothness: float
) -> tuple[Float[Tensor, "3 height width"], Float[Tensor, "3 3 height width"]]:
    """The mean colour of each window, and the inverse of the colours' covariance with ``smoothness`` added."""
    mean = _box(guide, cells)
    products = torch.stack([_box(guide[axis] * guide, cells) - mean[axis] * mean for axis in range(3)])
    products = products + smoothness * torch.eye(3, device=guide.device)[:, :, None, None]
    # Of a 3 x 3 matrix: its cofactors, cross products of its rows, divided by its determinant. It is symmetric.
    cofactors = torch.stack(
        [torch.linalg.cross(products[(row + 1) % 3], products[(row + 2) % 3], dim=0) for row in range(3)]
    )
    return mean, cofactors / (products[0] * cofactors[0]).sum(dim=0)


def _box(maps: Float[Tensor, "maps height width"], radius: int) -> Float[Tensor, "maps height width"]:
    """The mean over windows of ``2 radius + 1`` pixels, and at the edges over those of them that are inside."""
    # Along one axis after the other: a window's pixels at once would take their square in time.
    for kernel, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        maps = F.avg_pool2d(maps[None], kernel, stride=1, padding=padding, count_include_pad=False)[0]
    return maps
