"""A data set's declared sizes compared with its images, and its coordinates scaled to the images' own pixels."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from semcorr.datasets.base import Dataset, PairImage
from semcorr.errors import DatasetError, ImageError
from semcorr.imaging.geometry import scaled_box
from semcorr.imaging.image import image_size
from semcorr.keypoints.declared_size import declared_scale, swap_warning


def with_actual_sizes(dataset: Dataset, *, rescale: bool = False) -> Dataset:
    """The data set with its images' own sizes, from their headers; those that cannot be read keep the declared one.

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
            source, target = (
                _with_actual_size(dataset, side, sizes, swapped, rescale) for side in (pair.source, pair.target)
            )
        except ImageError as error:
            raise DatasetError(str(error)) from error
        pairs.append(replace(pair, source=source, target=target))
    notes = dataset.notes
    if swapped:
        more = f" (and {len(swapped) - 1} more images like it)" if len(swapped) > 1 else ""
        notes = (*notes, next(iter(swapped.values())) + more)
    return replace(dataset, pairs=pairs, notes=notes)


def _sizes(dataset: Dataset) -> dict[Path, tuple[int, int]]:
    sizes: dict[Path, tuple[int, int]] = {}
    for path in {side.path for pair in dataset.pairs for side in (pair.source, pair.target)}:
        try:
            sizes[path] = image_size(path)
        except ImageError:
            continue  # A run reports it for the pair, and data check counts them.
    return sizes


def _with_actual_size(
    dataset: Dataset,
    image: PairImage,
    sizes: Mapping[Path, tuple[int, int]],
    swapped: dict[Path, str],
    rescale: bool,
) -> PairImage:
    path = image.path
    actual = sizes.get(path, image.size)
    if actual == image.size:
        return image
    file = path.relative_to(dataset.root).as_posix() if path.is_relative_to(dataset.root) else str(path)
    x, y = declared_scale(file, image.size, actual, rescale=rescale)
    box = scaled_box(image.box, (x, y))
    points = image.points * np.array([x, y])
    swap = swap_warning(file, image.size, actual, np.concatenate([points, np.reshape(box or (), (-1, 2))]))
    if swap is not None:
        swapped[path] = swap
    unmatched = {name: (px * x, py * y) for name, (px, py) in image.unmatched.items()}
    return replace(image, size=actual, points=points, box=box, unmatched=unmatched)
