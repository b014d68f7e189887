"""What a transfer starts from, checked before anything slow: settings, categories, and supports that can be read.

Annotated images that cannot be read are no supports and are listed. The size of the others is read from their headers,
and the coordinates of their annotations are converted to the images' own pixels.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from semcorr.errors import ImageError, TransferError, suggest
from semcorr.imaging.geometry import scaled_box
from semcorr.imaging.image import image_size, load_image
from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.declared_size import declared_scale, swap_warning
from semcorr.settings import Settings
from semcorr.transfer.supports import Support, choose_supports, covered_note


@dataclass(frozen=True, kw_only=True)
class TransferSettings(Settings):
    """How points are carried over.

    Attributes:
        support: How many annotated objects of each category points are taken from, at most.
        margin: Room around a box, on every side, as a fraction of its longer side.
        categories: Only these; all that have points if empty.
        rescale: Whether coordinates are scaled where an image's size is not the one that the annotations declare;
            otherwise such an image is refused.
        redo_below: Predicted objects with a score below it, or without a score, are predicted again; None for none.
        fuse: What several annotated objects become: ``"vote"``, a query each, whose heat maps are fused in every
            target; ``"optimize"``, one query that is optimized over all of them, for methods that can
            (``capabilities.examples``).
    """

    support: Annotated[int, Field(ge=1)] = 5
    margin: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 0.2
    categories: tuple[str, ...] = ()
    rescale: bool = False
    redo_below: Annotated[float, Field(ge=0, le=1)] | None = None
    fuse: Literal["optimize", "vote"] = "vote"


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What points are carried over from.

    Attributes:
        supports: By category; their points and boxes are in pixels of the images themselves.
        unreadable: Annotated images that cannot be read, with error messages, by file.
        notes: What the user should know, a sentence each.
    """

    supports: Mapping[str, Sequence[Support]]
    unreadable: Mapping[str, str]
    notes: tuple[str, ...]


def plan_transfer(annotations: Annotations, settings: TransferSettings) -> Plan:
    """Choose supports among the annotated images that can be read.

    Raises:
        TransferError: A requested category is unknown; nothing is annotated; no annotated image can be read; an image
            has another size than the annotations declare, and ``settings.rescale`` is off.
    """
    requested = requested_categories(annotations, settings)
    readable, unreadable, swapped = _in_own_pixels(annotations, rescale=settings.rescale)
    known = dataclasses.replace(annotations, images=readable)
    supports: dict[str, Sequence[Support]] = {}
    lost: list[str] = []
    for name in requested:
        chosen = _readable_supports(known, annotations.categories[name], settings.support, unreadable)
        if chosen:
            supports[name] = chosen
        elif settings.categories or len(requested) == 1:
            raise _no_support(annotations, name, unreadable)
        else:
            lost.append(name)
    if not supports:
        raise _no_support(annotations, requested[0], unreadable)
    notes = [covered_note(known, annotations.categories[name]) for name in supports]
    notes += [f"{name!r} is left out: none of its annotated images can be read" for name in lost]
    if swapped:
        more = f" (and {len(swapped) - 1} more images like it)" if len(swapped) > 1 else ""
        notes.append(swapped[0] + more)
    return Plan(
        supports=supports,
        unreadable=unreadable,
        notes=(*annotations.notes, *(note for note in notes if note is not None)),
    )


def requested_categories(annotations: Annotations, settings: TransferSettings) -> list[str]:
    """The requested categories, each of which has points.

    Raises:
        TransferError: One is unknown, or has none.
    """
    objects = [instance for image in annotations.images for instance in image.instances]
    annotated = {instance.category for instance in objects if instance.annotated}
    predicted = sum(instance.predicted for instance in objects)
    for name in settings.categories:
        if name not in annotated:
            known = sorted(annotated)
            raise TransferError(
                f"Expected a category with annotated points, got {name!r}.{suggest(name, known)} There are: "
                f"{', '.join(known) or 'none'}."
            )
    if not annotated and predicted:
        raise TransferError(
            f"Expected at least one object whose key-points a person annotated or accepted in "
            f"{str(annotations.path)!r}, got none: its {predicted} objects with points are all marked as predicted. "
            'Check and accept some of them first (in COCO by "semcorr": {"predicted": true, "accepted": true}), or '
            "annotate a few images."
        )
    if not annotated:
        raise TransferError(
            f"Expected at least one object with annotated key-points in {str(annotations.path)!r}, got none: annotate "
            "a few images first."
        )
    return list(settings.categories) or [name for name in annotations.categories if name in annotated]


def _in_own_pixels(
    annotations: Annotations, *, rescale: bool
) -> tuple[list[AnnotatedImage], dict[str, str], list[str]]:
    """Annotated images in their own pixels, those that cannot be read with messages, and warnings of swapped sizes."""
    readable: list[AnnotatedImage] = []
    unreadable: dict[str, str] = {}
    swapped: list[str] = []
    for image in annotations.images:
        if not image.annotated:
            continue
        try:
            size = image_size(image.path)
        except ImageError as error:
            unreadable[image.file] = str(error)
            continue
        try:
            scale = declared_scale(image.file, image.size, size, rescale=rescale)
            marked = [one.points[one.visibility > MISSING] for one in image.instances if one.annotated]
            swap = swap_warning(image.file, image.size, size, np.concatenate(marked))
        except ImageError as error:
            raise TransferError(str(error)) from error
        if swap is not None:
            swapped.append(swap)
        instances = tuple(_scaled(instance, scale) for instance in image.instances)
        readable.append(dataclasses.replace(image, instances=instances, size=size))
    return readable, unreadable, swapped


def _scaled(instance: Instance, scale: tuple[float, float]) -> Instance:
    if scale == (1.0, 1.0):
        return instance
    return dataclasses.replace(instance, points=instance.points * scale, box=scaled_box(instance.box, scale))


def _readable_supports(
    known: Annotations, category: Category, most: int, unreadable: dict[str, str]
) -> Sequence[Support]:
    """Supports whose images can be decoded; others replace what cannot, which goes into ``unreadable``."""
    while True:
        left = [image for image in known.images if image.file not in unreadable]
        chosen = choose_supports(dataclasses.replace(known, images=left), category, most)
        messages = {support.image.file: _decoding_error(support.image.path) for support in chosen}
        broken = {file: message for file, message in messages.items() if message is not None}
        if not broken:
            return chosen
        unreadable |= broken


def _decoding_error(path: Path) -> str | None:
    """Why an image cannot be read, or None. A file that was cut short has a complete header."""
    try:
        load_image(path)
    except ImageError as error:
        return str(error)
    return None


def _no_support(annotations: Annotations, category: str, unreadable: Mapping[str, str]) -> TransferError:
    files = [
        image.file
        for image in annotations.images
        if any(instance.category == category and instance.annotated for instance in image.instances)
    ]
    more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
    return TransferError(
        f"Expected an annotated image of {category!r} that can be read, got none: {unreadable[files[0]]}{more} "
        "Points are carried over from annotated images: name their folder with --images."
    )
