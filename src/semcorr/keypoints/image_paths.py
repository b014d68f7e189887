"""Which file an annotation file means by an image's name: paths of other machines, systems and Unicode forms."""

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from semcorr.keypoints.file_reader import Folder
from semcorr.storage.files import is_dir

_DRIVE = re.compile(r"[A-Za-z]:")
_ADDRESS = re.compile(r"(file:|[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_MOST_FILES = 200_000
"""Files that are listed in a folder that nobody named as the one of the images: it may be a home directory."""
_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class _Match:
    """A file that a name may mean. ``contradicts``: It lies in other folders than the name says."""

    path: Path
    contradicts: bool = False
    differs: bool = False


class ImagePaths:
    """Finds the files of the names that an annotation file gives its images.

    A name is first taken as a path below ``images``, the annotations' folder, or ``images`` in that. If nothing is
    there, the file whose path ends with the longest part of the name is taken: first as it is written, then in another
    Unicode normal form, then in another case. So names from other machines are found: absolute ones, those of Windows,
    ``file://`` and other addresses. A file outside these folders is never taken.

    Args:
        folder: The annotations' folder.
        images: The folder of the images, or None; then the annotations' folder is searched.
    """

    def __init__(self, folder: Folder, images: Path | None) -> None:
        self._folder = folder
        self._searched = images or folder.root
        self._bounded = images is None
        self._roots = [*([images] if images is not None else []), folder.root, folder.root / "images"]
        self._index: _Index | None = None
        self.notes: tuple[str, ...] = ()
        """What is to be known about the names that :meth:`find_all` found last, a sentence each."""

    def find(self, name: str) -> Path:
        """The file of one name; where it ought to be if it is nowhere.

        Raises:
            DatasetError: It is not a file's name, or several files fit it equally well.
        """
        return self.find_all([name])[name]

    def find_all(
        self, names: Iterable[str], *, readings: Callable[[str], Sequence[str]] | None = None
    ) -> dict[str, Path]:
        """The file of each name; where it ought to be if it is nowhere.

        Args:
            names: As the annotation file has them; equal ones count once.
            readings: Gives the paths that a name may stand for, in the order in which they are tried; by default the
                name itself.

        Raises:
            DatasetError: A name is not a file's, several files fit one equally well, or two names are one file's.
        """
        found: dict[str, _Match | None] = {}
        ought: dict[str, Path] = {}
        for name in names:
            if name not in found:
                paths = readings(name) if readings is not None else (name,)
                parsed = [way for path in paths for way in _readings(path)]
                if not parsed:
                    raise self._folder.wrong(f"expected images by their names, got {name!r:.80}.")
                ought[name] = self._roots[0].joinpath(*parsed[0].parts)
                found[name] = next(filter(None, map(self._match, parsed)), None)
        kept = self._settled(found)
        self.notes = tuple(self._remarks(kept))
        return {name: ought[name] if match is None else match.path for name, match in kept.items()}

    def _match(self, name: "_Name") -> _Match | None:
        if name.relative:
            for root in self._roots:
                path = root.joinpath(*name.parts)
                if _is_file(path):
                    return _Match(path=path)
        if self._index is None:
            self._index = _Index(self._folder, self._searched, bounded=self._bounded)
        match = self._index.find(name)
        if match is not None:
            return match
        return self._beside(name)

    def _beside(self, name: "_Name") -> _Match | None:
        """Beside the annotations nothing is searched where the images' folder is known; ends of the name are tried."""
        searched = self._searched.resolve()
        for start in range(len(name.parts)):
            for root in self._roots:
                if root.resolve() == searched or (start and is_dir(root / name.parts[start - 1])):
                    continue
                path = root.joinpath(*name.parts[start:])
                if _is_file(path):
                    return _Match(path=path)
        return None

    def _settled(self, found: Mapping[str, _Match | None]) -> dict[str, _Match | None]:
        """Refuse two names of one file; a name that contradicts the file's folders gives way to the file's own."""
        claims: dict[tuple[str, int], list[str]] = {}
        for name, match in found.items():
            if match is not None:
                # Systems that do not tell case apart have one file under several names.
                key = (_folded(os.path.realpath(match.path)), match.path.stat().st_ino)
                claims.setdefault(key, []).append(name)
        kept = dict(found)
        for names in claims.values():
            sure = [name for name in names if not (match := found[name]) or not match.contradicts]
            rivals = sure or names
            if len(rivals) > 1:
                listed = " and ".join(repr(name) for name in rivals[:_NAMED])
                path = found[rivals[0]].path  # type: ignore[union-attr]  # only names with a match claim a file
                raise self._folder.wrong(f"expected a file of its own for every image, got {str(path)!r} for {listed}.")
            for name in names:
                if name not in rivals:
                    kept[name] = None
        return kept

    def _remarks(self, found: Mapping[str, _Match | None]) -> Iterator[str]:
        for attribute, what in (
            ("differs", "image names that differ from the file's in case or Unicode normal form"),
            ("contradicts", "image files that lie in other folders than their names say"),
        ):
            pairs = [(name, match.path) for name, match in found.items() if match and getattr(match, attribute)]
            if pairs:
                name, path = pairs[0]
                yield f"{what}: {len(pairs)}, such as {name!r}, which is {str(path)!r}"


@dataclass(frozen=True, kw_only=True)
class _Name:
    """A name as the folders and the file that it says; ``relative``: it may be a path below the images' folder."""

    parts: tuple[str, ...]
    relative: bool


class _Index:
    """All files below a folder, by their names."""

    def __init__(self, folder: Folder, root: Path, *, bounded: bool) -> None:
        self._folder, self._root = folder, root
        self._above = _plain(os.path.realpath(root))
        self._files: dict[str, list[tuple[str, ...]]] = {}
        self._folders: set[str] = set()
        count = 0
        for place, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            self._folders.update(map(_folded, folders))
            below = tuple(Path(place).relative_to(root).parts)
            count += len(files)
            if bounded and count > _MOST_FILES:
                raise folder.wrong(
                    f"an image is not where its name says, and {str(root)!r} holds more than {_MOST_FILES} files to "
                    "search: name the images' own folder (--images)."
                )
            for file in files:
                # A name may hold a backslash, where an archive of Windows was unpacked without care.
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
        if len(fitting) > 1:
            listed = ", ".join(repr(str(path)) for path in sorted(paths)[:_NAMED])
            raise self._folder.wrong(
                f"expected one file for the image {'/'.join(name.parts)!r}, got {len(paths)} that fit equally well: "
                f"{listed}. Write the folders into the name, or name another folder of images."
            )
        folded, _, exact = best
        contradicts = folded < len(name.parts) and folded < len(fitting[0])
        return _Match(path=paths[0], contradicts=contradicts, differs=exact < folded)

    def _may_be(self, name: _Name, common: int) -> bool:
        """Whether a file with so much in common may be meant: not if the folder that the name says is here."""
        return common == len(name.parts) or _folded(name.parts[-common - 1]) not in self._folders

    def _common(self, name: _Name, parts: tuple[str, ...]) -> tuple[int, int, int]:
        """How many parts at the end agree: but for case and Unicode form, but for the form, exactly."""
        full = (*self._above, *_plain("/".join(parts)))
        return (
            _tail(tuple(map(_folded, name.parts)), tuple(map(_folded, full))),
            _tail(tuple(map(_composed, name.parts)), tuple(map(_composed, full))),
            _tail(name.parts, full),
        )


def _readings(text: str) -> list[_Name]:
    """The paths that a name may stand for: an address stands for its path, decoded and as it is."""
    if not _ADDRESS.match(text):
        return [name] if (name := _name(text)) else []
    scheme, _, rest = text.partition(":")
    if scheme.lower() in ("http", "https"):
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    ways = [_name(way) for way in dict.fromkeys((unquote(rest), rest))]
    return [_Name(parts=way.parts, relative=False) for way in ways if way is not None]


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
