"""Drawings of the toy world with COCO key-points: a few annotated, the others for a transfer."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from semcorr.errors import DatasetError, SettingsError, suggest
from semcorr.imaging.image import save_image
from semcorr.keypoints import coco
from semcorr.keypoints.base import COVERED, MISSING, VISIBLE, AnnotatedImage, Category, Instance
from semcorr.progress import Progress
from semcorr.storage.files import write_atomically
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.parts import part_map
from semcorr.toy.render import Scene, Split, render_scene
from semcorr.toy.spair_layout import keypoint_names

_FIRST = 50_000
"""Seeds of another range than the pairs of the toy benchmark."""
_SEEDS_A_CATEGORY = 100_000


@dataclass(frozen=True, kw_only=True)
class ToyWorld:
    """The written files: annotations of some drawings, and the truth of all others."""

    annotations: Path
    truth: Path
    images: Path


def write_coco(
    folder: Path,
    *,
    categories: tuple[str, ...] = (),
    support: int = 5,
    targets: int = 200,
    size: int = 256,
    split: Split = "test",
    boxes: bool = False,
    masks: bool = False,
    progress: Progress | None = None,
) -> ToyWorld:
    """Draw ``support`` annotated images and ``targets`` others of each category.

    ``annotations.json`` names all images and holds the points of the supports; with ``boxes`` it also holds the box
    of each target. ``truth.json`` holds the points of the targets. The images are in ``images``; with ``masks`` the
    parts of each, supports and targets alike, are in ``masks`` as label maps.

    Args:
        folder: A new folder.
        categories: Categories of the toy world; empty for all.
        support: Number of annotated images of each category.
        targets: Number of other images of each category.
        size: Side of the images in pixels.
        split: Which drawings of the toy world: "train", "val" or "test".
        boxes: Whether the boxes of the targets are annotated.
        masks: Whether the parts of all drawings are written.
        progress: Called as ``("render", drawings done, drawings in all)``.

    Raises:
        SettingsError: A category is unknown, or the folder is not empty.
    """
    requested = categories or tuple(CATEGORIES)
    for name in requested:
        if name not in CATEGORIES:
            raise SettingsError(
                f"Unknown category {name!r}.{suggest(name, CATEGORIES)} There are: {', '.join(CATEGORIES)}."
            )
    if min(support, targets) < 1 or size < 2:
        raise SettingsError(f"Expected at least 1 support, 1 target and 2 pixels, got {support}, {targets} and {size}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{str(folder)!r} is not empty: name a new folder, nothing is overwritten.")
    kinds = [
        Category(id=number, name=name, keypoints=tuple(keypoint_names(name)))
        for number, name in enumerate(requested, 1)
    ]
    known: list[tuple[AnnotatedImage, tuple[int, int]]] = []
    hidden: list[tuple[AnnotatedImage, tuple[int, int]]] = []
    total = len(kinds) * (support + targets)
    for kind in kinds:
        first = list(CATEGORIES).index(kind.name) * _SEEDS_A_CATEGORY + _FIRST
        for number in range(support + targets):
            scene = render_scene(first + number, size, split=split, category=kind.name)
            file = f"{kind.name}-{number:04d}.png"
            save_image(PIL.Image.fromarray(scene.image), folder / "images" / file, error=DatasetError)
            if masks:
                part_map(scene).save(folder / "masks" / file)
            image = AnnotatedImage(file=file, path=folder / "images" / file, instances=(_instance(scene, kind),))
            (known if number < support else hidden).append((image, (size, size)))
            if progress:
                progress("render", len(known) + len(hidden), total)
    _write(folder / "truth.json", coco.build_document(kinds, hidden))
    shown = [(_without_points(image, keep_box=boxes), side) for image, side in hidden]
    _write(folder / "annotations.json", coco.build_document(kinds, [*known, *shown]))
    return ToyWorld(annotations=folder / "annotations.json", truth=folder / "truth.json", images=folder / "images")


def _instance(scene: Scene, category: Category) -> Instance:
    height, width = scene.image.shape[:2]

    def mark(name: str) -> int:
        x, y = scene.keypoints.get(name, (-1.0, -1.0))
        inside = 0 <= x < width and 0 <= y < height
        return VISIBLE if name in scene.visible else COVERED if inside else MISSING

    marks = [mark(name) for name in category.keypoints]
    points = [scene.keypoints.get(name, (np.nan, np.nan)) for name in category.keypoints]
    x0, y0, x1, y1 = (float(value) for value in scene.box)
    return Instance(
        category=category.name, points=np.array(points, dtype=float), visibility=np.array(marks), box=(x0, y0, x1, y1)
    )


def _without_points(image: AnnotatedImage, *, keep_box: bool) -> AnnotatedImage:
    instances = [
        Instance(
            category=instance.category,
            points=np.full_like(instance.points, np.nan),
            visibility=np.zeros_like(instance.visibility),
            box=instance.box,
        )
        for instance in image.instances
        if keep_box
    ]
    return AnnotatedImage(file=image.file, path=image.path, instances=tuple(instances))


def _write(path: Path, document: object) -> None:
    write_atomically(path, (json.dumps(document) + "\n").encode())
