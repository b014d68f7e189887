"""The sets of annotated objects: a mouse in the frames of a video, and the faces of group photographs."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.photograph_sets.transfers import Annotated, ObjectSet
from semcorr.errors import DatasetError
from semcorr.keypoints.base import VISIBLE
from semcorr.keypoints.read import read_annotations

MOUSE, FACES = "mouse", "faces"
FOLDERS = {MOUSE: "mouse-open-field", FACES: "faces-68"}


def read(name: str, folder: Path, limit: int | None = None) -> ObjectSet:
    """Read a set below the folder of all photographs; with a limit the first so many objects.

    Raises:
        DatasetError: It is not there, or broken.
    """
    root = folder / FOLDERS[name]
    if not root.is_dir():
        raise DatasetError(f"Expected the folder {FOLDERS[name]!r} in {str(folder)!r}, which holds none.")
    objects = mouse(root) if name == MOUSE else faces(root)
    return replace(objects, objects=objects.objects[:limit])


def mouse(root: Path) -> ObjectSet:
    """A project of DeepLabCut: whole frames, measured by the largest distance between a frame's points."""
    annotations = read_annotations(root)
    objects = []
    for image in annotations.images:
        for instance in image.instances:
            points = instance.points[instance.visibility == VISIBLE]
            if len(points) > 1:
                longest = float(np.linalg.norm(points[:, None] - points, axis=2).max())
                objects.append(Annotated(image=image, instance=instance, threshold=longest))
    return ObjectSet(name=MOUSE, annotations=annotations, objects=objects, boxes=False)


def faces(root: Path) -> ObjectSet:
    """Files of dlib's: every face in its box, measured by the box's longer side."""
    objects = []
    known = [read_annotations(file) for file in sorted(root.glob("*_with_face_landmarks.xml"))]
    if not known:
        raise DatasetError(f"Expected *_with_face_landmarks.xml in {str(root)!r}, got none.")
    for annotations in known:
        for image in annotations.images:
            for instance in image.instances:
                assert instance.box is not None  # noqa: S101  # dlib's objects are boxes
                x0, y0, x1, y1 = instance.box
                objects.append(Annotated(image=image, instance=instance, threshold=max(x1 - x0, y1 - y0)))
    return ObjectSet(name=FACES, annotations=known[0], objects=objects, boxes=True)
