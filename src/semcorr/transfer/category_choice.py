"""Which category an object is of where no box says it: the one whose supports the image resembles most.

The mean confidence of points does not tell categories apart: it is calibrated for points of the right category. How
similar the best places are does, compared between categories within one image, since some images resemble every support
and others none, and with what the same supports give on annotated images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semcorr.imaging.image import Image
from semcorr.matchers.results import Matches
from semcorr.transfer.supports import DescribedSupport, Support

MARGIN = 0.5
"""By how much a category must lead each other one: 1 is what it leads by on its own annotated images. Chosen on
validation drawings of the toy world."""

_LEAST = 1e-6


def resemblance(matches: Sequence[Matches]) -> float:
    """The mean over a category's supports and their key-points of the highest similarity to any place of an image.

    Of methods that compare no features it is a heat map's highest value.
    """
    return float(
        np.concatenate(
            [found.heatmaps.max(axis=(1, 2)) if found.similarity is None else found.similarity for found in matches]
        ).mean()
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """What resemblance is compared with.

    Attributes:
        means: By a category and a category that annotated images show, these images' mean resemblance to the first
            one's supports; nothing where no support is on another image.
    """

    means: Mapping[tuple[str, str], float]

    def lead(self, first: str, second: str, found: Mapping[str, float]) -> float:
        """How far an image is on the first category's side of the second: 1 as its own images, -1 as the second's.

        NaN if that is not known: one of them has a single support, or their annotated images are not told apart.
        """
        kinds = [(one, shown) for shown in (first, second) for one in (first, second)]
        if not all(kind in self.means for kind in kinds):
            return float("nan")
        on_first = self.means[kinds[0]] - self.means[kinds[1]]
        on_second = self.means[kinds[2]] - self.means[kinds[3]]
        if on_first - on_second <= _LEAST:
            return float("nan")
        middle, half = (on_first + on_second) / 2, (on_first - on_second) / 2
        return (found[first] - found[second] - middle) / half

    def choose(self, groups: Sequence[Sequence[str]], found: Mapping[str, float]) -> tuple[str, ...] | None:
        """The group of categories that leads each other one by :data:`MARGIN`; None: it is doubtful."""
        for group in groups:
            leads = [
                np.mean([self.lead(first, second, found) for first in group for second in other])
                for other in groups
                if other is not group
            ]
            if all(lead >= MARGIN for lead in leads):
                return tuple(group)
        return None


def exclusive_groups(supports: Mapping[str, Sequence[Support]]) -> list[tuple[str, ...]]:
    """Categories, put together where an annotated image shows them together: between groups one is to be chosen."""
    groups = [{category} for category in supports]
    shown: dict[str, set[str]] = {}
    for category, chosen in supports.items():
        for support in chosen:
            together = {one.category for one in support.picture.instances if one.annotated} & set(supports)
            shown.setdefault(category, set()).update(together)
    for together in shown.values():
        joined = set().union(*(group for group in groups if group & together))
        groups = [group for group in groups if not group & together] + [joined]
    order = list(supports)
    return sorted((tuple(sorted(group, key=order.index)) for group in groups), key=lambda group: order.index(group[0]))


def measure_levels(
    supports: Mapping[str, Sequence[Support]],
    described: Mapping[str, Sequence[DescribedSupport]],
    locate: Callable[[Image, Sequence[DescribedSupport]], Sequence[Matches]],
    load: Callable[[Support], Image],
) -> Levels:
    """Transfer supports to each other: every category's to every annotated image, never an image's to itself.

    Args:
        supports: By category.
        described: The same, in the same order.
        locate: Locates the points of described supports in an image.
        load: Reads a support's image.
    """
    found: dict[tuple[str, str], list[float]] = {}
    images: dict[Path, Support] = {support.picture.path: support for chosen in supports.values() for support in chosen}
    for path, source in images.items():
        shown = {one.category for one in source.picture.instances if one.annotated} & set(supports)
        used = {
            category: [
                one for one, support in zip(described[category], chosen, strict=True) if support.picture.path != path
            ]
            for category, chosen in supports.items()
        }
        matches = iter(locate(load(source), [one for group in used.values() for one in group]))
        for category, group in used.items():
            own = [next(matches) for _ in group]
            for other in shown if group else ():
                found.setdefault((category, other), []).append(resemblance(own))
    return Levels(means={kind: float(np.mean(values)) for kind, values in found.items()})
