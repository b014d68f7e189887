"""The kinds of JSON that Label Studio gives for a project, as one list of tasks.

JSON (a list of tasks), a single task, what a target storage holds (an annotation with its task), and JSON-MIN (values
by control, without ids of regions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semcorr.errors import DatasetError
from semcorr.keypoints.base import ADVICE
from semcorr.keypoints.file_reader import Folder

TITLE = "Label Studio export"
_NAMED = 4

Region = dict[str, Any]

_OWN = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "id")
"""What JSON-MIN says of the annotation itself, beside the task's data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One image of a project.

    Attributes:
        name: What messages call it.
        source: The task as it is in the file, or as Label Studio would export it.
        path: The file.
    """

    name: str
    source: dict[str, Any]
    path: Path

    @property
    def folder(self) -> Folder:
        """For messages."""
        return Folder(root=self.path.parent, title=TITLE, advice=ADVICE)

    @property
    def data(self) -> dict[str, Any]:
        """The task's own values, the image's address among them."""
        data: dict[str, Any] = self.source["data"]
        return data

    def wrong(self, expected: str, got: str, *, do: str = "") -> DatasetError:
        """The error that names the task."""
        return self.folder.wrong(
            f"expected {expected} in {self.name} of {str(self.path)!r}, got {got}." + (f" {do}" if do else "")
        )

    def listed(self, key: str) -> list[dict[str, Any]]:
        """The annotations, predictions or drafts of the task.

        Raises:
            DatasetError: They are no list.
        """
        found = self.source.get(key) or []
        if not isinstance(found, list):
            raise self.wrong(f"{key!r} as a list", f"{found!r:.40}")
        return [one for one in found if isinstance(one, dict)]

    def submitted(self) -> list[dict[str, Any]]:
        """The annotations that were not cancelled, in the order of the file."""
        every = self.listed("annotations") or self.listed("completions")
        return [one for one in every if not one.get("was_cancelled")]

    def regions(self, annotation: Mapping[str, Any]) -> list[Region]:
        """The regions and relations of one annotation or prediction.

        Raises:
            DatasetError: They are no list.
        """
        result = annotation.get("result") or []
        if not isinstance(result, list):
            raise self.wrong("'result' as a list", f"{result!r:.40}")
        return [region for region in result if isinstance(region, dict)]


@dataclass
class Notes:
    """What is ignored, counted, with the first tasks that it concerns."""

    _concerned: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, task: Task, times: int = 1) -> None:
        """Count ``what``."""
        if times:
            self._concerned.setdefault(what, []).extend([task.name] * times)

    def sentences(self) -> tuple[str, ...]:
        """A sentence for each kind."""
        told = []
        for what, names in self._concerned.items():
            different = list(dict.fromkeys(names))
            more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
            told.append(f"{len(names)} {what} ({', '.join(different[:_NAMED])}{more})")
        return tuple(told)


def is_export(content: object) -> bool:
    """Whether what a JSON file holds may be Label Studio's: a list, a single task, or an annotation with its task."""
    return isinstance(content, list) or (
        isinstance(content, dict) and (isinstance(content.get("data"), dict) or _is_stored(content))
    )


def tasks_of(content: Any, path: Path) -> list[Task]:
    """The tasks of any kind of export.

    Raises:
        DatasetError: It is of another kind, which the message names, with what to export instead.
    """
    folder = Folder(root=path.parent, title=TITLE, advice=ADVICE)
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise folder.wrong(f"expected tasks in {str(path)!r}, got an empty list: export the project's tasks again.")
    for entry in entries:
        _refuse_others(folder, path, entry)
    if all(_is_stored(entry) for entry in entries):
        entries = _stored(entries)
    elif not any("data" in entry for entry in entries):
        entries = _minimal(entries)
    found = []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry.get("data"), dict):
            raise folder.wrong(f"expected a list of tasks with 'data' in {str(path)!r}, got {entry!r:.40}.")
        own = entry.get("id")
        named = type(own) in (int, str) and own != ""
        found.append(Task(name=f"task {own}" if named else f"task number {number}", source=entry, path=path))
    return found


def _refuse_others(folder: Folder, path: Path, entry: object) -> None:
    """Refuse what is not Label Studio's by its own name."""
    if not isinstance(entry, dict):
        raise folder.wrong(f"expected a list of tasks with 'data' in {str(path)!r}, got {entry!r:.40}.")
    if "data_row" in entry or "Labeled Data" in entry:
        raise folder.wrong(f"{str(path)!r} is a Labelbox export, which is not read: export COCO instead.")
    if "result" in entry and not isinstance(entry.get("data"), dict) and not _is_stored(entry):
        raise folder.wrong(
            f"{str(path)!r} holds annotations without their tasks, so no image is known: export the project as JSON, "
            "or let the target storage write whole tasks."
        )
    labels = entry.get("annotations")
    if isinstance(labels, list) and any(isinstance(one, dict) and "coordinates" in one for one in labels):
        raise folder.wrong(f"{str(path)!r} is a CreateML file, which has no key-points: export COCO instead.")


def _is_stored(entry: Mapping[str, Any]) -> bool:
    task = entry.get("task")
    return isinstance(task, dict) and isinstance(task.get("data"), dict) and "result" in entry


def _stored(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Annotations with their tasks as tasks with their annotations."""
    found: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        task = entry["task"]
        one = found.setdefault(str(task.get("id", f"number {number}")), {**task, "annotations": []})
        one["annotations"].append({key: value for key, value in entry.items() if key != "task"})
    return list(found.values())


def _minimal(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON-MIN, an entry an annotation, as tasks. What it leaves out of a region is left out here."""
    found: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        values = {key: value for key, value in entry.items() if _is_control(value)}
        data = {key: value for key, value in entry.items() if isinstance(value, str) and key not in _OWN}
        key = entry.get("id")
        task: dict[str, Any] = {"data": data, "annotations": []} if key is None else {"id": key, "data": data}
        one = found.setdefault(str(number) if key is None else f"id {key}", {**task, "annotations": []})
        result = [_whole(name, value) for name, control in values.items() for value in control]
        if values or "annotator" in entry:
            one["annotations"].append({"result": result})
    return list(found.values())


def _is_control(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and _is_region(one) for one in value)


def _is_region(value: Mapping[str, Any]) -> bool:
    return "x" in value or any(key.endswith("labels") for key in value)


def _whole(control: str, value: dict[str, Any]) -> Region:
    """A region with what JSON-MIN says of it."""
    sides = ("original_width", "original_height")
    kind = next((key for key, labels in value.items() if key.endswith("labels") and isinstance(labels, list)), "labels")
    return {
        **{key: value[key] for key in sides if key in value},
        "from_name": control,
        "type": kind,
        "value": {key: one for key, one in value.items() if key not in sides},
    }
