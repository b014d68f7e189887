"""A project's controls: how its key-points and rectangles are named in regions, and its labelling configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from semcorr.keypoints.base import Category
from semcorr.keypoints.label_studio.regions import DrawnObject

_TAGS = {
    "keypointlabels": "KeyPointLabels",
    "rectanglelabels": "RectangleLabels",
    "polygonlabels": "PolygonLabels",
    "ellipselabels": "EllipseLabels",
    "brushlabels": "BrushLabels",
    "labels": "Labels",
    "keypoint": "KeyPoint",
    "rectangle": "Rectangle",
    "polygon": "Polygon",
    "ellipse": "Ellipse",
    "brush": "Brush",
}


@dataclass(frozen=True, kw_only=True)
class Control:
    """What a region says of the control that it was drawn with."""

    type: str
    from_name: str
    to_name: str


Drawn = tuple[Control, ...]
"""The controls of one drawn thing: one, or a plain one and the labels beside it."""


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The controls of a project.

    Attributes:
        image: The field of a task's data that is the image.
        points: Of each key-point's label.
        areas: Of each category's label; empty in a project without rectangles.
    """

    image: str = "image"
    points: Mapping[str, Drawn] = field(default_factory=dict)
    areas: Mapping[str, Drawn] = field(default_factory=dict)

    @classmethod
    def of(cls, objects: Iterable[DrawnObject], image: str) -> "Controls":
        """Those that objects were drawn with."""
        points: dict[str, Drawn] = {}
        areas: dict[str, Drawn] = {}
        for one in objects:
            if one.area and one.category is not None:
                areas.setdefault(one.category, _controls(one.area))
            for label, part in one.parts.items():
                points.setdefault(label, _controls(part))
        return cls(image=image, points=points, areas=areas)

    @property
    def to_name(self) -> str:
        """The name of the image's control."""
        used = [control.to_name for drawn in (*self.points.values(), *self.areas.values()) for control in drawn]
        return next(iter(used), "image")

    def of_point(self, label: str) -> Drawn:
        """How a key-point is drawn, as others are if it is not in the project yet."""
        default = (Control(type="keypointlabels", from_name="keypoints", to_name=self.to_name),)
        return self.points.get(label) or next(iter(self.points.values()), default)

    def of_area(self, category: str) -> Drawn:
        """How a new rectangle of a category is drawn; a category whose areas are others has a control of its own."""
        known = [self.areas[category]] if category in self.areas else list(self.areas.values())
        for drawn in known:
            if drawn[0].type in ("rectanglelabels", "rectangle", "labels"):
                return drawn
        return (Control(type="rectanglelabels", from_name="objects", to_name=self.to_name),)

    def configuration(self, categories: Mapping[str, Category]) -> str:
        """The labelling interface (XML) of tasks with these categories."""
        view = ET.Element("View")
        ET.SubElement(view, "Image", name=self.to_name, value=f"${self.image}")
        labels: dict[Control, dict[str, None]] = {}
        for category in categories.values():
            for name in category.keypoints:
                for control in self.of_point(name):
                    labels.setdefault(control, {})[name] = None
        for name in dict.fromkeys([*categories, *self.areas]):
            for control in self.areas.get(name) or self.of_area(name):
                labels.setdefault(control, {})[name] = None
        for control, names in labels.items():
            element = ET.SubElement(view, _TAGS[control.type], name=control.from_name, toName=control.to_name)
            for name in names if control.type.endswith("labels") else ():
                ET.SubElement(element, "Label", value=name)
        ET.indent(view)
        return ET.tostring(view, encoding="unicode") + "\n"


def _controls(entries: Iterable[Mapping[str, object]]) -> Drawn:
    return tuple(
        Control(
            type=str(entry["type"]),
            from_name=str(entry.get("from_name") or entry["type"]),
            to_name=str(entry.get("to_name") or "image"),
        )
        for entry in entries
    )
