"""What a data.yaml says, and where the images and labels of a data set are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from semcorr.errors import DatasetError
from semcorr.imaging.image_files import is_image_name
from semcorr.keypoints.base import Annotations
from semcorr.keypoints.file_reader import DataFile, annotation_file, first_few
from semcorr.storage.files import is_dir, is_file

TITLE = "YOLO-pose data set"
FILE = "data.yaml"
IMAGES, LABELS = "images", "labels"
SPLITS = ("train", "val", "test")

_YAML = (".yaml", ".yml")
_ALSO = {"val": ("val", "validation", "valid")}
"""What a split is called as well."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a data.yaml says.

    Attributes:
        classes: The categories' names by their numbers.
        names: Of each class its key-points' names, as many as ``kpt_shape`` says; their numbers from 1 where it names
            none.
        named: Whether it names them.
        dims: 3, or 2 where key-points have no marks.
        flip: ``flip_idx``, or None.
        folders: The folders, or lists, of images of each split, as the file has them.
        path: The folder that they are in, as the file has it.
    """

    classes: Mapping[int, str]
    names: Mapping[int, tuple[str, ...]]
    named: bool
    dims: int
    flip: tuple[int, ...] | None
    folders: Mapping[str, tuple[str, ...]]
    path: str


def is_data_set(path: Path) -> bool:
    """Whether a path is a data set's .yaml, with or without key-points, or a folder with a data.yaml."""
    file = path / FILE if is_dir(path) else path
    if file.suffix.lower() not in _YAML or not is_file(file):
        return False
    try:
        content = yaml_content(annotation_file(file, TITLE))
    except DatasetError:
        return False
    return (
        isinstance(content, dict)
        and bool({"names", "nc"} & set(content))
        and bool({*SPLITS, "kpt_shape"} & set(content))
    )


def further_files(path: Path, _annotations: Annotations) -> list[Path]:
    """The folders that are written beside a data.yaml."""
    return [path.parent / IMAGES, path.parent / LABELS]


def yaml_content(file: DataFile) -> Any:
    """What a YAML file holds, by PyYAML's safe loader.

    Raises:
        DatasetError: It is missing, or not YAML.
    """
    import yaml  # type: ignore[import-untyped]  # comes with huggingface-hub

    try:
        return yaml.safe_load(file.text())
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: dates that are none
        raise file.error("YAML", f"something else: {' '.join(str(error).split()):.120}") from error


def read_layout(file: DataFile) -> Layout:
    """Read a data.yaml.

    Raises:
        DatasetError: It is broken, or of a data set without key-points.
    """
    content = yaml_content(file)
    if not isinstance(content, dict):
        raise file.error("a data set's configuration", f"{content!r:.40}")
    shape = content.get("kpt_shape")
    if shape is None:
        raise file.error(
            "kpt_shape, the number of key-points",
            "none: it is a data set of boxes or outlines, without key-points",
            advice="Name a data set for pose estimation.",
        )
    if not _is_shape(shape):
        raise file.error("kpt_shape as the number of key-points and 2 or 3", f"{shape!r:.40}")
    count, dims = shape
    classes = _classes(file, content)
    names, named = _keypoint_names(file, content.get("kpt_names"), classes, count)
    return Layout(
        classes=classes,
        names=names,
        named=named,
        dims=dims,
        flip=_flip(content.get("flip_idx"), count),
        folders={split: folders for split in SPLITS if (folders := _folders(file, content, split))},
        path=str(content.get("path") or ""),
    )


def images_of(file: DataFile, layout: Layout) -> tuple[dict[Path, str], list[str]]:
    """The images of a data set, each with its split, and the folders of images that are not there.

    Only what is below the folder of ``file`` is read, whatever the file says.

    Raises:
        DatasetError: No folder is there.
    """
    images: dict[Path, str] = {}
    missing: list[str] = []
    named = [(split, name) for split, folders in layout.folders.items() for name in folders]
    for split, name in named:
        folder = _location(file, layout, name)
        if folder is None:
            missing.append(name)
            continue
        for image in _listed(file, folder):
            images.setdefault(image, split)
    if len(missing) == len(named):
        raise file.error(
            f"folders of images (train, val, test) below {str(file.folder.root)!r}",
            f"none of them: {first_few(missing) or 'they are not named'}",
            advice="Name the data set's folder with --images.",
        )
    return images, missing


def labels_of(image: Path) -> Path:
    """The labels of an image: in the folder labels beside images, or else beside it, as Ultralytics has them."""
    parts = list(image.parts)
    for number in range(len(parts) - 2, -1, -1):
        if parts[number] == IMAGES:
            parts[number] = LABELS
            break
    return Path(*parts).with_suffix(".txt")


def _flip(listed: Any, count: int) -> tuple[int, ...] | None:
    """``flip_idx``; None unless it has every number once."""
    if not isinstance(listed, list) or not all(type(one) is int for one in listed):
        return None
    return tuple(listed) if sorted(listed) == [*range(count)] else None


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) == 2
        and all(type(n) is int for n in shape)
        and shape[0] > 0
        and shape[1] in (2, 3)
    )


def _classes(file: DataFile, content: Mapping[str, Any]) -> dict[int, str]:
    listed = content.get("names")
    if listed is None and type(content.get("nc")) is int and 0 < content["nc"] <= 10_000:
        listed = [f"class_{number}" for number in range(content["nc"])]
    pairs = dict(enumerate(listed)) if isinstance(listed, list) else listed
    if not isinstance(pairs, dict) or not pairs or not all(type(key) is int for key in pairs):
        raise file.error("names, those of the classes", f"{listed!r:.60}")
    classes = {number: str(name) for number, name in sorted(pairs.items())}
    if len(set(classes.values())) < len(classes):
        raise file.error("different names of classes", f"{', '.join(classes.values()):.80}")
    return classes


def _keypoint_names(
    file: DataFile, listed: Any, classes: Mapping[int, str], count: int
) -> tuple[dict[int, tuple[str, ...]], bool]:
    """Each class's names of key-points, and whether the file has them."""
    if listed is None:
        return {number: tuple(str(one + 1) for one in range(count)) for number in classes}, False
    of_class = dict.fromkeys(classes, listed) if isinstance(listed, list) else listed
    names: dict[int, tuple[str, ...]] = {}
    for number in classes:
        own = of_class.get(number, next(iter(of_class.values()), None)) if isinstance(of_class, dict) else None
        if not isinstance(own, list) or len(own) != count or len(set(map(str, own))) != count:
            raise file.error(f"kpt_names as {count} different names for every class", f"{listed!r:.60}")
        names[number] = tuple(map(str, own))
    return names, True


def _folders(file: DataFile, content: Mapping[str, Any], split: str) -> tuple[str, ...]:
    value = next((content[key] for key in _ALSO.get(split, (split,)) if content.get(key)), None)
    listed: Sequence[Any] = value if isinstance(value, list) else () if value is None else (value,)
    if not all(isinstance(one, str) for one in listed):
        raise file.error(f"{split!r} as a folder of images", f"{value!r:.60}")
    return tuple(listed)


def _location(file: DataFile, layout: Layout, name: str) -> Path | None:
    """The folder or list that a name means, below the data set's folder; None if there is none.

    Other tools write names from elsewhere: ../train/images, or a path of the machine that they were on. The end of such
    a name counts.
    """
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    above = [part for part in PurePosixPath(layout.path.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    root = file.folder.root
    for start in (*above, ""):
        for first in range(len(parts) or 1):
            candidate = root.joinpath(*([start] if start else []), *parts[first:])
            if (is_dir(candidate) or is_file(candidate)) and candidate.resolve().is_relative_to(root.resolve()):
                return candidate
    return None


def _listed(file: DataFile, location: Path) -> Iterator[Path]:
    """The images below a folder, or those that a list names."""
    if is_dir(location):
        yield from (one for one in sorted(location.rglob("*")) if is_image_name(one) and is_file(one))
        return
    for line in DataFile(folder=file.folder, path=location).lines():
        parts = [part for part in PurePosixPath(line.replace("\\", "/")).parts if part not in (".", "/", "..")]
        candidates = (file.folder.root.joinpath(*parts[first:]) for first in range(len(parts)))
        yield next((one for one in candidates if is_file(one)), file.folder.root.joinpath(*parts))
