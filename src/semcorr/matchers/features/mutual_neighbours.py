"""Best buddies: cells of two feature maps that are each other's nearest neighbours, searched from coarse to fine.

After Aberman et al., 2018, "Neural best-buddies: sparse cross-domain correspondence": a pair found on a coarse level
allows pairs on the next finer one only near it, so that fine detail is matched where the coarse matches say.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from semcorr.matchers.features.cosine import unit

_CHUNK_NUMBERS = 2**24
"""Similarities that exist at once: 64 MB."""


@dataclass(frozen=True, kw_only=True)
class Buddies:
    """Pairs of cells, by their (column, row) in the two feature maps, and the cosine of their features."""

    source: Int[Tensor, "pairs 2"]
    target: Int[Tensor, "pairs 2"]
    similarity: Float[Tensor, " pairs"]


def best_buddies(
    source: Float[Tensor, "dim source_height source_width"],
    target: Float[Tensor, "dim target_height target_width"],
    *,
    levels: int = 1,
    radius: int = 1,
) -> Buddies:
    """Return the pairs of cells that are mutual nearest neighbours by the cosine, in the source's reading order.

    With several ``levels`` both maps are first averaged over blocks of ``2 ** (levels - 1)`` cells each way and matched
    whole. A cell of the next finer level may then only be matched with cells at most ``radius`` away from where the
    finer cells of a pair found before begin and end, and has no match where there was no pair.

    Args:
        source: Features of one image.
        target: Features of the other; its map may have another size.
        levels: 1 matches the maps as they are.
        radius: In cells of the finer level.
    """
    allowed: Tensor | None = None
    pairs: Buddies | None = None
    for level in reversed(range(levels)):
        a, b = _coarser(source, 2**level), _coarser(target, 2**level)
        if pairs is not None:
            allowed = _windows(pairs, a, b, radius)
        pairs = _mutual(a, b, allowed)
    assert pairs is not None  # noqa: S101  # there is a level at least
    return pairs


def _coarser(features: Float[Tensor, "dim _ _"], block: int) -> Float[Tensor, "dim _ _"]:
    """Average over blocks; what is left over at the right and lower edge makes blocks of its own."""
    if block == 1:
        return features
    return F.avg_pool2d(features[None], block, ceil_mode=True, count_include_pad=False)[0]


def _windows(
    pairs: Buddies, a: Float[Tensor, "dim _ah _aw"], b: Float[Tensor, "dim _bh _bw"], radius: int
) -> Int[Tensor, "_pairs 8"]:
    """For each coarse pair the finer cells that it allows: first and last column and row, source, then target."""
    rows = []
    for cells, features in ((pairs.source, a), (pairs.target, b)):
        last = torch.tensor([features.shape[2] - 1, features.shape[1] - 1], device=cells.device)
        rows += [(2 * cells - radius).clamp(min=0), torch.minimum(2 * cells + 1 + radius, last)]
    return torch.cat(rows, dim=1)


def _mutual(a: Float[Tensor, "dim ah aw"], b: Float[Tensor, "dim bh bw"], windows: Tensor | None) -> Buddies:
    first, second = (unit(features.flatten(1).T) for features in (a, b))
    near_a, near_b, height = _nearest(first, second, None if windows is None else _Allowed(windows, a, b))
    index = torch.arange(len(first), device=first.device)
    keep = near_b[near_a] == index
    keep &= height > -torch.inf
    chosen = index[keep]
    return Buddies(
        source=_cells(chosen, a.shape[2]), target=_cells(near_a[chosen], b.shape[2]), similarity=height[chosen]
    )


class _Allowed:
    """Which pairs of cells lie in a common window."""

    def __init__(self, windows: Tensor, a: Tensor, b: Tensor) -> None:
        self._source = _inside(windows[:, :4], a)
        self._target = _inside(windows[:, 4:], b)

    def rows(self, part: slice) -> Tensor:
        """(some source cells, all target cells): whether a window holds both."""
        return (self._source[:, part].T.float() @ self._target.float()) > 0


def _inside(spans: Tensor, features: Tensor) -> Tensor:
    """(windows, cells): whether a cell of a map is between a window's first and last column and row."""
    height, width = features.shape[1:]
    columns = torch.arange(width, device=spans.device).repeat(height)
    rows = torch.arange(height, device=spans.device).repeat_interleave(width)
    left, top, right, bottom = (spans[:, [column]] for column in range(4))
    return (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)


def _nearest(
    first: Float[Tensor, "a dim"], second: Float[Tensor, "b dim"], allowed: _Allowed | None
) -> tuple[Int[Tensor, " a"], Int[Tensor, " b"], Float[Tensor, " a"]]:
    """Each one's nearest among the others, and how near the first ones' are; of equals the first is nearest."""
    best_b = first.new_full((len(second),), -torch.inf)
    near_b = torch.zeros(len(second), dtype=torch.long, device=first.device)
    near_a, height = [], []
    step = max(1, _CHUNK_NUMBERS // len(second))
    for begin in range(0, len(first), step):
        part = slice(begin, begin + step)
        similar = first[part] @ second.T
        if allowed is not None:
            similar = similar.masked_fill(~allowed.rows(part), -torch.inf)
        value, index = similar.max(dim=1)
        near_a.append(index)
        height.append(value)
        value, index = similar.max(dim=0)
        better = value > best_b
        near_b = torch.where(better, index + begin, near_b)
        best_b = torch.where(better, value, best_b)
    return torch.cat(near_a), near_b, torch.cat(height)


def _cells(index: Int[Tensor, " pairs"], width: int) -> Int[Tensor, "pairs 2"]:
    return torch.stack((index % width, index // width), dim=1)
