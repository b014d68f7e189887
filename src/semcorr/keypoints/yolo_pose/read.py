"""Reading YOLO-pose data sets."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semcorr.errors import DatasetError
from semcorr.keypoints.base import COVERED, MISSING, VISIBLE, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.file_reader import DataFile, DataFolder, first_few
from semcorr.keypoints.yolo_pose.layout import FILE, TITLE, Layout, images_of, labels_of, read_layout
from semcorr.storage.files import is_dir, is_file


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a data set: its .yaml, or the folder with its data.yaml.

    Classes are categories, all with the same number of key-points; where the .yaml does not name them (kpt_names), they
    are numbered from 1. Boxes are the objects' boxes. An object whose key-points are all 0 has a box alone. Images
    without labels are images without objects.

    Args:
        path: The .yaml, or its folder.
        images: The data set's folder, if it is not that of the .yaml.

    Raises:
        DatasetError: It is missing or broken, or has no key-points.
    """
    named = path / FILE if is_dir(path) else path
    folder = DataFolder(root=images or named.parent, title=TITLE, advice="Correct the data set, or name another.")
    file = DataFile(folder=folder, path=named)
    layout = read_layout(file)
    reader = _Reader(file, layout)
    annotated = list(reader.images())
    if not annotated:
        raise file.error("folders of images (train, val, test)", "no image in them")
    return Annotations(
        path=path,
        categories=reader.categories,
        images=annotated,
        notes=tuple(reader.notes()),
        format="yolo-pose",
        source=layout,
        files=(named, *reader.files),
    )


class _Reader:
    """Reads the labels of each image."""

    def __init__(self, file: DataFile, layout: Layout) -> None:
        self._file, self._layout = file, layout
        self.files: list[Path] = []
        self._broken: list[str] = []
        self._missing: list[str] = []
        self.categories = {
            name: Category(id=number, name=name, keypoints=layout.names[number])
            for number, name in layout.classes.items()
        }

    def images(self) -> Iterator[AnnotatedImage]:
        """All images with their objects."""
        root = self._file.folder.root
        images, self._missing = images_of(self._file, self._layout)
        for path, split in images.items():
            name = path.relative_to(root).as_posix()
            labels, size = labels_of(path), None
            objects: tuple[Instance, ...] = ()
            if is_file(labels):
                self.files.append(labels)
                try:
                    size = self._file.folder.image_size(path)
                except DatasetError:
                    self._broken.append(name)
                else:
                    objects = tuple(self._objects(DataFile(folder=self._file.folder, path=labels), size))
            yield AnnotatedImage(file=name, path=path, instances=objects, size=size, source=split)

    def notes(self) -> Iterator[str]:
        """What is not read, a sentence each."""
        if self._broken:
            yield f"images with labels that cannot be read: {len(self._broken)} ({first_few(self._broken)})"
        if self._missing:
            yield f"folders of images that are not there: {first_few(self._missing)}"
        if not self._layout.named:
            count = len(next(iter(self._layout.names.values())))
            yield f"the data set does not name its key-points (kpt_names), which are numbered from 1: {count}"

    def _objects(self, file: DataFile, size: tuple[int, int]) -> Iterator[Instance]:
        for number, line in enumerate(file.lines(), start=1):
            yield self._object(file, number, line.split(), size)

    def _object(self, file: DataFile, number: int, cells: list[str], size: tuple[int, int]) -> Instance:
        count = len(next(iter(self._layout.names.values())))
        what = f"a class, a box and {count} key-points in line {number}"
        kind, x, y, width, height, *rest = file.numbers(cells, 5 + count * self._layout.dims, what)
        if kind not in self._layout.classes:
            raise file.error(
                f"a class of {', '.join(map(str, self._layout.classes))}", f"{cells[0]}", at=f"line {number}"
            )
        category = self.categories[self._layout.classes[int(kind)]]
        rows = np.array(rest).reshape(count, self._layout.dims)
        if self._layout.dims == 3:
            unknown = np.flatnonzero(~np.isin(rows[:, 2], (VISIBLE, COVERED, MISSING)))
            if len(unknown):
                raise file.error(
                    "0 (not annotated), 1 (covered) or 2 (visible) as the third number of every key-point",
                    f"{rows[unknown[0], 2]:g}",
                    at=f"line {number}",
                )
            marks = rows[:, 2].astype(np.int64)
        else:
            marks = np.where((rows <= 0).all(axis=1) | (rows < 0).any(axis=1), MISSING, VISIBLE)
        sides = np.array(size, dtype=np.float64)
        centre, half = np.array([x, y]) * sides, np.array([width, height]) * sides / 2
        x0, y0, x1, y1 = np.concatenate([np.clip(centre - half, 0, sides), np.clip(centre + half, 0, sides)]).tolist()
        return Instance(
            category=category.name,
            points=np.where(marks[:, None] > MISSING, rows[:, :2] * sides, np.nan),
            visibility=marks,
            box=(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None,
            id=number,
        )
