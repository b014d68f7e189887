"""Labelling configurations: which field of a task is the image, and the labels in their order."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from semcorr.keypoints.file_reader import DataFile
from semcorr.keypoints.xml_files import XmlFile
from semcorr.storage.files import is_file

_AREAS = ("RectangleLabels", "PolygonLabels", "EllipseLabels", "BrushLabels")


@dataclass(frozen=True, kw_only=True)
class LabellingConfig:
    """A project's labelling configuration.

    Attributes:
        images: The task's field of each image, by the name of its control.
        keypoints: The labels of key-points, in order.
        categories: The labels of rectangles and other areas, in order.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    keypoints: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


def path_beside(path: Path) -> Path:
    """The path of the configuration of a file of tasks: out.config.xml beside out.json."""
    return path.with_suffix(".config.xml")


def read_config(file: DataFile) -> LabellingConfig:
    """The configuration beside a file of tasks; an empty one if there is none.

    Raises:
        DatasetError: It is broken.
    """
    beside = path_beside(file.path)
    if not is_file(beside):
        return LabellingConfig()
    root = XmlFile(replace(file, path=beside)).root
    images = {
        element.get("name", ""): element.get("value", "").removeprefix("$")
        for element in root.iter("Image")
        if element.get("value", "").startswith("$")
    }
    labels: dict[str, dict[str, None]] = {"points": {}, "areas": {}}
    for element in root.iter():
        kind = "points" if element.tag == "KeyPointLabels" else "areas" if element.tag in _AREAS else ""
        for label in element.iter("Label") if kind else ():
            labels[kind][label.get("value", "")] = None
    return LabellingConfig(images=images, keypoints=tuple(labels["points"]), categories=tuple(labels["areas"]))
