"""Any method in half precision, with what overflows done once more in float32.

Float16 ends at 65504. Where a network goes beyond it, a unit of work (one description, one target) is done again by the
same method in float32; the next unit begins in half precision again.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from numpy.typing import ArrayLike

from semcorr.errors import NumericsError
from semcorr.imaging.image import ImageSource
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Matches, Query
from semcorr.progress import Progress

R = TypeVar("R")


class Float32Fallback:
    """A method in half precision; what overflows is done in float32, and results say so (``remarks``).

    Args:
        matcher: in half precision.
        load: loads the same in float32. It is called when it is first needed, and what it gives is kept.
    """

    def __init__(self, matcher: Matcher, load: Callable[[], Matcher]) -> None:
        self.matcher = matcher
        self._load = load
        self._full: Matcher | None = None

    def identity(self) -> dict[str, Any]:
        """The method's own, in half precision."""
        return self.matcher.identity()

    def describe(
        self,
        image: ImageSource,
        points: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Query:
        """As the method does; equal to float32's where that was needed."""
        query, remark = self.either(
            lambda own: own.describe(image, points, names=names, progress=progress), progress=progress
        )
        return query if remark is None else dataclasses.replace(query, remarks=(*query.remarks, f"described {remark}"))

    def locate(
        self, query: Query, image: ImageSource, *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """As the method does; equal to float32's where that was needed."""
        found, remark = self.either(
            lambda own: own.locate(query, image, trace=trace, progress=progress), progress=progress
        )
        return found if remark is None else dataclasses.replace(found, remarks=(*found.remarks, f"located {remark}"))

    def either(self, work: Callable[[Any], R], *, progress: Progress | None = None) -> tuple[R, str | None]:
        """Do ``work`` with the method, and again with its float32 twin if numbers overflow; in words which, then.

        Raises:
            NumericsError: float32 overflows as well.
        """
        try:
            return work(self.matcher), None
        except NumericsError as error:
            if error.precision == "float32":
                raise
            remark = f"in float32, because {error.precision} overflowed ({error.what})"
        # Outside of the except block: its error holds the tensors of what failed.
        if progress is not None:
            progress("float32", 0, 1, reason=remark)
        if self._full is None:
            self._full = self._load()
        return work(self._full), remark


def with_float32_fallback(
    load: Callable[..., Matcher], model: str | os.PathLike[str], options: dict[str, Any]
) -> Matcher:
    """Load a method with its options, which may ask for half precision."""
    matcher = load(model, **options)
    if options.get("dtype", "float32") == "float32":
        return matcher
    return Float32Fallback(matcher, lambda: load(model, **{**options, "dtype": "float32"}))


def on_method(matcher: object, work: Callable[[Any], R], *, progress: Progress | None = None) -> R:
    """Do ``work`` with the method itself (:func:`semcorr.matchers.base.innermost`), in float32 if it must be."""
    while hasattr(matcher, "matcher"):
        if isinstance(matcher, Float32Fallback):
            return matcher.either(work, progress=progress)[0]
        matcher = matcher.matcher
    return work(matcher)
