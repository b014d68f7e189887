"""The files of *Export* about regions: label maps as PNG, COCO RLE, and a figure, in pixels of the images as sent."""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from semcorr.app.images import free_name, original_size
from semcorr.app.painting import Labels
from semcorr.app.workspace import Workspace
from semcorr.imaging.image import Image
from semcorr.imaging.label_map import LabelMap
from semcorr.keypoints.coco.masks import region_entry, write_regions
from semcorr.visualization.regions import region_colours, region_figure

_EXAMPLE_SCORE = 1.0
"""The score of what a person painted."""


def region_files(work: Workspace, names: Sequence[str]) -> dict[str, bytes]:
    """The files by name; none where no target has regions that are those of the source.

    Args:
        work: The workspace.
        names: File names of the source and every target.
    """
    shown = current_targets(work)
    if work.source is None or work.painting is None or not shown:
        return {}
    titles = work.painting.titles
    images = [(names[0], work.source, work.painting.labels, dict.fromkeys(titles, _EXAMPLE_SCORE))]
    for name, target, image in zip(names[1:], work.target_ids, work.targets, strict=True):
        if target in shown:
            images.append((name, image, work.regions[target].labels, dict(work.regions[target].confidence)))
    files, described = dict[str, bytes](), []
    with tempfile.TemporaryDirectory(prefix="semcorr-export-") as folder:
        for name, image, labels, scores in images:
            full = LabelMap(labels=_in_original(labels, image), names=titles)
            file = free_name(f"{Path(name).stem}-regions.png", files)
            files[file] = full.save(Path(folder) / file, region_colours(titles)).read_bytes()
            entries = [region_entry(label, full.labels == label, scores[label]) for label in full.present]
            described.append((name, full.size, entries))
        coco = write_regions(Path(folder) / "regions.coco.json", lambda: described, titles).read_bytes()
    held = [(image, LabelMap(labels=labels.array(), names=titles)) for _, image, labels, _ in images]
    stream = io.BytesIO()
    region_figure(held[:1], held[1:]).save(stream, format="PNG")
    return {"regions.coco.json": coco, **files, "regions.png": stream.getvalue()}


def count_targets_left_out(work: Workspace) -> int:
    """The number of targets whose regions are not exported, where there are regions: not found yet, or outdated."""
    return len(work.targets) - len(current_targets(work)) if work.regions else 0


def current_targets(work: Workspace) -> list[int]:
    """The targets whose regions are those of the source as it is painted now."""
    return [target for target in work.target_ids if target in work.regions and not work.regions_outdated(target)]


def _in_original(labels: Labels, image: Image) -> np.ndarray:
    """A label map of the held image, at the size of the original."""
    return np.array(labels.image().resize(original_size(image), PIL.Image.Resampling.NEAREST))
