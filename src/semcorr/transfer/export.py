"""Writing the results of a transfer in the formats of annotations."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from semcorr.errors import TransferError
from semcorr.keypoints.annotation_format import ExportOptions, Records
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.formats import find_format
from semcorr.keypoints.predictions import in_declared_frame


def paths_of(output: Path, formats: Sequence[str]) -> dict[str, Path]:
    """The path of each format: the first is ``output``, others are beside it: out.label-studio.json, out.cvat.xml.

    Raises:
        SettingsError: A format is unknown.
        TransferError: ``output`` has another suffix than its format's.
    """
    first, *others = map(find_format, formats)
    if output.suffix.lower() != first.suffix:
        raise TransferError(f"Expected a file name that ends in {first.suffix} for {first.name}, got {str(output)!r}.")
    return {first.name: output, **{one.name: output.with_suffix(f".{one.name}{one.suffix}") for one in others}}


def check_outputs(files: Iterable[Path], read: Iterable[Path], *, work_folder: Path, replace: bool) -> None:
    """Refuse to write over what is read, and over what exists, unless it is to be replaced or the work is under way.

    Args:
        files: What would be written.
        read: What is read.
        work_folder: Where the work is stored while it is under way.
        replace: Whether files that exist are written over.

    Raises:
        TransferError: A file cannot be written to.
    """
    sources = {path.resolve() for path in read}
    for path in files:
        if path.resolve() in sources:
            raise TransferError(f"{str(path)!r} is read from and cannot be written to. Choose another name.")
        if path.is_dir():
            raise TransferError(f"Expected a file to write, got the folder {str(path)!r}.")
        if path.exists() and not replace and not work_folder.exists():
            raise TransferError(f"{str(path)!r} exists. Choose another name, or write over it with --replace.")


def write(
    name: str,
    path: Path,
    annotations: Annotations,
    records: Records,
    *,
    min_confidence: float,
    info: Mapping[str, Any],
) -> list[Path]:
    """Write all records in a format, completely or not at all, and return the paths of the files.

    Args:
        name: The format's name.
        path: The file.
        annotations: What was annotated.
        records: Called for what was predicted, more than once.
        min_confidence: Points of at least this confidence are marked visible.
        info: What the predictions were made with.

    Raises:
        TransferError: A file cannot be written.
    """
    options = ExportOptions(min_confidence=min_confidence, info=info)
    try:
        return find_format(name).write(path, annotations, lambda: in_declared_frame(records(), annotations), options)
    except OSError as error:
        raise TransferError(
            f"{str(path)!r} cannot be written: {error.strerror or error}. The predictions are kept: when there is room "
            "(or the folder can be written), the same command continues."
        ) from error
