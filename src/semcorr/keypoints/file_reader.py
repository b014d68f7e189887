"""Reading files of annotations: every error says which file, what was expected, what came, and what to do."""

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from semcorr.errors import DatasetError, ImageError
from semcorr.imaging.image import image_size
from semcorr.storage.files import exists, is_dir

_LATIN_1 = re.compile(rb"<\?xml[^>]*encoding=[\"']iso-8859-1[\"']", re.IGNORECASE)
_LONGEST_DECLARATION = 200
_LONGEST_SIDE = 10**6
"""Pixels. No image is longer; beyond it a file's numbers are not sizes."""


@dataclass(frozen=True, kw_only=True)
class DataFolder:
    """A folder of annotations and images.

    Attributes:
        root: The folder.
        title: What messages call the data.
        advice: What to do when something is missing or broken; it ends every message.
    """

    root: Path
    title: str
    advice: str

    def error(self, message: str) -> DatasetError:
        """The error with a message, for the caller to raise."""
        return DatasetError(f"{self.title}: {message} {self.advice}")

    def file(self, *names: str) -> "DataFile":
        """A file below the folder, by names that the data gives; see :meth:`below`."""
        return DataFile(folder=self, path=self.below(*names))

    def below(self, *names: str) -> Path:
        """The path of names that the data gives, which must not lead out of the folder.

        Raises:
            DatasetError: It would.
        """
        # Not by pathlib, whose splitting is slow for the names of a large benchmark.
        parts = [part for name in names for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or not all(names) or any(set(name) & {"\\", "\0"} or name.startswith("/") for name in names):
            raise self.error(f"expected the name of a file below {str(self.root)!r}, got {'/'.join(names)!r:.80}.")
        return self.root.joinpath(*parts)

    def image_size(self, path: Path) -> tuple[int, int]:
        """(width, height) of an upright image, from the file's header alone.

        Raises:
            DatasetError: The file is missing or not an image.
        """
        if exists(path) and not path.is_file():
            raise self.error(f"expected an image at {str(path)!r}, got a folder, a pipe or a device.")
        if not exists(path):
            raise self.error(f"expected the image {str(path)!r}, which is not there.")
        try:
            return image_size(path)
        except ImageError as error:
            raise self.error(f"expected an image in {str(path)!r}, got something unreadable: {error}") from error


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file of annotations, and the folder that it belongs to."""

    folder: DataFolder
    path: Path

    def error(self, expected: str, got: str, *, at: str = "", advice: str = "") -> DatasetError:
        """The error that names the file.

        Args:
            expected: What was expected.
            got: What the file holds instead.
            at: Where in the file, such as "line 3".
            advice: What to do, before what the folder advises.
        """
        where = f"{at} of {str(self.path)!r}" if at else repr(str(self.path))
        return self.folder.error(f"expected {expected} in {where}, got {got}." + (f" {advice}" if advice else ""))

    def text(self) -> str:
        """The content of a text file: UTF-8, or of XML that says so Latin-1.

        Raises:
            DatasetError: It is missing, cannot be read, or is in another encoding.
        """
        try:
            # Reading a pipe, or a link to a device, may never end.
            if self.path.exists() and not self.path.is_file():
                raise self.folder.error(f"expected a file at {str(self.path)!r}, got a folder, a pipe or a device.")
            # With a byte order mark or without: spreadsheets write one.
            return self.path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise self.folder.error(f"expected the file {str(self.path)!r}, which is not there.") from None
        except OSError as error:
            raise self.folder.error(f"{str(self.path)!r} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            with self.path.open("rb") as file:
                if _LATIN_1.match(file.readline(_LONGEST_DECLARATION)):
                    return self.path.read_text(encoding="iso-8859-1")
            raise self.error("text (UTF-8)", "other bytes") from error
        except ValueError as error:  # a null character, or half of one, in a name that another file gave
            raise self.folder.error(f"expected the name of a file, got {str(self.path)!r}.") from error

    def lines(self) -> list[str]:
        """The lines of a text file that are not blank; raises as :meth:`text` does."""
        return [line.strip() for line in self.text().splitlines() if line.strip()]

    def rows(self) -> list[list[str]]:
        """The rows of a table whose columns are separated by commas; empty where a line is.

        Raises:
            DatasetError: As :meth:`text`, or it is not a table.
        """
        try:
            return list(csv.reader(self.text().splitlines()))
        except csv.Error as error:
            raise self.error("a table", f"something else: {error}") from error

    def content(self) -> Any:
        """What a JSON file holds.

        Raises:
            DatasetError: As :meth:`text`, or it is not JSON.
        """
        try:
            return json.loads(self.text(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:  # the latter of brackets in brackets in brackets
            raise self.error("JSON", f"something else: {error}") from error

    def json(self) -> dict[str, Any]:
        """The object that a JSON file holds.

        Raises:
            DatasetError: As :meth:`content`, or it is not a JSON object.
        """
        content = self.content()
        if not isinstance(content, dict):
            raise self.error("a JSON object", f"a {type(content).__name__}")
        return content

    def field(self, record: Mapping[str, Any], key: str, kind: type) -> Any:
        """``record[key]``, which the file must hold as a ``kind``.

        Raises:
            DatasetError: It is missing or something else.
        """
        value = record.get(key)
        if isinstance(value, kind):
            return value
        raise self.error(f"{key!r} as {_KINDS[kind]}", f"{value!r:.60}" if key in record else "nothing")

    def numbers(self, values: Sequence[object], count: int, what: str) -> tuple[float, ...]:
        """``count`` finite numbers; ``what`` is what they are, for the message.

        Raises:
            DatasetError: There are more or fewer, or one is not a number.
        """
        try:
            numbers = tuple(float(value) for value in values)  # type: ignore[arg-type]  # what is no number raises
        except (TypeError, ValueError, OverflowError):
            numbers = ()
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise self.error(f"{what} as {count} numbers", str(list(values))[:60])
        return numbers

    def points(self, values: Sequence[object], what: str) -> Float[np.ndarray, "points 2"]:
        """A list of (x, y), as the file has them.

        Raises:
            DatasetError: It is anything else.
        """
        try:
            points = np.array(values, dtype=np.float64) if len(values) else np.zeros((0, 2))
        except (TypeError, ValueError, OverflowError):
            points = np.zeros(0)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise self.error(f"{what} as a list of x, y", str(list(values))[:60])
        return points

    def size(self, values: Sequence[object], what: str) -> tuple[int, int]:
        """(width, height) of an image, as the file has them.

        Raises:
            DatasetError: They are not two numbers, or no image has such sides.
        """
        width, height = (int(value) for value in self.numbers(values, 2, what))
        if not (1 <= width <= _LONGEST_SIDE and 1 <= height <= _LONGEST_SIDE):
            raise self.error(f"{what} from 1 to {_LONGEST_SIDE} pixels", str(list(values))[:60])
        return width, height


def annotation_file(path: Path, title: str) -> DataFile:
    """A file of annotations that the user named; ``title`` is what messages call its format."""
    folder = DataFolder(root=path.parent, title=title, advice="Correct the file, or name another.")
    return DataFile(folder=folder, path=path)


def open_folder(
    data: Path, names: Sequence[str], is_benchmark: Callable[[Path], bool], *, title: str, expected: str, advice: str
) -> DataFolder:
    """The benchmark's folder: ``data`` itself, or one called any of ``names`` in it.

    Args:
        data: What the user named.
        names: What the benchmark's folder is usually called.
        is_benchmark: Whether a folder is the benchmark's.
        title: What messages call the benchmark.
        expected: What such a folder holds, for the message.
        advice: What to do when it is missing.

    Raises:
        DatasetError: None of them is the benchmark's.
    """
    for root in (data, *(data / name for name in names)):
        if is_dir(root) and is_benchmark(root):
            return DataFolder(root=root, title=title, advice=advice)
    got = "there is no such folder" if not is_dir(data) else f"in it {_listing(data)}"
    where = " or ".join([repr(str(data)), *(f"its sub-folder {name!r}" for name in names)])
    raise DatasetError(f"{title}: expected {expected} in {where}; {got}. {advice}")


class UniqueNames:
    """Returns every name once: the first as it is, the next ones of the same name as name#2, name#3, ...."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        """``name`` itself the first time, then a numbered one."""
        self._counts[name] = count = self._counts.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"


def first_few(names: Iterable[str], most: int = 4) -> str:
    """The first names, and how many more there are: "a, b, c, d and 3 more"."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


_KINDS: Mapping[type, str] = {list: "a list", str: "a text", dict: "an object", int: "a whole number"}


def _refuse_constant(name: str) -> Any:
    """Python reads NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{name} is no JSON")


def _listing(folder: Path) -> str:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        return f"may be anything ({error.strerror})"
    return f"are {first_few(names)}" if names else "is nothing"
