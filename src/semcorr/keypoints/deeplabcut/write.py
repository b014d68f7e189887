"""Writing predictions as DeepLabCut's tables, beside what a person annotated.

DeepLabCut's tables of labels do not say who made a point or how likely it is. Its own predictions are tables
with a likelihood (machinelabels); so every prediction is written into such a table as well, and by it the reader of
this package tells predictions and annotations apart.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from semcorr.imaging.geometry import to_pixel_indices
from semcorr.keypoints.annotation_format import ExportOptions, Records
from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.deeplabcut.read import ANIMAL, Layout
from semcorr.keypoints.deeplabcut.table import FOLDER, SINGLE, Cell, Key, Row, image_name, predictions_beside
from semcorr.keypoints.predictions import PredictedObject, TransferRecord
from semcorr.storage.files import atomic_file

SCORER = "semcorr"
_UNSAFE = re.compile(r'[\\/:*?"<>|\0]')
"""What no part of a file's name may be, on some system."""

_DIGITS = 2
"""Decimals of what is predicted."""


@dataclass(kw_only=True)
class _Entry:
    """An image of the output.

    Attributes:
        file: Its name.
        index: The cells that named it in the input; () for a new row.
        cells: Its points.
        predicted: Its predicted points, those of low confidence too.
    """

    file: str
    index: tuple[str, ...] = ()
    cells: dict[Key, Cell] = field(default_factory=dict)
    predicted: dict[Key, Cell] = field(default_factory=dict)

    def add(self, individual: str, one: PredictedObject, min_confidence: float) -> None:
        """Replace what was predicted for an individual before by a prediction."""
        for cells in (self.cells, self.predicted):
            for key in [key for key in cells if key[0] == individual]:
                del cells[key]
        indices = to_pixel_indices(one.points)
        for name, (x, y), confidence in zip(one.names, indices.tolist(), one.confidence.tolist(), strict=True):
            if not np.isfinite([x, y]).all():
                continue
            cell = Cell(x=f"{x:.{_DIGITS}f}", y=f"{y:.{_DIGITS}f}", likelihood=f"{confidence:.4f}")
            self.predicted[individual, name] = cell
            if confidence >= min_confidence:
                self.cells[individual, name] = cell


def write(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write a table with what was annotated and what was predicted, and one with the predictions alone.

    Of a DeepLabCut project every point that a person annotated stays as its text is, and a prediction takes an
    individual that has no point in its image; of several such ones, the first. Points of less than
    ``options.min_confidence`` are in the table of predictions (points.machinelabels.csv) alone, which has all of them
    with their likelihood. Of a project with several videos, points.labeled-data holds a table for each video as well,
    as DeepLabCut keeps them.

    Of other formats, boxes and marks of covered points are lost. Several categories, or several objects of one, become
    individuals.
    """
    predicted = {record.file: record for record in records() if record.error is None}
    if annotations.format == "deeplabcut":
        layout: Layout = annotations.source
        entries = list(_project_entries(annotations, predicted, layout, options.min_confidence))
    else:
        layout, entries = entries_of_others(annotations, predicted, options.min_confidence)
    beside = predictions_beside(path)
    # The predictions first: without them the other table's would look like annotations.
    write_table(beside, layout, entries, likelihood=True)
    write_table(path, layout, entries)
    videos = _video_files(path, annotations)
    for video, file in videos.items():
        write_table(file, layout, [one for one in entries if _video(one.file) == video])
    return [path, beside, *videos.values()]


def further_files(path: Path, annotations: Annotations) -> list[Path]:
    """The files that are written beside a table."""
    return [predictions_beside(path), *_video_files(path, annotations).values()]


def _video_files(path: Path, annotations: Annotations) -> dict[str, Path]:
    """A table for each video of a project that has several."""
    videos = sorted({video for image in annotations.images if (video := _video(image.file))})
    if annotations.format != "deeplabcut" or len(videos) < 2:
        return {}
    scorer = annotations.source.scorer
    name = f"CollectedData_{SCORER if _UNSAFE.search(scorer) or not scorer else scorer}.csv"
    return {video: path.with_suffix(f".{FOLDER}") / video / name for video in videos}


def _video(file: str) -> str:
    """The video of an image of a project; "" if its name does not say."""
    folder, _, rest = file.partition("/")
    video, slash, name = rest.partition("/")
    return video if folder == FOLDER and slash and "/" not in name and video not in ("", ".", "..") else ""


def _project_entries(
    annotations: Annotations, predicted: dict[str, TransferRecord], layout: Layout, min_confidence: float
) -> Iterator[_Entry]:
    """The rows of a project, with predictions, and new rows for images that had none."""
    for image in annotations.images:
        record = predicted.pop(image.file, None)
        if image.source is None and record is None:
            continue  # a frame that nobody has annotated
        row = image.source or Row()
        entry = _Entry(file=image.file, index=row.index, cells=dict(row.cells), predicted=dict(row.predicted))
        yield entry if record is None else _completed(entry, image, record, layout, min_confidence)
    for record in predicted.values():
        yield _completed(_Entry(file=record.file), None, record, layout, min_confidence)


def _completed(
    entry: _Entry, image: AnnotatedImage | None, record: TransferRecord, layout: Layout, min_confidence: float
) -> _Entry:
    """An entry with the objects of a record; those for which no individual is left are left out."""
    instances = image.instances if image is not None else ()
    taken = {str(one.id) for one in instances if not one.predicted}
    named = {str(one.id) for one in record.objects if one.id is not None}
    kept = {str(one.id) for one in instances if one.predicted} - named
    individuals = list(dict.fromkeys(individual for individual, _ in layout.columns))
    for one in record.objects:
        for individual in individuals:
            name = individual or ANIMAL
            fits = (individual == SINGLE) == (one.category == SINGLE) and name not in taken | kept
            if fits and name == (name if one.id is None else str(one.id)):
                taken.add(name)
                entry.add(individual, one, min_confidence)
                break
    return entry


def entries_of_others(
    annotations: Annotations, predicted: Mapping[str, TransferRecord], min_confidence: float
) -> tuple[Layout, list[_Entry]]:
    """All images of another format with points, and a layout for them."""
    known = {image.file: image for image in annotations.images}
    objects: dict[str, list[Instance | PredictedObject]] = {}
    for file in dict.fromkeys([*known, *predicted]):
        new = predicted[file].objects if file in predicted else ()
        replaced = {one.id for one in new if one.id is not None}
        kept = known[file].instances if file in known else ()
        marked = [one for one in kept if (one.visibility > MISSING).any() and (one.annotated or one.id not in replaced)]
        if marked or new:
            objects[file] = [*marked, *new]
    names = _individuals(objects.values(), annotations.categories)
    entries: list[_Entry] = []
    for file, own in objects.items():
        path = known[file].path if file in known else predicted[file].path
        entry = _Entry(file=image_name([path.as_posix()]) if FOLDER in path.parts else file)
        left = {category: iter(listed) for category, listed in names.items()}
        for one in own:
            individual = next(left[one.category])
            if isinstance(one, PredictedObject):
                entry.add(individual, one, min_confidence)
            else:
                _add_known(entry, individual, one, annotations.categories[one.category])
        entries.append(entry)
    columns = [
        (individual, part)
        for category, listed in names.items()
        for individual in listed
        for part in annotations.categories[category].keypoints
    ]
    several = any(individual for individual, _ in columns)
    return Layout(scorer=SCORER, individuals=several, width=3, columns=tuple(columns)), entries


def _individuals(
    images: Iterable[Sequence[Instance | PredictedObject]], categories: Mapping[str, Category]
) -> dict[str, list[str]]:
    """The individuals of each category that has objects: as many as an image shows at most."""
    most: Counter[str] = Counter()
    for objects in images:
        most |= Counter(one.category for one in objects)
    if len(most) == 1 and most.total() == 1:
        return {category: [""] for category in most}
    several = {name: count for name in categories if (count := most[name])}
    stem = {name: name if len(several) > 1 else "individual" for name in several}
    return {
        name: [stem[name] if count == 1 else f"{stem[name]}{number + 1}" for number in range(count)]
        for name, count in several.items()
    }


def _add_known(entry: _Entry, individual: str, one: Instance, category: Category) -> None:
    """Add what another format's file has: predicted points to both tables."""
    likelihood = f"{one.score or 0.0:.4f}" if one.predicted else ""
    indices = to_pixel_indices(one.points).tolist()
    for name, (x, y), mark in zip(category.keypoints, indices, one.visibility.tolist(), strict=True):
        if mark > MISSING:
            cell = Cell(x=cell_text(x), y=cell_text(y), likelihood=likelihood)
            entry.cells[individual, name] = cell
            if one.predicted:
                entry.predicted[individual, name] = cell


def cell_text(value: float) -> str:
    """A coordinate as the table has it."""
    return f"{value:.6f}".rstrip("0").removesuffix(".")


def write_table(path: Path, layout: Layout, entries: Iterable[_Entry], *, likelihood: bool = False) -> None:
    """Write the table of labels, or that of predictions with their likelihood."""
    coords = ("x", "y", "likelihood") if likelihood else ("x", "y")
    scorer = SCORER if likelihood else layout.scorer or SCORER
    columns = [(*key, coord) for key in layout.columns for coord in coords]
    headings = [("scorer", [scorer] * len(columns))]
    if layout.individuals:
        headings.append(("individuals", [individual for individual, *_ in columns]))
    headings += [("bodyparts", [part for _, part, _ in columns]), ("coords", [coord for *_, coord in columns])]
    with atomic_file(path) as stream:
        for name, cells in headings:
            stream.write(_line([name, *[""] * (layout.width - 1), *cells]))
        for entry in entries:
            points = entry.predicted if likelihood else entry.cells
            if likelihood and not points:
                continue
            cells = [getattr(points[key], coord) if key in points else "" for key in layout.columns for coord in coords]
            stream.write(_line([*_index(entry, layout.width), *cells]))


def _index(entry: _Entry, width: int) -> Sequence[str]:
    """The cells that name an image: those of the input, or its name, or the name's folders, folder and file."""
    if len(entry.index) == width:
        return entry.index
    if width == 1:
        return [entry.file]
    *folders, name = entry.file.split("/")
    return ["/".join(folders[:-1]), "".join(folders[-1:]), name]


def _line(cells: Sequence[str]) -> bytes:
    """A line of a table; names that are not valid text get replacement characters."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode(errors="replace")
