"""The fields of COCO's key-point files, in the forms in which people's tools write them.

What a field means beyond doubt is read; what may mean several things is refused by the entry's own name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.imaging.geometry import Box, corner_box
from semcorr.keypoints.base import COVERED, MISSING, VISIBLE
from semcorr.keypoints.file_reader import Folder
from semcorr.keypoints.provenance import MARK, is_predicted

FOUND = "keypoints_found"
"""The field in which ``semcorr transfer`` writes every predicted point and its confidence."""

_NO, _YES = (None, False, 0, "0", ""), (True, 1, "1")
_LONGEST_SIDE = 10**6


def records(
    folder: Folder, path: Path, content: Mapping[str, Any], key: str, *, required: bool = True
) -> list[dict[str, Any]]:
    """The list of objects under a key; none if it is missing or null and not ``required``.

    Raises:
        DatasetError: It is anything else.
    """
    if not required and content.get(key) is None:
        return []
    found: list[dict[str, Any]] = folder.field(dict(content), key, list, path)
    for record in found:
        if not isinstance(record, dict):
            raise folder.wrong(f"expected {key!r} as a list of objects in {str(path)!r}, got {record!r:.40}.")
    return found


def record_id(folder: Folder, path: Path, record: Mapping[str, Any], key: str = "id") -> int | str:
    """An id: a whole number of any size or a text. 1 and "1" are different.

    Raises:
        DatasetError: It is missing or something else.
    """
    value = record.get(key)
    if isinstance(value, float) and value.is_integer():
        return int(value)  # A table of floats was written as JSON.
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise folder.wrong(
            f"expected {key!r} as a whole number or a text in {str(path)!r}, got {value!r:.40} in {_shown(record)}."
        )
    return value


def by_id(folder: Folder, path: Path, entries: Iterable[dict[str, Any]], what: str) -> dict[int | str, dict[str, Any]]:
    """Entries by their ids.

    Raises:
        DatasetError: Two have the same, or one has none.
    """
    found: dict[int | str, dict[str, Any]] = {}
    for entry in entries:
        number = record_id(folder, path, entry)
        if number in found:
            raise folder.wrong(f"expected every {what}'s id once in {str(path)!r}, got {number!r} twice.")
        found[number] = entry
    return found


def referred(
    folder: Folder, path: Path, record: Mapping[str, Any], key: str, known: Mapping[int | str, Any]
) -> int | str:
    """The id under ``key``, which must be one of ``known``.

    Raises:
        DatasetError: It is not.
    """
    number = record_id(folder, path, record, key)
    if number in known:
        return number
    other: int | str = str(number) if isinstance(number, int) else int(number) if number.isdecimal() else number
    hint = f" The id {other!r} is there, but one is a number and the other a text." if other in known else ""
    raise folder.wrong(
        f"expected every annotation's {key.removesuffix('_id')} in {str(path)!r}, got {key} {number!r} in annotation "
        f"{record.get('id')!r}.{hint}"
    )


def is_crowd(folder: Folder, path: Path, record: Mapping[str, Any]) -> bool:
    """Whether ``iscrowd`` says that an annotation covers a group; 0 and 1 may be written as texts.

    Raises:
        DatasetError: It is neither.
    """
    value = record.get("iscrowd")
    value = value.strip() if isinstance(value, str) else value
    if isinstance(value, list | dict) or value not in (*_NO, *_YES):
        raise folder.wrong(
            f"expected 'iscrowd' as 0 or 1 in {str(path)!r}, got {value!r:.40} in annotation {record.get('id')!r}."
        )
    return value in _YES


def key_points(
    folder: Folder, path: Path, record: Mapping[str, Any], names: Sequence[str]
) -> Float[np.ndarray, "keypoints 3"]:
    """x, y and mark of every key-point as the file has them; zeros where the annotation has none.

    Raises:
        DatasetError: There are more or fewer, or a mark is none of COCO's.
    """
    which = f"annotation {record.get('id')!r}"
    values = record.get("keypoints") or [0] * 3 * len(names)
    if not isinstance(values, list):
        raise folder.wrong(f"expected 'keypoints' as a list in {str(path)!r}, got {values!r:.40} in {which}.")
    array = np.array(folder.numbers(values, 3 * len(names), f"'keypoints' of {which}", path)).reshape(-1, 3)
    unknown = np.flatnonzero(~np.isin(array[:, 2], (VISIBLE, COVERED, MISSING)))
    if len(unknown):
        raise folder.wrong(
            f"expected 0 (not annotated), 1 (covered) or 2 (visible) as the third number of every key-point in "
            f"{str(path)!r}, got {array[unknown[0], 2]:g} for {names[unknown[0]]!r} of {which}"
            + (f", and {len(unknown) - 1} more like it in the same annotation" if len(unknown) > 1 else "")
            + ". If it is a score, write 2 for points that are right and 0 for others."
        )
    return array


def has_marked_points(record: Mapping[str, Any]) -> bool:
    """Whether any number stands where a key-point's mark would."""
    values = record.get("keypoints")
    return isinstance(values, list) and any(values[2::3])


def box_of(folder: Folder, path: Path, record: Mapping[str, Any]) -> Box | None:
    """``bbox`` as (x0, y0, x1, y1); None if there is none, or it has no extent.

    Raises:
        DatasetError: It is something else, or a side is negative.
    """
    if not record.get("bbox"):
        return None
    which = f"'bbox' of annotation {record.get('id')!r}"
    sides = folder.numbers(folder.field(dict(record), "bbox", list, path), 4, which, path)
    if min(sides[2:]) < 0:
        raise folder.wrong(
            f"expected {which} as x, y, width and height in {str(path)!r}, got {list(sides)}: a side is negative."
        )
    return corner_box(*sides) if min(sides[2:]) > 0 else None


def size_of(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """The (width, height) that an image's entry declares, or None where it declares none that an image can have."""
    width, height = _side(record.get("width")), _side(record.get("height"))
    return (width, height) if width and height else None


def predicted(folder: Folder, path: Path, record: Mapping[str, Any]) -> bool:
    """Whether a program predicted an annotation's points, and no person has accepted them.

    Its mark says so; without one, ``keypoints_found`` (from before there were marks) or a ``score``, as detectors'
    results have it. A box without points is nobody's prediction of points, whatever made the box.

    Raises:
        DatasetError: The mark is unknown.
    """
    found = isinstance(record.get(FOUND), list)
    if record.get(MARK) is None:
        score = record.get("score")
        return found or (isinstance(score, int | float) and has_marked_points(record))
    said = is_predicted(record[MARK])
    if said is None:
        raise folder.wrong(
            f'expected {{"predicted": true}} or {{"predicted": true, "accepted": true}} as {MARK!r} in {str(path)!r}, '
            f"got {record[MARK]!r:.60} in annotation {record.get('id')!r}."
        )
    return said and (found or has_marked_points(record))


def score_of(record: Mapping[str, Any]) -> float | None:
    """``score``, if it is a number in [0, 1]."""
    score = record.get("score")
    usable = isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1
    return float(score) if usable else None  # type: ignore[arg-type]  # a number, as the line before says


def counted(names: Iterable[str]) -> str:
    """Each name and how often it comes: "2 of 'car', 1 of 'ball'"."""
    return ", ".join(f"{count} of {name!r}" for name, count in Counter(names).most_common())


def _side(value: object) -> int:
    """A side in pixels; 0 if it is none."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value.strip()) if len(value) < 10 else 0
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= _LONGEST_SIDE
    return int(value) if usable and value == int(value) else 0  # type: ignore[call-overload]  # a number, as above


def _shown(record: Mapping[str, Any]) -> str:
    name = record.get("id", record.get("name", record.get("file_name")))
    return f"the entry {name!r:.40}" if name is not None else f"{dict(record)!r:.80}"
