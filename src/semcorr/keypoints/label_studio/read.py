"""Reading Label Studio's exports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semcorr.errors import DatasetError
from semcorr.keypoints.base import (
    VISIBLE,
    AnnotatedImage,
    Annotations,
    Category,
    Instance,
    instance_of,
    with_origins,
)
from semcorr.keypoints.file_reader import DataFile, annotation_file
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.label_studio.addresses import image_fields, is_embedded, possible_paths
from semcorr.keypoints.label_studio.config import LabellingConfig, path_beside, read_config
from semcorr.keypoints.label_studio.controls import Controls
from semcorr.keypoints.label_studio.regions import Drawing, DrawnObject, UnknownSizeError, drawing_of
from semcorr.keypoints.label_studio.tasks import TITLE, Notes, Region, Task, tasks_of
from semcorr.keypoints.provenance import MARK, PREDICTED
from semcorr.storage.files import is_file

DEFAULT_CATEGORY = "object"

BESIDE_PREDICTIONS = {"replaces_predictions": False}
"""The mark ``semcorr`` of an annotation beside which predicted objects are left that nobody has decided on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskObject:
    """An object of a task, and whether it is a prediction's."""

    drawn: DrawnObject
    predicted: bool = False
    score: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskObjects:
    """The objects of a task, and the (width, height) that its regions declare."""

    task: Task
    objects: Sequence[TaskObject]
    size: tuple[int, int] | None


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a project's export: JSON, JSON-MIN, a single task, or what a target storage holds.

    Key-points are regions of the type keypointlabels (or keypoint with labels), and their labels are the key-points'
    names. A rectangle is an object's box and its label the category; see
    :func:`semcorr.keypoints.label_studio.regions.drawing_of`. Key-points without any rectangle are one object, of the
    file's only category of rectangles, or else of "object". Of several annotations of a task the last that was not
    cancelled counts. Predictions are read as predicted objects, where no annotation has replaced them; in
    them regions of points that a person set have the field ``semcorr``, "accepted" or "placed".

    Args:
        path: The file. The labelling configuration, if it is beside it (out.config.xml of out.json), says which
            field is the image, and the order of key-points.
        images: Folder of the images; the file's own folder, or images in it, are searched as well.

    Raises:
        DatasetError: It is missing or broken, or a task is ambiguous.
    """
    file = annotation_file(path, TITLE)
    tasks = tasks_of(file)
    config = read_config(file)
    fields = [_field(task, config) for task in tasks]
    located, path_notes = _image_paths(file, tasks, fields, images)
    notes = Notes()
    read_tasks = [read_task(task, image, notes) for task, image in zip(tasks, located, strict=True)]
    read_tasks = _with_categories(read_tasks, config)
    categories = _categories(read_tasks, config)
    _require_keypoints(file, tasks, categories)
    for one in read_tasks:
        for drawn in one.objects:
            bare = not categories[str(drawn.drawn.category)].keypoints
            notes.add("regions of categories without key-points that are ignored", one.task, bare)
            notes.add("predicted objects, from which no points are carried over", one.task, drawn.predicted)
    annotated = [
        AnnotatedImage(
            file=_name(file.folder.root, image, images),
            path=image,
            instances=tuple(_instances(one, categories)),
            id=own if type(own := one.task.source.get("id")) in (int, str) else None,
            size=one.size,
            source=one.task.source,
        )
        for one, image in zip(read_tasks, located, strict=True)
    ]
    return Annotations(
        path=path,
        categories={name: category for name, category in categories.items() if category.keypoints},
        images=annotated,
        notes=(*notes.sentences(), *path_notes),
        format="label-studio",
        source=Controls.of([drawn.drawn for one in read_tasks for drawn in one.objects], fields[0]),
    )


def _require_keypoints(file: DataFile, tasks: Sequence[Task], categories: Mapping[str, Category]) -> None:
    if any(category.keypoints for category in categories.values()):
        return
    results = [task.regions(one) for task in tasks for one in task.submitted()]
    types = sorted({str(region.get("type")) for result in results for region in result})
    raise file.error(
        "key-points (regions of the type keypointlabels)",
        f"{', '.join(types)[:80] or 'none'}: annotate a few tasks, and export again",
    )


def _field(task: Task, config: LabellingConfig) -> str:
    """The field of a task's data that is its image."""
    data = task.data
    fields = list(dict.fromkeys(field for field in config.images.values() if isinstance(data.get(field), str)))
    fields = fields or image_fields(data)
    if len(fields) == 1:
        return fields[0]
    listed = " and ".join(f"{key!r} ({str(data[key])!r:.60})" for key in fields)
    config_name = path_beside(task.file.path).name
    advice = f"Save the project's labelling configuration as {config_name!r} beside the file: it says which."
    raise task.error(
        "one field of 'data' that is the image's address", listed or f"{data!r:.60}", advice=advice if listed else ""
    )


def _image_paths(
    file: DataFile, tasks: Sequence[Task], fields: Sequence[str], images: Path | None
) -> tuple[list[Path], tuple[str, ...]]:
    """The path of each task's image, and notes on them."""
    possible: dict[str, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    for task, field in zip(tasks, fields, strict=True):
        address = task.data[field]
        if is_embedded(address):
            advice = "Save the images as files, and name those."
            raise task.error("the address of an image", "the image itself (base64)", advice=advice)
        if address in seen:
            raise file.error("an image once", f"{address!r:.80} in {seen[address]} and {task.name}")
        seen[address] = task.name
        possible[f"{task.name}: {address}"] = possible_paths(address)
    paths = ImagePaths(file.folder, images)
    located = paths.find_all(possible, possible_paths=possible.__getitem__)
    return list(located.values()), paths.notes


def _name(root: Path, path: Path, images: Path | None) -> str:
    """An image's name: its path below the folder of images."""
    for folder in (images, root / "images", root):
        if folder is not None and path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.as_posix()


def read_task(task: Task, path: Path, notes: Notes) -> TaskObjects:
    """The objects of a task: what people drew, and what is predicted beside it.

    Args:
        task: The task.
        path: Its image, which need not be there if its regions declare a size.
        notes: What is ignored is counted here.

    Raises:
        DatasetError: As :func:`read`.
    """
    submitted, predictions = task.submitted(), task.listed("predictions")
    notes.add("annotations of which a later one of the same task counts", task, max(len(submitted) - 1, 0))
    notes.add("predictions of which a later one of the same task counts", task, max(len(predictions) - 1, 0))
    if not submitted:
        notes.add("drafts that nobody submitted", task, len(task.listed("drafts")))
        notes.add("annotations that were cancelled", task, len(task.listed("annotations")))

    def size_of() -> tuple[int, int] | None:
        try:
            return task.file.folder.image_size(path) if is_file(path) else None
        except DatasetError:
            return None

    try:
        drawings = [
            drawing_of(task, task.regions(entry[-1]) if entry else (), size_of) for entry in (submitted, predictions)
        ]
    except UnknownSizeError:
        notes.add("tasks whose regions say no size ('original_width') and whose image is not there", task)
        return TaskObjects(task=task, objects=(), size=None)
    for drawing in drawings:
        for kind, times in drawing.ignored.items():
            notes.add(f"regions of the type {kind} that are ignored", task, times)
        notes.add("regions without a label", task, drawing.unlabelled)
    drawn, predicted = drawings
    replaced = not submitted or submitted[-1].get(MARK) != BESIDE_PREDICTIONS
    scored = with_scores(predicted, predictions[-1].get("score") if predictions else None)
    return TaskObjects(
        task=task, objects=_merged(drawn, scored, task, notes, replaced=replaced), size=drawn.size or predicted.size
    )


def with_scores(drawing: Drawing, score: object) -> list[TaskObject]:
    """Predicted objects, each with its score: its rectangle's, or an only object's the whole prediction's ``score``."""
    objects = []
    for one in drawing.objects:
        area, regions = _scores(one.area), _scores(one.regions)
        only = _scores([{"score": score}]) if len(drawing.objects) == 1 else []
        own = next(iter([*area, *only]), sum(regions) / len(regions) if regions else None)
        objects.append(TaskObject(drawn=one, predicted=bool(one.points), score=own))
    return objects


def _scores(regions: Sequence[Region]) -> list[float]:
    scores = (region.get("score") for region in regions)
    return [float(score) for score in scores if isinstance(score, int | float) and 0 <= score <= 1]


def _merged(
    drawn: Drawing, predicted: Sequence[TaskObject], task: Task, notes: Notes, *, replaced: bool
) -> list[TaskObject]:
    """What people drew, and what was predicted for objects that have no key-points yet.

    ``replaced``: what people drew is all that there is, if it has any key-points.
    """
    own = {one.id: one for one in drawn.objects if one.id is not None}
    added = {
        key: one for one in predicted if (key := one.drawn.id or "") in own and one.predicted and not own[key].points
    }
    merged = [added.get(one.id or "") or TaskObject(drawn=one) for one in drawn.objects]
    others = [one for one in predicted if one.drawn.id not in own]
    if replaced and any(one.points for one in drawn.objects):
        notes.add("predicted objects that annotations of the same task have replaced", task, len(others))
        return merged
    return [*merged, *others]


def _with_categories(tasks: Sequence[TaskObjects], config: LabellingConfig) -> list[TaskObjects]:
    """Give objects without a rectangle a category: the only one that there is, or that has all their key-points."""
    keypoints: dict[str, set[str]] = {name: set() for name in config.categories}
    for task in tasks:
        for one in task.objects:
            if one.drawn.category is not None:
                keypoints.setdefault(one.drawn.category, set()).update(one.drawn.points)

    def category_of(task: Task, drawn: DrawnObject) -> str:
        if not keypoints:
            return DEFAULT_CATEGORY
        fitting = [name for name, points in keypoints.items() if len(keypoints) == 1 or points >= set(drawn.points)]
        if len(fitting) == 1:
            return fitting[0]
        raise task.error(
            f"a rectangle around {', '.join(map(repr, list(drawn.points)[:4]))}, whose label is the category",
            f"none, and {len(fitting) or 'none'} of the categories {', '.join(keypoints)} with these key-points",
            advice="Draw one in Label Studio.",
        )

    def named(task: Task, one: TaskObject) -> TaskObject:
        if one.drawn.category is not None:
            return one
        return replace(one, drawn=replace(one.drawn, category=category_of(task, one.drawn)))

    return [replace(task, objects=[named(task.task, one) for one in task.objects]) for task in tasks]


def _categories(tasks: Sequence[TaskObjects], config: LabellingConfig) -> dict[str, Category]:
    """Categories by name, key-points in the configuration's order, or in that of the file."""
    names: dict[str, dict[str, None]] = {}
    for task in tasks:
        for one in task.objects:
            names.setdefault(str(one.drawn.category), {}).update(dict.fromkeys(one.drawn.points))
    order = {name: number for number, name in enumerate(config.keypoints)}
    return {
        name: Category(
            id=number, name=name, keypoints=tuple(sorted(points, key=lambda point: order.get(point, len(order))))
        )
        for number, (name, points) in enumerate(names.items(), start=1)
    }


def _instances(task: TaskObjects, categories: Mapping[str, Category]) -> Iterator[Instance]:
    """The objects of categories with key-points."""
    for one in task.objects:
        drawn, category = one.drawn, categories[str(one.drawn.category)]
        if category.keypoints:
            points = {name: (x, y, VISIBLE) for name, (x, y) in drawn.points.items()}
            score = one.score if one.predicted else None
            instance = instance_of(category, points, drawn.box, id=drawn.id, predicted=one.predicted, score=score)
            yield with_origins(instance, category, _origins(drawn)) if one.predicted else instance


def _origins(drawn: DrawnObject) -> dict[str, str]:
    return {name: str(regions[0].get(MARK, PREDICTED)) for name, regions in drawn.point_regions.items()}
