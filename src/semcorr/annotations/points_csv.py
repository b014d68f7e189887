"""Key-points as a table: one line a point."""

import csv
from pathlib import Path

from semcorr.annotations.base import ADVICE, AnnotatedPicture, Annotations, Category, instance_of
from semcorr.datasets.files import Folder
from semcorr.datasets.image_paths import ImagePaths

_NEEDED = ("image", "name", "x", "y")
_DEFAULT_CATEGORY = "object"
TITLE = "Table of points"


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a .csv file with a line of headings: image, name, x, y and, if there is more than one, category.

    ``x`` and ``y`` are in pixels from the picture's top-left corner, as ``-p`` has them. Every picture shows one thing
    of a category. A category's key-points are all names that it has anywhere, in order of appearance.

    Raises:
        DatasetError: it is missing or broken.
    """
    folder = Folder(root=path.parent, title=TITLE, advice=ADVICE)
    rows = _rows(folder, path)
    names: dict[str, dict[str, None]] = {}
    things: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
    for number, row in rows:
        category = row.get("category") or _DEFAULT_CATEGORY
        names.setdefault(category, {})[row["name"]] = None
        points = things.setdefault(row["image"], {}).setdefault(category, {})
        if row["name"] in points:
            raise folder.wrong(
                f"expected every point of {row['image']!r} once in {str(path)!r}, got {row['name']!r} again in line "
                f"{number}."
            )
        x, y = folder.numbers([row["x"], row["y"]], 2, f"x and y in line {number}", path)
        points[row["name"]] = (x, y)
    categories = {
        name: Category(id=number, name=name, keypoints=tuple(found))
        for number, (name, found) in enumerate(names.items(), start=1)
    }
    paths = ImagePaths(folder, images)
    place = paths.find_all(things)
    return Annotations(
        path=path,
        categories=categories,
        pictures=[
            AnnotatedPicture(
                file=file,
                path=place[file],
                instances=tuple(instance_of(categories[category], points) for category, points in found.items()),
            )
            for file, found in things.items()
        ],
        notes=paths.notes,
    )


def _rows(folder: Folder, path: Path) -> list[tuple[int, dict[str, str]]]:
    lines = folder.text(path).splitlines()
    try:
        reader = csv.DictReader(lines, strict=True)
        headings = [(heading or "").strip().lower() for heading in reader.fieldnames or ()]
        missing = [name for name in _NEEDED if name not in headings]
        if missing:
            raise folder.wrong(
                f"expected a first line with the headings {', '.join(_NEEDED)} in {str(path)!r}, got "
                f"{', '.join(headings) or 'nothing'!r:.60}."
            )
        reader.fieldnames = headings
        rows = []
        for row in reader:
            cells = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
            if not all(cells[name] for name in _NEEDED):
                raise folder.wrong(f"expected {', '.join(_NEEDED)} in line {reader.line_num} of {str(path)!r}.")
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise folder.wrong(f"expected a table in {str(path)!r}, got something else: {error}.") from error
    if not rows:
        raise folder.wrong(f"expected at least one point in {str(path)!r}, got none.")
    return rows
