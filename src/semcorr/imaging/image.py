"""Read images of any source into one form: upright 8-bit RGB."""

import contextlib
import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import PIL.Image
import PIL.ImageOps
from jaxtyping import Float, UInt8
from PIL.PngImagePlugin import PngInfo

from semcorr.errors import ImageError, SemcorrError, suggest
from semcorr.imaging.png_chunks import without_odd_chunks
from semcorr.storage.files import atomic_file

if TYPE_CHECKING:
    from torch import Tensor
else:
    # Files of images are read without PyTorch, whose import takes longer than all else; it is imported where it works.
    Tensor = Any

MAX_MEGAPIXELS = 100.0
MIN_SIDE = 2
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""The decoders of Pillow that are used; some others pass files on to other programs, most are hardly used."""

_ORIENTATION = 0x0112
_SIDEWAYS = range(5, 9)
"""The EXIF orientations that swap width and height."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """An upright RGB image.

    Attributes:
        pixels: A read-only ``uint8`` array (height, width, 3).
        name: Name of the image in messages and figures only.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    name: str = "image"

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            got = f"{self.pixels.dtype} {self.pixels.shape}"
            raise ImageError(f"Image pixels must be uint8 (height, width, 3), got {got}. Use load_image() to convert.")
        height, width = self.pixels.shape[:2]
        if min(width, height) < MIN_SIDE:
            raise ImageError(
                f"{self.name!r} is {width} x {height} pixels; every side must have at least {MIN_SIDE} pixels. "
                "There is nothing to match in it: use another image."
            )
        # A private copy: a caller who draws into their array later must not change the pixels that were hashed.
        pixels = np.array(self.pixels, order="C", copy=True)
        pixels.flags.writeable = False
        object.__setattr__(self, "pixels", pixels)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = self.pixels.shape[:2]
        return width, height

    @cached_property
    def sha256(self) -> str:
        """Hash of the size and the pixels, independent of the file or array that they came from."""
        digest = hashlib.sha256(f"rgb8 {self.size[0]}x{self.size[1]}\n".encode())
        digest.update(self.pixels.data)
        return digest.hexdigest()

    def tensor(self) -> Float[Tensor, "3 height width"]:
        """Return the pixels as float32 in [0, 1], channels first."""
        import torch

        return torch.from_numpy(self.pixels.copy()).permute(2, 0, 1).contiguous().to(torch.float32) / 255

    def pil(self) -> PIL.Image.Image:
        """Return the pixels as a Pillow image of mode RGB."""
        return PIL.Image.fromarray(self.pixels)


ImageSource = str | os.PathLike[str] | PIL.Image.Image | np.ndarray | Tensor | Image
"""What an image can be given as. Public signatures quote it, as they do ArrayLike, so that ``help`` shows its name."""


def load_image(source: "ImageSource", *, name: str | None = None, max_megapixels: float = MAX_MEGAPIXELS) -> Image:
    """Read an image from a file, a Pillow image, an array or a tensor.

    Files and Pillow images are turned upright (EXIF orientation), composited on white where they are transparent, and
    reduced to 8 bits; of an animation the first frame is taken; colour profiles are not applied.

    Args:
        source: A path; a Pillow image; an array (height, width), (height, width, 1), (height, width, 3) or (height,
            width, 4); or a tensor (1, height, width), (3, height, width) or (4, height, width). Arrays and tensors hold
            uint8, uint16 or floats in [0, 1].
        name: Name of the image in messages, by default the file's name.
        max_megapixels: Files and Pillow images of more pixels are refused by their header, before they are decoded.

    Raises:
        ImageError: The source cannot be read or is less than two pixels wide or high.
    """
    if isinstance(source, Image):
        return source
    if hasattr(source, "new_tensor"):
        return Image(pixels=_from_tensor(cast("Tensor", source)), name=name or "image")
    if isinstance(source, np.ndarray):
        return Image(pixels=_from_array(source), name=name or "image")
    if isinstance(source, PIL.Image.Image):
        label = name or Path(str(getattr(source, "filename", "") or "image")).name
        return Image(pixels=_from_pil(source, label, max_megapixels), name=label)
    if isinstance(source, str | os.PathLike):
        return _from_file(os.fspath(source), name, max_megapixels)
    raise ImageError(
        f"An image must be a path, a Pillow image, a NumPy array or a torch tensor, got {type(source).__name__}."
    )


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return (width, height) in pixels of the image that :func:`load_image` makes of a file, from its header alone.

    Raises:
        ImageError: The file is missing or its header is broken; damage after the header is not noticed.
    """
    with opened(os.fspath(path), np.inf) as image:
        width, height = image.size
        return (height, width) if _is_stored_sideways(image, Path(path)) else (width, height)


def save_image(
    image: PIL.Image.Image, path: Path, *, error: type[SemcorrError] = SemcorrError, pnginfo: PngInfo | None = None
) -> Path:
    """Write a PNG whole or not at all, its folder included, and return its path.

    Args:
        image: What to write.
        path: Where to.
        error: The class of the error where it cannot be written.
        pnginfo: Text to write with it.

    Raises:
        SemcorrError: The folder or the file cannot be written; it is of the class ``error``.
    """
    try:
        with atomic_file(path) as stream:
            image.save(stream, format="PNG", pnginfo=pnginfo)
    except OSError as cause:
        advice = "Name a folder that can be written and has room."
        raise error(f"{str(path)!r} cannot be written: {cause.strerror or cause}. {advice}") from cause
    return path


def png(image: PIL.Image.Image) -> bytes:
    """An image packed as PNG, fast rather than small."""
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def _is_stored_sideways(image: PIL.Image.Image, path: Path) -> bool:
    """Whether an image, opened but not decoded, must be turned by 90 degrees."""
    try:
        with quiet():
            if image.format == "PNG" and not _has_late_metadata(path):
                # PNG's own getexif decodes all pixels, in case a chunk follows them.
                orientation = PIL.Image.Image.getexif(image).get(_ORIENTATION)
            else:
                orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # As in _upright.
        return False
    # Pillow already gives the size of a TIFF after turning it by its own tag.
    turned = getattr(image, "tag_v2", {}).get(_ORIENTATION) in _SIDEWAYS
    return orientation in _SIDEWAYS and not turned


def _has_late_metadata(path: Path) -> bool:
    """Whether a PNG holds EXIF or text after its pixels."""
    after_pixels = False
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            kind = head[4:]
            if after_pixels and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            after_pixels = after_pixels or kind == b"IDAT"
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    return False


def _from_file(path: str, name: str | None, max_megapixels: float) -> Image:
    with opened(path, max_megapixels) as image:
        return Image(pixels=_from_pil(image, path, max_megapixels), name=name or Path(path).name)


@contextlib.contextmanager
def opened(path: str, max_megapixels: float = MAX_MEGAPIXELS) -> Iterator[PIL.Image.Image]:
    """Open an image file of a supported format, by its header alone.

    Raises:
        ImageError: It is missing, empty, cannot be read, or is no image; see :func:`open_image`.
    """
    if "://" in path:
        raise ImageError(f"{path!r} is a URL, but images are read from files only: download it first.")
    file = Path(path)
    try:
        if file.is_dir():
            raise ImageError(f"{path!r} is a folder, expected an image file: name one of the images in it.")
        if not file.exists():
            raise ImageError(f"There is no file {path!r}.{suggest(file.name, _siblings(file))} Check the path.")
        if file.stat().st_size == 0:
            raise ImageError(f"{path!r} is empty (0 bytes): copy or download it again.")
        with file.open("rb") as stream, open_image(stream, path, max_megapixels) as image:
            yield image
    except OSError as error:  # No permission, a name too long for the file system, a disk that fails.
        raise ImageError(f"{path!r} cannot be read: {error}.") from error


def _siblings(file: Path) -> Iterable[str]:
    return [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []


def known_formats() -> list[str]:
    """Return those of :data:`FORMATS` that this build of Pillow supports."""
    PIL.Image.init()
    return [name for name in FORMATS if name in PIL.Image.OPEN]


def open_image(stream: BufferedIOBase, path: str, max_megapixels: float) -> PIL.Image.Image:
    """Open an image of a supported format from bytes, by its header alone; :func:`load_image` decodes it.

    Args:
        stream: The bytes.
        path: What messages call it.
        max_megapixels: The limit that a message about Pillow's own one names beside it.

    Raises:
        ImageError: It is none, its header is broken, or it has more pixels than Pillow accepts.
    """
    try:
        with quiet():
            return PIL.Image.open(without_odd_chunks(stream), formats=known_formats())  # type: ignore[arg-type]
    except PIL.Image.DecompressionBombError as error:
        pillow = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise ImageError(
            f"{path!r} claims more pixels than are accepted ({max_megapixels:g} megapixels here, {pillow:.0f} in "
            f"Pillow itself): {error}. It was not decoded. Scale it down first."
        ) from error
    except PIL.UnidentifiedImageError as error:
        raise ImageError(
            f"{path!r} is not an image file of a supported format ({', '.join(FORMATS)}): save it as PNG or JPEG."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # A broken header makes decoders raise all kinds of errors.
        raise ImageError(f"{path!r} is broken: {error}. Copy or download it again.") from error


def check_megapixels(image: PIL.Image.Image, label: str, max_megapixels: float) -> None:
    """Refuse an image by its header, before it is decoded; ``label`` is what the message calls it.

    Raises:
        ImageError: It has more pixels.
    """
    width, height = image.size
    if width * height > max_megapixels * 1e6:
        raise ImageError(
            f"{label!r} is {width} x {height} pixels ({width * height / 1e6:.0f} megapixels), more than the limit of "
            f"{max_megapixels:g} megapixels. It was not decoded. Scale it down first, or raise max_megapixels."
        )


def _from_pil(image: PIL.Image.Image, label: str, max_megapixels: float) -> UInt8[np.ndarray, "height width 3"]:
    check_megapixels(image, label, max_megapixels)
    try:
        with quiet():
            image.load()
            return _to_rgb(_upright(image), label)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # As above: a broken file makes decoders raise all kinds of errors.
        raise ImageError(f"{label!r} is broken or incomplete: {error}. Copy or download it again.") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings.

    It warns about more than 89 megapixels, where our own limit decides, and about anything odd in a header.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _upright(image: PIL.Image.Image) -> PIL.Image.Image:
    try:
        return PIL.ImageOps.exif_transpose(image)
    except Exception:  # Like viewers, keep an image with a garbled EXIF block as it is stored.
        return image


def _to_rgb(image: PIL.Image.Image, label: str) -> UInt8[np.ndarray, "height width 3"]:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(
                f"{label!r} holds integers from {values.min()} to {values.max()}; they are read as 16-bit, 0 to "
                "65535. Rescale them first."
            )
        return _from_array(values.astype(np.uint16), label)
    if image.mode == "F":
        return _from_array(np.asarray(image), label)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(image.convert("RGB"))


def _from_tensor(tensor: Tensor) -> UInt8[np.ndarray, "height width 3"]:
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4):
        raise ImageError(
            f"A tensor image must be (channels, height, width) with 1, 3 or 4 channels, got {tuple(tensor.shape)}."
            + (" Its channels are last: permute(2, 0, 1)." if tensor.ndim == 3 and tensor.shape[2] in (1, 3, 4) else "")
        )
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point() and tensor.itemsize == 2:  # NumPy has no bfloat16
        tensor = tensor.float()
    return _from_array(tensor.permute(1, 2, 0).numpy())


def _from_array(array: np.ndarray, label: str = "image") -> UInt8[np.ndarray, "height width 3"]:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ImageError(
            f"An array image must be (height, width) or (height, width, 1, 3 or 4), got {array.shape}."
            + (" Its channels are first: move them last." if array.ndim == 3 and array.shape[0] in (1, 3, 4) else "")
        )
    if min(array.shape[:2]) == 0:
        raise ImageError(f"{label!r} has no pixels: its shape is {array.shape}.")
    if array.dtype == np.uint8 and array.shape[2] == 3:
        return array
    unit = _unit_range(array, label)
    colour = unit[..., :3]
    if array.shape[2] == 4:
        alpha = unit[..., 3:]
        colour = colour * alpha + (1 - alpha)
    # Round half up, so that 8-bit values are unchanged and 16-bit ones go to the nearest.
    rgb = np.floor(colour * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return np.broadcast_to(rgb, (*rgb.shape[:2], 3))


def _unit_range(array: np.ndarray, label: str) -> Float[np.ndarray, "height width channels"]:
    if array.dtype in (np.uint8, np.uint16):
        return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"{label!r} holds {array.dtype}; pass uint8 (0 to 255), uint16 or floats in [0, 1].")
    # The tolerance is for the rounding of resized float images; it is a fortieth of one 8-bit step.
    if not (array.min() >= -1e-4 and array.max() <= 1 + 1e-4):
        raise ImageError(
            f"{label!r} holds floats from {array.min():g} to {array.max():g}; they must be finite and in [0, 1]. "
            "Divide by 255, or pass uint8."
        )
    return np.clip(array.astype(np.float32), 0, 1)
