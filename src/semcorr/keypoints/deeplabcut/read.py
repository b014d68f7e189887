"""Reading the labels of a DeepLabCut project."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from semcorr.imaging.geometry import from_pixel_indices
from semcorr.keypoints.base import (
    VISIBLE,
    AnnotatedImage,
    Annotations,
    Category,
    Instance,
    instance_of,
    with_origins,
)
from semcorr.keypoints.deeplabcut.project import Project, find_project, frames
from semcorr.keypoints.deeplabcut.table import FOLDER, SINGLE, Cell, Key, Row, Table, predictions_beside, read_table
from semcorr.keypoints.file_reader import DataFile
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.provenance import PLACED, PREDICTED
from semcorr.storage.files import is_file

ANIMAL = "animal"
"""The category of all individuals but :data:`SINGLE`."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the tables are laid out, for the writer: the first one's scorer and columns for images, and all points."""

    scorer: str
    individuals: bool
    width: int
    columns: tuple[Key, ...]


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a project's labels: its folder, its config.yaml, or one CollectedData_*.csv with the frames of its video.

    An empty cell is a point that is not annotated. Body parts are the key-points, in the order of config.yaml where
    there is one. The individuals of a project with several animals are objects of one category; body parts of which
    there is but one ("single") are another. Frames in the folder of a video that its table does not name are images
    without points; those of folders with labels drawn into them (…_labeled) are left out.

    A table with a likelihood holds predictions, which are not annotations. Points that a table has in common with the
    table of predictions that this package wrote beside it are predicted, until one of the individual's is moved; those
    of them without a likelihood a person has set in an individual that is not accepted yet.

    Raises:
        DatasetError: It is missing, broken, or labels as pandas keeps them (.h5).
    """
    project = find_project(path)
    tables = [_with_predictions(read_table(DataFile(folder=project.folder, path=table))) for table in project.tables]
    rows: dict[str, Row] = {}
    for table in tables:
        again = next((name for name in table.rows if name in rows), None)
        if again is not None:
            raise table.file.error("every image in one table", f"{again!r}, which another one names as well")
        rows |= table.rows
    columns = tuple(dict.fromkeys(key for table in tables for key in table.columns))
    layout = Layout(
        scorer=tables[0].scorer,
        individuals=any(table.individuals for table in tables),
        width=tables[0].width,
        columns=columns,
    )
    if layout.individuals and not all(individual for individual, _ in columns):
        raise project.folder.error("expected all tables with a row of individuals, or none: got both.")
    categories = _categories(columns, project)
    located, notes = _located(project, tables, images)
    annotated = [
        AnnotatedImage(file=name, path=located[name], instances=tuple(_instances(row, categories)), source=row)
        for name, row in rows.items()
    ]
    known = {image.path.resolve() for image in annotated}
    annotated += [
        AnnotatedImage(file=f"{FOLDER}/{video.name}/{frame.name}", path=frame, instances=())
        for video in project.videos
        for frame in frames(video)
        if frame.resolve() not in known
    ]
    return Annotations(
        path=path,
        categories=categories,
        images=annotated,
        notes=(*project.notes, *notes, *_predicted_notes(annotated)),
        format="deeplabcut",
        source=layout,
        files=(*project.files, *filter(is_file, map(predictions_beside, project.tables))),
    )


def _with_predictions(table: Table) -> Table:
    """The table with the predictions that this package wrote beside it; those of a table of predictions are its own."""
    if table.likelihood:
        return replace(table, rows={name: replace(row, predicted=row.cells) for name, row in table.rows.items()})
    beside = predictions_beside(table.file.path)
    if not is_file(beside):
        return table
    predicted = read_table(replace(table.file, path=beside)).rows
    rows = {
        name: replace(row, predicted=predicted[name].cells) if name in predicted else row
        for name, row in table.rows.items()
    }
    return replace(table, rows=rows)


def _categories(columns: Sequence[Key], project: Project) -> dict[str, Category]:
    """The categories by name, with the order and the skeleton of the project's configuration."""
    parts: dict[str, dict[str, None]] = {}
    for individual, part in columns:
        parts.setdefault(category_of(individual), {})[part] = None
    order = {part: number for number, part in enumerate(project.config.parts)}
    categories: dict[str, Category] = {}
    for number, (name, own) in enumerate(parts.items(), start=1):
        names = sorted(own, key=lambda part: order.get(part, len(order)))
        numbers = {part: at for at, part in enumerate(names, start=1)}
        skeleton = tuple(
            (numbers[one], numbers[other]) for one, other in project.config.skeleton if {one, other} <= set(numbers)
        )
        categories[name] = Category(id=number, name=name, keypoints=tuple(names), skeleton=skeleton)
    return categories


def category_of(individual: str) -> str:
    """The category of an individual."""
    return SINGLE if individual == SINGLE else ANIMAL


def _instances(row: Row, categories: Mapping[str, Category]) -> Iterator[Instance]:
    """The individuals that have a point."""
    individuals: dict[str, dict[str, Cell]] = {}
    for (individual, part), cell in row.cells.items():
        individuals.setdefault(individual, {})[part] = cell
    for individual, cells in individuals.items():
        made = {part: cell for (other, part), cell in row.predicted.items() if other == individual}
        predicted = all(part in made and made[part].xy == cell.xy for part, cell in cells.items())
        points = from_pixel_indices(np.array([cell.xy for cell in cells.values()]))
        category = categories[category_of(individual)]
        one = instance_of(
            category,
            {part: (x, y, VISIBLE) for part, (x, y) in zip(cells, points.tolist(), strict=True)},
            id=individual or ANIMAL,
            predicted=predicted,
            score=_score(made.values()) if predicted else None,
        )
        yield with_origins(one, category, _origins(made)) if predicted else one


def _origins(made: Mapping[str, Cell]) -> dict[str, str]:
    """Who set each point of a table of predictions: those without a likelihood a person, if others have one."""
    origins = {part: PREDICTED if cell.likelihood else PLACED for part, cell in made.items()}
    return origins if PREDICTED in origins.values() else {}


def _score(cells: Iterable[Cell]) -> float | None:
    """The mean likelihood; None if it is not from 0 to 1."""
    listed = [float(cell.likelihood) for cell in cells if cell.likelihood]
    score = sum(listed) / len(listed) if listed else -1.0
    return score if 0 <= score <= 1 else None


def _located(project: Project, tables: Sequence[Table], images: Path | None) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The file of every image, and notes.

    Frames of several videos have the same names: their folder then has to agree with the table's. A table of one video
    is first taken to name the frames that it lies beside.
    """
    names = [name for table in tables for name in table.rows]
    beside: dict[str, str] = {}
    notes: list[str] = []
    for table in tables:
        video, own = table.file.path.parent, {_video(name) for name in table.rows}
        if video in project.videos and len(own) == 1 and own != {video.name}:
            moved = {name: f"{FOLDER}/{video.name}/{name.rpartition('/')[2]}" for name in table.rows}
            beside |= moved
            if any(is_file(project.folder.root / path) for path in moved.values()):
                notes.append(
                    f"{table.file.path.name!r} names the video {own.pop()!r}, and its frames are taken from "
                    f"{video.name!r}, the folder that it is in"
                )
    paths = ImagePaths(project.folder, images, agreeing=1 if len({_video(name) for name in names}) == 1 else 2)
    located = paths.find_all(names, possible_paths=lambda name: [*([beside[name]] if name in beside else []), name])
    return located, (*notes, *paths.notes)


def _video(name: str) -> str:
    """The folder of an image's name."""
    return "/".join(name.split("/")[-2:-1])


def _predicted_notes(images: Sequence[AnnotatedImage]) -> Iterator[str]:
    count = sum(one.predicted for image in images for one in image.instances)
    if count:
        yield (
            f"objects that are predicted and not annotated (by their likelihood): {count}; no points are carried over "
            "from them"
        )
