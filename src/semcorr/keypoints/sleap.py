"""SLEAP's labels (.slp), read and written by sleap-io, which is installed by itself or with the extra "sleap".

Pixels are counted by their centres, so half a pixel is added when they are read, as to COCO's.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semcorr.errors import DatasetError, SettingsError
from semcorr.imaging.geometry import from_pixel_indices, to_pixel_indices
from semcorr.imaging.image_files import is_image_name
from semcorr.keypoints.annotation_format import AnnotationFormat, ExportOptions, Records
from semcorr.keypoints.base import MISSING, VISIBLE, AnnotatedImage, Annotations, Category, Instance
from semcorr.keypoints.declared_size import coordinate_frame
from semcorr.keypoints.file_reader import DataFile, UniqueNames, annotation_file
from semcorr.keypoints.image_paths import ImagePaths
from semcorr.keypoints.merged import merged_images
from semcorr.keypoints.sides import mirrored
from semcorr.storage.files import is_file

TITLE = "SLEAP's labels"
_DEFAULT_CATEGORY = "animal"


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read labels on images; those on videos are refused, as their frames are no files.

    A skeleton is a category, its nodes the key-points; an instance is an object, a predicted one a predicted object
    with its score and those of its points. Points that are not visible are not annotated. Tracks are ignored and
    counted.

    Raises:
        DatasetError: It is missing or broken, or labels a video.
        SettingsError: sleap-io is not installed.
    """
    sleap_io = _package()
    file = annotation_file(path, TITLE)
    if not is_file(path):
        raise file.folder.error(f"expected the file {str(path)!r}, which is not there.")
    try:
        labels = sleap_io.load_slp(str(path), open_videos=False)
        skeletons, frames = list(labels.skeletons), _frames(file, labels)
    except DatasetError:
        raise
    except Exception as error:  # whatever HDF5 and sleap-io raise for a broken file
        raise file.error("labels of SLEAP", f"something else: {type(error).__name__}: {error!s:.100}") from error
    if not any(len(skeleton.nodes) for skeleton in skeletons):
        raise file.error("a skeleton with nodes", "none")
    unique = UniqueNames()
    categories = [
        _category(skeleton, number, unique(skeleton.name or _DEFAULT_CATEGORY))
        for number, skeleton in enumerate(skeletons, start=1)
    ]
    by_skeleton = {id(skeleton): category for skeleton, category in zip(skeletons, categories, strict=True)}
    paths = ImagePaths(file.folder, images)
    located = paths.find_all(frames)
    annotated = [
        AnnotatedImage(
            file=_name(located[name], images or path.parent, name),
            path=located[name],
            instances=tuple(_instances(instances, by_skeleton)),
        )
        for name, instances in frames.items()
    ]
    return Annotations(
        path=path,
        categories={category.name: category for category in categories},
        images=annotated,
        notes=(*paths.notes, *_notes(frames)),
        format="sleap",
    )


def write(path: Path, annotations: Annotations, records: Records, options: ExportOptions) -> list[Path]:
    """Write labels with what was annotated and what was predicted; the images stay where they are.

    Images of one size are one video. Objects without points are lost, as are boxes and marks of covered points.
    Key-points of left and right, by their names, are symmetric nodes.

    Raises:
        SettingsError: sleap-io is not installed.
    """
    sleap_io = _package()
    skeletons = {name: _skeleton(sleap_io, category) for name, category in annotations.categories.items()}
    images = list(merged_images(annotations, records, options.min_confidence))
    sizes = [coordinate_frame(image) for image in images]
    listed: dict[tuple[int, int] | None, list[AnnotatedImage]] = {}
    for image, size in zip(images, sizes, strict=True):
        listed.setdefault(size, []).append(image)
    videos, frames = [], []
    for size, own in listed.items():
        video = _video(sleap_io, own, size)
        videos.append(video)
        for number, image in enumerate(own):
            instances = [
                _sleap_instance(sleap_io, one, skeletons[one.category])
                for one in image.instances
                if (one.visibility > MISSING).any()
            ]
            if instances:
                frames.append(sleap_io.LabeledFrame(video=video, frame_idx=number, instances=instances))
    labels = sleap_io.Labels(labeled_frames=frames, videos=videos, skeletons=list(skeletons.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        sleap_io.save_slp(labels, str(unfinished), embed=False, verbose=False)
        unfinished.replace(path)
    return [path]


def _package() -> Any:
    try:
        import sleap_io  # type: ignore[import-not-found, unused-ignore]  # an extra
    except ImportError as error:
        raise SettingsError(
            'SLEAP\'s labels need the package sleap-io, which is not installed. Type: pip install "semcorr[sleap]"'
        ) from error
    return sleap_io


def _frames(file: DataFile, labels: Any) -> dict[str, list[Any]]:
    """The instances of each image by its file, also of those that nobody has labelled."""
    frames: dict[str, list[Any]] = {}
    names: dict[int, Sequence[str]] = {}
    for video in labels.videos:
        listed = video.filename if isinstance(video.filename, list) else [video.filename]
        listed = [str(Path(name).as_posix()) for name in listed]
        if all(is_image_name(Path(name)) for name in listed):
            names[id(video)] = listed
            frames |= {name: [] for name in listed if name not in frames}
    for frame in labels.labeled_frames:
        if id(frame.video) not in names:
            raise file.error(
                "labels on images",
                f"some on the video {str(frame.video.filename)!r:.80}, whose frames are no files",
                advice="Save the labelled frames as images, and label those.",
            )
        frames[names[id(frame.video)][int(frame.frame_idx)]] += list(frame.instances)
    return frames


def _category(skeleton: Any, number: int, name: str) -> Category:
    nodes = [node.name for node in skeleton.nodes]
    numbers = {node: at for at, node in enumerate(nodes, start=1)}
    lines = tuple((numbers[edge.source.name], numbers[edge.destination.name]) for edge in skeleton.edges)
    return Category(id=number, name=name, keypoints=tuple(nodes), skeleton=lines)


def _instances(instances: Sequence[Any], categories: Mapping[int, Category]) -> Iterator[Instance]:
    for number, one in enumerate(instances):
        predicted = hasattr(one, "score")
        points = from_pixel_indices(np.asarray(one.numpy(), dtype=np.float64)[:, :2])
        known = np.isfinite(points).all(axis=1)
        if not known.any():
            continue
        points = np.where(known[:, None], points, np.nan)
        scores = np.clip(np.nan_to_num(one.points["score"]), 0, 1) if predicted else None
        score = float(one.score) if predicted and 0 <= float(one.score) <= 1 else None
        yield Instance(
            category=categories[id(one.skeleton)].name,
            points=points,
            visibility=np.where(known, VISIBLE, MISSING),
            id=number,
            predicted=predicted,
            score=score,
            predicted_points=None if scores is None else np.column_stack([points, scores]),
        )


def _name(path: Path, folder: Path, name: str) -> str:
    """An image's name: its path below the folder of images, or as the file has it."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else name


def _notes(frames: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    counts = Counter(
        kind
        for instances in frames.values()
        for one in instances
        for kind, is_so in (("track", one.track is not None), ("predicted", hasattr(one, "score")))
        if is_so
    )
    if counts["track"]:
        yield f"tracks, which say that objects of several images are one, are ignored: {counts['track']} objects"
    if counts["predicted"]:
        count = counts["predicted"]
        yield f"objects that are predicted and not annotated: {count}; no points are carried over from them"


def _skeleton(sleap_io: Any, category: Category) -> Any:
    nodes = [sleap_io.Node(name) for name in category.keypoints]
    edges = [sleap_io.Edge(nodes[one - 1], nodes[other - 1]) for one, other in category.skeleton]
    pairs = enumerate(mirrored(category.keypoints) or ())
    symmetries = [sleap_io.Symmetry({nodes[one], nodes[other]}) for one, other in pairs if one < other]
    return sleap_io.Skeleton(nodes=nodes, edges=edges, symmetries=symmetries, name=category.name)


def _video(sleap_io: Any, images: Sequence[AnnotatedImage], size: tuple[int, int] | None) -> Any:
    """Images of one size as SLEAP's video of image files; none of them is opened."""
    names = [str(image.path.absolute()) if is_file(image.path) else image.file for image in images]
    width, height = size or (None, None)
    metadata = {
        "type": "ImageVideo",
        "shape": None if size is None else [len(names), height, width, 3],
        "filename": names[0],
        "filenames": names,
        "height_": height,
        "width_": width,
        "channels_": 3,
        "grayscale": False,
    }
    return sleap_io.Video(filename=names, backend_metadata=metadata, open_backend=False)


def _sleap_instance(sleap_io: Any, one: Instance, skeleton: Any) -> Any:
    points = to_pixel_indices(np.where(one.visibility[:, None] > MISSING, one.points, np.nan))
    if not one.predicted:
        return sleap_io.Instance.from_numpy(points, skeleton=skeleton)
    score = 0.0 if one.score is None else one.score
    scores = np.full(len(points), score)
    if one.predicted_points is not None:
        scores = np.nan_to_num(one.predicted_points[:, 2])
    return sleap_io.PredictedInstance.from_numpy(points, skeleton=skeleton, point_scores=scores, score=score)


FORMAT = AnnotationFormat(name="sleap", title="SLEAP", suffix=".slp", read=read, write=write)
