"""Supports as a method keeps them: each described once, in its whole image or in a crop around its box."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from semcorr.errors import ImageError, TransferError
from semcorr.imaging.geometry import Size, crop_around
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.query_store import Points, QueryStore
from semcorr.matchers.results import Query
from semcorr.progress import Progress
from semcorr.transfer.suited import with_enlargement
from semcorr.transfer.supports import Support


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DescribedSupport:
    """A support's query: its point i is key-point ``keypoints[i]`` of the category."""

    query: Query
    keypoints: Int[np.ndarray, " points"]


def crop_to_box(image: Image, box: Sequence[float] | None, margin: float) -> tuple[Image, tuple[int, int]]:
    """The crop around a box, or the whole image if there is none, and where its top-left corner is in the image.

    Args:
        image: The image.
        box: (x0, y0, x1, y1) in pixels of the image, or None.
        margin: Room on every side, as a fraction of the box's longer side.

    Raises:
        PointError: No pixel of the image is in the box.
    """
    if box is None:
        return image, (0, 0)
    x0, y0, x1, y1 = box
    crop = crop_around((x0, y0, x1, y1), margin, image.size)
    return Image(pixels=image.pixels[crop.slices], name=image.name), (crop.left, crop.top)


class SupportQueries:
    """The supports of some categories, described when they are first asked for.

    Args:
        matcher: The method.
        supports: By category.
        margin: As in :class:`semcorr.transfer.plan.TransferSettings`.
        folder: Where queries are kept for another start; None for nowhere.
    """

    def __init__(
        self, matcher: Matcher, supports: Mapping[str, Sequence[Support]], *, margin: float, folder: Path | None = None
    ) -> None:
        self._matcher, self._supports, self._margin = matcher, supports, margin
        self._store = None if folder is None else QueryStore(folder)
        self._described: dict[tuple[str, bool], list[DescribedSupport]] = {}
        self._together: dict[tuple[str, bool], DescribedSupport] = {}

    def described(self, category: str, *, cut: bool, progress: Progress | None = None) -> Sequence[DescribedSupport]:
        """The supports of a category, each in its whole image or, with ``cut``, in a crop around its box.

        Raises:
            TransferError: A support's image cannot be read, or a point lies outside it.
        """
        key = (category, cut)
        if key not in self._described:
            supports, described = self._supports[category], []
            matcher = with_enlargement(self._matcher, self._objects(supports, cut=cut))
            for number, support in enumerate(supports):
                if progress is not None:
                    progress("supports", number, len(supports), image=support.image.file)
                described.append(self._describe(matcher, support, number, cut=cut, progress=progress))
            self._described[key] = described
        return self._described[key]

    def together(self, category: str, *, cut: bool, progress: Progress | None = None) -> DescribedSupport:
        """All supports of a category as one query, for methods that take several images (``capabilities.examples``).

        Raises:
            TransferError: A support's image cannot be read, or a point lies outside it.
        """
        if (category, cut) not in self._together:
            supports = self._supports[category]
            keypoints = np.unique(np.concatenate([one.keypoints for one in supports]))
            images, points = [], []
            for support in supports:
                image, own = self._part(support, cut=cut)
                images.append(image)
                points.append(np.full((len(keypoints), 2), np.nan))
                points[-1][np.isin(keypoints, support.keypoints)] = own
            if progress is not None:
                progress("supports", 0, 1, image=f"all {len(supports)} of {category}")
            query = self._query(self._matcher, images, points, category, "all", cut=cut, progress=progress)
            self._together[category, cut] = DescribedSupport(query=query, keypoints=keypoints)
        return self._together[category, cut]

    def _objects(
        self, supports: Sequence[Support], *, cut: bool
    ) -> Iterator[tuple[Float[np.ndarray, "points 2"], Size]]:
        """The points of each support, and the size of the image that they are described in."""
        for support in supports:
            image, points = self._part(support, cut=cut)
            yield points, image.size

    def _part(self, support: Support, *, cut: bool) -> tuple[Image, Float[np.ndarray, "points 2"]]:
        try:
            return _described_part(support, support.instance.box if cut else None, self._margin)
        except ImageError as error:
            raise TransferError(
                f"The annotated image {support.image.file!r} cannot be used: {error} Correct it, or take its points "
                "out of the annotations."
            ) from error

    def _describe(
        self, matcher: Matcher, support: Support, number: int, *, cut: bool, progress: Progress | None
    ) -> DescribedSupport:
        image, points = self._part(support, cut=cut)
        category = support.instance.category
        query = self._query(matcher, image, points, category, str(number), cut=cut, progress=progress)
        return DescribedSupport(query=query, keypoints=support.keypoints)

    def _query(
        self,
        matcher: Matcher,
        image: Image | Sequence[Image],
        points: Points | Sequence[Points],
        category: str,
        which: str,
        *,
        cut: bool,
        progress: Progress | None,
    ) -> Query:
        """Describe an image, or several together, unless that was stored before."""
        if self._store is None:
            return matcher.describe(image, points, progress=progress)
        name = f"{_file_name(category)}-{which}-{'cut' if cut else 'whole'}"
        return self._store.describe(name, matcher, image, points, progress=progress)


def _described_part(
    support: Support, box: Sequence[float] | None, margin: float
) -> tuple[Image, Float[np.ndarray, "points 2"]]:
    """The crop of a support's image that is described, and the support's points in it."""
    whole, own = load_image(support.image.path), support.instance.points[support.keypoints]
    image, corner = crop_to_box(whole, box, margin)
    if box is not None and ((own < corner) | (own - corner > np.array(image.size))).any():
        # People mark points outside the box, too.
        corners = np.concatenate([np.array(box).reshape(2, 2), own])
        image, corner = crop_to_box(whole, [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()], margin)
    points = np.clip(own - corner, 0, image.size)
    if np.abs(points + corner - own).max() > 1:
        raise ImageError(f"a point of {support.instance.category!r} lies outside {support.image.file!r}")
    return image, points


def _file_name(category: str) -> str:
    """A category as part of a file's name; a hash distinguishes two that come out alike."""
    plain = "".join(letter if letter.isalnum() else "_" for letter in category)[:40]
    return f"{plain}-{hashlib.sha256(category.encode()).hexdigest()[:8]}"
