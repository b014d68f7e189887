"""The files that an annotation file's image names mean: paths of other machines, systems and Unicode forms."""

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from semcorr.keypoints.file_reader import DataFolder
from semcorr.storage.files import is_dir

_DRIVE = re.compile(r"[A-Za-z]:")
_ADDRESS = re.compile(r"(file:|[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_MOST_FILES = 200_000
"""Files that are listed at most in a folder that the user did not name as the one of the images: it may be a home."""
_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class _Match:
    """A file that a name may mean.

    Attributes:
        path: The file.
        contradicts: Whether it is in other folders than the name says.
        differs: Whether the name differs from the file's in case or Unicode normal form.
    """

    path: Path
    contradicts: bool = False
    differs: bool = False


class ImagePaths:
    """Finds the image files that an annotation file names.

    A name is first taken as a path below ``images``, the annotations' folder, or ``images`` in that. If there is no
    such file, the one whose path has the longest end in common with the name is taken: first as it is written, then in
    another Unicode normal form, then in another case. So names from other machines work: absolute ones, those of
    Windows, ``file://`` and other addresses. A file outside these folders is never taken.

    Args:
        folder: The annotations' folder, which messages name too.
        images: The folder of the images, or None; then the annotations' folder is searched.
        agreeing: How many parts at the end of a name a file's path must have in common with it. 2 where files of one
            name are in several folders, such as the frames of videos: then the folder counts.
    """

    def __init__(self, folder: DataFolder, images: Path | None, *, agreeing: int = 1) -> None:
        self._folder, self._agreeing = folder, agreeing
        self._searched = images or folder.root
        self._bounded = images is None
        self._roots = [*([images] if images is not None else []), folder.root, folder.root / "images"]
        self._index: _Index | None = None
        self.notes: tuple[str, ...] = ()
        """Notes on the files that :meth:`find_all` returned last, a sentence each."""

    def find(self, name: str) -> Path:
        """The file of one name; the path that it should have if it is missing.

        Raises:
            DatasetError: It is not a file's name, or several files fit it equally well.
        """
        return self.find_all([name])[name]

    def find_all(
        self, names: Iterable[str], *, possible_paths: Callable[[str], Sequence[str]] | None = None
    ) -> dict[str, Path]:
        """The file of each name; the path that it should have if it is missing.

        Args:
            names: As the annotation file has them; equal ones count once.
            possible_paths: Returns the paths that a name may mean, in the order in which they are tried; by default
                the name itself.

        Raises:
            DatasetError: A name is not a file's, several files fit one equally well, or two names are one file's.
        """
        matches: dict[str, _Match | None] = {}
        expected: dict[str, Path] = {}
        for name in names:
            if name not in matches:
                paths = possible_paths(name) if possible_paths is not None else (name,)
                parsed = [one for path in paths for one in _parsed(path)]
                if not parsed:
                    raise self._folder.error(f"expected images by their names, got {name!r:.80}.")
                expected[name] = self._roots[0].joinpath(*parsed[0].parts)
                matches[name] = next(filter(None, map(self._match, parsed)), None)
        matches = self._without_conflicts(matches)
        self.notes = tuple(_notes(matches))
        return {name: expected[name] if match is None else match.path for name, match in matches.items()}

    def _match(self, name: "_Name") -> _Match | None:
        if name.relative:
            for root in self._roots:
                path = root.joinpath(*name.parts)
                if _is_file(path):
                    return _Match(path=path)
        if self._index is None:
            self._index = _Index(self._folder, self._searched, bounded=self._bounded, agreeing=self._agreeing)
        match = self._index.find(name)
        if match is not None:
            return match
        return self._beside(name)

    def _beside(self, name: "_Name") -> _Match | None:
        """The file beside the annotations that the name, or an end of it, is the path of; nothing is searched there."""
        searched = self._searched.resolve()
        for start in range(len(name.parts) - min(self._agreeing, len(name.parts)) + 1):
            for root in self._roots:
                if root.resolve() == searched or (start and is_dir(root / name.parts[start - 1])):
                    continue
                path = root.joinpath(*name.parts[start:])
                if _is_file(path):
                    return _Match(path=path)
        return None

    def _without_conflicts(self, matches: Mapping[str, _Match | None]) -> dict[str, _Match | None]:
        """Refuse two names of one file; of two, one that contradicts the file's folders loses its match."""
        claims: dict[tuple[str, int], list[str]] = {}
        for name, match in matches.items():
            if match is not None:
                # Systems that ignore case have one file under several names.
                key = (_folded(os.path.realpath(match.path)), match.path.stat().st_ino)
                claims.setdefault(key, []).append(name)
        kept = dict(matches)
        for names in claims.values():
            consistent = [name for name in names if not (match := matches[name]) or not match.contradicts]
            rivals = consistent or names
            if len(rivals) > 1:
                listed = " and ".join(repr(name) for name in rivals[:_SHOWN])
                path = matches[rivals[0]].path  # type: ignore[union-attr]  # only names with a match claim a file
                raise self._folder.error(f"expected a file of its own for every image, got {str(path)!r} for {listed}.")
            for name in names:
                if name not in rivals:
                    kept[name] = None
        return kept


def _notes(matches: Mapping[str, _Match | None]) -> Iterator[str]:
    known = [(name, match) for name, match in matches.items() if match is not None]
    differing = [one for one in known if one[1].differs]
    contradicting = [one for one in known if one[1].contradicts]
    for kind, pairs in (
        ("image names that differ from the file's in case or Unicode normal form", differing),
        ("image files that are in other folders than their names say", contradicting),
    ):
        if pairs:
            name, match = pairs[0]
            yield f"{kind}: {len(pairs)}, such as {name!r}, which is {str(match.path)!r}"


@dataclass(frozen=True, kw_only=True)
class _Name:
    """The folders and the file of a name; ``relative``: whether it may be a path below the images' folder."""

    parts: tuple[str, ...]
    relative: bool


class _Index:
    """All files below a folder, by their names."""

    def __init__(self, folder: DataFolder, root: Path, *, bounded: bool, agreeing: int) -> None:
        self._folder, self._root, self._agreeing = folder, root, agreeing
        self._above = _plain(os.path.realpath(root))
        self._files: dict[str, list[tuple[str, ...]]] = {}
        self._folders: set[str] = set()
        count = 0
        for directory, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            self._folders.update(map(_folded, folders))
            below = tuple(Path(directory).relative_to(root).parts)
            count += len(files)
            if bounded and count > _MOST_FILES:
                raise folder.error(
                    f"an image is not where its name says, and {str(root)!r} holds more than {_MOST_FILES} files to "
                    "search: name the images' own folder (--images)."
                )
            for file in files:
                # Archives made on Windows may be unpacked into files with backslashes in their names.
                self._files.setdefault(_folded(file.rpartition("\\")[2]), []).append((*below, file))

    def find(self, name: _Name) -> _Match | None:
        """The file below the folder whose path has the longest end in common with a name, or None.

        Raises:
            DatasetError: There are several.
        """
        candidates = [
            (common, parts)
            for parts in self._files.get(_folded(name.parts[-1]), ())
            if _is_file(self._root.joinpath(*parts)) and self._may_be(name, (common := self._common(name, parts))[0])
        ]
        if not candidates:
            return None
        best = max(common for common, _ in candidates)
        fitting = [parts for common, parts in candidates if common == best]
        paths = [self._root.joinpath(*parts) for parts in fitting]
        if len(paths) > 1:
            listed = ", ".join(repr(str(path)) for path in sorted(paths)[:_SHOWN])
            raise self._folder.error(
                f"expected one file for the image {'/'.join(name.parts)!r}, got {len(paths)} that fit equally well: "
                f"{listed}. Write the folders into the name, or name another folder of images."
            )
        folded, _, exact = best
        contradicts = folded < len(name.parts) and folded < len(fitting[0])
        return _Match(path=paths[0], contradicts=contradicts, differs=exact < folded)

    def _may_be(self, name: _Name, common: int) -> bool:
        """Whether a file with this many parts in common may be meant: not if the name's next folder exists here."""
        if common < min(self._agreeing, len(name.parts)):
            return False
        return common == len(name.parts) or _folded(name.parts[-common - 1]) not in self._folders

    def _common(self, name: _Name, parts: tuple[str, ...]) -> tuple[int, int, int]:
        """How many parts at the end agree: ignoring case and Unicode form, ignoring the form, exactly."""
        full = (*self._above, *_plain("/".join(parts)))
        return (
            _tail(tuple(map(_folded, name.parts)), tuple(map(_folded, full))),
            _tail(tuple(map(_composed, name.parts)), tuple(map(_composed, full))),
            _tail(name.parts, full),
        )


def _parsed(text: str) -> list[_Name]:
    """The paths that a name may mean: of an address its path, decoded and as it is."""
    if not _ADDRESS.match(text):
        return [name] if (name := _name(text)) else []
    scheme, _, rest = text.partition(":")
    if scheme.lower() in ("http", "https"):
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    names = [_name(path) for path in dict.fromkeys((unquote(rest), rest))]
    return [_Name(parts=name.parts, relative=False) for name in names if name is not None]


def _name(text: str) -> _Name | None:
    if "\0" in text:
        return None
    relative = not text.startswith(("/", "\\"))
    parts: list[str] = []
    for part in _plain(text):
        if part == ".." and parts:
            parts.pop()
        elif part == ".." or (not parts and _DRIVE.fullmatch(part)):
            relative = False
        else:
            parts.append(part)
    return _Name(parts=tuple(parts), relative=relative) if parts else None


def _plain(path: str) -> tuple[str, ...]:
    """The parts of a path of any system."""
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _tail(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    length = 0
    while length < min(len(one), len(other)) and one[-length - 1] == other[-length - 1]:
        length += 1
    return length


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
