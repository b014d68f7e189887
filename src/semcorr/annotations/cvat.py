"""CVAT's own XML ("CVAT for images 1.1"), written: its importer takes it, and people correct instead of drawing."""

from collections.abc import Iterable, Mapping
from io import BufferedIOBase
from xml.etree import ElementTree as ET

import numpy as np

from semcorr.annotations.base import Category
from semcorr.annotations.records import FoundObject, TransferRecord


def write(
    stream: BufferedIOBase,
    records: Iterable[TransferRecord],
    categories: Mapping[str, Category],
    *,
    min_confidence: float,
) -> None:
    """Write the file, picture by picture. Every thing is a skeleton with one element a key-point, in continuous pixels.

    A point of less than ``min_confidence``, or one that no support shows, is marked as outside.
    """
    stream.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
    stream.write(ET.tostring(_meta(categories), encoding="utf-8") + b"\n")
    readable = (record for record in records if record.error is None)
    for number, record in enumerate(readable):
        width, height = record.size
        image = ET.Element("image", id=str(number), name=record.file, width=str(width), height=str(height))
        for thing in record.objects:
            _skeleton(image, thing, min_confidence)
        stream.write(ET.tostring(image, encoding="utf-8") + b"\n")
    stream.write(b"</annotations>\n")


def _meta(categories: Mapping[str, Category]) -> ET.Element:
    """The labels, which CVAT also shows to people who make a task for the file."""
    meta = ET.Element("meta")
    labels = ET.SubElement(ET.SubElement(meta, "task"), "labels")
    for category in categories.values():
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = category.name
        ET.SubElement(label, "type").text = "skeleton"
        for name in category.keypoints:
            part = ET.SubElement(labels, "label")
            ET.SubElement(part, "name").text = name
            ET.SubElement(part, "type").text = "points"
            ET.SubElement(part, "parent").text = category.name
    return meta


def _skeleton(image: ET.Element, thing: FoundObject, min_confidence: float) -> None:
    skeleton = ET.SubElement(image, "skeleton", label=thing.category, source="auto", z_order="0")
    middle = np.nanmean(thing.points, axis=0) if np.isfinite(thing.points).any() else np.zeros(2)
    for name, point, confidence in zip(thing.names, thing.points, thing.confidence, strict=True):
        known = bool(np.isfinite(point).all())
        x, y = point if known else middle
        outside = not (known and confidence >= min_confidence)
        ET.SubElement(
            skeleton,
            "points",
            label=name,
            source="auto",
            outside=str(int(outside)),
            occluded="0",
            points=f"{x:.2f},{y:.2f}",
        )
