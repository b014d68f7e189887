"""The labels of a CVAT file: categories, their key-points in order, and the lines between them."""

import copy
import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

from semcorr.keypoints.base import Category
from semcorr.keypoints.xml_files import XmlFile

_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_NODE, _EDGE = re.compile(r"<circle\b[^>]*>"), re.compile(r"<line\b[^>]*>")


class Labels:
    """The labels in a file's meta element, and those that its images use beside them."""

    def __init__(self, file: XmlFile) -> None:
        self._keypoints: dict[str, dict[str, None]] = {}
        self._svg: dict[str, str] = {}
        for label in file.root.findall("meta//labels/label"):
            name, parent = label.findtext("name", ""), label.findtext("parent")
            if parent:
                self.add(parent, name)
            elif label.findtext("type") == "skeleton":
                self.add(name)
                self._svg[name] = label.findtext("svg", "")

    def add(self, category: str, keypoint: str | None = None) -> None:
        """Add a label, or a key-point of it, unless it is known."""
        names = self._keypoints.setdefault(category, {})
        if keypoint is not None:
            names.setdefault(keypoint)

    def categories(self) -> dict[str, Category]:
        """All categories by name, including those of boxes without key-points."""
        return {
            name: Category(
                id=number, name=name, keypoints=tuple(names), skeleton=_bones(self._svg.get(name, ""), list(names))
            )
            for number, (name, names) in enumerate(self._keypoints.items(), start=1)
        }


def _bones(svg: str, names: list[str]) -> tuple[tuple[int, int], ...]:
    """The pairs of key-points (from 1) that a skeleton's drawing joins by lines."""
    numbers = {}
    for node in _NODE.findall(svg):
        values = dict(_ATTRIBUTE.findall(node))
        if values.get("data-label-name") in names:
            numbers[values.get("data-node-id")] = names.index(values["data-label-name"]) + 1
    lines = [dict(_ATTRIBUTE.findall(edge)) for edge in _EDGE.findall(svg)]
    bones = [(numbers.get(line.get("data-node-from")), numbers.get(line.get("data-node-to"))) for line in lines]
    return tuple((one, other) for one, other in bones if one is not None and other is not None)


def meta_of(known: ET.Element | None, categories: Mapping[str, Category]) -> ET.Element:
    """A meta element with the labels of all categories: the known one, completed, or a new one."""
    meta = copy.deepcopy(known) if known is not None else ET.Element("meta")
    meta.tail = None
    labels = meta.find(".//labels")
    if labels is None:
        labels = ET.SubElement(ET.SubElement(meta, "task"), "labels")
    present = {(label.findtext("name"), label.findtext("parent")) for label in labels.findall("label")}
    for category in categories.values():
        if (category.name, None) not in present:
            _add_label(labels, category.name, "skeleton")
        for name in category.keypoints:
            if (name, category.name) not in present and (name, None) not in present:
                _add_label(labels, name, "points", parent=category.name)
    return meta


def _add_label(labels: ET.Element, name: str, kind: str, *, parent: str = "") -> None:
    label = ET.SubElement(labels, "label")
    ET.SubElement(label, "name").text = name
    ET.SubElement(label, "type").text = kind
    if parent:
        ET.SubElement(label, "parent").text = parent
