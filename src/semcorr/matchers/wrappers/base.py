"""A matcher around another: it forwards all calls, so that a wrapper says only what it changes."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import PointsLike
from semcorr.imaging.image import Image, ImageSource
from semcorr.matchers.base import Matcher, PointsAndConfidence
from semcorr.matchers.regions.examples import MaskSource
from semcorr.matchers.regions.results import RegionQuery, Regions
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.matchers.results import LocatedTogether, Matches, Query
from semcorr.progress import Progress

R = TypeVar("R")
W = TypeVar("W", bound="MatcherWrapper")


class MatcherWrapper(Matcher):
    """Any method, with some of its calls changed by a sub-class.

    Args:
        matcher: The method, which may be wrapped itself.
    """

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher
        self.method, self.model, self.settings = matcher.method, matcher.model, matcher.settings
        self.capabilities, self.calibration = matcher.capabilities, matcher.calibration

    def _facts(self) -> list[str]:
        return self.matcher._facts()

    @property
    def unwrapped(self) -> Matcher:
        """The method itself, without wrappers."""
        return self.matcher.unwrapped

    @property
    def points_together(self) -> bool:
        """As of the method."""
        return self.matcher.points_together

    def run(self, work: Callable[[Matcher], R], progress: Progress | None = None) -> R:  # noqa: ARG002  # others'
        """Do one unit of work with the method; all calls below go through here."""
        return work(self.matcher)

    def identity(self) -> dict[str, Any]:
        """Return the method's own."""
        return self.matcher.identity()

    def describe(
        self,
        image: "ImageSource | Sequence[ImageSource]",
        points: "PointsLike",
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """Describe points as the method does; see :meth:`semcorr.Matcher.describe`."""
        return self.run(lambda matcher: matcher.describe(image, points, names=names, progress=progress), progress)

    def locate(
        self, query: Query, image: "ImageSource", *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """Locate as the method does; see :meth:`semcorr.Matcher.locate`."""
        return self.run(lambda matcher: matcher.locate(query, image, trace=trace, progress=progress), progress)

    def locate_points(
        self, query: Query, image: "ImageSource", *, progress: Progress | None = None
    ) -> PointsAndConfidence:
        """Locate points without heat maps as the method does; see :meth:`semcorr.Matcher.locate_points`."""
        return self.run(lambda matcher: matcher.locate_points(query, image, progress=progress), progress)

    def locate_together(
        self,
        queries: Sequence[Query],
        keypoints: Sequence[Sequence[int]],
        count: int,
        image: "ImageSource",
        *,
        progress: Progress | None = None,
    ) -> LocatedTogether | None:
        """Locate an object by all its supports as the method does; see :meth:`semcorr.Matcher.locate_together`."""
        return self.run(
            lambda matcher: matcher.locate_together(queries, keypoints, count, image, progress=progress), progress
        )

    def layer_heatmaps(
        self, query: Query, image: "ImageSource", *, progress: Progress | None = None
    ) -> Float[np.ndarray, "points layers height width"]:
        """Return the method's own; see :meth:`semcorr.Matcher.layer_heatmaps`."""
        return self.run(lambda matcher: matcher.layer_heatmaps(query, image, progress=progress), progress)

    def feature_maps(
        self, images: Sequence[Image], *, progress: Progress | None = None
    ) -> list[Float[Any, "dim _height _width"]]:
        """Return the method's own; see :meth:`semcorr.Matcher.feature_maps`."""
        return self.run(lambda matcher: matcher.feature_maps(images, progress=progress), progress)

    def describe_regions(
        self,
        images: "ImageSource | Sequence[ImageSource]",
        masks: MaskSource | Sequence[MaskSource],
        *,
        settings: RegionSettings | None = None,
        progress: Progress | None = None,
    ) -> RegionQuery:
        """Describe regions as the method does; see :meth:`semcorr.Matcher.describe_regions`."""
        return self.run(
            lambda matcher: matcher.describe_regions(images, masks, settings=settings, progress=progress), progress
        )

    def locate_regions(self, query: RegionQuery, image: "ImageSource", *, progress: Progress | None = None) -> Regions:
        """Find regions as the method does; see :meth:`semcorr.Matcher.locate_regions`."""
        return self.run(lambda matcher: matcher.locate_regions(query, image, progress=progress), progress)

    def with_settings(self: W, settings: Any) -> W:
        """Return the same around the method with other settings."""
        other = copy.copy(self)
        other.matcher = self.matcher.with_settings(settings)
        other.settings, other.load_again = settings, None
        return other
