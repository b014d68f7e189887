"""What every annotation format is read into: pictures, categories of things, and the key-points of each thing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from semcorr.datasets.base import Box
from semcorr.datasets.files import Folder
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
        id: its number in the file, or None.
    """

    category: str
    points: Float[np.ndarray, "keypoints 2"]
    visibility: Integer[np.ndarray, " keypoints"]
    box: Box | None = None
    id: int | None = None

    @property
    def annotated(self) -> bool:
        """Whether any key-point can be seen."""
        return bool((self.visibility == VISIBLE).any())


def instance_of(category: Category, points: Mapping[str, tuple[float, float]], box: Box | None = None) -> Instance:
    """A thing of which only visible points are known, by their names."""
    array = np.array([points.get(name, (np.nan, np.nan)) for name in category.keypoints]).reshape(-1, 2)
    marks = np.where(np.isfinite(array[:, 0]), VISIBLE, MISSING)
    return Instance(category=category.name, points=array, visibility=marks, box=box)


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedPicture:
    """A picture and the things in it. ``file`` is its name in the annotations, ``path`` where it should lie."""

    file: str
    path: Path
    instances: tuple[Instance, ...]
    id: int | None = None

    @property
    def annotated(self) -> bool:
        """Whether any key-point of any thing can be seen."""
        return any(instance.annotated for instance in self.instances)


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """All that a file says. ``document`` is a COCO file's whole content, to be handed on as it is."""

    path: Path
    categories: Mapping[str, Category]
    pictures: Sequence[AnnotatedPicture]
    document: Mapping[str, Any] = field(default_factory=dict)


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
