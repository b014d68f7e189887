"""Writing YOLO-pose data sets: a folder that Ultralytics trains on as it is."""

import hashlib
import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from semcorr.errors import DatasetError
from semcorr.imaging.geometry import Box, moved_inside
from semcorr.keypoints.annotation_format import ExportOptions, Records
from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.declared_size import coordinate_frame
from semcorr.keypoints.file_reader import first_few
from semcorr.keypoints.merged import categories_alike, merged_images
from semcorr.keypoints.shapes import box_around, extent_in
from semcorr.keypoints.sides import mirrored, unpaired
from semcorr.keypoints.yolo_pose.layout import IMAGES, LABELS, SPLITS, Layout
from semcorr.storage.files import exists, write_atomically

_SUFFIXES = frozenset(
    (".avif", ".bmp", ".dng", ".heic", ".jp2", ".jpeg", ".jpeg2000", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp")
)
"""Those of images that Ultralytics reads."""

_DIGITS = 6
_MARGIN = 0.1
"""Room around the points of an object without a box, unless another is asked for."""
_LEAST_MARGIN = 0.01
"""Room around points at least, as a part of the image's longer side: an object of one point has no extent."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Image:
    """An image to be written; ``split`` is the one that it was in."""

    file: str
    path: Path
    size: tuple[int, int]
    objects: Sequence[Instance]
    split: str = ""


def write(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write a data set: the .yaml at ``path``, and beside it the folders images and labels.

    Images with objects are copied; those without any are left out, as nobody may have looked at them yet. An object
    without a box that a person drew gets one around its points, with ``options.margin``. Points outside their image are
    not annotated (0, 0, 0), as the trainer would reject the image. A part ``options.validation`` of the images, chosen
    by the hash of their names, goes into val; with 0 the images of a YOLO-pose data set keep their split, and of others
    val is train.

    Raises:
        DatasetError: Categories have different key-points, an image is missing or of a format that the trainer does not
            read, or the folders exist.
    """
    images = list(_images(merged_images(annotations, records, options.min_confidence), annotations))
    used = {one.category for image in images for one in image.objects}
    categories = categories_alike(annotations, used, "A YOLO-pose data set has one list of key-points (kpt_shape)")
    _check(path, images)
    splits = _splits(images, options.validation)
    names = _names(images, splits)
    margin = _MARGIN if options.margin is None else options.margin
    numbers = {category.name: number for number, category in enumerate(categories)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        unfinished = Path(folder)
        for image in images:
            copy = unfinished / IMAGES / names[image.file]
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image.path, copy)
            lines = [_line(one, numbers[one.category], image.size, margin) for one in image.objects]
            labels = unfinished / LABELS / PurePosixPath(names[image.file]).with_suffix(".txt")
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for name in (IMAGES, LABELS):
            (unfinished / name).rename(path.parent / name)
    write_atomically(path, _yaml(categories, sorted(set(splits.values()), key=SPLITS.index), annotations))
    return [path, path.parent / IMAGES, path.parent / LABELS]


def notes(annotations: Annotations, options: ExportOptions) -> list[str]:
    """What to know before a model is trained: about mirrored images, and what it is validated on."""
    said = []
    names = next((one.keypoints for one in annotations.categories.values() if one.keypoints), ())
    known = isinstance(annotations.source, Layout)
    if mirrored(names) is None and not (known and annotations.source.flip):
        said.append("key-points without names do not say which are left and right: images are not mirrored in training")
    if alone := unpaired(names):
        said.append(
            f"key-points of one side without those of the other stay as they are in mirrored images: {first_few(alone)}"
        )
    if not options.validation and not known:
        said.append("no images are held back, and val is train: hold back a fifth with --validation 0.2")
    return said


def _images(images: Iterable[AnnotatedImage], annotations: Annotations) -> Iterator[_Image]:
    """The images that have an object with points or a box."""
    for image in images:
        objects = [one for one in image.instances if one.drawn_box is not None or (one.visibility > MISSING).any()]
        if objects:
            size = coordinate_frame(image)
            if size is None:
                raise _missing([str(image.path)])
            split = image.source if annotations.format == "yolo-pose" and image.source else ""
            yield _Image(file=image.file, path=image.path, size=size, objects=objects, split=split)


def _check(path: Path, images: Sequence[_Image]) -> None:
    """Refuse what cannot be copied, and folders that exist: what they hold would be trained on as well."""
    for name in (IMAGES, LABELS):
        if exists(path.parent / name):
            raise DatasetError(
                f"{str(path.parent / name)!r} exists, and all that a data set's folder holds is trained on. Choose "
                "another folder, or remove it."
            )
    missing = [str(image.path) for image in images if not image.path.is_file()]
    if missing:
        raise _missing(missing)
    others = [image.file for image in images if image.path.suffix.lower() not in _SUFFIXES]
    if others:
        raise DatasetError(
            f"Images that Ultralytics does not read: {len(others)} ({first_few(others)}). Convert them to PNG, and "
            "name those in the annotations."
        )


def _missing(paths: Sequence[str]) -> DatasetError:
    return DatasetError(
        f"A YOLO-pose data set holds its images, and {len(paths)} are not there: {first_few(paths)}. Name their "
        "folder with --images."
    )


def _splits(images: Sequence[_Image], validation: float) -> dict[str, str]:
    """The split of each image by its file."""
    if not validation:
        return {image.file: image.split or SPLITS[0] for image in images}
    order = sorted((image.file for image in images), key=lambda file: hashlib.sha256(file.encode()).digest())
    held = set(order[: min(max(round(validation * len(order)), 1), len(order) - 1)])
    return {image.file: SPLITS[1] if image.file in held else SPLITS[0] for image in images}


def _names(images: Sequence[_Image], splits: Mapping[str, str]) -> dict[str, str]:
    """The path of each image's copy below the folder of images.

    Of folders in a name all are kept but "images": labels are where it is replaced by "labels".
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for image in images:
        parts = [part for part in PurePosixPath(image.file.replace("\\", "/")).parts if part not in ("/", "..", ".")]
        *folders, name = [part.replace(":", "_") for part in parts]
        folders = [part for part in folders if part != IMAGES]
        if image.split and folders[:1] == [image.split]:
            folders = folders[1:]
        stem, dot, suffix = name.rpartition(".")
        for number in range(1, len(images) + 1):
            numbered = name if number == 1 else f"{stem}-{number}{dot}{suffix}"
            written = "/".join([splits[image.file], *folders, numbered])
            # Labels have the image's name without its suffix; some systems ignore case.
            key = written.rpartition(".")[0].casefold()
            if key not in taken:
                break
        taken.add(key)
        names[image.file] = written
    return names


def _line(one: Instance, number: int, size: tuple[int, int], margin: float) -> str:
    """An object's line: its class, box and key-points, as parts of the image's sides."""
    sides = np.array(size, dtype=np.float64)
    points = moved_inside(one.points, size)
    with np.errstate(invalid="ignore"):
        inside = ((points >= 0) & (points <= sides)).all(axis=1) & (one.visibility > MISSING)
    x0, y0, x1, y1 = _box(one, points[one.visibility > MISSING], size, margin)
    values = [(x0 + x1) / 2 / size[0], (y0 + y1) / 2 / size[1], (x1 - x0) / size[0], (y1 - y0) / size[1]]
    cells = [str(number), *map(_text, values)]
    for (x, y), mark, known in zip((points / sides).tolist(), one.visibility.tolist(), inside.tolist(), strict=True):
        cells += [_text(x), _text(y), str(mark)] if known else ["0", "0", "0"]
    return " ".join(cells)


def _box(one: Instance, points: Float[np.ndarray, "points 2"], size: tuple[int, int], margin: float) -> Box:
    """An object's box, or one around its points with room on every side; the part that is inside the image."""
    if one.drawn_box is None:
        box = box_around(points, margin, size, least=_LEAST_MARGIN * max(size))
    else:
        box = extent_in(np.array(one.drawn_box).reshape(2, 2), size)
    return box or (0.0, 0.0, float(size[0]), float(size[1]))


def _text(value: float) -> str:
    return f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"


def _yaml(categories: Sequence[Category], splits: Sequence[str], annotations: Annotations) -> bytes:
    """The content of the .yaml. It names no ``path``: folders are then taken from where the file is."""
    import yaml  # type: ignore[import-untyped]  # comes with huggingface-hub

    names = categories[0].keypoints
    flip = mirrored(names)
    if flip is None and isinstance(annotations.source, Layout):
        flip = annotations.source.flip
    folders = {split: f"{IMAGES}/{split}" for split in splits}
    for needed in SPLITS[:2]:
        folders.setdefault(needed, folders[splits[0]])
    content = {
        **{split: folders[split] for split in SPLITS if split in folders},
        "kpt_shape": [len(names), 3],
        **({} if flip is None else {"flip_idx": list(flip)}),
        "names": {number: category.name for number, category in enumerate(categories)},
        "kpt_names": {number: list(category.keypoints) for number, category in enumerate(categories)},
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return text.encode(errors="replace")
