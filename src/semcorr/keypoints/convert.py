"""Annotations of one format written in another, and what the other does not keep."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from semcorr.errors import DatasetError, SettingsError, suggest
from semcorr.imaging.geometry import scaled_box
from semcorr.imaging.image import image_size
from semcorr.keypoints.annotation_format import AnnotationFormat, ExportOptions, read_only
from semcorr.keypoints.base import AnnotatedImage, Annotations, Instance
from semcorr.keypoints.contents import contents, lost
from semcorr.keypoints.declared_size import coordinate_frame, declared_scale
from semcorr.keypoints.file_reader import first_few
from semcorr.keypoints.formats import FORMATS, find_format
from semcorr.keypoints.read import read_annotations
from semcorr.storage.files import exists, is_dir, is_file


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """How a conversion went.

    Attributes:
        files: The files and folders written.
        before: What was read, counted (:func:`semcorr.keypoints.contents.contents`).
        after: What the written file holds, as it is read again.
        notes: What was ignored or is to be known, a sentence each.
        source: The format that was read.
        target: The format that was written.
    """

    files: tuple[Path, ...]
    before: Mapping[str, int]
    after: Mapping[str, int]
    notes: tuple[str, ...]
    source: AnnotationFormat
    target: AnnotationFormat

    @property
    def lost(self) -> dict[str, int]:
        """How many of each kind the written file does not hold."""
        return lost(self.before, self.after)


def convert_annotations(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002  # what the command calls it
    images: str | os.PathLike[str] | None = None,
    categories: Collection[str] = (),
    options: ExportOptions | None = None,
    rescale: bool = False,
    replace_existing: bool = False,
) -> Conversion:
    """Write annotations in another format, and read them again to count what it does not keep.

    What is predicted is written as it is marked: points that are not marked are lost where a format has no room for
    them.

    Args:
        source: The file or folder that is read. It is never written to.
        target: The file to write; for a data set of YOLO-pose its .yaml, or its folder.
        format: The format to write; by default the first with the suffix of ``target``.
        images: Folder of the images that ``source`` names.
        categories: Only objects of these; all by default.
        options: How they are written.
        rescale: Whether coordinates are scaled where a format does not say a declared size that is not the image's own.
        replace_existing: Whether a file that exists is written over.

    Raises:
        DatasetError: ``source`` cannot be read, or the format cannot hold it.
        ImageError: An image's size is not the declared one, ``rescale`` is off, and the format would not say so.
        SettingsError: The format or a category is unknown, or ``target`` exists or cannot be of the format.
    """
    one, path = target_of(Path(target), format)
    annotations = read_annotations(source, images)
    check_target(one, path, annotations, replace_existing=replace_existing)
    read_as = FORMATS[annotations.format]
    annotations = selected(annotations, categories)
    options = options or ExportOptions(min_confidence=0.0)
    if one.needs_sizes:
        _check_sizes(one, annotations)
    elif annotations.format != one.name:
        annotations = replace(annotations, images=[_in_own_pixels(image, rescale) for image in annotations.images])
    adopted = one.adopt(annotations) if one.adopt is not None and annotations.format != one.name else annotations
    files = one.write(path, adopted, tuple, options)
    folder = Path(images) if images is not None else _folder(annotations.path)
    again = one.read(path, None if path.name == one.file_name else folder)  # such a folder has its own images
    return Conversion(
        files=tuple(files),
        before=contents(annotations),
        after=contents(again, annotations),
        notes=(*map(without_advice, annotations.notes), *one.notes(annotations, options)),
        source=read_as,
        target=one,
    )


def target_of(path: Path, name: str | None = None) -> tuple[AnnotationFormat, Path]:
    """The format and the file that a path means: a format's own name for one where it is a folder's.

    Raises:
        SettingsError: The format is unknown, or not that of the path's suffix.
    """
    suffix = path.suffix.lower()
    if name is None:
        fitting = [one for one in FORMATS.values() if one.suffix == suffix and one.write is not read_only]
        if not fitting:
            written = (one for one in FORMATS.values() if one.write is not read_only)
            known = ", ".join(f"{one.name} ({one.suffix})" for one in written)
            raise SettingsError(f"Which format {str(path)!r} is to be is not known. Name it with --format: {known}.")
        # Of several with a suffix the one that files have unless their content says otherwise.
        return next((one for one in fitting if one.recognizes is None), fitting[0]), path
    one = find_format(name)
    if one.file_name and (not suffix or is_dir(path)):
        return one, path / one.file_name
    if suffix != one.suffix and path.name != one.file_name:
        folder = ", or a folder," if one.file_name else ""
        raise SettingsError(
            f"Expected a file name that ends in {one.suffix}{folder} for {one.name}, got {str(path)!r}."
        )
    return one, path


def check_target(one: AnnotationFormat, path: Path, annotations: Annotations, *, replace_existing: bool) -> None:
    """Refuse to write over what is read, and over what exists unless it may be.

    Raises:
        SettingsError: A file cannot be written to.
    """
    read = {file.resolve() for file in annotations.sources}
    for file in (path, *one.further_files(path, annotations)):
        if file.resolve() in read:
            raise SettingsError(f"{str(file)!r} is read from and cannot be written to. Choose another name.")
        if is_dir(file):
            raise SettingsError(f"The folder {str(file)!r} exists. Choose another name, or remove it.")
        if exists(file) and not replace_existing:
            raise SettingsError(f"{str(file)!r} exists. Choose another name, or write over it with --replace.")


def selected(annotations: Annotations, categories: Collection[str]) -> Annotations:
    """Annotations with objects of some categories only; all where none are named.

    Raises:
        SettingsError: A category is not there.
    """
    if not categories:
        return annotations
    for name in categories:
        if name not in annotations.categories:
            known = ", ".join(annotations.categories)
            raise SettingsError(f"Unknown category {name!r}.{suggest(name, annotations.categories)} Known: {known}.")
    return replace(
        annotations,
        categories={name: one for name, one in annotations.categories.items() if name in categories},
        images=[
            replace(image, instances=tuple(one for one in image.instances if one.category in categories))
            for image in annotations.images
        ],
        # The file's own entries have the others as well: it is written like one whose format has no entries.
        format="csv",
        document={},
        source=None,
    )


def _check_sizes(one: AnnotationFormat, annotations: Annotations) -> None:
    """Refuse images without a size where the format would lose their objects."""
    if annotations.format == one.name:
        return
    unknown = [image.file for image in annotations.images if image.instances and coordinate_frame(image) is None]
    if unknown:
        raise DatasetError(
            f"{one.title} needs the size of every image, and {str(annotations.path)!r} does not declare that of "
            f"{len(unknown)}, which are not there: {first_few(unknown)}. Name the images' folder with --images."
        )


def _in_own_pixels(image: AnnotatedImage, rescale: bool) -> AnnotatedImage:
    """An image with coordinates in its own pixels, where the file is there and declares another size."""
    if image.size is None or not image.instances or not is_file(image.path):
        return image
    actual = image_size(image.path)
    scale = declared_scale(image.file, image.size, actual, rescale=rescale)
    return image if scale == (1.0, 1.0) else replace(image, size=actual, instances=tuple(_scaled(image, scale)))


def _scaled(image: AnnotatedImage, scale: tuple[float, float]) -> Iterator[Instance]:
    for one in image.instances:
        predicted = one.predicted_points
        yield replace(
            one,
            points=one.points * scale,
            box=scaled_box(one.box, scale),
            predicted_points=None if predicted is None else predicted * (*scale, 1.0),
        )


def without_advice(note: str) -> str:
    """A reader's note without what it says for a transfer."""
    return note.partition("; no points are carried over")[0].replace(", from which no points are carried over", "")


def _folder(path: Path) -> Path:
    return path if is_dir(path) else path.parent
