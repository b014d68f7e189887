"""Settings that follow from a transfer's supports, where a method's are ``"auto"``."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import Size
from semcorr.matchers.base import Matcher
from semcorr.settings import override
from semcorr.transfer.supports import Support

_TURNS = 8
"""Views of each support of a category whose objects face any way."""
_TURNED = math.pi / 4
_SHARE = 0.2
"""From which share of the pairs of supports on objects face any way."""
_ALIKE = 0.98
"""Two ways in which one configuration fits another are alike from this ratio of their strengths on."""


def with_turns(matcher: Matcher, supports: Mapping[str, Sequence[Support]]) -> tuple[Matcher, tuple[str, ...]]:
    """Return a method whose ``turns`` are ``"auto"`` with the number that supports need, and what the user should know.

    Args:
        matcher: The method; any other is returned unchanged.
        supports: By category.
    """
    settings: Any = matcher.settings
    if getattr(settings, "turns", None) != "auto" or settings.prior == "none":
        return matcher, ()
    turned = [name for name, chosen in supports.items() if share_turned(chosen) >= _SHARE]
    if not turned:
        return matcher.with_settings(override(settings, turns=1)), ()
    names = ", ".join(repr(name) for name in turned)
    note = (
        f"annotated objects of {names} are turned against each other: each is compared in {_TURNS} directions, which "
        "takes longer; --set turns=1 prevents it"
    )
    return matcher.with_settings(override(settings, turns=_TURNS)), (note,)


def share_turned(supports: Sequence[Support]) -> float:
    """Return the share of pairs of supports that are turned against each other, of those with 3 points in common."""
    turned = []
    for first, second in combinations(supports, 2):
        common = np.intersect1d(first.keypoints, second.keypoints)
        if len(common) >= 3:
            turned.append(are_turned(first.instance.points[common], second.instance.points[common]))
    return float(np.mean(turned)) if turned else 0.0


def are_turned(first: Float[np.ndarray, "points 2"], second: Float[np.ndarray, "points 2"]) -> bool:
    """Whether two objects are turned against each other by more than 45 degrees, by the same points of both.

    By the similarity transform of least squares, with or without mirroring left and right, whichever fits better: an
    animal that faces the other way is not turned. Where both fit alike, as for points on a line, the smaller turn
    counts.
    """
    own, other = (points[:, 0] + 1j * points[:, 1] for points in (first, second))
    own, other = own - own.mean(), other - other.mean()
    # The angle of each sum is the turn, and its length what the fit explains.
    fits = np.array([np.vdot(own, other), np.vdot(-own.conj(), other)])
    good = np.abs(fits) >= _ALIKE * np.abs(fits).max()
    return bool((np.abs(np.angle(fits[good])) > _TURNED).all())


def with_enlargement(matcher: Matcher, objects: Iterable[tuple[Float[np.ndarray, "points 2"], Size]]) -> Matcher:
    """Return a method whose ``enlarge`` is ``"auto"`` with the enlargement that the smallest of some objects needs.

    Args:
        matcher: The method; any other is returned unchanged.
        objects: The points of each, and (width, height) of its image.
    """
    settings: Any = matcher.settings
    if getattr(settings, "enlarge", None) != "auto":
        return matcher
    return matcher.with_settings(settings.suited_to(objects))
