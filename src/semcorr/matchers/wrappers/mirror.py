"""Pose alignment: match against the target and against its mirror image, and keep the better result.

Features and prompts confuse left and right: an animal that faces the other way is matched better in the mirror. After
Zhang et al., 2024, "Telling Left from Right" (test-time pose alignment), who mirror the source; with the target
mirrored, the source is described once only.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import mirror_points
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.matchers.base import PointsAndConfidence
from semcorr.matchers.regions.results import RegionQuery, Regions
from semcorr.matchers.results import LocatedTogether, Matches, Query
from semcorr.matchers.wrappers.base import MatcherWrapper
from semcorr.progress import Progress

_SIDES = {"left": "right", "right": "left"}
_SIDE = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)


class MirrorMatcher(MatcherWrapper):
    """Any method, which searches the target's mirror image as well.

    The image with the higher mean confidence is used, and its matches are returned in the target's own pixels. Where
    the query's names tell left from right ("left eye", "right eye"), the two are exchanged in the mirror: what looks
    like a left eye there is a right one.

    Layers' heat maps (``layer_heatmaps``) are always those of the image itself.
    """

    def _facts(self) -> list[str]:
        return [*super()._facts(), "pose aligned"]

    def identity(self) -> dict[str, Any]:
        """Return the method's own, and that mirror images are searched."""
        return {**self.matcher.identity(), "align_pose": True}

    def locate(
        self, query: Query, image: "ImageSource", *, trace: bool = False, progress: Progress | None = None
    ) -> Matches:
        """Find a query's points in an image or its mirror image, whichever has the higher mean confidence.

        See :meth:`semcorr.Matcher.locate`.
        """
        target = load_image(image)
        straight = self.matcher.locate(query, target, trace=trace, progress=progress)
        return _better(
            query, target, straight, self.matcher.locate(query, mirror(target), trace=trace, progress=progress)
        )

    def locate_each(
        self, queries: Sequence[Query], image: "ImageSource", *, progress: Progress | None = None
    ) -> list[Matches]:
        """Find several queries' points, each in the image or in its mirror image.

        See :meth:`semcorr.Matcher.locate_each`.
        """
        target = load_image(image)
        straight = self.matcher.locate_each(queries, target, progress=progress)
        mirrored = self.matcher.locate_each(queries, mirror(target), progress=progress)
        return [_better(query, target, *both) for query, *both in zip(queries, straight, mirrored, strict=True)]

    def locate_together(
        self,
        queries: Sequence[Query],
        keypoints: Sequence[Sequence[int]],
        count: int,
        image: "ImageSource",
        *,
        progress: Progress | None = None,
    ) -> LocatedTogether | None:
        """Locate an object in the image or in its mirror image, whichever has the higher mean confidence.

        All supports face the same way then.
        """
        target = load_image(image)
        straight = self.matcher.locate_together(queries, keypoints, count, target, progress=progress)
        mirrored = self.matcher.locate_together(queries, keypoints, count, mirror(target), progress=progress)
        if straight is None or mirrored is None:
            return None
        if np.nanmean(mirrored.confidence) <= np.nanmean(straight.confidence):
            return straight
        return dataclasses.replace(mirrored, points=mirror_points(mirrored.points, target.size))

    def locate_points(
        self, query: Query, image: "ImageSource", *, progress: Progress | None = None
    ) -> PointsAndConfidence:
        """Locate all points in the image, or all in its mirror image, without heat maps.

        See :meth:`semcorr.Matcher.locate_points`.
        """
        target = load_image(image)
        straight = self.matcher.locate_points(query, target, progress=progress)
        points, confidence = self.matcher.locate_points(query, mirror(target), progress=progress)
        if confidence.mean() <= straight[1].mean():
            return straight
        return mirror_points(points, target.size), confidence

    def locate_regions(self, query: RegionQuery, image: "ImageSource", *, progress: Progress | None = None) -> Regions:
        """Find regions in the image or in its mirror image, whichever has the higher mean confidence.

        What looks like a left part in the mirror is a right one, as for points.
        """
        target = load_image(image)
        straight = self.matcher.locate_regions(query, target, progress=progress)
        mirrored = self.matcher.locate_regions(query, mirror(target), progress=progress)
        if mirrored.pixel_confidence.mean() <= straight.pixel_confidence.mean():
            return straight
        labels = list(query.names)
        other = np.arange(256, dtype=np.uint8)
        other[labels] = [labels[index] for index in other_sides(list(query.names.values()), len(labels))]
        return dataclasses.replace(
            mirrored,
            labels=other[mirrored.labels[:, ::-1]],
            pixel_confidence=mirrored.pixel_confidence[:, ::-1],
            image_sha256=target.sha256,
        )


def mirror(image: Image) -> Image:
    """Return the image with left and right exchanged."""
    return Image(pixels=np.ascontiguousarray(image.pixels[:, ::-1]), name=f"{image.name}, mirrored")


def other_sides(names: Sequence[str] | None, count: int) -> list[int]:
    """Return the index of each point's counterpart on the other side, or its own where there is none."""
    indices = {name.casefold(): index for index, name in enumerate(names or ())}
    counterparts = list(range(count))
    for index, name in enumerate(names or ()):
        swapped = _SIDE.sub(lambda match: _SIDES[match[1].lower()], name.casefold())
        counterparts[index] = indices.get(swapped, index)
    return counterparts


def _better(query: Query, target: Image, straight: Matches, mirrored: Matches) -> Matches:
    if mirrored.confidence.mean() <= straight.confidence.mean():
        return straight
    return _back(mirrored, target, other_sides(query.names, len(query.points)))


def _back(matches: Matches, target: Image, order: list[int]) -> Matches:
    """Return matches in the mirror image as matches in the target, each point's from its counterpart."""

    def back(points: Float[np.ndarray, "*all 2"]) -> Float[np.ndarray, "*all 2"]:
        return mirror_points(points, target.size)

    ordered = matches.take(order)
    return dataclasses.replace(
        ordered,
        points=back(ordered.points),
        heatmaps=ordered.heatmaps[..., ::-1],
        image_sha256=target.sha256,
        query_points=matches.query_points,
        names=matches.names,
        diagnostics=None if ordered.diagnostics is None else ordered.diagnostics.map(back),
    )
