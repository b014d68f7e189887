"""A format of annotations: how a file of it is recognized, read and written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semcorr.errors import SettingsError
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.corrections import Corrections
from semcorr.keypoints.predictions import TransferRecord

Records = Callable[[], Iterable[TransferRecord]]
"""Returns all records anew at each call, so that they need not be in memory together."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How predictions are written.

    Attributes:
        min_confidence: Points of at least this confidence are marked visible, others are not.
        margin: Room around the points of an object that has no box, as a part of their extent's longer side, for
            formats that need a box. None: as much as the format has by itself.
        validation: The part of the images that is held back for validation, for formats that say which are.
        info: What the predictions were made with (method, model, …), for formats that have room for it.
    """

    min_confidence: float
    margin: float | None = None
    validation: float = 0.0
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AnnotationFormat:
    """A format of annotations.

    Attributes:
        name: What it is called on the command line and in :attr:`Annotations.format`.
        title: What messages call it.
        suffix: The ending of its files, in lower case and with the dot.
        read: Reads a file; the second argument is the folder of the images that it names, or None. Raises DatasetError.
        write: Writes a file with what was annotated and what was predicted, atomically, and returns the paths of all
            files written. Raises OSError. :func:`read_only`: none is written.
        recognizes: Whether a file with this ending is of this format, by its content (parsed, if it is JSON; otherwise
            its text). None: every file with this ending that no format before this one recognizes.
        opens: Whether a path that does not end in ``suffix``, such as a project's folder, is of this format. None: no
            such path is.
        correct: Gives annotations of this format with other objects in place of some, for ``write`` without records.
            None: it cannot be written with them, and takes another format.
        further_files: The files that ``write`` writes beside the one that is named.
        adopt: Gives annotations of another format this one's own entries, for ``write`` without records. None:
            ``write`` takes what another format's file holds as it is.
        notes: What to know of a file that is written with options, a sentence each.
        file_name: What its file is called in a folder that a user names instead, for formats that may be a whole folder
            with the images; "" for others.
        needs_sizes: Whether an image with objects can only be written where its size is known.
    """

    name: str
    title: str
    suffix: str
    read: Callable[[Path, Path | None], Annotations]
    write: Callable[[Path, Annotations, Records, ExportOptions], list[Path]]
    recognizes: Callable[[Any], bool] | None = None
    opens: Callable[[Path], bool] | None = None
    correct: Callable[[Annotations, Corrections], Annotations] | None = None
    further_files: Callable[[Path, Annotations], list[Path]] = lambda _path, _annotations: []
    adopt: Callable[[Annotations], Annotations] | None = None
    notes: Callable[[Annotations, ExportOptions], list[str]] = lambda _annotations, _options: []
    file_name: str = ""
    needs_sizes: bool = False


def read_only(_path: Path, annotations: Annotations, _records: Records, _options: ExportOptions) -> list[Path]:
    """The writer of a format that is read and not written.

    Raises:
        SettingsError: Always.
    """
    raise SettingsError(f"Files of {annotations.format} are read and not written. Choose another --format.")
