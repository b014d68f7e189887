"""The kinds of JSON that Label Studio gives for a project, as one list of tasks.

JSON (a list of tasks), a single task, what a target storage holds (an annotation with its task), and JSON-MIN (values
by control, without ids of regions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from semcorr.errors import DatasetError
from semcorr.keypoints.file_reader import DataFile, first_few

TITLE = "Label Studio export"

Region = dict[str, Any]

_ANNOTATION_KEYS = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "id")
"""Keys of JSON-MIN that describe the annotation itself, beside the task's data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One image of a project.

    Attributes:
        name: What messages call it.
        source: The task as it is in the file, or as Label Studio would export it.
        file: The file that it is in.
    """

    name: str
    source: dict[str, Any]
    file: DataFile

    @property
    def data(self) -> dict[str, Any]:
        """The task's own values, the image's address among them."""
        data: dict[str, Any] = self.source["data"]
        return data

    def error(self, expected: str, got: str, *, advice: str = "") -> DatasetError:
        """The error that names the task."""
        return self.file.error(expected, got, at=self.name, advice=advice)

    def listed(self, key: str) -> list[dict[str, Any]]:
        """The annotations, predictions or drafts of the task.

        Raises:
            DatasetError: They are not a list.
        """
        entries = self.source.get(key) or []
        if not isinstance(entries, list):
            raise self.error(f"{key!r} as a list", f"{entries!r:.40}")
        return [one for one in entries if isinstance(one, dict)]

    def submitted(self) -> list[dict[str, Any]]:
        """The annotations that were not cancelled, in the order of the file."""
        every = self.listed("annotations") or self.listed("completions")
        return [one for one in every if not one.get("was_cancelled")]

    def regions(self, annotation: Mapping[str, Any]) -> list[Region]:
        """The regions and relations of one annotation or prediction.

        Raises:
            DatasetError: They are not a list.
        """
        result = annotation.get("result") or []
        if not isinstance(result, list):
            raise self.error("'result' as a list", f"{result!r:.40}")
        return [region for region in result if isinstance(region, dict)]


@dataclass
class Notes:
    """What is ignored, counted, with the first tasks that it concerns."""

    _tasks: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, task: Task, times: int = 1) -> None:
        """Count something ignored in a task; ``kind`` is a plural that completes the sentence."""
        if times:
            self._tasks.setdefault(kind, []).extend([task.name] * times)

    def sentences(self) -> tuple[str, ...]:
        """A sentence for each kind."""
        return tuple(f"{len(names)} {kind} ({first_few(dict.fromkeys(names))})" for kind, names in self._tasks.items())


def is_export(content: object) -> bool:
    """Whether a JSON file's content may be Label Studio's: a list, a single task, or an annotation with its task."""
    return isinstance(content, list) or (
        isinstance(content, dict) and (isinstance(content.get("data"), dict) or _is_stored(content))
    )


def tasks_of(file: DataFile) -> list[Task]:
    """The tasks of any kind of export.

    Raises:
        DatasetError: It is of another kind, which the message names, with what to export instead.
    """
    content = file.content()
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise file.error("tasks", "an empty list: export the project's tasks again")
    for entry in entries:
        _refuse_others(file, entry)
    if all(_is_stored(entry) for entry in entries):
        entries = _stored(entries)
    elif not any("data" in entry for entry in entries):
        entries = _minimal(entries)
    tasks = []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry.get("data"), dict):
            raise file.error("a list of tasks with 'data'", f"{entry!r:.40}")
        own = entry.get("id")
        named = type(own) in (int, str) and own != ""
        tasks.append(Task(name=f"task {own}" if named else f"task number {number}", source=entry, file=file))
    return tasks


def _refuse_others(file: DataFile, entry: object) -> None:
    """Refuse files of other programs by their names."""
    name = repr(str(file.path))
    if not isinstance(entry, dict):
        raise file.error("a list of tasks with 'data'", f"{entry!r:.40}")
    if "data_row" in entry or "Labeled Data" in entry:
        raise file.folder.error(f"{name} is a Labelbox export, which is not read: export COCO instead.")
    if "result" in entry and not isinstance(entry.get("data"), dict) and not _is_stored(entry):
        raise file.folder.error(
            f"{name} holds annotations without their tasks, so no image is known: export the project as JSON, or let "
            "the target storage write whole tasks."
        )
    labels = entry.get("annotations")
    if isinstance(labels, list) and any(isinstance(one, dict) and "coordinates" in one for one in labels):
        raise file.folder.error(f"{name} is a CreateML file, which has no key-points: export COCO instead.")


def _is_stored(entry: Mapping[str, Any]) -> bool:
    task = entry.get("task")
    return isinstance(task, dict) and isinstance(task.get("data"), dict) and "result" in entry


def _stored(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Annotations with their tasks as tasks with their annotations."""
    tasks: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        task = entry["task"]
        one = tasks.setdefault(str(task.get("id", f"number {number}")), {**task, "annotations": []})
        one["annotations"].append({key: value for key, value in entry.items() if key != "task"})
    return list(tasks.values())


def _minimal(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON-MIN, an entry an annotation, as tasks. What it leaves out of a region is left out here."""
    tasks: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        values = {key: value for key, value in entry.items() if _is_control(value)}
        data = {key: value for key, value in entry.items() if isinstance(value, str) and key not in _ANNOTATION_KEYS}
        key = entry.get("id")
        task: dict[str, Any] = {"data": data, "annotations": []} if key is None else {"id": key, "data": data}
        one = tasks.setdefault(str(number) if key is None else f"id {key}", {**task, "annotations": []})
        result = [_region(name, value) for name, control in values.items() for value in control]
        if values or "annotator" in entry:
            one["annotations"].append({"result": result})
    return list(tasks.values())


def _is_control(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and _is_region(one) for one in value)


def _is_region(value: Mapping[str, Any]) -> bool:
    return "x" in value or any(key.endswith("labels") for key in value)


def _region(control: str, value: dict[str, Any]) -> Region:
    """A region of a JSON export, from what JSON-MIN says of it."""
    sides = ("original_width", "original_height")
    kind = next((key for key, labels in value.items() if key.endswith("labels") and isinstance(labels, list)), "labels")
    return {
        **{key: value[key] for key in sides if key in value},
        "from_name": control,
        "type": kind,
        "value": {key: one for key, one in value.items() if key not in sides},
    }
