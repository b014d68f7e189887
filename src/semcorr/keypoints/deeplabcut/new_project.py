"""Writing a project of DeepLabCut's that there was not before: its configuration, frames and labels."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from semcorr.errors import DatasetError
from semcorr.keypoints.annotation_format import ExportOptions, Records
from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Category
from semcorr.keypoints.declared_size import coordinate_frame
from semcorr.keypoints.deeplabcut.read import Layout
from semcorr.keypoints.deeplabcut.table import FOLDER, predictions_beside
from semcorr.keypoints.deeplabcut.write import SCORER, entries_of_others, write_table
from semcorr.keypoints.file_reader import first_few
from semcorr.keypoints.merged import categories_alike, merged_images
from semcorr.storage.files import exists, write_atomically

_FRAMES = "frames"
"""The video of images that are in no folder."""


def write_project(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write a project: its config.yaml at ``path``, and beside it a folder of frames and labels for each video.

    The images with points are copied; those of one folder are the frames of one video. All objects are individuals, and
    what is predicted is also in a table of predictions beside the labels. Boxes and marks of covered points are lost.

    Raises:
        DatasetError: Categories have different key-points, an image is missing, or there is a project already.
    """
    merged = merged_images(annotations, records, options.min_confidence)
    images = [one for image in merged if (one := _with_points(image)).instances]
    used = {one.category for image in images for one in image.instances}
    category = categories_alike(annotations, used, "A DeepLabCut project has one list of body parts")[0]
    if exists(path.parent / FOLDER):
        raise DatasetError(f"{str(path.parent / FOLDER)!r} exists. Choose another folder for a new project.")
    missing = [str(image.path) for image in images if not image.path.is_file()]
    if missing:
        raise DatasetError(
            f"A DeepLabCut project holds its frames, and {len(missing)} are not there: {first_few(missing)}. Name "
            "their folder with --images."
        )
    frames = list(_frames(images))
    project = replace(annotations, images=[one for _, one in frames], document={}, format="csv", source=None)
    layout, entries = entries_of_others(project, {}, options.min_confidence)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{FOLDER}.", dir=path.parent) as folder:
        unfinished = Path(folder) / FOLDER
        for image, frame in frames:
            copy = unfinished.parent / frame.file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image.path, copy)
        for video in _videos(frames):
            table = unfinished / video / f"CollectedData_{SCORER}.csv"
            own = [entry for entry in entries if PurePosixPath(entry.file).parts[1] == video]
            write_table(predictions_beside(table), layout, own, likelihood=True)
            write_table(table, layout, own)
        unfinished.rename(path.parent / FOLDER)
    write_atomically(path, _config(path.parent, layout, category, _videos(frames)))
    return [path, path.parent / FOLDER]


def _with_points(image: AnnotatedImage) -> AnnotatedImage:
    return replace(image, instances=tuple(one for one in image.instances if (one.visibility > MISSING).any()))


def _frames(images: Sequence[AnnotatedImage]) -> Iterator[tuple[AnnotatedImage, AnnotatedImage]]:
    """Each image, and the same as a frame: labeled-data/VIDEO/NAME."""
    counts: Counter[str] = Counter()
    for image in images:
        parts = [part for part in PurePosixPath(image.file.replace("\\", "/")).parts if part not in ("/", "..", ".")]
        *folders, name = [part.replace(":", "_") for part in parts]
        video = "_".join(part for part in folders if part not in (FOLDER, "images")) or _FRAMES
        counts[f"{video}/{name}".casefold()] += 1
        count = counts[f"{video}/{name}".casefold()]
        path = PurePosixPath(FOLDER, video, name if count == 1 else f"{count}-{name}")
        yield image, replace(image, file=path.as_posix(), path=Path(path), source=None)


def _videos(frames: Sequence[tuple[AnnotatedImage, AnnotatedImage]]) -> dict[str, tuple[int, int] | None]:
    """The size of each video's first frame."""
    sizes: dict[str, tuple[int, int] | None] = {}
    for image, frame in frames:
        video = PurePosixPath(frame.file).parts[1]
        if video not in sizes:
            sizes[video] = coordinate_frame(image)
    return sizes


def _config(folder: Path, layout: Layout, category: Category, videos: Mapping[str, tuple[int, int] | None]) -> bytes:
    """The content of config.yaml, with DeepLabCut's own values where it is not about these labels."""
    import yaml  # type: ignore[import-untyped]  # comes with huggingface-hub

    individuals = list(dict.fromkeys(individual for individual, _ in layout.columns))
    parts = list(category.keypoints)
    animals: dict[str, Any] = {"bodyparts": parts}
    if layout.individuals:
        animals = {
            "individuals": individuals,
            "uniquebodyparts": [],
            "multianimalbodyparts": parts,
            "bodyparts": "MULTI!",
        }
    content = {
        "Task": folder.absolute().name,
        "scorer": SCORER,
        "date": f"{datetime.now(UTC):%b%d}",
        "multianimalproject": layout.individuals,
        "identity": False,
        "project_path": str(folder.absolute()),
        "engine": "pytorch",
        "video_sets": {
            str(folder.absolute() / "videos" / f"{video}.avi"): {"crop": f"0, {width}, 0, {height}"}
            for video, (width, height) in ((name, size or (0, 0)) for name, size in videos.items())
        },
        **animals,
        "start": 0,
        "stop": 1,
        "numframes2pick": 20,
        "skeleton": [[parts[one - 1], parts[other - 1]] for one, other in category.skeleton],
        "skeleton_color": "black",
        "pcutoff": 0.6,
        "dotsize": 12,
        "alphavalue": 0.7,
        "colormap": "rainbow",
        "TrainingFraction": [0.95],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "default",
        "snapshotindex": -1,
        "batch_size": 8,
        "cropping": False,
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    return text.encode(errors="replace")
