"""A Label Studio project as its requests describe it: its labels, and what is predicted as its regions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.errors import SettingsError
from semcorr.imaging.image import Image
from semcorr.keypoints.base import AnnotatedImage, Annotations, Category
from semcorr.keypoints.file_reader import annotation_file
from semcorr.keypoints.label_studio import tasks as tasks_with_predictions
from semcorr.keypoints.label_studio.controls import Controls
from semcorr.keypoints.label_studio.regions import drawing_of
from semcorr.keypoints.label_studio.tasks import TITLE, Task
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.keypoints.xml_files import XmlFile
from semcorr.transfer.targets import Region

_FILE = annotation_file(Path("the project"), TITLE)
"""What messages call what no file holds."""


@dataclass(frozen=True, kw_only=True)
class Click:
    """A key-point that a person pointed at: its label, and (x, y) in pixels of the image."""

    label: str
    location: tuple[float, float]
    region: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Project:
    """Its labels, and how the references' categories are called in it.

    Attributes:
        controls: The controls of its labelling configuration.
        categories: What is predicted, by its label in the project, with those key-points that it has labels for.
        names: The references' category of each label.
    """

    controls: Controls
    categories: Mapping[str, Category]
    names: Mapping[str, str]

    @classmethod
    def of(cls, configuration: str, known: Mapping[str, Category]) -> "Project":
        """Read a labelling configuration (XML), for references of these categories.

        A category is its label of the same name. A project without labels of areas needs none; one with a single one
        calls an only category so, whatever its name in the references.

        Raises:
            DatasetError: As :func:`controls_of`.
            SettingsError: None of the references' key-points has a label in it.
        """
        controls = controls_of(configuration)
        shown = {
            name: replace(category, keypoints=tuple(point for point in category.keypoints if point in controls.points))
            for name, category in known.items()
        }
        labels = {name: _label(name, known, controls) for name, category in shown.items() if category.keypoints}
        named = {label: name for name, label in labels.items() if label is not None}
        if not named:
            theirs = ", ".join(point for category in known.values() for point in category.keypoints)
            raise SettingsError(
                "Expected a project with labels of the references' key-points and categories. The references have "
                f"{', '.join(known)} ({theirs:.300}), and the project {', '.join(controls.areas) or 'no areas'} "
                f"({', '.join(controls.points):.300}). Name them alike."
            )
        categories = {label: replace(shown[name], name=label) for label, name in named.items()}
        return cls(controls=controls, categories=categories, names=named)

    def regions(self, task: dict[str, Any], image: Image) -> list[Region]:
        """The boxes in a task's annotation that have no key-points yet, as the references call them.

        Raises:
            DatasetError: The annotation is ambiguous.
        """
        entries = [one for key in ("annotations", "drafts") for one in _task(task).listed(key)[-1:]]
        own = _in(image, _task(task).regions(entries[0]) if entries else ())
        drawn = drawing_of(_task(task), own, lambda: image.size)
        return [
            Region(category=self.names[one.category], box=one.box, id=one.id)
            for one in drawn.objects
            if one.category is not None and one.category in self.names and one.box is not None and not one.points
        ]

    def prediction(
        self,
        task: dict[str, Any],
        image: Image,
        objects: Sequence[PredictedObject],
        *,
        min_confidence: float,
        version: str,
    ) -> dict[str, Any]:
        """What is predicted for a task, as Label Studio takes it."""
        source = {**task, "predictions": []}  # earlier ones, which the server keeps
        annotations = Annotations(
            path=_FILE.path,
            categories=self.categories,
            images=[AnnotatedImage(file=image.name, path=Path(image.name), instances=(), source=source)],
            format="label-studio",
            source=self.controls,
        )
        shown = tuple(self._shown(one) for one in objects)
        record = TransferRecord(file=image.name, path=Path(image.name), size=image.size, objects=shown)
        completed = tasks_with_predictions([record], annotations, min_confidence=min_confidence, version=version)
        prediction: dict[str, Any] = next(completed)["predictions"][-1]
        return prediction

    def _shown(self, one: PredictedObject) -> PredictedObject:
        label = next(label for label, name in self.names.items() if name == one.category)
        rows = [one.names.index(name) for name in self.categories[label].keypoints]
        return replace(
            one,
            category=label,
            names=self.categories[label].keypoints,
            points=one.points[rows],
            confidence=one.confidence[rows],
        )

    def click(self, context: Mapping[str, Any] | None, image: Image) -> Click | None:
        """The key-point that a person pointed at last; None where the context is of something else."""
        regions = context.get("result") if isinstance(context, dict) else None
        last = regions[-1] if isinstance(regions, list) and regions else None
        if not isinstance(last, dict) or last.get("type") != "keypointlabels":
            return None
        (drawn,) = drawing_of(_task({}), _in(image, [last]), lambda: image.size).objects or (None,)
        if drawn is None:
            return None
        ((label, location),) = drawn.points.items()
        x, y = np.clip(location, 0, image.size).tolist()
        return Click(label=label, location=(x, y), region=last)

    def answer(self, click: Click, point: np.ndarray, confidence: float, image: Image) -> dict[str, Any]:
        """The region of a click, moved to where the references' match is."""
        percent = np.clip(100 * point / np.array(image.size), 0, 100).round(4).tolist()
        kept = {key: click.region[key] for key in ("from_name", "to_name", "type", "id") if key in click.region}
        width, height = image.size
        return {
            **kept,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": round(confidence, 4),
            "value": {**click.region["value"], "x": percent[0], "y": percent[1]},
        }


def _label(name: str, known: Mapping[str, Category], controls: Controls) -> str | None:
    """What a category is called in the project; None if nothing there is."""
    if name in controls.areas or not controls.areas:
        return name
    return next(iter(controls.areas)) if len(known) == len(controls.areas) == 1 else None


def _in(image: Image, regions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Regions, which are in percent, on the image itself, whatever size the browser was shown."""
    width, height = image.size
    return [{**one, "original_width": width, "original_height": height} for one in regions]


def _task(source: dict[str, Any]) -> Task:
    return Task(name=f"task {source.get('id')}", source=source, file=_FILE)


def controls_of(configuration: str) -> Controls:
    """The controls of a labelling configuration (XML).

    Raises:
        DatasetError: It is not XML, or has no key-points.
    """
    controls = Controls.declared(XmlFile(_FILE, configuration).root)
    if controls.points and controls.image:
        return controls
    raise _FILE.error(
        "<KeyPointLabels> on an <Image> whose value is a field of the task, such as $image",
        "none",
        advice="Add them in the project's settings (Labeling Interface).",
    )


def image_address(task: Mapping[str, Any], field: str) -> str:
    """The address of a task's image, in this field of its data.

    Raises:
        DatasetError: There is none.
    """
    data = task.get("data")
    address = data.get(field) if isinstance(data, dict) else None
    if not isinstance(address, str):
        raise _FILE.error(f"the address of an image in {field!r} of the task", f"{data!r:.80}")
    return address


def requested_tasks(content: Any) -> list[dict[str, Any]]:
    """The tasks of a request.

    Raises:
        DatasetError: There is no list of tasks.
    """
    tasks = content.get("tasks") if isinstance(content, dict) else None
    if not isinstance(tasks, list) or not all(isinstance(one, dict) for one in tasks):
        raise _FILE.error("a list of tasks", f"{tasks!r:.80}")
    return tasks
