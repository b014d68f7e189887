"""The annotation formats by name. A new one is a file with an ``AnnotationFormat`` and a line here."""

from collections.abc import Mapping

from semcorr.errors import SettingsError, suggest
from semcorr.keypoints import coco, csv_table, cvat, deeplabcut, dlib, label_studio
from semcorr.keypoints.annotation_format import AnnotationFormat

FORMATS: Mapping[str, AnnotationFormat] = {
    one.name: one
    for one in (
        coco.FORMAT,
        label_studio.FORMAT,
        cvat.FORMAT,
        dlib.FORMAT,
        deeplabcut.FORMAT,
        csv_table.FORMAT,
    )
}
"""All formats, by name. Of several with the same suffix, the first that recognizes a file reads it."""


def find_format(name: str) -> AnnotationFormat:
    """The format with a name.

    Raises:
        SettingsError: There is none.
    """
    if name in FORMATS:
        return FORMATS[name]
    raise SettingsError(f"Unknown annotation format {name!r}.{suggest(name, FORMATS)} Known: {', '.join(FORMATS)}.")
