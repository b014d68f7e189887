"""The network that maps a collection's images to the canonical grid."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from semcorr.imaging.geometry import lattice

_GROUPS = 4


def cell_positions(grid: int) -> Float[Tensor, "2 {grid} {grid}"]:
    """Return the (x, y) of the middles of all cells, from -1 to 1 across the image: the identity's coordinates."""
    return torch.from_numpy(lattice((grid, grid), 1) / grid * 2 - 1).float().movedim(-1, 0).contiguous()


def _layer(inputs: int, outputs: int, side: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, side, padding=side // 2), nn.GroupNorm(_GROUPS, outputs), nn.GELU())


class CanonicalNetwork(nn.Module):
    """From frozen features to canonical coordinates: the position of each cell and an offset.

    ASIC has a U-Net on colours; here frozen features are read, which have seen the surroundings, so that each cell's
    own decide and convolutions over 3 x 3 cells, at a half and a quarter of the resolution, suffice. An untrained one
    is the identity.

    Args:
        dim: Channels of the features.
        width: Channels of the layers, a multiple of 4.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.cells = nn.Sequential(_layer(dim + 2, width, 1), _layer(width, width, 1))
        self.near = _layer(width, width, 3)
        self.far = nn.Sequential(_layer(width, width, 3), _layer(width, width, 3))
        self.joined = _layer(3 * width, width, 1)
        self.offset = nn.Conv2d(width, 2, 1)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, features: Float[Tensor, "batch dim grid grid"]) -> Float[Tensor, "batch 2 grid grid"]:
        """Return the offsets; the coordinates are these plus :func:`cell_positions`."""
        positions = cell_positions(features.shape[-1]).to(features)
        cells = self.cells(torch.cat([features, positions.expand(len(features), -1, -1, -1)], dim=1))
        near = self.near(F.avg_pool2d(cells, 2))
        far = self.far(F.avg_pool2d(near, 2))
        size = cells.shape[2:]
        coarse = [F.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in (near, far)]
        offsets: Tensor = self.offset(self.joined(torch.cat([cells, *coarse], dim=1)))
        return offsets

    def coordinates(self, features: Float[Tensor, "batch dim grid grid"]) -> Float[Tensor, "batch 2 grid grid"]:
        """Return the canonical coordinates of all cells."""
        result: Tensor = self(features) + cell_positions(features.shape[-1]).to(features)
        return result
