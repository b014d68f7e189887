"""Images that are sent: read from their bytes, scaled down where they are large, and their two pixel frames.

Matching uses the *held* image. Whoever sends a larger one sees and gets points in the pixels of the *original*.
"""

import io
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from pathlib import PurePosixPath

import PIL.Image

from semcorr.app.limits import Limits
from semcorr.app.workspace import Point
from semcorr.errors import ImageError
from semcorr.imaging.image import Image, load_image, open_image, quiet
from semcorr.imaging.image_files import advice_on

SHOWN_SIDE = 2048
"""Pixels of the longer side of an image, or what lies over it, as the browser gets it."""
_LARGE = threading.Lock()
"""Held while an image is decoded that is scaled down after that: it takes several bytes a pixel, so one at a time."""
_MIXABLE = {"P": "RGBA", "PA": "RGBA", "1": "L"}
"""Modes whose values cannot be averaged, and what they become before."""
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_HEIC_SUFFIXES = (".heic", ".heif", ".hif")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_MOST_LETTERS = 150


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldImage(Image):
    """An image that was scaled down.

    Attributes:
        original: (width, height) before that.
    """

    original: tuple[int, int]


def original_size(image: Image) -> tuple[int, int]:
    """(width, height) of an image before it was scaled down."""
    return image.original if isinstance(image, HeldImage) else image.size


def to_original(image: Image, point: Point) -> Point:
    """A point of the held image, in pixels of the original."""
    return _scaled(point, image.size, original_size(image))


def to_held(image: Image, point: Point) -> Point:
    """A point in pixels of the original, in those of the held image."""
    return _scaled(point, original_size(image), image.size)


def _scaled(point: Point, before: tuple[int, int], after: tuple[int, int]) -> Point:
    # Exactly the same number where nothing was scaled: x * 3 / 3 need not be x.
    x, y = (value if old == new else value * new / old for value, old, new in zip(point, before, after, strict=True))
    return x, y


def read_upload(data: bytes, name: str, limits: Limits) -> Image:
    """Read an image that was sent.

    Args:
        data: The file's content.
        name: Its name on the user's machine.
        limits: What is refused, and from which size on it is scaled down.

    Raises:
        ImageError: It is no image that can be read, or too large.
    """
    name = file_name(name)
    if not data:
        raise ImageError(f"{name!r} is empty (0 bytes): choose it again.")
    if len(data) > limits.bytes:
        raise ImageError(
            f"{name!r} has {len(data) / 1e6:.1f} MB, more than the {limits.megabytes:g} MB that are accepted here. "
            "Scale it down, or save it as JPEG."
        )
    if _is_heic(data):
        raise ImageError(_heic(name))
    try:
        opened = open_image(io.BytesIO(data), name, limits.megapixels)
    except ImageError as error:
        raise _advised(name, error) from error
    with opened:
        width, height = opened.size
        if width * height > limits.megapixels * 1e6:
            raise ImageError(
                f"{name!r} is {width} x {height} pixels ({width * height / 1e6:.0f} megapixels), more than the "
                f"{limits.megapixels:g} megapixels that are accepted here. It was not decoded. Scale it down."
            )
        if width * height <= limits.held_megapixels * 1e6:
            return load_image(opened, name=name, max_megapixels=limits.megapixels)
        with _LARGE:
            return _scale(opened, name, limits)


def file_name(name: str) -> str:
    """The last part of a name, in one line: what shows where a file was on another machine is dropped."""
    last = PurePosixPath(_CONTROLS.sub("", name).replace("\\", "/")).name.strip()
    return last[-_MOST_LETTERS:] or "image"


def free_name(name: str, taken: Iterable[str]) -> str:
    """A file's name, with a number where another has it, in whatever case."""
    stem, suffix, count = PurePosixPath(name).stem, PurePosixPath(name).suffix, 1
    known = {other.casefold() for other in taken}
    while name.casefold() in known:
        count += 1
        name = f"{stem}-{count}{suffix}"
    return name


def _scale(opened: PIL.Image.Image, name: str, limits: Limits) -> Image:
    """Decode an image and scale it down to what is held."""
    before = opened.size
    share = sqrt(limits.held_megapixels * 1e6 / (before[0] * before[1]))
    after = (max(1, int(before[0] * share)), max(1, int(before[1] * share)))
    try:
        with quiet():
            opened.draft(None, after)  # of a JPEG, decodes a half, quarter or eighth
            mode = _MIXABLE.get(opened.mode)
            image = opened if mode is None else opened.convert(mode)
            # With a gap it is averaged first, which is fast; Pillow cannot average 16 bits.
            gap = None if image.mode.startswith("I") else 2.0
            image.thumbnail(after, PIL.Image.Resampling.LANCZOS, reducing_gap=gap)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # a broken file makes decoders raise all kinds of errors
        raise ImageError(f"{name!r} is broken or incomplete: {error}. Copy or download it again.") from error
    stored = image.size
    held = load_image(image, name=name, max_megapixels=limits.megapixels)
    turned = held.size != stored
    return HeldImage(pixels=held.pixels, name=name, original=(before[1], before[0]) if turned else before)


def _is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIC


def _heic(name: str) -> str:
    return (
        f"{name!r} is in the format HEIC, which is not read here. Export it as JPEG, or, for new photographs of an "
        "iPhone, choose Settings > Camera > Formats > Most Compatible."
    )


def _advised(name: str, error: ImageError) -> ImageError:
    """The error about a file that is not read, with what to do about its format where that is known."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _HEIC_SUFFIXES:
        return ImageError(_heic(name))
    advice = advice_on(suffix)
    return ImageError(f"{name!r} is an image of a format that is not read here. {advice}.") if advice else error
