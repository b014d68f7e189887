"""The examples that a person gives: images, and a mask of each, from files or arrays."""

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from semcorr.errors import ImageError
from semcorr.imaging.image import Image, ImageSource, load_image
from semcorr.imaging.label_map import LabelMap
from semcorr.keypoints.coco.masks import read_label_map

MaskSource = str | os.PathLike[str] | np.ndarray | LabelMap
"""What a mask can be given as: a PNG of labels, a COCO .json, an array of labels, or a label map."""

Example = tuple[Image, LabelMap]


def read_examples(
    images: "ImageSource | Sequence[ImageSource]",
    masks: "MaskSource | Sequence[MaskSource]",
    *,
    ignore: Collection[int] = (),
) -> tuple[list[Example], dict[int, str]]:
    """Read a few images and the mask of each; return them and the name of every label.

    Args:
        images: One image, or a list of some.
        masks: As many masks.
        ignore: Labels whose pixels are neither a region nor the background, besides those that the masks ignore.

    Raises:
        ImageError: An image or a mask cannot be used, a mask does not fit its image, the same label has different
            names, or no mask has a label that is to be ignored.
        DatasetError: A COCO file cannot be used.
    """
    all_images: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
    all_masks: list[Any] = list(masks) if isinstance(masks, list | tuple) else [masks]
    if len(all_images) != len(all_masks) or not all_images:
        raise ImageError(
            f"Expected a mask for each of at least one image, got {len(all_images)} images and {len(all_masks)} masks."
        )
    examples, names, ignored = [], dict[int, str](), set[int]()
    for source, mask in zip(all_images, all_masks, strict=True):
        image = load_image(source)
        label_map = _read(mask, source, image).ignoring(ignore)
        ignored.update(label_map.ignored)
        label_map.check(image.size, name=f"The mask {_called(mask)}", image=f"its image {image.name!r}")
        for label in label_map.present:
            name = label_map.name(label)
            if names.setdefault(label, name) != name:
                raise ImageError(
                    f"Label {label} is {names[label]!r} in one mask and {name!r} in {_called(mask)}. Expected labels "
                    "that mean the same in all masks: give each region one number."
                )
        examples.append((image, label_map))
    unknown = sorted(set(ignore) - ignored)
    if unknown:
        values = sorted({value for _, one in examples for value in np.unique(one.labels).tolist()})
        raise ImageError(
            f"Expected labels to ignore that a mask has, {', '.join(map(str, values))}, got {unknown[0]}. Leave it out."
        )
    return examples, dict(sorted(names.items()))


def named(
    examples: list[Example], known: Mapping[int, str], given: Mapping[int, str]
) -> tuple[list[Example], dict[int, str]]:
    """Return examples with the names that a person gave, if any, and the name of every label.

    Args:
        examples: What :func:`read_examples` returned.
        known: The names that it returned.
        given: Names by label; empty for the masks' own.

    Raises:
        ImageError: A mask has a label without a name, or no mask has a label that has one.
    """
    if not given:
        return examples, dict(known)
    unknown, missing = sorted(known.keys() - given), sorted(given.keys() - known)
    if unknown:
        raise ImageError(
            f"The masks have labels without a name: {', '.join(map(str, unknown))}. Expected the labels "
            f"{', '.join(map(str, sorted(given)))} alone: name all, or correct the masks."
        )
    if missing:
        raise ImageError(
            f"No mask has a label {missing[0]} ({given[missing[0]]!r}). Expected names of the masks' own labels: "
            f"{', '.join(map(str, known))}."
        )
    names = {label: given[label] for label in known}
    return [(image, dataclasses.replace(one, names=names)) for image, one in examples], names


def one_hot(label_map: LabelMap, labels: Sequence[int]) -> UInt8[np.ndarray, "labels height width"]:
    """Return a mask of the background and of each of ``labels``, as 0 and 1; ignored pixels are in none."""
    known = ~np.isin(label_map.labels, label_map.ignored)
    return np.stack([(label_map.labels == label) & known for label in (0, *labels)]).astype(np.uint8)


def _read(mask: MaskSource, source: ImageSource, image: Image) -> LabelMap:
    if isinstance(mask, LabelMap):
        return mask
    if isinstance(mask, np.ndarray):
        return LabelMap.from_array(mask)
    if Path(mask).suffix.lower() == ".json":
        name = os.fspath(source) if isinstance(source, str | os.PathLike) else image.name
        return read_label_map(Path(mask), name, image.size)
    return LabelMap.load(mask)


def _called(mask: MaskSource) -> str:
    return repr(os.fspath(mask)) if isinstance(mask, str | os.PathLike) else "that was given"
