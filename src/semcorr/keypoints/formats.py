"""The annotation formats by name. A new one is a file with an ``AnnotationFormat`` and a line here."""

from collections.abc import Mapping

from semcorr.errors import SettingsError, suggest
from semcorr.keypoints import coco, csv_table, cvat, deeplabcut, dlib, label_studio, labelme, sleap, yolo_pose
from semcorr.keypoints.annotation_format import AnnotationFormat, read_only

FORMATS: Mapping[str, AnnotationFormat] = {
    one.name: one
    for one in (
        coco.FORMAT,
        label_studio.FORMAT,
        cvat.FORMAT,
        dlib.FORMAT,
        yolo_pose.FORMAT,
        sleap.FORMAT,
        deeplabcut.FORMAT,
        csv_table.FORMAT,
        labelme.FORMAT,
    )
}
"""All formats, by name. Of several with the same suffix, the first that recognizes a file reads it."""


def find_format(name: str) -> AnnotationFormat:
    """The format to write with a name.

    Raises:
        SettingsError: There is none, or it is not written.
    """
    written = [one.name for one in FORMATS.values() if one.write is not read_only]
    if name in written:
        return FORMATS[name]
    known = f"Known: {', '.join(written)}."
    if name in FORMATS:
        raise SettingsError(f"{FORMATS[name].title} is read and not written. {known}")
    raise SettingsError(f"Unknown annotation format {name!r}.{suggest(name, written)} {known}")
