"""The size that an annotation file declares for an image, compared with the image's own."""

import numpy as np
from jaxtyping import Bool, Float

from semcorr.errors import ImageError
from semcorr.imaging.image import image_size
from semcorr.keypoints.base import AnnotatedImage


def declared_scale(
    file: str, declared: tuple[int, int] | None, actual: tuple[int, int], *, rescale: bool = False
) -> tuple[float, float]:
    """Factors (x, y) from coordinates in the declared frame to the image's own pixels.

    Some exporters swap width and height of photographs that EXIF turns by 90 degrees, and keep upright coordinates: a
    swap alone gives (1, 1), and :func:`swap_warning` says so.

    Args:
        file: The image's name, for the message.
        declared: The (width, height) that an annotation file declares, or None.
        actual: The image's own (width, height), upright.
        rescale: Whether coordinates may be scaled where the sizes differ.

    Raises:
        ImageError: The sizes differ, and ``rescale`` is off or the aspect ratios differ by more than rounding explains.
    """
    if declared is None or declared in (actual, actual[::-1]):
        return 1.0, 1.0
    x, y = actual[0] / declared[0], actual[1] / declared[1]
    # Reduced sizes are rounded to whole pixels: each side may be off by one.
    fits = abs(declared[0] * actual[1] - declared[1] * actual[0]) <= max(*declared, *actual)
    sizes = f"{declared[0]} x {declared[1]} pixels, and the file {file!r} has {actual[0]} x {actual[1]}"
    if not fits:
        raise ImageError(
            f"The annotations declare {sizes}: another aspect ratio, so it is a cropped, padded or other image. Name "
            "the folder of the images that were annotated."
        )
    if not rescale:
        raise ImageError(
            f"The annotations declare {sizes}: coordinates of one are wrong in the other. Name the folder of the "
            "images that were annotated, or scale the coordinates with --rescale."
        )
    return x, y


def coordinate_frame(image: AnnotatedImage) -> tuple[int, int] | None:
    """The (width, height) of the frame that an image's coordinates are in; None if it is unknown."""
    try:
        actual = image_size(image.path)
    except ImageError:
        return image.size
    return actual if image.size in (None, actual[::-1]) else image.size


def swap_warning(
    file: str, declared: tuple[int, int] | None, actual: tuple[int, int], points: Float[np.ndarray, "points 2"]
) -> str | None:
    """A warning if the declared width and height are the image's own, swapped; else None.

    Args:
        file: The image's name, for the message.
        declared: The (width, height) that an annotation file declares, or None.
        actual: The image's own (width, height), upright.
        points: (x, y) of key-points and corners of boxes, in the image's own pixels; NaN for missing ones.

    Raises:
        ImageError: They are swapped and a point lies outside the upright image: the coordinates are those of the image
            as it is stored.
    """
    if declared is None or declared == actual or declared != actual[::-1]:
        return None
    if outside(points, actual).any():
        raise ImageError(_wrong_orientation(file, declared, actual))
    return (
        f"{file!r} is {actual[0]} x {actual[1]} pixels upright, and the annotations declare {declared[0]} x "
        f"{declared[1]}: its EXIF orientation was probably ignored for the size. Coordinates are taken as upright; if "
        "points come out turned, export them again from a tool that applies EXIF orientation"
    )


def outside(points: Float[np.ndarray, "points 2"], size: tuple[int, int]) -> Bool[np.ndarray, " points"]:
    """Which points lie outside an image of (width, height) by more than rounding explains; NaN does not."""
    return np.any((points < -1) | (points > np.array(size) + 1), axis=1)


def _wrong_orientation(file: str, declared: tuple[int, int], actual: tuple[int, int]) -> str:
    """What is wrong and what to do where coordinates are those of an image that its EXIF orientation turns."""
    return (
        f"{file!r} is {actual[0]} x {actual[1]} pixels upright, as its EXIF orientation says; the annotations declare "
        f"{declared[0]} x {declared[1]}, and reach outside the upright image: their coordinates are those of the image "
        "as it is stored. Export them again from a tool that applies EXIF orientation, or annotate and name copies "
        "without it."
    )
