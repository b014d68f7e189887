"""DeepLabCut's tables: three or four rows of headings, then a row for each image."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from semcorr.keypoints.file_reader import DataFile

FOLDER = "labeled-data"
"""The folder of a project that holds a folder of frames and labels for each video."""

SINGLE = "single"
"""What DeepLabCut calls the individual that has the body parts of which there is but one."""

Key = tuple[str, str]
"""An individual and a body part of it; the individual is "" in the tables of projects with one animal."""

_HEADINGS = (("scorer", "bodyparts", "coords"), ("scorer", "individuals", "bodyparts", "coords"))
_COORDS = ("x", "y", "likelihood")
_EMPTY = frozenset({"", "nan", "na", "n/a", "null", "none"})
"""What pandas takes for an empty cell."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of a row, as the texts of the table: nothing is rounded when it is written again.

    Attributes:
        x: In pixels, whose centres are whole numbers.
        y: Likewise.
        likelihood: Of a point that a program predicted; "" if a person marked it.
    """

    x: str
    y: str
    likelihood: str = ""

    @property
    def xy(self) -> tuple[float, float]:
        """The same as numbers."""
        return float(self.x), float(self.y)


@dataclass(frozen=True, kw_only=True)
class Row:
    """An image's row.

    Attributes:
        index: The cells that name the image, as the table has them.
        cells: The points that the row has.
        predicted: The points of the table of predictions beside it.
    """

    index: tuple[str, ...] = ()
    cells: Mapping[Key, Cell] = field(default_factory=dict)
    predicted: Mapping[Key, Cell] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        file: The file.
        scorer: Who made the labels, or the network that did.
        individuals: Whether there is a row of individuals: a project with several animals.
        width: How many columns name the image: one with its path, or three with the path's parts.
        columns: The points that the table has columns for, in order.
        likelihood: Whether points have a likelihood: then a program predicted them.
        rows: By the image's name, which is the path from the project's folder with slashes.
    """

    file: DataFile
    scorer: str
    individuals: bool
    width: int
    columns: tuple[Key, ...]
    likelihood: bool
    rows: Mapping[str, Row]


def is_table(text: str) -> bool:
    """Whether a text is a table of DeepLabCut, by its first word."""
    return text[:80].lstrip('"\ufeff').lower().startswith("scorer")


def predictions_beside(path: Path) -> Path:
    """The table of predictions that belongs to a table that this package writes: points.machinelabels.csv."""
    return path.with_suffix(".machinelabels.csv")


def read_table(file: DataFile) -> Table:
    """Read a table.

    Raises:
        DatasetError: It is missing, broken, or holds no images but frames of a video by their numbers.
    """
    lines = list(_lines(file))
    headings = _headings(file, lines)
    names, body = [row for _, row in lines[: len(headings)]], lines[len(headings) :]
    width = _width(file, names[-1])
    columns = _columns(file, names, width)
    scorers = sorted({cell for cell in names[0][width:] if cell})
    if len(scorers) > 1:
        raise file.error("the labels of one scorer", f"those of {', '.join(scorers):.60}")
    rows: dict[str, Row] = {}
    for number, cells in body:
        name = image_name(cells[:width])
        if not name and not any(cells):
            continue
        _check_name(file, number, name, width)
        if name in rows:
            raise file.error("every image once", f"{name!r} again", at=f"line {number}")
        if any(cell for column, cell in enumerate(cells) if column >= width and column not in columns):
            raise file.error("as many cells as headings", "more", at=f"line {number}")
        rows[name] = Row(index=tuple(cells[:width]), cells=_cells(file, number, cells, columns))
    return Table(
        file=file,
        scorer=scorers[0] if scorers else "",
        individuals=len(headings) == len(_HEADINGS[1]),
        width=width,
        columns=tuple(dict.fromkeys((individual, part) for individual, part, _ in columns.values())),
        likelihood=any(coord == _COORDS[2] for *_, coord in columns.values()),
        rows=rows,
    )


def image_name(index: Sequence[str]) -> str:
    """An image's name from the cells that name it: its path from labeled-data on, or as it is without such a folder.

    So paths of other machines and of Windows name the same image as the project's own.
    """
    parts = [part for cell in index for part in cell.replace("\\", "/").split("/") if part not in ("", ".")]
    if FOLDER in parts:
        parts = parts[len(parts) - 1 - parts[::-1].index(FOLDER) :]
        return "/".join(parts)
    whole = index[0].replace("\\", "/").startswith("/") if len(index) == 1 else False
    return ("/" if whole else "") + "/".join(parts)


def _lines(file: DataFile) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of every line that is not blank, without spaces around them."""
    reader = csv.reader(file.text().splitlines(), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise file.error("a table", f"something else: {error}") from error


def _headings(file: DataFile, lines: Sequence[tuple[int, list[str]]]) -> tuple[str, ...]:
    first = [row[0].lower() for _, row in lines[:4]]
    for headings in _HEADINGS:
        if tuple(first[: len(headings)]) == headings:
            return headings
    advice = "Separate the columns by commas." if first and set(first[0]) & set(";\t") else ""
    raise file.error(
        "rows of headings that begin with scorer, (individuals,) bodyparts and coords",
        f"{', '.join(first)!r:.60}",
        advice=advice,
    )


def _width(file: DataFile, coords: Sequence[str]) -> int:
    """How many columns name the image."""
    width = next((number for number, cell in enumerate(coords) if cell.lower() in _COORDS), len(coords))
    if width not in (1, 3) or any(coords[1:width]):
        raise file.error("one or three columns for the image and then x and y", f"{', '.join(coords)!r:.60}")
    return width


def _columns(file: DataFile, names: Sequence[Sequence[str]], width: int) -> dict[int, tuple[str, str, str]]:
    """The individual, the body part and the coordinate of every column after those that name the image."""
    columns: dict[int, tuple[str, str, str]] = {}
    for number in range(width, max(map(len, names))):
        own = [row[number] if number < len(row) else "" for row in names[1:]]
        individual, part, coord = ("", *own) if len(own) == 2 else own
        if not any(own):
            continue  # spreadsheets write commas up to the longest row
        if not part or coord.lower() not in _COORDS or (len(own) == 3 and not individual):
            raise file.error(
                "an individual (of several animals), a body part, and x, y or likelihood above every column",
                f"{', '.join(own)!r:.60} above column {number + 1}",
            )
        columns[number] = (individual, part, coord.lower())
    _check_columns(file, list(columns.values()))
    return columns


def _check_columns(file: DataFile, columns: Sequence[tuple[str, str, str]]) -> None:
    if len(set(columns)) < len(columns):
        twice = next(one for number, one in enumerate(columns) if one in columns[:number])
        raise file.error("every column once", f"{' '.join(twice).strip()!r} again")
    for individual, part, _ in columns:
        if not {(individual, part, "x"), (individual, part, "y")} <= set(columns):
            raise file.error("x and y of every body part", f"one of them for {f'{individual} {part}'.strip()!r}")


def _check_name(file: DataFile, number: int, name: str, width: int) -> None:
    if width == 1 and name.isdecimal():
        raise file.error(
            "the names of images",
            f"the number {name:.20}: a row for each frame of a video, as its analysis writes them",
            at=f"line {number}",
            advice="Name the project's folder, or labeled-data/…/CollectedData_….csv.",
        )
    if not name:
        raise file.error("the name of an image", "none", at=f"line {number}")


def _cells(
    file: DataFile, number: int, cells: Sequence[str], columns: Mapping[int, tuple[str, str, str]]
) -> dict[Key, Cell]:
    """The points of a row: those that have both coordinates."""
    texts: dict[Key, dict[str, str]] = {}
    for column, (individual, part, coord) in columns.items():
        cell = cells[column] if column < len(cells) else ""
        if cell.lower() not in _EMPTY:
            texts.setdefault((individual, part), {})[coord] = cell
    points: dict[Key, Cell] = {}
    for key, one in texts.items():
        what = f"x and y of {' '.join(key).strip()!r} in line {number}"
        if "x" not in one and "y" not in one:
            continue  # a likelihood alone
        file.numbers([one.get("x"), one.get("y")], 2, what)
        if "likelihood" in one:
            file.numbers([one["likelihood"]], 1, f"the likelihood of {' '.join(key).strip()!r} in line {number}")
        points[key] = Cell(x=one["x"], y=one["y"], likelihood=one.get("likelihood", ""))
    return points
