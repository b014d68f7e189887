"""Several supports of one object located at once: all views of all supports explain the same few positions.

An entry is one view of one support. Its hypotheses are made on maps of which half is its own and half is what all
supports say; the entries whose positions agree with the best one's are averaged. A support may lack key-points.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from semcorr.imaging.geometry import Size
from semcorr.matchers.features import geometric_prior
from semcorr.matchers.features.cosine import vectors_at
from semcorr.matchers.features.guided import Guess, guess, guided
from semcorr.matchers.features.settings import FeatureSettings
from semcorr.matchers.features.source_views import View

_KEPT = 16
"""Entries that make hypotheses: those whose points are most similar to something in the target."""
_OWN = 0.5
"""How much an entry's own map counts beside what all supports say."""
_AGREE = 0.2
"""Entries agree whose positions differ by less than this, in extents of the best one's."""
_TOLERANCE = 0.08
"""Entries worth less than the best one's by more than this do not count."""
_TEMPERATURE = 0.03
"""How fast an entry's weight falls with its worth."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Together:
    """Where key-points are; NaN where no support has one.

    Attributes:
        points: (x, y) in pixels of the target.
        confidence: In [0, 1].
        votes: The similarity of each support's description, by its most similar view, with what is at the point, in
            [0, 1]; NaN where the support lacks the key-point.
    """

    points: Float[Tensor, "keypoints 2"]
    confidence: Float[Tensor, " keypoints"]
    votes: Float[Tensor, "supports keypoints"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A view of a support's points.

    Attributes:
        view: The view.
        keypoints: The key-point that each of its points is.
        support: The support's number.
        cosines: Its similarity with each cell of the target.
    """

    view: View
    keypoints: Int[Tensor, " points"]
    support: int
    cosines: Float[Tensor, "points rows columns"]

    @property
    def height(self) -> float:
        """The highest similarity of each point, the mean over points."""
        return float(self.cosines.flatten(1).amax(dim=1).mean())


def locate_together(
    supports: Sequence[tuple[Iterable[View], Sequence[int]]],
    keypoints: int,
    features: Float[Tensor, "dim rows columns"],
    size: Size,
    settings: FeatureSettings,
) -> Together:
    """Locate an object's key-points by all views of its supports; NaN where no support has the key-point.

    Args:
        supports: The views of each, and which key-point each of its points is.
        keypoints: How many there are.
        features: Of the target.
        size: (width, height) of the target in pixels.
        settings: What a peak is, and how much the prior counts.
    """
    unit = F.normalize(features, dim=0)
    positions = geometric_prior.cell_positions((unit.shape[2], unit.shape[1]), size, unit)
    entries = [
        Entry(
            view=view,
            keypoints=torch.tensor(list(own), device=unit.device),
            support=number,
            cosines=torch.einsum("pd,dhw->phw", view.vectors, unit),
        )
        for number, (views, own) in enumerate(supports)
        for view in views
    ]
    shared, known = _shared(entries, keypoints)
    kept = sorted(entries, key=lambda entry: -entry.height)[:_KEPT]
    guesses = [
        guess(entry.view, entry.cosines, _OWN * entry.cosines + (1 - _OWN) * shared[entry.keypoints], unit, positions)
        for entry in kept
    ]
    best = max(guesses, key=lambda one: one.worth)
    cosines, expected = _averaged(kept, guesses, best, shared)
    located = guided(cosines, expected, best.reach, positions, size, settings)
    votes = located.points.new_full((len(supports), keypoints), torch.nan)
    there = vectors_at(features, located.points, size)
    for entry in entries:
        own = votes[entry.support, entry.keypoints]
        similarity = (entry.view.vectors * there[entry.keypoints]).sum(dim=1).clamp(0, 1).to(votes)
        votes[entry.support, entry.keypoints] = torch.fmax(own, similarity)
    return Together(
        points=torch.where(known[:, None], located.points, torch.nan),
        confidence=torch.where(known, located.confidence, torch.nan),
        votes=votes,
    )


def _shared(entries: Sequence[Entry], keypoints: int) -> tuple[Float[Tensor, "keypoints rows columns"], Tensor]:
    """What all supports say, each by its best view: the mean of maximum and mean; and which key-points any has."""
    rows, columns = entries[0].cosines.shape[1:]
    by_support: dict[int, Tensor] = {}
    for entry in entries:
        own = entry.cosines.new_full((keypoints, rows, columns), -torch.inf)
        own[entry.keypoints] = entry.cosines
        by_support[entry.support] = torch.maximum(by_support.get(entry.support, own), own)
    maps = torch.stack(list(by_support.values()))
    has = maps[:, :, 0, 0] > -torch.inf
    known = has.any(dim=0)
    mean = torch.where(has[:, :, None, None], maps, 0).sum(dim=0) / has.sum(dim=0).clamp(min=1)[:, None, None]
    return torch.where(known[:, None, None], (maps.amax(dim=0) + mean) / 2, 0), known


def _averaged(
    entries: Sequence[Entry], guesses: Sequence[Guess], best: Guess, shared: Float[Tensor, "keypoints rows columns"]
) -> tuple[Float[Tensor, "keypoints rows columns"], Float[Tensor, "keypoints 2"] | None]:
    """Maps and expected positions, averaged over the entries that agree with the best; NaN where none says anything.

    A key-point that none of them has keeps the map that all supports share.
    """
    if best.expected is None:
        return shared, None
    winner = next(number for number, one in enumerate(guesses) if one is best)
    theirs = torch.full((len(entries), len(shared), 2), torch.nan, dtype=shared.dtype, device=shared.device)
    for number, (entry, one) in enumerate(zip(entries, guesses, strict=True)):
        if one.expected is not None and one.worth >= best.worth - _TOLERANCE:
            theirs[number, entry.keypoints] = one.expected
    apart = (theirs - theirs[winner]).norm(dim=2).nanmean(dim=1)
    agree = apart < _AGREE * geometric_prior.extent(best.expected)
    agree[winner] = True
    worth = torch.tensor([one.worth for one in guesses]).to(shared)
    weights = torch.where(agree, torch.exp((worth - best.worth) / _TEMPERATURE), 0)
    each = torch.where(theirs[:, :, 0].isnan(), 0, weights[:, None])
    total = each.sum(dim=0)
    each = each / total  # NaN for a key-point that none has
    cosines = torch.zeros_like(shared)
    for number, entry in enumerate(entries):
        if agree[number]:
            cosines[entry.keypoints] += each[number, entry.keypoints, None, None] * entry.cosines
    expected = torch.where(total[:, None] > 0, (each[:, :, None] * theirs.nan_to_num()).sum(dim=0), torch.nan)
    return torch.where((total > 0)[:, None, None], cosines, shared), expected
