"""The mouse's DeepLabCut project with some of its frames, of which a few are labelled; and where its points are."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SESSION = Path("labeled-data", "m4s1")
TABLE = SESSION / "CollectedData_Pranav.csv"


def frame(number: int) -> str:
    """The file of a frame, as the project's table names it."""
    return f"{SESSION.as_posix()}/img{number:04}.png"


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def points_of(rows: list[list[str]]) -> dict[str, np.ndarray]:
    """The points of each image, by the cells alone."""
    return {row[0]: np.array([float(cell or "nan") for cell in row[1:]]).reshape(-1, 2) for row in rows[3:]}


def true_points(photographs: Path) -> dict[str, np.ndarray]:
    """The points that the project's owner clicked."""
    return points_of(rows_of(photographs / "mouse-open-field" / TABLE))


def extent(true: np.ndarray) -> float:
    """The largest distance between a frame's points."""
    return float(np.linalg.norm(true[:, None] - true[None], axis=-1).max())


def errors(points: np.ndarray, true: np.ndarray) -> np.ndarray:
    """How far points of a frame are off, as part of the largest distance between its true ones."""
    return np.linalg.norm(points - true, axis=1) / extent(true)


def copy_project(
    photographs: Path, project: Path, annotated: Sequence[int], hidden: Sequence[int], empty: Sequence[int] = ()
) -> Path:
    """Copy frames of the project, of which the annotated ones are labelled, and return its folder.

    Args:
        photographs: The folder that holds the project.
        project: The folder to make.
        annotated: Numbers of the labelled frames.
        hidden: Numbers of the others.
        empty: Those of them that have a row without points.
    """
    given = photographs / "mouse-open-field"
    (project / SESSION).mkdir(parents=True)
    (project / "config.yaml").write_bytes((given / "config.yaml").read_bytes())
    for number in (*annotated, *hidden):
        (project / frame(number)).write_bytes((given / frame(number)).read_bytes())
    rows = rows_of(given / TABLE)
    labelled = [rows[3 + number] for number in annotated]
    without = [[rows[3 + number][0], *[""] * 8] for number in empty]
    _write(project, [*rows[:3], *labelled, *without])
    return project


def annotate(photographs: Path, project: Path, files: Sequence[str]) -> None:
    """Label further frames of a copied project, as its owner did."""
    own = {row[0]: row for row in rows_of(photographs / "mouse-open-field" / TABLE)}
    _write(project, [*rows_of(project / TABLE), *(own[file] for file in files)])


def _write(project: Path, rows: Sequence[Sequence[str]]) -> None:
    with (project / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
