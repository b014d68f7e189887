"""The annotated pictures that points are carried over from: which ones, what they are described as, and their vote."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float, Int

from semcorr.errors import ImageError, QueryError, TransferError
from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import crop_around, scale_points
from semcorr.imaging.image import Image, load_image
from semcorr.keypoints.base import COVERED, MISSING, VISIBLE, AnnotatedImage, Annotations, Category, Instance
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Matches, Query
from semcorr.matchers.wrappers.calibration import CalibratedMatcher
from semcorr.progress import Progress
from semcorr.storage.record_store import writing

APART = 0.05
"""How far from the common answer a support's own counts as another, as a part of the target's longer side."""

_AROUND, _TEMPERATURE = 0.08, 0.1
"""The part of a map's longer side around its peak that has a say in the place, and how much less lower values say.
Chosen on validation drawings."""

_LEAST = 1e-6
"""The weight of a support that has no confidence at all, lest all weights be 0."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Support:
    """One annotated object that points are carried over from: its key-points of the numbers ``seen``."""

    picture: AnnotatedImage
    instance: Instance
    seen: Int[np.ndarray, " seen"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DescribedSupport:
    """A support as a method keeps it: row i of ``query`` is key-point ``keypoints[i]`` of the category."""

    query: Query
    keypoints: Int[np.ndarray, " points"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Vote:
    """What several supports say together: points in pixels of the target, NaN where none has the key-point."""

    points: Float[np.ndarray, "keypoints 2"]
    confidence: Float[np.ndarray, " keypoints"]


def choose_supports(annotations: Annotations, category: Category, most: int) -> list[Support]:
    """At most ``most`` annotated objects of a category.

    Visible points serve. Covered ones (v = 1) serve only where no annotated object shows that key-point visible, as in
    files that know no other mark than 0 and 1.

    First the object that shows the most key-points, then whichever shows the most of those that are seen least often so
    far; of equals the one that comes first in the file.
    """
    known = _annotated(annotations, category)
    least = _least_mark(known) if known else np.zeros(0, dtype=np.int64)
    offered = [Support(picture=one, instance=instance, seen=_seen(instance, least)) for one, instance in known]
    left = [support for support in offered if len(support.seen)]
    chosen: list[Support] = []
    times = np.zeros(len(category.keypoints))
    while left and len(chosen) < most:
        # A key-point counts less with every support that shows it already.
        worth = [float((0.5 ** times[support.seen]).sum()) for support in left]
        best = left.pop(int(np.argmax(worth)))
        times[best.seen] += 1
        chosen.append(best)
    return chosen


def covered_note(annotations: Annotations, category: Category) -> str | None:
    """How many covered points do not serve as supports (see :func:`choose_supports`), in words; None: all serve."""
    known = _annotated(annotations, category)
    if not known:
        return None
    least = _least_mark(known)
    left_out = sum(
        int(((instance.visibility > MISSING) & (instance.visibility < least)).sum()) for _, instance in known
    )
    if not left_out:
        return None
    return (
        f"{left_out} covered point{'s' if left_out > 1 else ''} (v = {COVERED}) of {category.name!r} "
        f"{'are' if left_out > 1 else 'is'} not used as supports: other annotated objects show the same key-points"
    )


def _annotated(annotations: Annotations, category: Category) -> list[tuple[AnnotatedImage, Instance]]:
    return [
        (picture, instance)
        for picture in annotations.images
        for instance in picture.instances
        if instance.category == category.name and instance.annotated
    ]


def _least_mark(known: Sequence[tuple[AnnotatedImage, Instance]]) -> Int[np.ndarray, " keypoints"]:
    """The least mark with which each key-point serves as a support: visible where any object shows it visible."""
    shown = np.array([instance.visibility == VISIBLE for _, instance in known]).any(axis=0)
    return np.where(shown, VISIBLE, COVERED)


def _seen(instance: Instance, least: Int[np.ndarray, " keypoints"]) -> Int[np.ndarray, " seen"]:
    return np.flatnonzero(instance.visibility >= least)


def view(image: Image, box: Sequence[float] | None, margin: float) -> tuple[Image, tuple[int, int]]:
    """The whole image, or the part around a box, and where its top-left corner lies in the image.

    Raises:
        PointError: no pixel of the image is in the box.
    """
    if box is None:
        return image, (0, 0)
    x0, y0, x1, y1 = box
    crop = crop_around((x0, y0, x1, y1), margin, image.size)
    return Image(pixels=image.pixels[crop.slices], name=image.name), (crop.left, crop.top)


class Supports:
    """All supports of some categories, described when they are first asked for.

    Args:
        matcher: the method.
        chosen: supports by category.
        margin: as in :class:`semcorr.transfer.transferrer.TransferSettings`.
        folder: where descriptions are kept for another start; None: nowhere.
    """

    def __init__(
        self, matcher: Matcher, chosen: Mapping[str, Sequence[Support]], *, margin: float, folder: Path | None = None
    ) -> None:
        self._matcher, self._chosen, self._margin, self._folder = matcher, chosen, margin, folder
        self._described: dict[tuple[str, bool], list[DescribedSupport]] = {}

    def described(self, category: str, *, cut: bool, progress: Progress | None = None) -> Sequence[DescribedSupport]:
        """The supports of a category, each in its whole picture or, with ``cut``, in the part around its box.

        Raises:
            TransferError: a support's picture cannot be read, or a point lies outside it.
        """
        key = (category, cut)
        if key not in self._described:
            supports = self._chosen[category]
            found = []
            for number, support in enumerate(supports):
                if progress is not None:
                    progress("supports", number, len(supports), image=support.picture.file)
                found.append(self._describe(support, number, cut=cut, progress=progress))
            self._described[key] = found
        return self._described[key]

    def _describe(self, support: Support, number: int, *, cut: bool, progress: Progress | None) -> DescribedSupport:
        instance, seen = support.instance, support.seen
        box = instance.box if cut else None
        try:
            whole = load_image(support.picture.path)
            image, corner = view(whole, box, self._margin)
            if box is not None and _leave(instance.points[seen] - corner, image.size):
                # People mark points outside the box, too.
                image, corner = view(whole, _with_points(box, instance.points[seen]), self._margin)
            points = np.clip(instance.points[seen] - corner, 0, image.size)
            if np.abs(points + corner - instance.points[seen]).max() > 1:
                raise ImageError(f"a point of {instance.category!r} lies outside {support.picture.file!r}")
        except ImageError as error:
            raise TransferError(
                f"The annotated picture {support.picture.file!r} cannot be used: {error} Correct it, or take its "
                "points out of the annotations."
            ) from error
        if self._folder is None:
            query = self._matcher.describe(image, points, progress=progress)
        else:
            kept = self._folder / f"{_slug(instance.category)}-{number}-{'cut' if cut else 'whole'}.safetensors"
            query = self._kept(kept, image, points, progress)
        return DescribedSupport(query=query, keypoints=seen)

    def _kept(
        self, path: Path, image: Image, points: Float[np.ndarray, "points 2"], progress: Progress | None
    ) -> Query:
        """What a support was described as before; else it is described now, and kept."""
        # Of several processes that begin at the same time one describes, and the others wait for it.
        with FileLock(path.with_suffix(".lock")):
            with contextlib.suppress(QueryError):
                query = Query.load(path)
                if query.image_sha256 == image.sha256 and np.array_equal(query.points, points):
                    return query
            query = self._matcher.describe(image, points, progress=progress)
            with writing(path):
                query.save(path)
            return query


def _leave(points: Float[np.ndarray, "points 2"], size: tuple[int, int]) -> bool:
    """Whether any point lies outside an image of (width, height)."""
    return bool(((points < 0) | (points > np.array(size))).any())


def _with_points(box: Sequence[float], points: Float[np.ndarray, "points 2"]) -> list[float]:
    """The smallest box around a box and points."""
    corners = np.concatenate([np.array(box).reshape(2, 2), points])
    return [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]


def locate_all(
    matcher: Matcher, supports: Sequence[DescribedSupport], target: Image, *, together: bool
) -> list[Matches]:
    """Locate every support's points in a target.

    Where the method allows it (``together``, see :func:`can_join`) all points go through one call, so that the target
    is read once.
    """
    if not together or len(supports) == 1:
        return [matcher.locate(support.query, target) for support in supports]
    found = matcher.locate(join([support.query for support in supports]), target)
    ends = np.cumsum([len(support.query.points) for support in supports]).tolist()
    return [_rows(found, end - len(s.query.points), end) for end, s in zip(ends, supports, strict=True)]


def can_join(queries: Sequence[Query], matcher: Matcher) -> bool:
    """Whether points of several pictures may go through one call: nothing is kept of a picture as a whole.

    Not with pose alignment, where each support may face another way; nor where a calibration holds for some of the
    pictures only.
    """
    if isinstance(matcher, CalibratedMatcher) and len({matcher.calibration.has(query) for query in queries}) > 1:
        return False
    return not matcher.identity().get("align_pose") and not any(query.shared for query in queries)


def join(queries: Sequence[Query]) -> Query:
    """All points of several queries, one after the other, as points of the first one's picture.

    What is found for a point depends on what was learned for it alone, so it is the same as from its own query.
    """
    first = queries[0]
    return dataclasses.replace(
        first,
        points=np.concatenate([query.points for query in queries]),
        names=None,
        tensors={name: np.concatenate([query.tensors[name] for query in queries]) for name in first.tensors},
    )


def vote(
    supports: Sequence[DescribedSupport], matches: Sequence[Matches], keypoints: int, size: tuple[int, int]
) -> Vote:
    """Put what several supports found for the same key-points together.

    A key-point's heat maps, each stretched to [0, 1], are averaged with the supports' confidence as weights. The answer
    is the mean place around the peak of that mean (:func:`semcorr.imaging.heatmaps.soft_peak`).

    Its confidence is the root of the mean over supports of confidence times nearness, which is 1 where a support's own
    place is the answer and falls as a Gaussian (:data:`APART`) with the distance. The root, because both factors fall
    for the same reasons. A single support has nobody to agree with: its confidence stays what it is.
    """
    points, confidence = np.full((keypoints, 2), np.nan), np.zeros(keypoints)
    for keypoint in range(keypoints):
        rows = [
            (found, int(np.flatnonzero(support.keypoints == keypoint)[0]))
            for support, found in zip(supports, matches, strict=True)
            if keypoint in support.keypoints
        ]
        if not rows:
            continue
        own = np.array([found.points[row] for found, row in rows])
        sure = np.array([found.confidence[row] for found, row in rows])
        maps = np.stack([_stretched(found.heatmaps[row]) for found, row in rows])
        at = _place(np.average(maps, axis=0, weights=np.maximum(sure, _LEAST)), size)
        near = np.exp(-((own - at) ** 2).sum(axis=1) / (2 * (APART * max(size)) ** 2))
        agreed = float((sure * near).mean())
        points[keypoint], confidence[keypoint] = (at, agreed**0.5) if len(rows) > 1 else (at, float(sure[0]))
    return Vote(points=points, confidence=confidence)


def _place(heatmap: Float[np.ndarray, "height width"], size: tuple[int, int]) -> Float[np.ndarray, "2"]:
    """The answer of a map in pixels of the target, which is ``size`` (width, height)."""
    height, width = heatmap.shape
    radius = max(1, round(_AROUND * max(height, width)))
    found = heatmaps.soft_peak(torch.from_numpy(heatmap).float()[None], radius, _TEMPERATURE)
    return scale_points(found[0].double().numpy(), (width, height), size)


def _stretched(heatmap: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    low, high = float(heatmap.min()), float(heatmap.max())
    return (heatmap - low) / (high - low) if high > low else np.zeros_like(heatmap)


def _rows(matches: Matches, first: int, last: int) -> Matches:
    arrays = ("points", "confidence", "heatmaps", "query_points", "round_points", "layer_points", "after_rounds")
    return dataclasses.replace(
        matches,
        **{name: getattr(matches, name)[first:last] for name in (*arrays, "after_crops")},
        similarity=None if matches.similarity is None else matches.similarity[first:last],
    )


def _slug(name: str) -> str:
    """A category as part of a file's name; two that come out alike are told apart by their hash."""
    plain = "".join(letter if letter.isalnum() else "_" for letter in name)[:40]
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
