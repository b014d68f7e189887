"""Label Studio's exports as annotations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semcorr.errors import DatasetError
from semcorr.keypoints.base import ADVICE, AnnotatedImage, Annotations, Category, Instance, instance_of
from semcorr.keypoints.file_reader import Folder
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.label_studio.addresses import image_fields, is_embedded, readings
from semcorr.keypoints.label_studio.config import LabellingConfig, path_beside, read_config
from semcorr.keypoints.label_studio.controls import Controls
from semcorr.keypoints.label_studio.regions import Drawing, DrawnObject, UnknownSizeError, drawing_of
from semcorr.keypoints.label_studio.tasks import TITLE, Notes, Region, Task, tasks_of
from semcorr.storage.files import is_file

DEFAULT_CATEGORY = "object"


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """An object of a task, and whether it is a prediction's."""

    drawn: DrawnObject
    predicted: bool = False
    score: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _ReadTask:
    task: Task
    objects: Sequence[Read]
    size: tuple[int, int] | None


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a project's export: JSON, JSON-MIN, a single task, or what a target storage holds.

    Key-points are regions of the type keypointlabels (or keypoint with labels), and their labels are the key-points'
    names. A rectangle is an object's box and its label the category; see
    :func:`semcorr.keypoints.label_studio.regions.drawing_of`. Key-points without any rectangle are one object, of the
    file's only category of rectangles, or else of "object". Of several annotations of a task the last that was not
    cancelled counts. Predictions are read as predicted objects, where no annotation has replaced them.

    Args:
        path: The file. The labelling configuration, if it lies beside it (out.config.xml of out.json), says which
            field is the image, and the order of key-points.
        images: Folder of the images; the file's own, or images in it, are looked in as well.

    Raises:
        DatasetError: It is missing or broken, or a task is ambiguous.
    """
    folder = Folder(root=path.parent, title=TITLE, advice=ADVICE)
    tasks = tasks_of(folder.content(path), path)
    config = read_config(folder, path)
    fields = [_field(task, config) for task in tasks]
    places, remarks = _paths(folder, tasks, fields, images)
    notes = Notes()
    every = [_read_task(task, places[number], notes) for number, task in enumerate(tasks)]
    every = _with_categories(every, config)
    categories = _categories(every, config)
    if not any(category.keypoints for category in categories.values()):
        results = [task.regions(one) for task in tasks for one in task.submitted()]
        kinds = sorted({str(region.get("type")) for result in results for region in result})
        raise folder.wrong(
            f"expected key-points (regions of the type keypointlabels) in {str(path)!r}, got "
            f"{', '.join(kinds)[:80] or 'none'}: annotate a few tasks, and export again."
        )
    for one in every:
        for found in one.objects:
            kind = str(found.drawn.category)
            notes.add(
                "regions of categories without key-points that are ignored", one.task, not categories[kind].keypoints
            )
            notes.add("predicted objects, from which no points are carried over", one.task, found.predicted)
    pictures = [
        AnnotatedImage(
            file=_name(folder, places[number], images),
            path=places[number],
            instances=tuple(_instances(one, categories)),
            id=own if type(own := one.task.source.get("id")) in (int, str) else None,
            size=one.size,
            source=one.task.source,
        )
        for number, one in enumerate(every)
    ]
    return Annotations(
        path=path,
        categories={name: category for name, category in categories.items() if category.keypoints},
        images=pictures,
        notes=(*notes.sentences(), *remarks),
        format="label-studio",
        source=Controls.of([found.drawn for one in every for found in one.objects], fields[0]),
    )


def _field(task: Task, config: LabellingConfig) -> str:
    """The field of a task's data that is its image."""
    data = task.data
    fields = list(dict.fromkeys(field for field in config.images.values() if isinstance(data.get(field), str)))
    fields = fields or image_fields(data)
    if len(fields) == 1:
        return fields[0]
    named = " and ".join(f"{key!r} ({str(data[key])!r:.60})" for key in fields)
    config_name = path_beside(task.path).name
    do = (
        f"Save the project's labelling configuration as {config_name!r} beside the file: it says which."
        if named
        else ""
    )
    raise task.wrong("one field of 'data' that is the image's address", named or f"{data!r:.60}", do=do)


def _paths(
    folder: Folder, tasks: Sequence[Task], fields: Sequence[str], images: Path | None
) -> tuple[list[Path], tuple[str, ...]]:
    """Where each task's image lies, and what is to be known about that."""
    ways: dict[str, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    for task, field in zip(tasks, fields, strict=True):
        address = task.data[field]
        if is_embedded(address):
            raise task.wrong(
                "the address of an image", "the image itself (base64)", do="Save the images as files, and name those."
            )
        if address in seen:
            both = f"{seen[address]} and {task.name}"
            raise folder.wrong(f"expected an image once in {str(task.path)!r}, got {address!r:.80} in {both}.")
        seen[address] = task.name
        ways[f"{task.name}: {address}"] = readings(address)
    paths = ImagePaths(folder, images)
    found = paths.find_all(ways, readings=ways.__getitem__)
    return list(found.values()), paths.notes


def _name(folder: Folder, path: Path, images: Path | None) -> str:
    """An image's name: its path below the folder of images."""
    for root in (images, folder.root / "images", folder.root):
        if root is not None and path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.as_posix()


def _read_task(task: Task, path: Path, notes: Notes) -> _ReadTask:
    submitted, predictions = task.submitted(), task.listed("predictions")
    notes.add("annotations of which a later one of the same task counts", task, max(len(submitted) - 1, 0))
    notes.add("predictions of which a later one of the same task counts", task, max(len(predictions) - 1, 0))
    if not submitted:
        notes.add("drafts that nobody submitted", task, len(task.listed("drafts")))
        notes.add("annotations that were cancelled", task, len(task.listed("annotations")))

    def size_of() -> tuple[int, int] | None:
        try:
            return task.folder.image_size(path) if is_file(path) else None
        except DatasetError:
            return None

    try:
        drawings = [
            drawing_of(task, task.regions(entry[-1]) if entry else (), size_of) for entry in (submitted, predictions)
        ]
    except UnknownSizeError:
        notes.add("tasks whose regions say no size ('original_width') and whose image is not there", task)
        return _ReadTask(task=task, objects=(), size=None)
    for drawing in drawings:
        for kind, times in drawing.ignored.items():
            notes.add(f"regions of the type {kind} that are ignored", task, times)
        notes.add("regions without a label", task, drawing.unlabelled)
    drawn, predicted = drawings
    objects = _merged(drawn, scored(predicted, predictions[-1].get("score") if predictions else None), task, notes)
    return _ReadTask(task=task, objects=objects, size=drawn.size or predicted.size)


def scored(drawing: Drawing, whole: object) -> list[Read]:
    """Predicted objects, each with its score: its rectangle's, or of an only object the prediction's."""
    found = []
    for one in drawing.objects:
        area, parts = _scores(one.area), _scores(one.regions)
        only = _scores([{"score": whole}]) if len(drawing.objects) == 1 else []
        score = next(iter([*area, *only]), sum(parts) / len(parts) if parts else None)
        found.append(Read(drawn=one, predicted=bool(one.points), score=score))
    return found


def _scores(regions: Sequence[Region]) -> list[float]:
    scores = (region.get("score") for region in regions)
    return [float(score) for score in scores if isinstance(score, int | float) and 0 <= score <= 1]


def _merged(drawn: Drawing, predicted: Sequence[Read], task: Task, notes: Notes) -> list[Read]:
    """What people drew, and what was predicted for objects that have no key-points yet."""
    own = {one.id: one for one in drawn.objects if one.id is not None}
    replaced = {
        key: found
        for found in predicted
        if (key := found.drawn.id or "") in own and found.predicted and not own[key].points
    }
    merged = [replaced.get(one.id or "") or Read(drawn=one) for one in drawn.objects]
    others = [found for found in predicted if found.drawn.id not in own]
    if any(one.points for one in drawn.objects):
        notes.add("predicted objects that annotations of the same task have replaced", task, len(others))
        return merged
    return [*merged, *others]


def _with_categories(tasks: Sequence[_ReadTask], config: LabellingConfig) -> list[_ReadTask]:
    """Give objects without a rectangle a category: the only one that there is, or that has all their key-points."""
    kinds: dict[str, set[str]] = {name: set() for name in config.categories}
    for task in tasks:
        for found in task.objects:
            if found.drawn.category is not None:
                kinds.setdefault(found.drawn.category, set()).update(found.drawn.points)

    def of(task: Task, one: DrawnObject) -> str:
        if not kinds:
            return DEFAULT_CATEGORY
        fitting = [name for name, points in kinds.items() if len(kinds) == 1 or points >= set(one.points)]
        if len(fitting) == 1:
            return fitting[0]
        raise task.wrong(
            f"a rectangle around {', '.join(map(repr, list(one.points)[:4]))}, whose label is the category",
            f"none, and {len(fitting) or 'none'} of the categories {', '.join(kinds)} with these key-points",
            do="Draw one in Label Studio.",
        )

    def named(task: Task, found: Read) -> Read:
        if found.drawn.category is not None:
            return found
        return replace(found, drawn=replace(found.drawn, category=of(task, found.drawn)))

    return [replace(one, objects=[named(one.task, found) for found in one.objects]) for one in tasks]


def _categories(tasks: Sequence[_ReadTask], config: LabellingConfig) -> dict[str, Category]:
    """Categories by name, key-points in the configuration's order, or in that of the file."""
    names: dict[str, dict[str, None]] = {}
    for task in tasks:
        for found in task.objects:
            names.setdefault(str(found.drawn.category), {}).update(dict.fromkeys(found.drawn.points))
    order = {name: number for number, name in enumerate(config.keypoints)}
    return {
        name: Category(
            id=number, name=name, keypoints=tuple(sorted(points, key=lambda point: order.get(point, len(order))))
        )
        for number, (name, points) in enumerate(names.items(), start=1)
    }


def _instances(task: _ReadTask, categories: Mapping[str, Category]) -> Iterator[Instance]:
    """The objects of categories with key-points."""
    for found in task.objects:
        drawn, category = found.drawn, categories[str(found.drawn.category)]
        if category.keypoints:
            yield instance_of(
                category,
                drawn.points,
                drawn.box,
                id=drawn.id,
                predicted=found.predicted,
                score=found.score if found.predicted else None,
            )
