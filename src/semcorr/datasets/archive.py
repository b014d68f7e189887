"""Unpacking an archive from a stranger: it writes only files and folders, and only inside the folder."""

import errno
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semcorr.errors import DatasetError
from semcorr.progress import Progress

_MOST_MEMBERS = 1_000_000
_MOST_BYTES = 1 << 30
_MOST_GROWTH = 100
"""Unpacked, an archive may have this many bytes, or grow this many times: images hardly shrink, text tenfold."""
_MOST_HEADER = 1 << 20
"""Bytes of a name or of notes in a tar archive, which are read into memory."""
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A file of an archive, or a folder (then ``open`` is None). ``size`` is how many bytes it says it has."""

    parts: tuple[str, ...]
    size: int
    open: Callable[[], AbstractContextManager[Any]] | None


def unpack(archive: Path, folder: Path, *, progress: Progress | None = None) -> None:
    """Unpack a tar (compressed or not) or zip archive into an existing, empty folder.

    All members are checked before the first is written. Files that were written before a failure stay in ``folder``,
    which the caller removes.

    Args:
        archive: The file; its kind is recognized by its content.
        folder: The folder to unpack into.
        progress: Called as ``("unpack", members done, members in all)``.

    Raises:
        DatasetError: It is not an archive, is incomplete, holds an absolute path, "..", a link or a device, or is small
            and would fill the disk.
        OSError: The files cannot be written.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                _write(_checked(archive, _zip_members(zipped)), folder, progress)
        else:
            with _open_tar(archive) as tarred:
                _write(_checked(archive, _tar_members(tarred, folder)), folder, progress)
    # What a broken archive makes the decoders raise is not limited to their own errors.
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, RuntimeError, ValueError, NotImplementedError) as error:
        raise _broken(archive, error) from error
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:  # a name that is a file and a folder
        raise _broken(archive, error) from error
    except OSError as error:
        # gzip and bzip2 give broken content no error number; the others are of names that cannot exist.
        if error.errno in (None, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise _broken(archive, error) from error
        raise
    except Exception as error:
        if type(error).__module__ in ("zlib", "lzma", "_lzma"):
            raise _broken(archive, error) from error
        raise


def _broken(archive: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{_title(archive)}: expected a whole archive, got a broken one: {error}. Download it again.")


class _Info(tarfile.TarInfo):
    """A member's header. Names and notes of any length would be read into memory before they can be checked."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Info":
        info = super().frombuf(buf, encoding, errors)
        if info.type in _NOTES and info.size > _MOST_HEADER:
            raise tarfile.ReadError(f"a header of {info.size} bytes")
        return info


_NOTES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


def _open_tar(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive, tarinfo=_Info)
    except tarfile.ReadError as error:
        raise DatasetError(
            f"{_title(archive)}: expected a tar or zip archive, got something else, or only a part of one. "
            "Check what the address holds now."
        ) from error


def _checked(archive: Path, members: Iterator[_Member]) -> list[_Member]:
    """All members, unless they are far larger than the archive itself."""
    most = max(_MOST_BYTES, _MOST_GROWTH * archive.stat().st_size)
    checked: list[_Member] = []
    total = 0
    for member in members:
        checked.append(member)
        total += member.size
        if total > most or len(checked) > _MOST_MEMBERS:
            raise DatasetError(
                f"{_title(archive)}: expected at most {most / 1e9:.1f} GB in at most {_MOST_MEMBERS:,} files from an "
                f"archive of {archive.stat().st_size / 1e6:.1f} MB, got more. Nothing was unpacked: do not trust this "
                "file, and check where it comes from."
            )
    return checked


def _write(members: list[_Member], folder: Path, progress: Progress | None) -> None:
    for number, member in enumerate(members):
        path = folder.joinpath(*member.parts)
        if member.open is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as content, path.open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
        if progress and number % 100 == 0:
            progress("unpack", number, len(members))


def _tar_members(archive: tarfile.TarFile, folder: Path) -> Iterator[_Member]:
    for info in archive:  # one after the other: the next one is not read before this one is checked
        if not (info.isreg() or info.isdir()):
            kind = "a link" if info.issym() or info.islnk() else "a device"
            raise _refused(archive.name, info.name, kind)
        parts = _parts(archive.name, info.name)
        # The library's own check as well, where this Python has it.
        if hasattr(tarfile, "data_filter"):
            try:
                tarfile.data_filter(info, str(folder))
            except tarfile.FilterError as error:
                raise _refused(archive.name, info.name, str(error)) from error

        def opened(info: tarfile.TarInfo = info) -> Any:
            return archive.extractfile(info)

        yield _Member(parts=parts, size=info.size, open=None if info.isdir() else opened)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        # The name as it is in the file: ZipInfo cuts what follows a null character.
        name = info.orig_filename
        mode = stat.S_IFMT(info.external_attr >> 16)
        if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive.filename, name, "a link" if mode == stat.S_IFLNK else "a device")

        def opened(info: zipfile.ZipInfo = info) -> Any:
            return archive.open(info)

        parts = _parts(archive.filename, name)
        # Not info.is_dir(), which fails for a member without a name.
        yield _Member(parts=parts, size=info.file_size, open=None if name.endswith("/") else opened)


def _parts(archive: object, name: str) -> tuple[str, ...]:
    """The parts of a member's path; refused if it leads anywhere but down from the folder."""
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        raise _refused(archive, name, "an absolute path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or any("\\" in part or "\0" in part for part in parts):
        raise _refused(archive, name, "a path that leads out of the folder")
    return parts


def _refused(archive: object, name: str, what: str) -> DatasetError:
    return DatasetError(
        f"{_title(archive)}: expected plain files and folders, got {what}: {name!r}. "
        "Nothing was unpacked: do not trust this file, and check where it comes from."
    )


def _title(archive: object) -> str:
    """The file's name as its address has it: while it is downloaded it ends in .part."""
    return Path(str(archive)).name.removesuffix(".part")
