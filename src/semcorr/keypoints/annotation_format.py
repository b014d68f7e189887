"""A format of annotations: how a file of it is recognized, read and written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        info: What the predictions were made with (method, model, …), for formats that have room for it.
    """

    min_confidence: float
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
            files written. Raises OSError.
        recognizes: Whether a file with this ending is of this format, by its content (parsed, if it is JSON; otherwise
            its text). None: every file with this ending that no format before this one recognizes.
        opens: Whether a path that does not end in ``suffix``, such as a project's folder, is of this format. None: no
            such path is.
        correct: Gives annotations of this format with other objects in place of some, for ``write`` without records.
            None: it cannot be written with them, and takes another format.
        further_files: The files that ``write`` writes beside the one that is named.
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
