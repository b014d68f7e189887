"""What is refused of a user, and how an uploaded file becomes an image."""

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from semcorr.errors import ImageError, SettingsError
from semcorr.imaging.image import Image, load_image

_DECODING = threading.Semaphore(2)
"""Images decoded at a time: decoding takes several times the memory of the result."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused, with a message.

    Attributes:
        megabytes: Size of one uploaded file, in millions of bytes.
        megapixels: Size of one image, in millions of pixels; read from its header before anything is decoded.
        targets: Targets of one workspace.
        points: Points of one source.
        waiting: Jobs in the queue, of all users together.
        sessions: Workspaces at a time; the one that was idle longest makes room.
        waiting_megabytes: Uploaded files that were not read yet, of all users together.
        held_megabytes: Images and maps in memory, of all users together.
        history_megabytes: Earlier states of one workspace, for undo; the oldest are forgotten.
        hours: Hours that a workspace is kept after its page was closed.
        letters: Letters of a prompt.
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
        """Size of one uploaded file, in bytes."""
        return int(self.megabytes * 1e6)


def read_upload(path: str, name: str, folder: Path, limits: Limits) -> Image:
    """Read an uploaded image, and remove its file.

    Args:
        path: Where the server stored it.
        name: Its name on the user's machine.
        folder: The only folder in which files are read and removed.
        limits: What is refused.

    Raises:
        ImageError: It is not an image, too large, or a file elsewhere.
    """
    file = Path(path).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise ImageError("Expected an image that was sent just now, got a file that was not. Send it again.")
    try:
        size = file.stat().st_size
        if size > limits.bytes:
            raise ImageError(
                f"{name!r} has {size / 1e6:.1f} MB, more than the {limits.megabytes:g} MB that are accepted here. "
                "Scale it down, or save it as JPEG."
            )
        with _DECODING:
            return _load(file, name, limits)
    finally:
        file.unlink(missing_ok=True)


def check_letters(prompt: str, limits: Limits) -> None:
    """Check that a prompt is not longer than anybody types.

    Raises:
        SettingsError: It is longer.
    """
    if len(prompt) > limits.letters:
        raise SettingsError(
            f"Expected a prompt of at most {limits.letters} letters, got {len(prompt)}. Make it shorter."
        )


def waiting_bytes(folder: Path) -> int:
    """Bytes of uploaded files that were not read yet."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # read and removed meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return total


def sweep(folder: Path, seconds: float = 600) -> None:
    """Remove uploaded files that are too old to be read any more: their page was closed before it could.

    Gradio's ``delete_cache`` removes such files as well, but leaves a folder behind for each.
    """
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # removed meanwhile
            if time.time() - file.stat().st_mtime <= seconds:
                continue
            if file.is_dir():
                file.rmdir()  # fails unless it is empty
            else:
                file.unlink(missing_ok=True)


def _load(file: Path, name: str, limits: Limits) -> Image:
    try:
        return load_image(file, name=name, max_megapixels=limits.megapixels)
    except ImageError as error:
        # The server's paths stay private, and the argument of a Python function helps no user of the page.
        message = str(error).replace(str(file), name).replace(", or raise max_megapixels", "")
        raise ImageError(message) from error
