"""Half precision with a fallback: work whose numbers overflow is done again in float32.

The largest float16 is 65504. Where a network goes beyond it, a unit of work (one description, one target) is done again
by the same method in float32; the next unit begins in half precision again.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from semcorr.errors import NumericsError
from semcorr.imaging.geometry import PointsLike
from semcorr.imaging.image import ImageSource
from semcorr.matchers.base import Matcher
from semcorr.matchers.regions.results import RegionQuery, Regions
from semcorr.matchers.results import LocatedTogether, Matches, Query
from semcorr.matchers.wrappers.base import MatcherWrapper
from semcorr.progress import Progress

R = TypeVar("R")
L = TypeVar("L", Matches, LocatedTogether, Regions)


class Float32Fallback(MatcherWrapper):
    """A method in half precision; what overflows is done in float32, and a warning of the results says so.

    Args:
        matcher: The method in half precision.
        load: Loads the same in float32. It is called when it is first needed, and what it returns is kept.
    """

    def __init__(self, matcher: Matcher, load: Callable[[], Matcher]) -> None:
        super().__init__(matcher)
        self._load = load
        self._full: Matcher | None = None

    def describe(
        self,
        image: "ImageSource | Sequence[ImageSource]",
        points: "PointsLike",
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """Describe points as the method does; equal to float32's where that was needed.

        See :meth:`semcorr.Matcher.describe`.
        """
        query, warning = self._either(
            lambda matcher: matcher.describe(image, points, names=names, progress=progress), progress
        )
        return (
            query if warning is None else dataclasses.replace(query, warnings=(*query.warnings, f"described {warning}"))
        )

    def locate(
        self, query: Query, image: "ImageSource", *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """Locate as the method does; equal to float32's where that was needed; see :meth:`semcorr.Matcher.locate`."""
        matches, warning = self._either(
            lambda matcher: matcher.locate(query, image, trace=trace, progress=progress), progress
        )
        return _with_warning(matches, warning)

    def locate_each(
        self, queries: Sequence[Query], image: "ImageSource", *, progress: Progress | None = None
    ) -> list[Matches]:
        """Locate as the method does, all queries in float32 where one needs it.

        See :meth:`semcorr.Matcher.locate_each`.
        """
        all_matches, warning = self._either(
            lambda matcher: matcher.locate_each(queries, image, progress=progress), progress
        )
        return [_with_warning(matches, warning) for matches in all_matches]

    def locate_together(
        self,
        queries: Sequence[Query],
        keypoints: Sequence[Sequence[int]],
        count: int,
        image: "ImageSource",
        *,
        progress: Progress | None = None,
    ) -> LocatedTogether | None:
        """Locate an object as the method does; equal to float32's where that was needed.

        See :meth:`semcorr.Matcher.locate_together`.
        """
        located, warning = self._either(
            lambda matcher: matcher.locate_together(queries, keypoints, count, image, progress=progress), progress
        )
        return None if located is None else _with_warning(located, warning)

    def locate_regions(self, query: RegionQuery, image: "ImageSource", *, progress: Progress | None = None) -> Regions:
        """Find regions as the method does; equal to float32's where that was needed.

        See :meth:`semcorr.Matcher.locate_regions`.
        """
        regions, warning = self._either(
            lambda matcher: matcher.locate_regions(query, image, progress=progress), progress
        )
        return _with_warning(regions, warning)

    def run(self, work: Callable[[Matcher], R], progress: Progress | None = None) -> R:
        """Do one unit of work with the method, and again in float32 if numbers overflow.

        Raises:
            NumericsError: Float32 overflows as well.
        """
        return self._either(work, progress)[0]

    def _either(self, work: Callable[[Matcher], R], progress: Progress | None) -> tuple[R, str | None]:
        """Return what the work gave, and the warning if float32 was needed."""
        try:
            return work(self.matcher), None
        except NumericsError as error:
            if error.precision == "float32":
                raise
            warning = f"in float32, because {error.precision} overflowed ({error.what})"
        # Outside of the except block: its error holds the tensors of what failed.
        if progress is not None:
            progress("float32", 0, 1, reason=warning)
        if self._full is None:
            self._full = self._load()
        return work(self._full), warning

    def with_settings(self, settings: Any) -> "Float32Fallback":
        """Return the same around the method with other settings."""
        load = self._load
        return Float32Fallback(self.matcher.with_settings(settings), lambda: load().with_settings(settings))


def _with_warning(matches: L, warning: str | None) -> L:
    if warning is None:
        return matches
    return dataclasses.replace(matches, warnings=(*matches.warnings, f"located {warning}"))
