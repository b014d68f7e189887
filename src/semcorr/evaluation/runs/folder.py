"""The folder of a run: its settings, and one line a finished pair, which a kill at any moment leaves readable.

::

    run.json            settings, their hash, the number of pairs
    records/1-of-1.0.jsonl   lines of shard 1 of 1, written by one process; every start opens a new file
    queries/            what sources were described as, while pairs of theirs are still to do

Files are only ever appended to, and a line that a kill cut short is ignored, so nothing has to be repaired. Shards may
write into one folder, or into folders of their own that are merged by copying ``records``.
"""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from semcorr.errors import RunError
from semcorr.evaluation.runs.records import PairRecord, Run
from semcorr.settings import current_names
from semcorr.storage.files import exists, is_file
from semcorr.storage.record_store import writing

_FORMAT = 1
_SECONDS_TO_BE_SEEN = 90.0
"""A folder on a network may show files of other machines late: NFS after a minute, unless it is told otherwise."""
PLACE = "root"
"""The data set's setting that may differ between machines: where its pictures are."""


def open_run(folder: Path, settings: Mapping[str, Any], expected: int) -> None:
    """Make the folder of a run, or check that it is this run's.

    Raises:
        RunError: it cannot be written, is something else, or holds a run with other settings.
    """
    path, settings = folder / "run.json", json.loads(json.dumps(settings))  # as it will be read again
    with writing(folder):
        (folder / "records").mkdir(parents=True, exist_ok=True)
        if not path.exists():
            document = {"format": _FORMAT, "hash": _hash(settings), "pairs": expected, "settings": settings}
            temporary = folder / f".run.{os.getpid()}.part"
            temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            temporary.replace(path)
    found = _read_header(folder)
    if found["hash"] != _hash(settings):
        raise RunError(
            f"{folder} holds a run with other settings ({_differences(found['settings'], settings)}). "
            "Name another folder with -o, or use the settings it was made with."
        )


def read_run(folder: Path) -> Run:
    """Read a run, finished or not; records come in the data set's order.

    Raises:
        RunError: there is no run, or it was made by another version.
    """
    header = _read_header(folder)
    best: dict[int, PairRecord] = {}
    for record in _records(folder):
        # A failed pair may have been tried again: what succeeded counts, and else the first message.
        if record.index not in best or (best[record.index].error and not record.error):
            best[record.index] = record
    records = [best[index] for index in sorted(best)]
    return Run(
        name=folder.resolve().name,
        folder=folder,
        settings=header["settings"],
        records=records,
        expected=header["pairs"],
    )


def read_written(folder: Path, places: set[int], *, patience: float = _SECONDS_TO_BE_SEEN) -> Run:
    """Read a run of which it is known that records of ``places`` are written, perhaps by other machines.

    Raises:
        RunError: after ``patience`` seconds they are still not to be seen here; or as :func:`read_run`.
    """
    end = time.monotonic() + patience
    while True:
        found = read_run(folder)
        missing = places - {record.index for record in found.records}
        if not missing:
            return found
        if time.monotonic() > end:
            raise RunError(
                f"{len(missing)} pairs are done, but their records are not to be seen in {folder}. Expected a folder "
                "that all machines share, under the same path. When they are to be seen, the same command continues."
            )
        time.sleep(0.5)


def merge(sources: Sequence[Path], folder: Path) -> Run:
    """Put the records of several runs of the same settings into a new folder.

    Raises:
        RunError: their settings differ, or ``folder`` exists.
    """
    headers = [_read_header(source) for source in sources]
    for source, header in zip(sources, headers, strict=True):
        if header["hash"] != headers[0]["hash"]:
            differences = _differences(headers[0]["settings"], header["settings"])
            raise RunError(f"{sources[0]} and {source} are runs with other settings ({differences}): not merged.")
    if exists(folder) and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty: name a new folder, nothing is overwritten.")
    open_run(folder, headers[0]["settings"], headers[0]["pairs"])
    with writing(folder):
        for number, source in enumerate(sources):
            for path in sorted((source / "records").glob("*.jsonl")):
                shutil.copyfile(path, folder / "records" / f"{number}.{path.name}")
    return read_run(folder)


def append(path: Path, record: PairRecord) -> None:
    """Add one line. The system has it then: a process that is killed does not lose it.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(record.to_json() + "\n")


def _records(folder: Path) -> Iterator[PairRecord]:
    for path in sorted((folder / "records").glob("*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    yield PairRecord.from_json(line)


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    if not is_file(path):
        raise RunError(f"There is no run in {folder} (no run.json). Expected the folder that -o of semcorr eval named.")
    try:
        header: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if header["format"] != _FORMAT:
            raise RunError(f"{path} has format {header['format']}, expected {_FORMAT}: use the version that wrote it.")
        if not isinstance(header["settings"], dict) or type(header["pairs"]) is not int or header["pairs"] < 0:
            raise TypeError("expected settings and a number of pairs")
        if any(not isinstance(header["settings"].get(part, {}), dict) for part in ("dataset", "method")):
            raise TypeError("expected the settings of a dataset and a method")
        settings = current_names(header["settings"])
        return {"hash": _hash(settings), "pairs": header["pairs"], "settings": settings}
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise RunError(
            f"{path} is broken ({type(error).__name__}: {error}). Name another folder with -o; or, if what lies beside "
            "it is of the very same run, delete that file: the same command writes it anew and goes on."
        ) from error


def _hash(settings: Mapping[str, Any]) -> str:
    """Of everything but the place of the pictures, which may differ from machine to machine."""
    dataset = {key: value for key, value in settings.get("dataset", {}).items() if key != PLACE}
    text = json.dumps({**settings, "dataset": dataset}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> str:
    """``name: this, that`` for what differs, deep inside."""
    found: list[str] = []
    for key in sorted({*first, *second}):
        a, b = first.get(key), second.get(key)
        name = f"{prefix}{key}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += [text] if (text := _differences(a, b, f"{name}.")) else []
        elif a != b and name != f"dataset.{PLACE}":
            found.append(f"{name}: {a!r} there, {b!r} here")
    return "; ".join(found)
