"""Reading a benchmark's folder: every failure says which file, what was expected, what came, and what to do."""

import contextlib
import csv
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.errors import DatasetError, ImageError
from semcorr.imaging.image import image_size
from semcorr.storage.files import exists, is_dir

_LONGEST_SIDE = 10**6
"""Pixels. No picture is longer; beyond it a file's numbers are not sizes."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A benchmark's folder. ``advice`` ends every message: what to do when something is missing or broken."""

    root: Path
    title: str
    advice: str

    def wrong(self, what: str) -> DatasetError:
        """The error that says ``what`` is wrong, for the caller to raise."""
        return DatasetError(f"{self.title}: {what} {self.advice}")

    def text(self, path: Path) -> str:
        """The content of a text file.

        Raises:
            DatasetError: it is missing, cannot be read, or is not UTF-8.
        """
        try:
            # What is no file may never end: a pipe, or a link to a device.
            if path.exists() and not path.is_file():
                raise self.wrong(f"expected a file at {str(path)!r}, got a folder, a pipe or a device.")
            # With a byte order mark or without: spreadsheets write one.
            return path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise self.wrong(f"expected the file {str(path)!r}, which is not there.") from None
        except OSError as error:
            raise self.wrong(f"{str(path)!r} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise self.wrong(f"expected text (UTF-8) in {str(path)!r}, got other bytes.") from error
        except ValueError as error:  # a null character, or half of one, in a name that another file gave
            raise self.wrong(f"expected the name of a file, got {str(path)!r}.") from error

    def lines(self, path: Path) -> list[str]:
        """The lines of a text file that are not blank.

        Raises:
            DatasetError: as :meth:`text`.
        """
        return [line.strip() for line in self.text(path).splitlines() if line.strip()]

    def rows(self, path: Path) -> list[list[str]]:
        """The rows of a table whose columns are separated by commas; empty where a line is.

        Raises:
            DatasetError: as :meth:`text`, or it is no table.
        """
        try:
            return list(csv.reader(self.text(path).splitlines()))
        except csv.Error as error:
            raise self.wrong(f"expected a table in {str(path)!r}, got something else: {error}.") from error

    def below(self, *names: str) -> Path:
        """The path of names that a file of a stranger gave, which must not lead out of the folder.

        Raises:
            DatasetError: it would.
        """
        parts = [part for name in names for part in PurePosixPath(name).parts]
        if ".." in parts or not all(names) or any(set(name) & {"\\", "\0"} or name.startswith("/") for name in names):
            came = "/".join(names)
            raise self.wrong(f"expected the name of a file below {str(self.root)!r}, got {came!r:.80}.")
        return self.root.joinpath(*parts)

    def content(self, path: Path) -> Any:
        """What a JSON file holds.

        Raises:
            DatasetError: as :meth:`text`, or it is not JSON.
        """
        try:
            return json.loads(self.text(path), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:  # the latter of brackets in brackets in brackets
            raise self.wrong(f"expected JSON in {str(path)!r}, got something else: {error}.") from error

    def json(self, path: Path) -> dict[str, Any]:
        """The object that a JSON file holds.

        Raises:
            DatasetError: as :meth:`content`, or it is not a JSON object.
        """
        content = self.content(path)
        if not isinstance(content, dict):
            raise self.wrong(f"expected a JSON object in {str(path)!r}, got a {type(content).__name__}.")
        return content

    def field(self, record: dict[str, Any], key: str, kind: type | tuple[type, ...], path: Path) -> Any:
        """``record[key]``, which ``path`` must hold as a ``kind``.

        Raises:
            DatasetError: it is not there or something else.
        """
        value = record.get(key)
        if isinstance(value, kind):
            return value
        came = f"{value!r:.60}" if key in record else "nothing"
        raise self.wrong(f"expected {key!r} as {_kind(kind)} in {str(path)!r}, got {came}.")

    def numbers(self, values: Sequence[object], count: int, what: str, path: Path) -> tuple[float, ...]:
        """``count`` finite numbers.

        Raises:
            DatasetError: there are more or fewer, or one is not a number.
        """
        try:
            found = tuple(float(value) for value in values)  # type: ignore[arg-type]  # what is no number raises
        except (TypeError, ValueError, OverflowError):
            found = ()
        if len(found) != count or not all(map(math.isfinite, found)):
            raise self.wrong(f"expected {what} as {count} numbers in {str(path)!r}, got {str(list(values))[:60]}.")
        return found

    def points(self, values: Sequence[object], what: str, path: Path) -> Float[np.ndarray, "points 2"]:
        """A list of (x, y), as the file has them.

        Raises:
            DatasetError: it is anything else.
        """
        try:
            found = np.array(values, dtype=np.float64) if len(values) else np.zeros((0, 2))
        except (TypeError, ValueError, OverflowError):
            found = np.zeros(0)
        if found.ndim != 2 or found.shape[1] != 2 or not np.isfinite(found).all():
            raise self.wrong(f"expected {what} as a list of x, y in {str(path)!r}, got {str(list(values))[:60]}.")
        return found

    def size(self, values: Sequence[object], what: str, path: Path) -> tuple[int, int]:
        """(width, height) of a picture as a file has them.

        Raises:
            DatasetError: they are no two numbers, or no picture's.
        """
        width, height = (int(value) for value in self.numbers(values, 2, what, path))
        if not (1 <= width <= _LONGEST_SIDE and 1 <= height <= _LONGEST_SIDE):
            raise self.wrong(
                f"expected {what} from 1 to {_LONGEST_SIDE} pixels in {str(path)!r}, got {str(list(values))[:60]}."
            )
        return width, height

    def image_size(self, path: Path) -> tuple[int, int]:
        """(width, height) of a picture as a person sees it, from the file's header alone.

        Raises:
            DatasetError: it is missing or not a picture.
        """
        if exists(path) and not path.is_file():
            raise self.wrong(f"expected a picture at {str(path)!r}, got a folder, a pipe or a device.")
        if not exists(path):
            raise self.wrong(f"expected the picture {str(path)!r}, which is not there.")
        try:
            return image_size(path)
        except ImageError as error:
            raise self.wrong(f"expected a picture in {str(path)!r}, got something unreadable: {error}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep to ourselves what libraries warn of while they read a stranger's file: what matters is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_folder(
    data: Path, names: Sequence[str], there: Callable[[Path], bool], *, title: str, wanted: str, advice: str
) -> Folder:
    """The benchmark's folder: ``data`` itself, or one called any of ``names`` in it.

    Args:
        data: What the user named.
        names: What the benchmark's folder is usually called.
        there: Whether a folder looks like the benchmark's.
        title: What messages call the benchmark.
        wanted: What ``there`` looks for, for the message.
        advice: What to do when it is not there.

    Raises:
        DatasetError: none of them looks like it.
    """
    for root in (data, *(data / name for name in names)):
        if is_dir(root) and there(root):
            return Folder(root=root, title=title, advice=advice)
    come = "there is no such folder" if not is_dir(data) else f"in it {_listing(data)}"
    where = " or ".join([repr(str(data)), *(f"its sub-folder {name!r}" for name in names)])
    raise DatasetError(f"{title}: expected {wanted} in {where}; {come}. {advice}")


class Names:
    """Hands out every name once: the first stays as it is, the next of the same name become name#2, name#3, ...."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        """``name``, or the first numbered one that is free."""
        self._seen[name] = count = self._seen.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"


def _kind(kind: type | tuple[type, ...]) -> str:
    words = {list: "a list", str: "a text", dict: "an object", int: "a whole number", float: "a number"}
    kinds: Iterable[type] = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join(words[one] for one in kinds)


def _no_number(name: str) -> Any:
    """Python reads NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{name} is no JSON")


def _listing(folder: Path, most: int = 4) -> str:
    try:
        found = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        return f"may be anything ({error.strerror})"
    if not found:
        return "is nothing"
    return "are " + ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
