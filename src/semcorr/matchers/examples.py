"""Several images that show the same points, checked before they are described together."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from semcorr.errors import PointError
from semcorr.imaging.geometry import PointsLike, check_points
from semcorr.imaging.image import Image, ImageSource, load_image


def check_examples(
    image: "ImageSource | Sequence[ImageSource]", points: PointsLike
) -> tuple[list[Image], Float[np.ndarray, "examples points 2"]]:
    """Return the images, and their points in their own pixels: NaN where an image does not show a point.

    Args:
        image: One image, or a list of several.
        points: Points of the one image; or for a list of images a list with the points of each.

    Raises:
        ImageError: An image cannot be used.
        PointError: As :meth:`semcorr.Matcher.describe`.
    """
    if not isinstance(image, list | tuple):
        one = load_image(cast("ImageSource", image))
        return [one], check_points(points, one.size)[None]
    if not image:
        raise PointError("Expected at least one image to describe points of, got an empty list.")
    each: Sequence[Any] = cast("Sequence[Any]", points) if hasattr(points, "__len__") else ()
    count = len(each)
    if count != len(image):
        raise PointError(
            f"Expected a list of points for each of the {len(image)} images, got {count}: the points of each image as "
            "(x, y) pairs, NaN or None for a point that it does not show."
        )
    images = [load_image(one) for one in image]
    checked = [
        _shown_points(own, one, f"example {number}, {one.name}")
        for number, (one, own) in enumerate(zip(images, each, strict=True), start=1)
    ]
    lengths = [len(own) for own in checked]
    if len(set(lengths)) > 1:
        raise PointError(
            f"Expected the same points in every example, got {', '.join(map(str, lengths))} points. The same index is "
            "the same point; write NaN or None where an example does not show it."
        )
    result = np.stack(checked)
    nowhere = np.flatnonzero(np.isnan(result[..., 0]).all(axis=0))
    if len(nowhere):
        raise PointError(f"Point {nowhere[0] + 1} is in none of the {len(images)} examples: leave it out.")
    return images, result


def _shown_points(points: PointsLike, image: Image, name: str) -> Float[np.ndarray, "points 2"]:
    """The points of one example, NaN where it does not show one."""
    given = [(np.nan, np.nan) if one is None else one for one in points] if isinstance(points, list | tuple) else points
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PointError(
            f"The points of {name}: expected a list of (x, y) pairs, got {points!r:.200}: {error}."
        ) from error
    if array.ndim == 2 and array.shape[1] == 2:
        missing = np.asarray(np.isnan(array).all(axis=1))
        if len(array) and missing.all():
            raise PointError(f"Expected at least one point in {name}, got none: leave this image out.")
        # Checked at the corner, which every image has.
        check_points(np.where(missing[:, None], 0.0, array), image.size, image=name)
        return array
    try:
        return check_points(array, image.size, image=name)
    except PointError as error:
        raise PointError(f"The points of {name}: {error}") from error
