"""One entry of the list that a check makes."""

from dataclasses import dataclass
from typing import Literal

from semcorr.keypoints.base import AnnotatedImage, Instance

Kind = Literal["order", "outside", "size", "duplicate", "tiny", "visibility", "box", "exchanged", "far"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is suspicious about a file, an image or an object.

    Attributes:
        kind: What was checked.
        suspicion: In (0, 1]: 1 is certainly wrong. For geometry 1 less the part of the deviation that is usual.
        reason: In words, a sentence without a full stop.
        file: The image's name in the annotations; None where it is about a category.
        category: Its name, or None.
        id: The object's id in the file, or None.
        position: The object's number in the image, from 0; None where it is about all of it.
        keypoints: The names of the key-points that it is about.
        exchange: Where another order of the points explains it: by key-point, the number of that whose location it
            should have. Empty otherwise.
    """

    kind: Kind
    suspicion: float
    reason: str
    file: str | None = None
    category: str | None = None
    id: int | str | None = None
    position: int | None = None
    keypoints: tuple[str, ...] = ()
    exchange: tuple[int, ...] = ()


def of_object(
    image: AnnotatedImage,
    position: int,
    kind: Kind,
    suspicion: float,
    reason: str,
    keypoints: tuple[str, ...] = (),
    *,
    exchange: tuple[int, ...] = (),
) -> Finding:
    """A finding about an object, by its number in the image."""
    one: Instance = image.instances[position]
    return Finding(
        kind=kind,
        suspicion=suspicion,
        reason=reason,
        file=image.file,
        category=one.category,
        id=one.id,
        position=position,
        keypoints=keypoints,
        exchange=exchange,
    )
