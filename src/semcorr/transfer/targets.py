"""Targets: the images that points are carried over to, and the regions in which they are predicted."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semcorr.errors import TransferError
from semcorr.imaging.geometry import Box
from semcorr.imaging.image_files import image_files
from semcorr.keypoints.base import AnnotatedImage, Annotations, Instance
from semcorr.storage.files import is_dir


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where points of a category are predicted: in the box of annotation ``id``, or in the whole image."""

    category: str
    box: Box | None = None
    id: int | str | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """An image in which points are predicted.

    Attributes:
        file: Its name in the output.
        path: Its path.
        regions: Where in it, in the frame that the annotations declare.
        size: The (width, height) that the annotations declare, or None.
    """

    file: str
    path: Path
    regions: tuple[Region, ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class TargetSelection:
    """The targets, and in ``notes`` what is left out, counted and named, a sentence each."""

    targets: tuple[Target, ...]
    notes: tuple[str, ...] = ()


def select_targets(
    annotations: Annotations,
    categories: Sequence[str],
    *,
    images: Path | None,
    paths: Sequence[Path] = (),
    redo_below: float | None = None,
) -> TargetSelection:
    """Select the images in which points are predicted.

    Those of ``paths`` (files, and all images below folders) if there are any; else the annotations' own images without
    points; else every image below ``images`` that the annotations do not name. Where the annotations have a box without
    points, points are predicted in it; in an image without such a box, points of all ``categories`` are predicted in
    the whole of it. Boxes of categories that have no key-points count as none.

    Images with points, annotated or predicted, are no targets, unless they have boxes without points as well, or
    predicted objects that are to be predicted again.

    Args:
        annotations: What is known.
        categories: The categories that are predicted.
        images: Folder of the images that the annotations name.
        paths: Files and folders, in place of the annotations' own images.
        redo_below: Predicted objects with a score below it, or without one, are predicted again; None for none.

    Raises:
        TransferError: There is no such image.
    """
    known: dict[str, list[AnnotatedImage | None]] = {}
    for one in annotations.images:
        known.setdefault(_key(one.path), []).append(one)
    request = _Request(annotations, tuple(categories), redo_below)
    named: list[tuple[Path, AnnotatedImage | None]]
    if paths:
        named = [(path, image) for path in files_in(paths) for image in known.get(_key(path), [None])]
    else:
        named = [(image.path, image) for image in annotations.images]
    left = [(path, image) for path, image in named if image is None or not request.done(image)]
    if not left and not paths and images is not None:
        left = [(path, None) for path in files_in([images]) if _key(path) not in known]
    targets: dict[str, Target] = {}
    for path, image in left:
        regions = request.regions(image)
        if not regions:
            continue
        file = image.file if image is not None else output_name(path, images)
        size = image.size if image is not None else None
        if file in targets:
            # One file under two ids gets the regions of both.
            more = tuple(region for region in regions if region not in targets[file].regions)
            targets[file] = replace(targets[file], regions=targets[file].regions + more)
        else:
            targets[file] = Target(file=file, path=path, regions=regions, size=size)
    notes = request.notes(image for _, image in named)
    if not targets:
        raise TransferError(
            "Expected images without points, got none: the annotations name no other image"
            + (f", and {str(images)!r} holds none besides them" if images is not None else "")
            + ". Name folders or files after the annotations, or a folder with --images."
            + "".join(f" {note[0].upper()}{note[1:]}." for note in notes)
        )
    return TargetSelection(targets=tuple(targets.values()), notes=notes)


@dataclass(frozen=True)
class _Request:
    """What is predicted in images that the annotations name."""

    annotations: Annotations
    categories: tuple[str, ...]
    redo_below: float | None

    def done(self, image: AnnotatedImage) -> bool:
        """Whether the image has points, and no object that waits for some."""
        has_points = any(instance.annotated or instance.predicted for instance in image.instances)
        return has_points and not self._waiting(image)

    def regions(self, image: AnnotatedImage | None) -> tuple[Region, ...]:
        """Where points are predicted in an image that is not done."""
        waiting = self._waiting(image) if image is not None else []
        if waiting:
            return tuple(
                Region(category=one.category, box=one.drawn_box, id=one.id)
                for one in waiting
                if one.category in self.categories
            )
        return tuple(Region(category=category) for category in self.categories)

    def notes(self, images: Iterable[AnnotatedImage | None]) -> tuple[str, ...]:
        """What of these images is left out."""
        named = [image for image in images if image is not None]
        notes: list[str] = []
        kept = sum(self.done(one) and not one.annotated for one in named)
        if kept:
            notes.append(
                f"{kept} image{'s' if kept > 1 else ''} with predicted objects and no annotated ones "
                f"{'are' if kept > 1 else 'is'} kept; --redo-below SCORE predicts objects with a lower score again"
            )
        left_out = [instance for one in named for instance in self._waiting(one)]
        other = Counter(one.category for one in left_out if one.category not in self.categories)
        if other:
            listed = ", ".join(f"{count} of {name!r}" for name, count in sorted(other.items()))
            notes.append(f"objects of categories that are not predicted are left out: {listed}")
        return tuple(notes)

    def _waiting(self, image: AnnotatedImage) -> list[Instance]:
        """Objects whose points are to be predicted, of whatever category."""
        return [
            instance
            for instance in image.instances
            if self.annotations.categories[instance.category].keypoints and self._waits(instance)
        ]

    def _waits(self, instance: Instance) -> bool:
        if instance.predicted:
            if self.redo_below is None or instance.id is None:
                return False
            return instance.score is None or instance.score < self.redo_below
        return instance.box is not None and not instance.annotated


def files_in(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield files as they are, and folders as the images below them."""
    for path in paths:
        if is_dir(path):
            yield from image_files(path)
        else:
            yield path


def output_name(path: Path, images: Path | None) -> str:
    """Return an image's name in the output: its path below the folder of images, or as it is."""
    if images is not None and path.resolve().is_relative_to(images.resolve()):
        return path.resolve().relative_to(images.resolve()).as_posix()
    return path.as_posix()


def _key(path: Path) -> str:
    return str(path.resolve())
