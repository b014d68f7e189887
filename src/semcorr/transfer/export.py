"""Results in the formats that people go on with."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from semcorr.errors import TransferError
from semcorr.keypoints import coco, csv_table, cvat, label_studio
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.predictions import TransferRecord, in_declared_frame
from semcorr.storage.files import atomic_file, write_atomically

Format = Literal["coco", "label-studio", "cvat", "csv"]
FORMATS: tuple[Format, ...] = ("coco", "label-studio", "cvat", "csv")
_SUFFIX = {"coco": ".json", "label-studio": ".json", "cvat": ".xml", "csv": ".csv"}

Records = Callable[[], Iterable[TransferRecord]]
"""Gives all records anew at each call, so that nobody has to hold them."""


def paths_of(output: Path, formats: tuple[Format, ...]) -> dict[Format, Path]:
    """Where each format goes: the first to ``output``, others beside it, as out.label-studio.json and out.cvat.xml.

    Raises:
        TransferError: ``output`` has another ending than its format's.
    """
    first = formats[0]
    if output.suffix.lower() != _SUFFIX[first]:
        raise TransferError(f"Expected a file name that ends in {_SUFFIX[first]} for {first}, got {str(output)!r}.")
    others = {name: output.with_suffix(f".{name}{_SUFFIX[name]}") for name in formats[1:]}
    return {first: output, **others}


def write(
    name: Format,
    path: Path,
    annotations: Annotations,
    records: Records,
    *,
    min_confidence: float,
    info: Mapping[str, Any],
) -> list[Path]:
    """Write all records in a format, whole or not at all; return the files. ``info`` says what they were made with.

    Label Studio gets its labelling interface beside the tasks, as .xml.

    Raises:
        TransferError: a file cannot be written.
    """
    try:
        own, records = records, lambda: in_declared_frame(own(), annotations)
        if name == "coco":
            with atomic_file(path) as stream:
                coco.write(stream, annotations, records, min_confidence=min_confidence, info=info)
            return [path]
        if name == "csv":
            with atomic_file(path) as stream:
                csv_table.write(stream, annotations, records(), min_confidence=min_confidence)
            return [path]
        if name == "cvat":
            with atomic_file(path) as stream:
                cvat.write(stream, annotations, records(), min_confidence=min_confidence)
            return [path]
        version = f"semcorr {info.get('method', '')}".strip()
        tasks = label_studio.tasks(records(), annotations, min_confidence=min_confidence, version=version)
        with atomic_file(path) as stream:
            for number, task in enumerate(tasks):
                stream.write((b",\n" if number else b"[\n") + json.dumps(task, allow_nan=False).encode())
            stream.write(b"\n]\n" if stream.tell() else b"[]\n")
        interface = path.with_suffix(".config.xml")
        write_atomically(interface, label_studio.labelling_config(annotations).encode(errors="replace"))
        return [path, interface]
    except OSError as error:
        raise TransferError(
            f"{str(path)!r} cannot be written: {error.strerror or error}. What was found is kept: when there is room "
            "(or the folder can be written), the same command continues."
        ) from error
