"""A data set's declared sizes compared with its images, and its coordinates brought into the images' own pixels."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from semcorr.datasets.base import Dataset, PairImage
from semcorr.errors import DatasetError, ImageError
from semcorr.imaging.image import image_size
from semcorr.keypoints.declared_size import declared_scale, declared_swap, reaches_outside, wrong_orientation


def measure(dataset: Dataset, *, rescale: bool = False) -> Dataset:
    """The data set with the sizes of its images, read from their headers; those that cannot be read stay as declared.

    Args:
        dataset: The pairs.
        rescale: Whether coordinates are scaled where an image has another size than is declared.

    Raises:
        DatasetError: An image has another size and ``rescale`` is off, or the coordinates are those of the image as it
            is stored and not as its EXIF orientation shows it.
    """
    sizes = _sizes(dataset)
    swapped: dict[Path, str] = {}
    pairs = []
    for pair in dataset.pairs:
        try:
            source, target = (_measured(dataset, side, sizes, swapped, rescale) for side in (pair.source, pair.target))
        except ImageError as error:
            raise DatasetError(str(error)) from error
        pairs.append(replace(pair, source=source, target=target))
    notes = dataset.notes
    if swapped:
        more = f" (and {len(swapped) - 1} more images like it)" if len(swapped) > 1 else ""
        notes = (*notes, next(iter(swapped.values())) + more)
    return replace(dataset, pairs=pairs, notes=notes)


def _sizes(dataset: Dataset) -> dict[Path, tuple[int, int]]:
    found: dict[Path, tuple[int, int]] = {}
    for path in {side.path for pair in dataset.pairs for side in (pair.source, pair.target)}:
        try:
            found[path] = image_size(path)
        except ImageError:
            continue  # A run says so of the pair, and data check counts them.
    return found


def _measured(
    dataset: Dataset,
    picture: PairImage,
    sizes: Mapping[Path, tuple[int, int]],
    swapped: dict[Path, str],
    rescale: bool,
) -> PairImage:
    actual = sizes.get(picture.path, picture.size)
    if actual == picture.size:
        return picture
    path = picture.path
    file = path.relative_to(dataset.root).as_posix() if path.is_relative_to(dataset.root) else str(path)
    x, y = declared_scale(file, picture.size, actual, rescale=rescale)
    box = picture.box and (picture.box[0] * x, picture.box[1] * y, picture.box[2] * x, picture.box[3] * y)
    points = picture.points * np.array([x, y])
    swap = declared_swap(file, picture.size, actual)
    if swap is not None:
        if reaches_outside(np.concatenate([points, np.reshape(box or (), (-1, 2))]), actual):
            raise ImageError(wrong_orientation(file, picture.size, actual))
        swapped[path] = swap
    return replace(picture, size=actual, points=points, box=box)
