"""Which pictures points are carried over to, and where in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from semcorr.annotations.base import AnnotatedPicture, Annotations
from semcorr.datasets.base import Box
from semcorr.errors import TransferError
from semcorr.files import is_dir
from semcorr.image_files import image_files


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a category's points are looked for: in the box of annotation ``id``, or in all of the picture."""

    category: str
    box: Box | None = None
    id: int | str | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """A picture to look in. ``file`` is its name in the output."""

    file: str
    path: Path
    places: tuple[Place, ...]


def find_targets(
    annotations: Annotations, categories: Sequence[str], *, images: Path | None, paths: Sequence[Path] = ()
) -> list[Target]:
    """The pictures that want points.

    Those of ``paths`` (files, and all pictures below folders) if there are any; else the annotations' own pictures
    without points; else every picture below ``images`` that the annotations do not name. Where the annotations have a
    box without points, the points are looked for there; in a picture without any box, all ``categories`` are looked for
    in the whole of it. Pictures with points of their own are no targets, unless they have boxes without points as well.

    Raises:
        TransferError: there is no such picture.
    """
    known = {_key(picture.path): picture for picture in annotations.pictures}
    if paths:
        named = [(path, known.get(_key(path))) for path in _pictures(paths)]
    else:
        named = [(picture.path, picture) for picture in annotations.pictures if not _done(picture)]
    if not named and images is not None:
        named = [(path, None) for path in _pictures([images]) if _key(path) not in known]
    targets: list[Target] = []
    files: set[str] = set()
    for path, picture in named:
        if picture is not None and _done(picture):
            continue
        file = picture.file if picture is not None else _file(path, images)
        if file in files:
            continue
        files.add(file)
        places = _places(picture, categories)
        if places:
            targets.append(Target(file=file, path=path, places=places))
    if not targets:
        raise TransferError(
            "Expected pictures without points, got none: the annotations name no other picture"
            + (f", and {str(images)!r} holds none besides them" if images is not None else "")
            + ". Name folders or files after the annotations, or a folder with --images."
        )
    return targets


def _done(picture: AnnotatedPicture) -> bool:
    waiting = any(instance.box is not None and not instance.annotated for instance in picture.instances)
    return picture.annotated and not waiting


def _places(picture: AnnotatedPicture | None, categories: Sequence[str]) -> tuple[Place, ...]:
    boxed = [
        Place(category=instance.category, box=instance.box, id=instance.id)
        for instance in (picture.instances if picture is not None else ())
        if instance.box is not None and not instance.annotated
    ]
    if boxed:
        return tuple(place for place in boxed if place.category in categories)
    return tuple(Place(category=category) for category in categories)


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
