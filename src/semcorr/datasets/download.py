"""Downloading a benchmark: resumed where it was cut off, verified, and unpacked as a whole or not at all."""

import contextlib
import hashlib
import http.client
import re
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from semcorr.datasets.archive import unpack
from semcorr.datasets.benchmark import Source
from semcorr.datasets.registry import find
from semcorr.errors import DatasetError
from semcorr.progress import Progress

_CHUNK = 1 << 18
_PATIENCE = 60.0
"""Seconds without a byte after which a connection counts as cut."""

_OK, _PARTIAL, _BEYOND = 200, 206, 416


def download(
    name: str,
    to: Path,
    *,
    sources: Sequence[Source] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a benchmark into a folder of its own below ``to``, and return that folder.

    A download that was cut off is kept as ``<file>.part`` and continues; any other failure leaves nothing behind. The
    benchmark's folder appears when it is complete.

    Args:
        name: The benchmark.
        to: The folder that data is kept in.
        sources: The files to download, if not from the benchmark's own addresses.
        progress: Called as ``("download", bytes done, bytes in all, file=name)`` and ``("unpack", ...)``.

    Raises:
        DatasetError: There is no address, the folder exists already, or the download is cut off, refused or broken.
    """
    benchmark = find(name)
    sources = benchmark.sources if sources is None else sources
    if not sources:
        raise DatasetError(
            f"{benchmark.title} has no address to download it from here. It comes from: {benchmark.origin}."
        )
    folder = to / benchmark.folder
    if folder.exists():
        raise DatasetError(
            f"{str(folder)!r} is there already. See whether it is whole: semcorr data check {name} {folder}. "
            "Remove it to download it again."
        )
    is_new = not to.exists()
    try:
        to.mkdir(parents=True, exist_ok=True)
        files = [fetch(source, to, progress=progress) for source in sources]
        with _removed(files):
            _put_together(sources, files, folder, progress)
    except OSError as error:
        raise DatasetError(
            f"{benchmark.title} cannot be written into {str(to)!r}: {error.strerror or error}. "
            "Name a folder that can be written and has room; a download continues."
        ) from error
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # as long as anything is in it
                to.rmdir()
    return folder


def fetch(source: Source, to: Path, *, progress: Progress | None = None) -> Path:
    """Download one file into ``to``, verify it, and return its path, which ends in ``.part`` still.

    Raises:
        DatasetError: It is out of reach, cut off (then the part is kept), or of the wrong size or checksum.
    """
    if not source.url.startswith(("https://", "http://")):
        raise DatasetError(f"Expected an address that begins with https:// or http://, got {source.url!r}.")
    part = to / f"{source.file}.part"
    try:
        _receive(source, part, progress)
    except urllib.error.HTTPError as error:
        error.close()
        raise DatasetError(
            f"{source.url} answered {error.code} {error.reason}. The address may have changed: "
            "see the benchmark's own page."
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error
        raise DatasetError(f"{source.url} is out of reach: {reason}. The same command continues later.") from error
    _verify(source, part)
    return part


def _receive(source: Source, part: Path, progress: Progress | None) -> None:
    """Complete the part to the size that the server declares for the whole file."""
    received = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(source.url, headers={"User-Agent": "semcorr"})  # noqa: S310  # checked in fetch
    if received:
        request.add_header("Range", f"bytes={received}-")
    try:
        answer = urllib.request.urlopen(request, timeout=_PATIENCE)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code != _BEYOND or not received:
            raise
        error.close()
        if _whole_size(error.headers.get("Content-Range")) == received:
            return  # the last run stopped between the last byte and unpacking
        part.unlink()
        _receive(source, part, progress)
        return
    with answer:
        start, whole = _span(answer, received)
        with part.open("r+b" if start else "wb") as out:
            out.seek(start)
            done = start
            while chunk := answer.read(_CHUNK):
                out.write(chunk)
                done += len(chunk)
                if progress:
                    progress("download", done, max(whole or source.size or done, done), file=source.file)
    if whole is not None and done < whole:
        raise DatasetError(
            f"{source.url} was cut off after {done} of {whole} bytes. They stay in {str(part)!r}: "
            "the same command continues from there."
        )


def _span(answer: http.client.HTTPResponse, received: int) -> tuple[int, int | None]:
    """The position of the answer's first byte, and the size of the whole file, where the server declares it."""
    if answer.status == _PARTIAL:
        described = answer.headers.get("Content-Range", "")
        begins = re.match(r"bytes (\d+)-", described)
        if begins and int(begins[1]) == received:
            return received, _whole_size(described)
        raise http.client.HTTPException(f"requested the bytes from {received}, got {described!r}")
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _whole_size(described: str | None) -> int | None:
    size = re.search(r"/(\d+)$", described or "")
    return int(size[1]) if size else None


def _verify(source: Source, part: Path) -> None:
    """Compare a complete file with what is known of it, and remove it if it differs."""
    size = part.stat().st_size
    got = None
    if source.size is not None and size != source.size:
        got = f"expected {source.size} bytes, got {size}"
    elif source.md5 is not None:
        with part.open("rb") as stream:
            # Against accidents, not against attackers: it is the sum that is published.
            digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != source.md5:
            got = f"expected MD5 {source.md5}, got {digest}"
    if got is not None:
        part.unlink()
        raise DatasetError(
            f"{source.url}: {got}. The file was removed. Try again; if this repeats, the file there has changed."
        )


@contextlib.contextmanager
def _removed(files: Sequence[Path]) -> Iterator[None]:
    """Remove downloaded files when they are unpacked or refused; but not when they merely could not be written out."""
    try:
        yield
    except (OSError, KeyboardInterrupt):
        raise
    except BaseException:
        _remove(files)
        raise
    _remove(files)


def _remove(files: Sequence[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _put_together(sources: Sequence[Source], files: Sequence[Path], folder: Path, progress: Progress | None) -> None:
    """Unpack everything beside the final folder and rename it there, or leave nothing."""
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        whole = temporary / "whole"
        whole.mkdir()
        for source, file in zip(sources, files, strict=True):
            if source.inside is None:
                shutil.copyfile(file, whole / source.file)
                continue
            unpacked = temporary / "unpacked"
            unpacked.mkdir()
            unpack(file, unpacked, progress=progress)
            inside = unpacked / source.inside
            if not inside.is_dir():
                got = ", ".join(sorted(entry.name for entry in unpacked.iterdir())[:5]) or "nothing"
                raise DatasetError(f"{source.file}: expected the folder {source.inside!r} in it, got {got}.")
            for entry in inside.iterdir():
                entry.rename(whole / entry.name)
            shutil.rmtree(unpacked)
        whole.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
