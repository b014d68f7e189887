"""Which pictures points are carried over to, and where in them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from semcorr.errors import TransferError
from semcorr.imaging.geometry import Box
from semcorr.imaging.image_files import image_files
from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Instance
from semcorr.storage.files import is_dir

_ROUNDING = 0.02
"""Pixels; writers round coordinates to two decimals."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a category's points are looked for: in the box of annotation ``id``, or in all of the picture."""

    category: str
    box: Box | None = None
    id: int | str | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """A picture to look in.

    Attributes:
        file: Its name in the output.
        path: Where it lies.
        places: Where in it, in the frame that the annotations declare.
        size: The (width, height) that the annotations declare, or None.
    """

    file: str
    path: Path
    places: tuple[Place, ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class TargetSelection:
    """The targets, and in ``notes`` what is left out, counted and named, a sentence each."""

    targets: tuple[Target, ...]
    notes: tuple[str, ...] = ()


def find_targets(
    annotations: Annotations, categories: Sequence[str], *, images: Path | None, paths: Sequence[Path] = ()
) -> list[Target]:
    """The targets of :func:`select_targets`, without its notes."""
    return list(select_targets(annotations, categories, images=images, paths=paths).targets)


def select_targets(
    annotations: Annotations,
    categories: Sequence[str],
    *,
    images: Path | None,
    paths: Sequence[Path] = (),
    redo_below: float | None = None,
) -> TargetSelection:
    """The images in which points are to be predicted.

    Those of ``paths`` (files, and all images below folders) if there are any; else the annotations' own images without
    points; else every image below ``images`` that the annotations do not name. Where the annotations have a box without
    points, the points are looked for there; in an image without such a box, all ``categories`` are looked for in the
    whole of it. Boxes of categories that have no key-points count as none.

    Images with points, annotated or predicted, are no targets, unless they have boxes without points as well, or
    predicted objects that are to be looked for again.

    Args:
        annotations: What is known.
        categories: What is looked for.
        images: Folder of the images that the annotations name.
        paths: Files and folders, in place of the annotations' own images.
        redo_below: Predicted objects with a score below it, or without one, are looked for again; None: none is.

    Raises:
        TransferError: There is no such image.
    """
    known: dict[str, list[AnnotatedImage | None]] = {}
    for one in annotations.images:
        known.setdefault(_key(one.path), []).append(one)
    sought = _Sought(annotations, tuple(categories), redo_below)
    named: list[tuple[Path, AnnotatedImage | None]]
    if paths:
        named = [(path, picture) for path in _pictures(paths) for picture in known.get(_key(path), [None])]
    else:
        named = [(picture.path, picture) for picture in annotations.images]
    left = [(path, picture) for path, picture in named if picture is None or not sought.done(picture)]
    if not left and not paths and images is not None:
        left = [(path, None) for path in _pictures([images]) if _key(path) not in known]
    targets: dict[str, Target] = {}
    for path, picture in left:
        places = sought.places(picture)
        if not places:
            continue
        file = picture.file if picture is not None else _file(path, images)
        size = picture.size if picture is not None else None
        if file in targets:
            # One file under two ids: what both ask for is looked for.
            more = tuple(place for place in places if place not in targets[file].places)
            targets[file] = replace(targets[file], places=targets[file].places + more)
        else:
            targets[file] = Target(file=file, path=path, places=places, size=size)
    notes = sought.notes(picture for _, picture in named)
    if not targets:
        raise TransferError(
            "Expected pictures without points, got none: the annotations name no other picture"
            + (f", and {str(images)!r} holds none besides them" if images is not None else "")
            + ". Name folders or files after the annotations, or a folder with --images."
            + "".join(f" {note[0].upper()}{note[1:]}." for note in notes)
        )
    return TargetSelection(targets=tuple(targets.values()), notes=notes)


@dataclass(frozen=True)
class _Sought:
    """What is looked for in images that the annotations name."""

    annotations: Annotations
    categories: tuple[str, ...]
    redo_below: float | None

    def done(self, picture: AnnotatedImage) -> bool:
        """Whether the image has points, and nothing in it is to be looked for."""
        has_points = any(instance.annotated or instance.predicted for instance in picture.instances)
        return has_points and not self._waiting(picture)

    def places(self, picture: AnnotatedImage | None) -> tuple[Place, ...]:
        """Where points are looked for in an image that is not done."""
        waiting = self._waiting(picture) if picture is not None else []
        if waiting:
            return tuple(
                Place(category=one.category, box=_box_to_search(one), id=one.id)
                for one in waiting
                if one.category in self.categories
            )
        return tuple(Place(category=category) for category in self.categories)

    def notes(self, pictures: Iterable[AnnotatedImage | None]) -> tuple[str, ...]:
        """What of these images is left out."""
        named = [picture for picture in pictures if picture is not None]
        found: list[str] = []
        kept = sum(self.done(one) and not one.annotated for one in named)
        if kept:
            found.append(
                f"{kept} image{'s' if kept > 1 else ''} with predicted objects and no annotated ones "
                f"{'are' if kept > 1 else 'is'} kept as {'they are' if kept > 1 else 'it is'}; --redo-below SCORE "
                "looks again for objects with a lower score"
            )
        left_out = [instance for one in named for instance in self._waiting(one)]
        other = Counter(one.category for one in left_out if one.category not in self.categories)
        if other:
            listed = ", ".join(f"{count} of {name!r}" for name, count in sorted(other.items()))
            found.append(f"objects of categories that are not looked for are left out: {listed}")
        return tuple(found)

    def _waiting(self, picture: AnnotatedImage) -> list[Instance]:
        """Objects whose points are to be looked for, of whatever category."""
        return [
            instance
            for instance in picture.instances
            if self.annotations.categories[instance.category].keypoints and self._waits(instance)
        ]

    def _waits(self, instance: Instance) -> bool:
        if instance.predicted:
            if self.redo_below is None or instance.id is None:
                return False
            return instance.score is None or instance.score < self.redo_below
        return instance.box is not None and not instance.annotated


def _box_to_search(instance: Instance) -> Box | None:
    """The box of an object; None where it is but the extent of its own predicted points."""
    if not instance.predicted or instance.box is None:
        return instance.box
    for marked in (instance.visibility > MISSING, np.isfinite(instance.points).all(axis=1)):
        points = instance.points[marked]
        if not len(points):
            continue
        extent = np.concatenate([points.min(axis=0), points.max(axis=0)])
        if np.abs(extent - instance.box).max() <= _ROUNDING:
            return None
    return instance.box


def _pictures(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as they are, folders as the pictures below them."""
    for path in paths:
        if is_dir(path):
            yield from image_files(path)
        else:
            yield path


def _file(path: Path, images: Path | None) -> str:
    if images is not None and path.resolve().is_relative_to(images.resolve()):
        return path.resolve().relative_to(images.resolve()).as_posix()
    return path.as_posix()


def _key(path: Path) -> str:
    return str(path.resolve())
