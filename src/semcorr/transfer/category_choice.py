"""Which category an object has where no box says it: the one whose supports the image resembles most.

The mean confidence of points does not distinguish categories: it is calibrated for points of the right category. The
highest similarities do, compared between categories within one image, since some images resemble every support and
others none, and compared with what the same supports give on annotated images.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semcorr.imaging.image import Image
from semcorr.matchers.results import Matches
from semcorr.transfer.support_queries import DescribedSupport
from semcorr.transfer.supports import Support

MARGIN = 0.5
"""By how much a category must lead each other one; 1 is its lead on its own annotated images. Chosen on validation
drawings of the toy world."""

_LEAST_DIFFERENCE = 1e-6


def resemblance(matches: Sequence[Matches]) -> float:
    """The mean over a category's supports and their key-points of the highest similarity anywhere in an image.

    Of methods that compare no features it is a heat map's highest value.
    """
    return float(
        np.concatenate(
            [one.heatmaps.max(axis=(1, 2)) if one.similarity is None else one.similarity for one in matches]
        ).mean()
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceLevels:
    """What an image's resemblance is compared with.

    Attributes:
        means: By a category and a category that annotated images show: these images' mean resemblance to the first
            one's supports; without an entry where no support is on another image.
    """

    means: Mapping[tuple[str, str], float]

    def lead(self, first: str, second: str, resemblances: Mapping[str, float]) -> float:
        """How far an image is on the first category's side of the second: 1 as its own images, -1 as the second's.

        NaN if that is not known: one of them has a single support, or their annotated images do not differ.
        """
        keys = [(one, shown) for shown in (first, second) for one in (first, second)]
        if not all(key in self.means for key in keys):
            return float("nan")
        on_first = self.means[keys[0]] - self.means[keys[1]]
        on_second = self.means[keys[2]] - self.means[keys[3]]
        if on_first - on_second <= _LEAST_DIFFERENCE:
            return float("nan")
        middle, half = (on_first + on_second) / 2, (on_first - on_second) / 2
        return (resemblances[first] - resemblances[second] - middle) / half

    def choose(self, groups: Sequence[Sequence[str]], resemblances: Mapping[str, float]) -> tuple[str, ...] | None:
        """The group of categories that leads each other one by :data:`MARGIN`; None if it is doubtful."""
        for group in groups:
            leads = [
                np.mean([self.lead(first, second, resemblances) for first in group for second in other])
                for other in groups
                if other is not group
            ]
            if all(lead >= MARGIN for lead in leads):
                return tuple(group)
        return None


def exclusive_groups(supports: Mapping[str, Sequence[Support]]) -> list[tuple[str, ...]]:
    """Categories, grouped where an annotated image shows them together; between groups one is to be chosen."""
    groups = [{category} for category in supports]
    shown: dict[str, set[str]] = {}
    for category, chosen in supports.items():
        for support in chosen:
            shown.setdefault(category, set()).update(_shown(support, supports))
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
) -> ReferenceLevels:
    """Locate every category's supports in every annotated image, but never an image's own.

    Args:
        supports: By category.
        described: The same, in the same order.
        locate: Locates the points of described supports in an image.
        load: Reads a support's image.
    """
    measured: dict[tuple[str, str], list[float]] = {}
    images: dict[Path, Support] = {support.image.path: support for chosen in supports.values() for support in chosen}
    for path, source in images.items():
        others = {
            category: [
                one for one, support in zip(described[category], chosen, strict=True) if support.image.path != path
            ]
            for category, chosen in supports.items()
        }
        matches = iter(locate(load(source), [one for group in others.values() for one in group]))
        for category, group in others.items():
            own = [next(matches) for _ in group]
            for shown in _shown(source, supports) if group else ():
                measured.setdefault((category, shown), []).append(resemblance(own))
    return ReferenceLevels(means={key: float(np.mean(values)) for key, values in measured.items()})


def _shown(support: Support, categories: Mapping[str, object]) -> set[str]:
    """Those of the categories that a support's image shows annotated objects of."""
    return {one.category for one in support.image.instances if one.annotated} & set(categories)
