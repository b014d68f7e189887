"""The folder of a run: a record store (:mod:`semcorr.storage.record_store`) with one line per finished pair.

::

    run.json                 settings, their hash, the number of pairs
    records/1-of-1.0.jsonl   lines of shard 1 of 1, written by one process; every start opens a new file
    environments/1-of-1.0.json   versions and hardware of that process
    queries/                 queries of sources that have pairs left
"""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator

from semcorr.errors import RunError
from semcorr.evaluation.runs.records import PairRecord, Run
from semcorr.settings import current_names
from semcorr.storage import record_store
from semcorr.storage.files import exists, is_file, write_atomically

_FORMAT = 1
_SECONDS_TO_BE_SEEN = 90.0
"""A folder on a network may show files of other machines late: NFS by default after up to a minute."""
_ENVIRONMENTS = "environments"
ROOT = "root"
"""The data set's setting that may differ between machines: the folder of its images."""
_DRAWN = "toy"
"""The data set whose images are drawn here and not read."""


class _Settings(BaseModel, extra="allow"):
    dataset: dict[str, Any] = {}
    method: dict[str, Any] = {}


class _Header(BaseModel):
    """What ``run.json`` holds."""

    format: int
    hash: str
    pairs: Annotated[int, Field(ge=0, strict=True)]
    settings: _Settings

    @field_validator("format")
    @classmethod
    def _known(cls, value: int, info: Any) -> int:
        if value != _FORMAT:
            raise RunError(
                f"{info.context['path']} has format {value}, expected {_FORMAT}: use the version that wrote it."
            )
        return value

    def current(self) -> dict[str, Any]:
        """The settings under today's names."""
        return current_names(self.settings.model_dump(exclude_unset=True))


def open_run(folder: Path, settings: Mapping[str, Any], expected: int) -> None:
    """Make the folder of a run, or check that it is this run's.

    Raises:
        RunError: It cannot be written, is something else, or holds a run with other settings.
    """
    current = json.loads(json.dumps(settings))  # as it will be read again
    # Of everything but the folder of the images, which may differ from machine to machine.
    dataset = {key: value for key, value in current.get("dataset", {}).items() if key != ROOT}
    digest = record_store.settings_hash({**current, "dataset": dataset})
    header = {"format": _FORMAT, "hash": digest, "pairs": expected, "settings": current}
    record_store.open_store(folder / "run.json", header)
    different = _differences(_read_header(folder).current(), current)
    if different:
        raise RunError(
            f"{folder} holds a run with other settings ({different}). "
            "Name another folder with -o, or use the settings it was made with."
        )


def run_folders(folder: Path) -> list[Path]:
    """Return the folder, if it is a run's or there is none below it, else those of the runs below it, by name."""
    if is_file(folder / "run.json"):
        return [folder]
    return sorted(header.parent for header in folder.rglob("run.json")) or [folder]


def read_run(folder: Path) -> Run:
    """Read a run, finished or not; records come in the data set's order.

    Raises:
        RunError: There is no run, or it was made by another version.
    """
    header = _read_header(folder)
    best: dict[int, PairRecord] = {}
    for _, _, line in record_store.read_lines(folder):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            record = PairRecord.from_json(line.decode(errors="replace"))
            # A failed pair may have been tried again: a success counts, else the first message.
            if record.index not in best or (best[record.index].error and not record.error):
                best[record.index] = record
    records = [best[index] for index in sorted(best)]
    return Run(
        name=folder.resolve().name,
        folder=folder,
        settings=header.current(),
        records=records,
        expected=header.pairs,
        environments=_environments(folder),
    )


def read_written(folder: Path, indices: set[int], *, patience: float = _SECONDS_TO_BE_SEEN) -> Run:
    """Read a run whose records of the pairs ``indices`` are known to be written, perhaps by other machines.

    Raises:
        RunError: They are still not visible here after ``patience`` seconds; or as :func:`read_run`.
    """
    end = time.monotonic() + patience
    while True:
        run = read_run(folder)
        missing = indices - {record.index for record in run.records}
        if not missing:
            return run
        if time.monotonic() > end:
            raise RunError(
                f"{len(missing)} pairs are done, but their records are not visible in {folder}. Expected a folder "
                "that all machines share, under the same path. When they are visible, the same command continues."
            )
        time.sleep(0.5)


def merge(sources: Sequence[Path], folder: Path) -> Run:
    """Put the records of several runs of the same settings into a new folder.

    Raises:
        RunError: Their settings differ, or ``folder`` exists.
    """
    headers = [_read_header(source) for source in sources]
    settings = [header.current() for header in headers]
    for source, other in zip(sources, settings, strict=True):
        if different := _differences(settings[0], other):
            raise RunError(f"{sources[0]} and {source} are runs with other settings ({different}): not merged.")
    if exists(folder) and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty: name a new folder, nothing is overwritten.")
    open_run(folder, settings[0], headers[0].pairs)
    record_store.copy_records(sources, folder)
    for number, source in enumerate(sources):
        for path in sorted((source / _ENVIRONMENTS).glob("*.json")):
            _write_environment(folder, f"{number}.{path.name}", path.read_bytes())
    return read_run(folder)


def new_record_file(folder: Path, shard: record_store.Shard, environment: Mapping[str, Any]) -> Path:
    """Make a record file that no other process writes to, and write down the environment of this one.

    Raises:
        RunError: The disk is full, or the folder cannot be written.
    """
    file = record_store.new_record_file(folder, shard)
    _write_environment(folder, f"{file.stem}.json", json.dumps(environment).encode())
    return file


def _write_environment(folder: Path, name: str, content: bytes) -> None:
    with record_store.writing(folder):
        write_atomically(folder / _ENVIRONMENTS / name, content)


def _environments(folder: Path) -> tuple[dict[str, Any], ...]:
    """The different environments, in the order of their files; a broken one is left out."""
    known: list[dict[str, Any]] = []
    for path in sorted((folder / _ENVIRONMENTS).glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            environment = json.loads(path.read_bytes())
            if isinstance(environment, dict) and environment not in known:
                known.append(environment)
    return tuple(known)


def append(path: Path, record: PairRecord) -> None:
    """Add a record's line to a record file.

    Raises:
        RunError: The disk is full, or the folder cannot be written.
    """
    record_store.append(path, record.to_json())


def _read_header(folder: Path) -> _Header:
    path = folder / "run.json"
    if not is_file(path):
        raise RunError(f"There is no run in {folder} (no run.json). Expected the folder that -o of semcorr eval named.")
    return record_store.read_header(
        path,
        _Header,
        "Name another folder with -o; or, if the files beside it are of the very same run, delete that file: the same "
        "command writes it anew and continues.",
    )


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    ignore = {f"dataset.{ROOT}"}
    if first["dataset"].get("name") == second["dataset"].get("name") == _DRAWN:
        # Its points follow from the other settings, and their last digits from the processor that computed them.
        ignore.add("dataset.content")
    return record_store.differences(first, second, ignore=ignore)
