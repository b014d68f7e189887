"""What every annotation format is read into: pictures, categories of things, and the key-points of each thing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Integer

from semcorr.datasets.base import Box
from semcorr.datasets.files import Folder
from semcorr.errors import ImageError
from semcorr.files import is_file

VISIBLE, COVERED, MISSING = 2, 1, 0
"""COCO's marks: a point that can be seen, one that something covers, one that nobody marked."""

ADVICE = "Correct the file, or name another."


@dataclass(frozen=True, kw_only=True)
class Category:
    """A kind of thing and its key-points' names; ``skeleton`` joins them by their numbers, from 1, as COCO does."""

    id: int
    name: str
    keypoints: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """One thing in a picture.

    Attributes:
        category: its category's name.
        points: (x, y) of every key-point of the category in pixels of the picture (continuous; (0, 0) is its top-left
            corner), NaN where nobody marked one.
        visibility: COCO's mark of each.
        box: (x0, y0, x1, y1) in the same pixels, or None.
        id: its id in the file, or None.
        predicted: Whether its points were predicted by a program and no person has accepted them; such points are no
            annotations.
        score: A predicted object's score in [0, 1], or None.
    """

    category: str
    points: Float[np.ndarray, "keypoints 2"]
    visibility: Integer[np.ndarray, " keypoints"]
    box: Box | None = None
    id: int | str | None = None
    predicted: bool = False
    score: float | None = None

    @property
    def annotated(self) -> bool:
        """Whether a person marked or accepted any key-point, visible or covered."""
        return not self.predicted and bool((self.visibility > MISSING).any())


def instance_of(category: Category, points: Mapping[str, tuple[float, float]], box: Box | None = None) -> Instance:
    """A thing of which only visible points are known, by their names."""
    array = np.array([points.get(name, (np.nan, np.nan)) for name in category.keypoints]).reshape(-1, 2)
    marks = np.where(np.isfinite(array[:, 0]), VISIBLE, MISSING)
    return Instance(category=category.name, points=array, visibility=marks, box=box)


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedPicture:
    """An image and the objects in it.

    Attributes:
        file: Its name in the annotations.
        path: Where it should lie.
        instances: The objects.
        id: Its id in the file, or None.
        size: The (width, height) that the file declares, in pixels, or None; see :func:`declared_scale`.
        source: The file's own entry (a Label Studio task, a CVAT image element), which the writer of the same format
            hands on; None in other formats.
    """

    file: str
    path: Path
    instances: tuple[Instance, ...]
    id: int | str | None = None
    size: tuple[int, int] | None = None
    source: Any = None

    @property
    def annotated(self) -> bool:
        """Whether a person marked or accepted any key-point of any object."""
        return any(instance.annotated for instance in self.instances)


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """All that a file says.

    Attributes:
        path: The file.
        categories: By name.
        pictures: The images, in the order of the file.
        document: A COCO file's whole content, to be handed on as it is.
        notes: What was ignored or is doubtful, counted and named, a sentence each.
        format: The format that the file is in, for the writer of the same format.
        source: What a Label Studio or CVAT file says beside its images (field and control names, labels), for the
            writer of the same format.
    """

    path: Path
    categories: Mapping[str, Category]
    pictures: Sequence[AnnotatedPicture]
    document: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    format: Literal["coco", "label-studio", "cvat", "csv"] = "coco"
    source: Any = None


def declared_scale(
    file: str, declared: tuple[int, int] | None, actual: tuple[int, int], *, rescale: bool = False
) -> tuple[float, float]:
    """Factors (x, y) from coordinates in the declared frame to the image's own pixels.

    Some exporters swap width and height of photographs that EXIF turns by 90 degrees, and keep upright coordinates: a
    swap alone gives (1, 1), and :func:`declared_swap` says so.

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


def declared_swap(file: str, declared: tuple[int, int] | None, actual: tuple[int, int]) -> str | None:
    """A warning if the declared width and height are the image's own, swapped; else None."""
    if declared is None or declared == actual or declared != actual[::-1]:
        return None
    return (
        f"{file!r} is {actual[0]} x {actual[1]} pixels upright, and the annotations declare {declared[0]} x "
        f"{declared[1]}: its EXIF orientation was probably ignored for the size. Coordinates are taken as upright; if "
        "points come out turned, export them again from a tool that applies EXIF orientation"
    )


class Pictures:
    """Where pictures lie that annotations name: in the folder of the pictures, or beside the annotations.

    A name that leads out of the folder is refused: annotation files come from elsewhere.
    """

    def __init__(self, folder: Folder, images: Path | None) -> None:
        self._folder = folder
        self._roots = ([images] if images is not None else []) + [folder.root, folder.root / "images"]

    def find(self, file: str) -> Path:
        """The picture of a name; where it ought to be, if it is nowhere.

        Raises:
            DatasetError: the name is not that of a file below the folder.
        """
        if not file or "\0" in file or "\\" in file or Path(file).is_absolute() or ".." in Path(file).parts:
            raise self._folder.wrong(f"expected pictures by their names below the folder of pictures, got {file!r}.")
        for root in self._roots:
            if is_file(root / file):
                return root / file
        return self._roots[0] / file
