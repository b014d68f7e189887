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
    """A control of the labelling interface, as the regions drawn with it name it."""

    type: str
    from_name: str
    to_name: str


RegionControls = tuple[Control, ...]
"""The controls of one region: one, or a plain one and the labels beside it."""


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The controls of a project.

    Attributes:
        image: The field of a task's data that is the image.
        points: Of each key-point's label.
        areas: Of each category's label; empty in a project without rectangles.
    """

    image: str = "image"
    points: Mapping[str, RegionControls] = field(default_factory=dict)
    areas: Mapping[str, RegionControls] = field(default_factory=dict)

    @classmethod
    def of(cls, objects: Iterable[DrawnObject], image: str) -> "Controls":
        """Those that objects were drawn with."""
        points: dict[str, RegionControls] = {}
        areas: dict[str, RegionControls] = {}
        for one in objects:
            if one.area and one.category is not None:
                areas.setdefault(one.category, _controls(one.area))
            for label, regions in one.point_regions.items():
                points.setdefault(label, _controls(regions))
        return cls(image=image, points=points, areas=areas)

    @classmethod
    def declared(cls, root: ET.Element) -> "Controls":
        """Those of a labelling configuration: its key-points, its areas, and the field of the image that they are on.

        Of a label that several controls have, the first counts.
        """
        points: dict[str, RegionControls] = {}
        areas: dict[str, RegionControls] = {}
        kinds = {tag: kind for kind, tag in _TAGS.items() if kind.endswith("labels") and kind != "labels"}
        for element in root.iter():
            kind = kinds.get(element.tag)
            if kind is not None:
                one = Control(type=kind, from_name=element.get("name", ""), to_name=element.get("toName", ""))
                for label in element.iter("Label"):
                    (points if kind == "keypointlabels" else areas).setdefault(label.get("value", ""), (one,))
        used = {control.to_name for controls in points.values() for control in controls}
        fields = [
            element.get("value", "").removeprefix("$") for element in root.iter("Image") if element.get("name") in used
        ]
        return cls(image=next(iter(fields), ""), points=points, areas=areas)

    @property
    def to_name(self) -> str:
        """The name of the image's control."""
        used = [control.to_name for controls in (*self.points.values(), *self.areas.values()) for control in controls]
        return next(iter(used), "image")

    def of_point(self, label: str) -> RegionControls:
        """The controls of a key-point: its own, or those of another if it is not in the project yet."""
        default = (Control(type="keypointlabels", from_name="keypoints", to_name=self.to_name),)
        return self.points.get(label) or next(iter(self.points.values()), default)

    def of_area(self, category: str) -> RegionControls:
        """The controls of a new rectangle of a category; one whose areas are not rectangles gets its own control."""
        known = [self.areas[category]] if category in self.areas else list(self.areas.values())
        for controls in known:
            if controls[0].type in ("rectanglelabels", "rectangle", "labels"):
                return controls
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


def _controls(entries: Iterable[Mapping[str, object]]) -> RegionControls:
    return tuple(
        Control(
            type=str(entry["type"]),
            from_name=str(entry.get("from_name") or entry["type"]),
            to_name=str(entry.get("to_name") or "image"),
        )
        for entry in entries
    )
