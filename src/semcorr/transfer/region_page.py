"""The page of regions: every target with its regions drawn over it, the least certain first. It needs no server."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from semcorr.errors import ImageError
from semcorr.imaging.image import Image, load_image
from semcorr.imaging.label_map import LabelMap
from semcorr.matchers.regions.examples import Example
from semcorr.progress import Progress
from semcorr.transfer import review_page
from semcorr.transfer.region_files import RegionOutput, RegionRecord
from semcorr.visualization.regions import overlay, region_colours, size_within

_KIND = "regions"
"""What the page's one category is called."""


def write(
    output: RegionOutput,
    examples: Sequence[Example],
    names: Mapping[int, str],
    records: Callable[[], Iterable[RegionRecord]],
    *,
    failed: Mapping[str, str],
    total: int,
    progress: Progress | None = None,
) -> Path:
    """Write the page, completely or not at all, and return its path.

    A target's confidence is the mean over its regions; one without any comes first.

    Args:
        output: The folder, with the label map of every target.
        examples: Images and their label maps.
        names: The name of every label.
        records: Called twice for the records of all targets.
        failed: Targets that failed, with error messages, by file.
        total: How many targets there are, for ``progress``.
        progress: Called as ``("review", targets done, targets in all)``.

    Raises:
        TransferError: It cannot be written.
    """
    colours = region_colours(names)
    about = {
        "regions": {name: "#" + bytes(colours[label]).hex() for label, name in names.items()},
        "categories": [{"name": _KIND, "keypoints": list(names.values())}],
        "min_confidence": 0,
        "failed": list(failed.items()),
        "supports": [_example(image, label_map, names) for image, label_map in examples],
    }
    targets = (_target(record, output, names) for record in records())
    images = (_drawn(record, output) for record in records())
    return review_page.write_page(output.review, about, targets, images, total=total, progress=progress)


def _example(image: Image, label_map: LabelMap, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "category": _KIND,
        "file": image.name,
        "size": list(image.size),
        "image": _thumbnail(image, label_map),
        "points": [[1] if label in label_map.present else None for label in names],
    }


def _target(record: RegionRecord, output: RegionOutput, names: Mapping[int, str]) -> dict[str, Any]:
    entries = {entry["category_id"]: entry for entry in record.entries}
    parts = [[entries[label]["area"], entries[label]["score"]] if label in entries else None for label in names]
    return {
        "file": record.file,
        "size": list(record.size),
        "objects": [{"category": _KIND, "box": None, "points": parts}],
        "files": dict(_files(record, output)),
    }


def _files(record: RegionRecord, output: RegionOutput) -> Iterator[tuple[str, str]]:
    """The files of a target, as addresses below the page's folder."""
    if output.overlays:
        yield "overlay", quote(output.overlay(record.labels).relative_to(output.folder).as_posix())
    yield "label map", quote(output.label_map(record.labels).relative_to(output.folder).as_posix())


def _drawn(record: RegionRecord, output: RegionOutput) -> str:
    """A target's regions over it; empty if the image or the label map is gone."""
    try:
        return _thumbnail(load_image(record.path), LabelMap.load(output.label_map(record.labels)))
    except ImageError:
        return ""


def _thumbnail(image: Image, label_map: LabelMap) -> str:
    return review_page.thumbnail(overlay(image, label_map, size_within(image.size, review_page.SIDE)))
