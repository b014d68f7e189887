"""Reading a file of annotations, whichever format it is in."""

import os
from pathlib import Path

from semcorr.keypoints.annotation_format import AnnotationFormat
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.file_reader import DataFile, annotation_file
from semcorr.keypoints.formats import FORMATS
from semcorr.keypoints.other_tools import refused_json, refused_suffix
from semcorr.storage.files import is_dir


def read_annotations(path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> Annotations:
    """Read a file of key-points in any of the formats.

    COCO key-points (.json), a Label Studio export (.json), CVAT for images (.xml), a data set of dlib's (.xml), a
    project of DeepLabCut's (its folder, its config.yaml or a CollectedData_*.csv), a data set of YOLO-pose (its folder
    or its data.yaml), SLEAP's labels on images (.slp, with the package sleap-io), labelme's files (.json, or their
    folder), or a table of points (.csv).

    Args:
        path: The file, or the folder of a project.
        images: Folder of the images that it names; the file's own folder, or images in it, are searched as well.

    Raises:
        DatasetError: The file is missing, broken, or in none of these formats.
    """
    path, images = Path(path), None if images is None else Path(images)
    file = annotation_file(path, "Annotations")
    if images is not None and not is_dir(images):
        raise file.folder.error(f"expected a folder of images, got {str(images)!r}, which is none.")
    return format_of(file).read(path, images)


def is_image_folder(path: Path) -> bool:
    """Whether a path is a folder that is no project or data set of any format, and so at most holds images."""
    return is_dir(path) and not any(one.opens is not None and one.opens(path) for one in FORMATS.values())


def format_of(file: DataFile) -> AnnotationFormat:
    """The format that a file is in, by its suffix and, where several share it, by its content.

    Raises:
        DatasetError: It is in none.
    """
    for one in FORMATS.values():
        if one.opens is not None and one.opens(file.path):
            return one
    suffix = file.path.suffix.lower()
    candidates = [one for one in FORMATS.values() if one.suffix == suffix]
    if not candidates:
        known = refused_suffix(suffix)
        raise file.folder.error(
            f"expected {_known_formats()}, got {'the folder ' if is_dir(file.path) else ''}{str(file.path)!r}"
            + (f", which {known}" if known else ".")
        )
    if len(candidates) == 1:
        return candidates[0]
    content = file.content() if suffix == ".json" else file.text()
    known = refused_json(content) if suffix == ".json" else None
    if known is not None:
        raise file.folder.error(f"{str(file.path)!r} {known}")
    for candidate in candidates:
        if candidate.recognizes is not None and candidate.recognizes(content):
            return candidate
    return next((one for one in candidates if one.recognizes is None), candidates[0])


def _known_formats() -> str:
    """The formats and their suffixes, for a message: "COCO or Label Studio (.json), … or a table (.csv)"."""
    titles: dict[str, list[str]] = {}
    for one in FORMATS.values():
        titles.setdefault(one.suffix, []).append(one.title)
    *others, last = [f"{' or '.join(listed)} ({suffix})" for suffix, listed in titles.items()]
    return f"{', '.join(others)} or {last}"
