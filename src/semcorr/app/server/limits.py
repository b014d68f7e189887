"""How much one user may ask for, and how a picture that was sent becomes one that can be used."""

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from semcorr.errors import ImageError, SettingsError
from semcorr.imaging.image import Image, load_image

_DECODING = threading.Semaphore(2)
"""Pictures that are decoded at a time: each takes several times what it holds."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused with a message.

    Attributes:
        megabytes: of one file that is sent, in millions of bytes.
        megapixels: of one picture, in millions; checked in its header, before anything is decoded.
        targets: pictures that are looked in at a time.
        points: points of a source.
        waiting: jobs that wait, of all users together.
        sessions: users at a time; the one that was idle longest makes room.
        waiting_megabytes: of files that were sent and not read yet, of all users together.
        held_megabytes: of pictures and maps in memory, of all users together.
        history_megabytes: Of one user's earlier states, which an undo leads to; the oldest are forgotten.
        hours: Hours that a workspace is kept after its page was closed.
        letters: of a prompt.
    """

    megabytes: float = 20.0
    megapixels: float = 25.0
    targets: int = 6
    points: int = 40
    waiting: int = 20
    sessions: int = 100
    waiting_megabytes: float = 1000.0
    held_megabytes: float = 4000.0
    history_megabytes: float = 500.0
    hours: float = 24.0
    letters: int = 1000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise SettingsError(f"Limit {name!r}: expected a positive number, got {value!r}.")

    @property
    def bytes(self) -> int:
        """Of one file that is sent."""
        return int(self.megabytes * 1e6)


def read_upload(path: str, name: str, folder: Path, limits: Limits) -> Image:
    """Read a picture that was sent, and remove its file.

    Args:
        path: where the server put it.
        name: what the user calls it.
        folder: the only folder that files are read from and removed in.
        limits: what is refused.

    Raises:
        ImageError: it is no picture, too large, or a file elsewhere.
    """
    file = Path(path).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise ImageError("Expected a picture that was sent just now, got a file that was not. Send it again.")
    try:
        size = file.stat().st_size
        if size > limits.bytes:
            raise ImageError(
                f"{name!r} has {size / 1e6:.1f} MB, more than the {limits.megabytes:g} MB that are taken here. Scale "
                "it down, or save it as JPEG."
            )
        with _DECODING:
            return _named(file, name, limits)
    finally:
        file.unlink(missing_ok=True)


def check_letters(prompt: str, limits: Limits) -> None:
    """Insist on a prompt of a length that somebody types.

    Raises:
        SettingsError: it is longer.
    """
    if len(prompt) > limits.letters:
        raise SettingsError(
            f"Expected a prompt of at most {limits.letters} letters, got {len(prompt)}. Make it shorter."
        )


def waiting_bytes(folder: Path) -> int:
    """Bytes of files that were sent and not read yet."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # read and removed meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return total


def sweep(folder: Path, seconds: float = 600) -> None:
    """Remove files that were sent so long ago that nobody will read them: their page was closed before it could."""
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # removed meanwhile
            if time.time() - file.stat().st_mtime <= seconds:
                continue
            if file.is_dir():
                file.rmdir()  # if nothing is in it
            else:
                file.unlink(missing_ok=True)


def _named(file: Path, name: str, limits: Limits) -> Image:
    try:
        return load_image(file, name=name, max_megapixels=limits.megapixels)
    except ImageError as error:
        # Where the server keeps its files is nobody's business, and the argument's name nobody's help.
        told = str(error).replace(str(file), name).replace(", or raise max_megapixels", "")
        raise ImageError(told) from error
