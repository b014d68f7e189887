"""Corrected individuals in DeepLabCut's tables: what is not in the table of predictions is a person's."""

from dataclasses import replace

import numpy as np

from semcorr.errors import DatasetError
from semcorr.imaging.geometry import to_pixel_indices
from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Instance
from semcorr.keypoints.corrections import Changed, Corrections, points_of, with_sources
from semcorr.keypoints.deeplabcut.read import ANIMAL, Layout, category_of
from semcorr.keypoints.deeplabcut.table import Cell, Key, Row
from semcorr.keypoints.deeplabcut.write import cell_text
from semcorr.keypoints.provenance import PREDICTED


def correct(annotations: Annotations, corrections: Corrections) -> Annotations:
    """A project's rows with other individuals in place of some of its own; all other cells keep their texts.

    An accepted individual is not in the table of predictions. One that is not accepted yet is there with all its
    points; those that a person set have no likelihood.

    Raises:
        DatasetError: An individual of another category is asked for, and the image shows all of them.
    """
    layout: Layout = annotations.source
    columns = dict.fromkeys(layout.columns)

    def corrected(image: AnnotatedImage, changed: Changed) -> Row:
        row: Row = image.source
        for number, one in changed.items():
            before = image.instances[number]
            individual = next(own for own, _ in row.cells if (own or ANIMAL) == before.id)
            old = _part(row, individual)
            row = _without(row, individual)
            if one is not None and (one.predicted or (one.visibility > MISSING).any()):
                if one.category != before.category:
                    individual = _free(annotations, image, row, one.category)
                new = _corrected(old, individual, before, one, annotations)
                row = replace(row, cells={**row.cells, **new.cells}, predicted={**row.predicted, **new.predicted})
                columns.update(dict.fromkeys([*new.cells, *new.predicted]))
        return row

    corrected_ones = with_sources(annotations, corrections, corrected)
    return replace(corrected_ones, source=replace(layout, columns=tuple(columns)))


def _part(row: Row, individual: str) -> Row:
    """The cells of an individual."""
    return Row(
        cells={key: cell for key, cell in row.cells.items() if key[0] == individual},
        predicted={key: cell for key, cell in row.predicted.items() if key[0] == individual},
    )


def _without(row: Row, individual: str) -> Row:
    """The row without the cells of an individual."""
    return replace(
        row,
        cells={key: cell for key, cell in row.cells.items() if key[0] != individual},
        predicted={key: cell for key, cell in row.predicted.items() if key[0] != individual},
    )


def _free(annotations: Annotations, image: AnnotatedImage, row: Row, category: str) -> str:
    """The first individual of a category that has no points in a row."""
    layout: Layout = annotations.source
    used = {individual for individual, _ in (*row.cells, *row.predicted)}
    for individual in dict.fromkeys(individual for individual, _ in layout.columns):
        if category_of(individual) == category and individual not in used:
            return individual
    raise DatasetError(
        f"{image.file!r} shows all individuals of {category!r} that the project has: give one another category."
    )


def _corrected(old: Row, individual: str, before: Instance, one: Instance, annotations: Annotations) -> Row:
    cells: dict[Key, Cell] = {}
    predicted: dict[Key, Cell] = {}
    keypoints = annotations.categories[before.category].keypoints
    locations = dict(zip(keypoints, map(tuple, before.points.tolist()), strict=True))
    known = {part: cell for (_, part), cell in old.cells.items()}
    if one.predicted and one.predicted_points is None:
        # Predicted points of little confidence, which are not in the table of labels and so are not reviewed.
        unseen = {part: cell for (_, part), cell in old.predicted.items() if part not in known}
        predicted |= {(individual, part): cell for part, cell in unseen.items()}
    likelihoods = {part: cell.likelihood for (_, part), cell in old.predicted.items()}
    for point in points_of(one, annotations.categories[one.category].keypoints):
        if point.xy is None:
            continue
        (x, y) = to_pixel_indices(np.array([point.xy]))[0].tolist()
        same = point.xy == locations.get(point.name)
        cell = known[point.name] if same else Cell(x=cell_text(x), y=cell_text(y))
        sure = likelihoods.get(point.name, "") if point.confidence is None else f"{point.confidence:.4f}"
        if point.mark > MISSING:
            cells[individual, point.name] = cell
        if one.predicted:
            predicted[individual, point.name] = replace(cell, likelihood=sure if point.origin == PREDICTED else "")
    return Row(cells=cells, predicted=predicted)
