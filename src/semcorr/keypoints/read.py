"""Which reader a file of annotations is for."""

import os
from pathlib import Path

from semcorr.keypoints import coco, csv_table, cvat, label_studio
from semcorr.keypoints.base import ADVICE, Annotations
from semcorr.keypoints.file_reader import Folder
from semcorr.storage.files import is_dir


def read_annotations(path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> Annotations:
    """Read COCO key-points (.json), a Label Studio export (.json), CVAT for images (.xml) or a table (.csv).

    Args:
        path: The file.
        images: Folder of the pictures that it names; the file's own folder, or images in it, are looked in as well.

    Raises:
        DatasetError: it is missing, broken, or none of these.
    """
    path, images = Path(path), None if images is None else Path(images)
    folder = Folder(root=path.parent, title="Annotations", advice=ADVICE)
    if images is not None and not is_dir(images):
        raise folder.wrong(f"expected a folder of pictures, got {str(images)!r}, which is none.")
    if path.suffix.lower() == ".csv":
        return csv_table.read(path, images)
    if path.suffix.lower() == ".xml":
        return cvat.read(path, images)
    if path.suffix.lower() != ".json":
        raise folder.wrong(
            f"expected COCO or Label Studio (.json), CVAT for images (.xml) or a table (.csv), got {str(path)!r}."
            + (" Unpack the archive first." if path.suffix.lower() == ".zip" else "")
        )
    content = folder.content(path)
    if isinstance(content, dict) and "shapes" in content and "categories" not in content:
        raise folder.wrong(
            f"{str(path)!r} is a labelme file, which is not read: convert its points to a table (image, name, x, y) or "
            "to COCO."
        )
    if isinstance(content, dict) and "_via_img_metadata" in content:
        raise folder.wrong(f"{str(path)!r} is a project of VIA, which is not read: export COCO instead.")
    if isinstance(content, list) and content and all(isinstance(one, dict) and "image_id" in one for one in content):
        raise folder.wrong(
            f"expected a whole COCO file, with images, annotations and categories, got a list of annotations or "
            f"results in {str(path)!r}: which images and key-points they mean stands in the file that they belong to."
        )
    return label_studio.read(path, images) if label_studio.is_export(content) else coco.read(path, images)
