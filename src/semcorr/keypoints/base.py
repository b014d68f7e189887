"""What every annotation format is read into: images, categories, and the key-points of each object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from semcorr.imaging.geometry import Box
from semcorr.keypoints.provenance import ACCEPTED, PLACED, PREDICTED

VISIBLE, COVERED, MISSING = 2, 1, 0
"""COCO's marks: a point that can be seen, one that is covered by something, one that nobody marked."""

_ROUNDING = 0.02
"""Pixels; writers round coordinates to two decimals."""

MarkedPoint = tuple[float, float, int]
"""x, y and COCO's mark."""


@dataclass(frozen=True, kw_only=True)
class Category:
    """A kind of object and its key-points' names; ``skeleton`` joins them by their numbers, from 1, as COCO does."""

    id: int | str
    name: str
    keypoints: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """One object in an image.

    Attributes:
        category: Its category's name.
        points: (x, y) of every key-point of the category in pixels of the image (continuous; (0, 0) is its top-left
            corner), NaN where nobody marked one.
        visibility: COCO's mark of each.
        box: (x0, y0, x1, y1) in the same pixels, or None.
        id: Its id in the file, or None.
        predicted: Whether its points were predicted by a program and no person has accepted them; such points are not
            annotations.
        score: A predicted object's score in [0, 1], or None.
        predicted_points: x, y (in the same pixels) and confidence of every point as a program predicted it, marked or
            not; NaN where it predicted none. None where the file does not say.
        origins: Who set each point, where that differs within the object (:mod:`semcorr.keypoints.provenance`): None
            for a point that there is not. None altogether where whoever made the object set all of them.
        votes: By key-point, how much each of the objects that the file names as sources of the category speaks for it,
            in [0, 1]; None for one that lacks the key-point. None altogether where the file does not say.
    """

    category: str
    points: Float[np.ndarray, "keypoints 2"]
    visibility: Integer[np.ndarray, " keypoints"]
    box: Box | None = None
    id: int | str | None = None
    predicted: bool = False
    score: float | None = None
    predicted_points: Float[np.ndarray, "keypoints 3"] | None = None
    origins: tuple[str | None, ...] | None = None
    votes: Sequence[Sequence[float | None]] | None = None

    @property
    def drawn_box(self) -> Box | None:
        """The object's box; None where it is but the extent of points that a program predicted, reviewed or not."""
        of_a_program = self.predicted or self.predicted_points is not None or self.origins is not None
        if not of_a_program or self.box is None:
            return self.box
        known = [self.points] if self.predicted_points is None else [self.points, self.predicted_points[:, :2]]
        for points in known:
            finite = points[np.isfinite(points).all(axis=1)]
            if not len(finite):
                continue
            extent = np.concatenate([finite.min(axis=0), finite.max(axis=0)])
            if np.abs(extent - self.box).max() <= _ROUNDING:
                return None
        return self.box

    @property
    def annotated(self) -> bool:
        """Whether a person marked or accepted any key-point, visible or covered."""
        return not self.predicted and bool((self.visibility > MISSING).any())


def instance_of(
    category: Category,
    points: Mapping[str, MarkedPoint],
    box: Box | None = None,
    *,
    id: int | str | None = None,  # noqa: A002  # the attribute's own name
    predicted: bool = False,
    score: float | None = None,
) -> Instance:
    """An object of which points are known by their names; the others are missing. See :class:`Instance`."""
    rows = np.array([points.get(name, (np.nan, np.nan, MISSING)) for name in category.keypoints]).reshape(-1, 3)
    marks = rows[:, 2].astype(np.int64)
    xy = np.where(marks[:, None] > MISSING, rows[:, :2], np.nan)
    return Instance(
        category=category.name, points=xy, visibility=marks, box=box, id=id, predicted=predicted, score=score
    )


def with_origins(one: Instance, category: Category, origins: Mapping[str, str]) -> Instance:
    """A predicted object with who set each of its points, by their names, where a person set any of them.

    Words that are no origins (:mod:`semcorr.keypoints.provenance`) say nothing.
    """
    known = {name: origin for name, origin in origins.items() if origin in (PREDICTED, ACCEPTED, PLACED)}
    if not {*known.values()} - {PREDICTED}:
        return one
    return replace(one, origins=tuple(known.get(name) for name in category.keypoints))


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedImage:
    """An image and the objects in it.

    Attributes:
        file: Its name in the annotations.
        path: Where it should be.
        instances: The objects.
        id: Its id in the file, or None.
        size: The (width, height) that the file declares, in pixels, or None; see
            :mod:`semcorr.keypoints.declared_size`.
        source: The file's own entry (a Label Studio task, an image element of CVAT or dlib, a row of DeepLabCut's
            table), which the writer of the same format keeps; None in other formats.
    """

    file: str
    path: Path
    instances: tuple[Instance, ...]
    id: int | str | None = None
    size: tuple[int, int] | None = None
    source: Any = None

    @property
    def annotated(self) -> bool:
        """Whether a person marked or accepted any key-point of any object."""
        return any(instance.annotated for instance in self.instances)


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """The content of an annotation file.

    Attributes:
        path: The file, or the folder of a project.
        categories: By name.
        images: In the order of the file.
        document: A COCO file's whole content, which its writer keeps.
        notes: What was ignored or is doubtful, counted and named, a sentence each.
        format: The name of the file's format (:data:`semcorr.keypoints.formats.FORMATS`), for the writer of the same
            format.
        source: What a Label Studio, CVAT, dlib or DeepLabCut file says beside its images (field and control names,
            labels, columns), for the writer of the same format.
        files: All files that were read, where they are not ``path`` alone.
    """

    path: Path
    categories: Mapping[str, Category]
    images: Sequence[AnnotatedImage]
    document: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    format: str = "coco"
    source: Any = None
    files: tuple[Path, ...] = ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that were read; nothing may be written to them."""
        return self.files or (self.path,)
