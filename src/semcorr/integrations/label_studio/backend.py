"""What the backend does, whatever it is asked through: read references, predict for tasks, answer clicks."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from semcorr.errors import DatasetError, ImageError, PointError, SemcorrError, ServerError
from semcorr.imaging.image import Image, load_image
from semcorr.integrations.label_studio.images import TaskImages
from semcorr.integrations.label_studio.project import Click, Project, controls_of, image_address, requested_tasks
from semcorr.integrations.label_studio.server_client import LabelStudioServer
from semcorr.integrations.references import AnnotatedReferences
from semcorr.keypoints.label_studio.config import path_beside
from semcorr.keypoints.read import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.storage.files import write_atomically
from semcorr.transfer.plan import TransferSettings

ReadReferences = Callable[[int, str], AnnotatedReferences]
"""Reads the references of a project, by its number and its labelling configuration."""

UNTRAINED = "semcorr, nothing read yet"
"""The version of the model before references were read."""


class Backend:
    """The backend. One prediction is made at a time: all share one network.

    Args:
        read: Reads references.
        images: Finds the images of tasks.
        min_confidence: Points of less confidence are not drawn.
        for_all: Whether references are the same for all projects; then :meth:`start` reads them.
        note: Called with what the user should know, a sentence each.
    """

    def __init__(
        self,
        read: ReadReferences,
        images: TaskImages,
        *,
        min_confidence: float,
        for_all: bool = False,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._read, self._images, self._min_confidence, self._note = read, images, min_confidence, note
        self._for_all = for_all
        self._references: dict[int, AnnotatedReferences] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Read what holds for all projects, so that errors come at once.

        Raises:
            SemcorrError: It cannot be used.
        """
        if self._for_all:
            self._read_now(0, "")

    def setup(self, project: int, configuration: str) -> str:
        """The version of a project's predictions, after checking that its labels fit; it answers at once.

        Raises:
            SemcorrError: They do not.
        """
        known = self._known(project)
        if known is None:
            return UNTRAINED
        Project.of(configuration, known.categories)
        return known.version

    def train(self, project: int, configuration: str) -> threading.Thread:
        """Read the references of a project again, in a thread that is returned."""
        thread = threading.Thread(target=self._train, args=(project, configuration), daemon=True)
        thread.start()
        return thread

    def predict(
        self, project: int, configuration: str, content: Any, context: Mapping[str, Any] | None
    ) -> tuple[list[dict[str, Any]], str]:
        """Predictions for the tasks of a request, one for each, and their version.

        An image that cannot be used gets an empty prediction, and a note says why.

        Args:
            project: The project's number.
            configuration: Its labelling configuration.
            content: The request.
            context: What a person drew that asks for a prediction: a key-point, whose match near it is the answer, or
                rectangles, in which all points are predicted. None for all of the task.

        Raises:
            SemcorrError: The request is of another kind, or there are no references.
        """
        tasks = requested_tasks(content)
        with self._lock:
            references = self._known(project) or self._read_now(project, configuration)
            shown = Project.of(configuration, references.categories)
            return [self._one(references, shown, task, context) for task in tasks], references.version

    def _known(self, project: int) -> AnnotatedReferences | None:
        return self._references.get(0 if self._for_all else project)

    def _read_now(self, project: int, configuration: str) -> AnnotatedReferences:
        references = self._read(project, configuration)
        references.prepare()
        self._references[0 if self._for_all else project] = references
        for note in references.notes:
            self._note(note)
        self._note(f"predictions are made from {', '.join(references.categories)}: {references.version}")
        return references

    def _train(self, project: int, configuration: str) -> None:
        try:
            with self._lock:
                self._read_now(project, configuration)
        except SemcorrError as error:
            self._note(f"nothing was read, and predictions stay as they were: {error}")

    def _one(
        self, references: AnnotatedReferences, project: Project, task: dict[str, Any], context: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        empty = {"result": [], "score": 0.0, "model_version": references.version}
        try:
            image = load_image(self._images.path(image_address(task, project.controls.image)))
            if context is not None:
                click = project.click(context, image)
                if click is not None:
                    return self._clicked(references, project, click, image) or empty
                task = {**task, "annotations": [{"result": context.get("result")}], "drafts": []}
            regions = project.regions(task, image)
            if context is not None and not regions:
                return empty
            objects = references.predict(image, regions)
            shown = [one for one in objects if one.category in project.names.values()]
            return project.prediction(
                task, image, shown, min_confidence=self._min_confidence, version=references.version
            )
        except (DatasetError, ImageError, PointError, ServerError) as error:
            self._note(f"no prediction for task {task.get('id')}: {error}")
            return empty

    def _clicked(
        self, references: AnnotatedReferences, project: Project, click: Click, image: Image
    ) -> dict[str, Any] | None:
        category = next((label for label, one in project.categories.items() if click.label in one.keypoints), None)
        if category is None or click.region.get("is_positive") is False:
            return None
        point, confidence = references.near(image, project.names[category], click.label, click.location)
        result = [project.answer(click, point, confidence, image)]
        return {"result": result, "score": round(confidence, 4), "model_version": references.version}


def from_file(path: Path, images: Path | None, matcher: Matcher, settings: TransferSettings) -> ReadReferences:
    """References are those of a file of annotations, whatever the project."""

    def read(_project: int, _configuration: str) -> AnnotatedReferences:
        return AnnotatedReferences(matcher, read_annotations(path, images), settings)

    return read


def from_projects(
    server: LabelStudioServer, images: TaskImages, folder: Path, matcher: Matcher, settings: TransferSettings
) -> ReadReferences:
    """References are the annotated tasks of the project itself, as its server exports them.

    Args:
        server: The server.
        images: Finds their images.
        folder: Where what was exported is kept as long as it is used.
        matcher: The method.
        settings: How points are carried over.
    """
    # Regions are in percent, whatever size the browser was shown.
    settings = replace(settings, rescale=True)

    def read(project: int, configuration: str) -> AnnotatedReferences:
        try:
            tasks = requested_tasks({"tasks": json.loads(server.export(project))})
        except ValueError as error:
            raise ServerError(f"Expected the export of project {project}, got something else: {error}.") from error
        annotated = [one for one in tasks if one.get("annotations")]
        if not annotated:
            raise ServerError(f"Project {project} has no annotated task yet: annotate a few, then start the training.")
        path = _written(annotated, configuration, images, Path(mkdtemp(dir=folder)))
        return AnnotatedReferences(matcher, read_annotations(path, path.parent / "images"), settings)

    return read


def _written(tasks: list[dict[str, Any]], configuration: str, images: TaskImages, folder: Path) -> Path:
    """A file of tasks that name links to their images, and its configuration beside it."""
    field = controls_of(configuration).image
    (folder / "images").mkdir()
    named = []
    for task in tasks:
        address = image_address(task, field)
        name = f"{task.get('id')}-{address.rpartition('/')[2][-100:]}"
        with suppress(ImageError):  # whose absence the references say
            (folder / "images" / name).symlink_to(images.path(address).resolve())
        # Not the times of changes and the like, with which the same annotations would be another version.
        kept = [{key: one.get(key) for key in ("result", "was_cancelled")} for one in task["annotations"]]
        named.append({"id": task.get("id"), "data": {field: name}, "annotations": kept})
    path = write_atomically(folder / "tasks.json", json.dumps(named).encode())
    write_atomically(path_beside(path), configuration.encode())
    return path
