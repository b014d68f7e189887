"""The regions of one annotation or prediction, as objects: which key-points belong to which rectangle."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from semcorr.imaging.geometry import Box
from semcorr.keypoints.label_studio.tasks import Region, Task
from semcorr.keypoints.shapes import Corners, contains, ellipse, extent_in, rectangle

_PLAIN = ("keypoint", "rectangle", "ellipse", "polygon", "brush")
"""Types of regions whose label, if there is one, is in a region of the type labels with the same id."""
_KINDS = {**{f"{kind}labels": kind for kind in _PLAIN}, **{kind: kind for kind in _PLAIN}}

LOOSE = "key-points"
"""The id of the one object of an annotation that no region is drawn around."""

SizeOf = Callable[[], tuple[int, int] | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnObject:
    """An object as people drew it.

    Attributes:
        category: Its label; None where no region around its points says one.
        box: The extent of its region, in pixels.
        id: Its region's id; None of a region without one; :data:`LOOSE` of key-points without a region.
        points: Its key-points, in pixels.
        area: The entries of the file that its region is made of.
        point_regions: Those of each key-point.
    """

    category: str | None = None
    box: Box | None = None
    id: str | None = None
    points: dict[str, tuple[float, float]] = field(default_factory=dict)
    area: list[Region] = field(default_factory=list)
    point_regions: dict[str, list[Region]] = field(default_factory=dict)

    @property
    def regions(self) -> list[Region]:
        """All entries that it is made of."""
        return [*self.area, *(region for regions in self.point_regions.values() for region in regions)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """All of one annotation or prediction.

    Attributes:
        objects: In the order of their regions; one without a region comes last.
        size: (width, height) that the regions declare, or None.
        ignored: Labelled regions that are neither key-points nor objects, by their kind.
        unlabelled: Regions without a label.
    """

    objects: Sequence[DrawnObject]
    size: tuple[int, int] | None
    ignored: Counter[str]
    unlabelled: int


class UnknownSizeError(Exception):
    """The regions do not declare the image's size, and the image is missing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _LabelledRegion:
    """A region with a label. ``entries`` are the entries of the file that it is made of."""

    kind: str
    label: str
    entries: list[Region]

    @property
    def first(self) -> Region:
        return self.entries[0]

    @property
    def id(self) -> str:
        own = self.first.get("id")
        return own if isinstance(own, str) else ""

    @property
    def parent(self) -> str:
        return next((one["parentID"] for one in self.entries if isinstance(one.get("parentID"), str)), "")


def drawing_of(task: Task, regions: Sequence[Region], size_of: SizeOf) -> Drawing:
    """The objects of an annotation's regions.

    A key-point belongs to the region that its ``parentID``, or a relation, names. Else it belongs to the rectangle that
    it is in; where there are none, to the polygon or ellipse. Without any all key-points are one object.

    Args:
        task: The task, for messages.
        regions: Its regions and relations.
        size_of: Returns the image's own size where the regions do not declare one, or None.

    Raises:
        DatasetError: A key-point is in no rectangle or in several, an object has a key-point twice, or a region has
            several labels or is that of an image that was turned.
        UnknownSizeError: No size is known.
    """
    labelled, unlabelled = _labelled(task, regions)
    points = [one for one in labelled if one.kind == "keypoint"]
    areas = [one for one in labelled if one.kind != "keypoint"]
    if not points and not areas:
        return Drawing(objects=(), size=None, ignored=Counter(), unlabelled=unlabelled)
    declared = _size(task, labelled)
    size = declared or size_of()
    if size is None:
        raise UnknownSizeError
    shapes = {number: _shape(task, area, size) for number, area in enumerate(areas)}
    named = _Parents(task, labelled, areas, regions)
    around = [number for number, area in enumerate(areas) if area.kind == "rectangle"] or [
        number for number, area in enumerate(areas) if area.kind in ("polygon", "ellipse")
    ]
    members: dict[int | None, list[_LabelledRegion]] = {number: [] for number in around}
    for point in points:
        owner = named.of(point)
        if owner is None:
            owner = _around(task, point, _at(task, point, size), {number: shapes[number] for number in around})
        members.setdefault(owner, []).append(point)
    _check_strays(task, members.get(None, []))
    objects = [
        _object(task, area, shapes[number], members[number], size)
        for number, area in enumerate(areas)
        if number in members
    ]
    if None in members:
        objects.append(_object(task, None, None, members[None], size))
    ignored = Counter(area.kind for number, area in enumerate(areas) if number not in members)
    return Drawing(objects=objects, size=declared, ignored=ignored, unlabelled=unlabelled)


def _labelled(task: Task, regions: Sequence[Region]) -> tuple[list[_LabelledRegion], int]:
    """The regions that have a label, and how many have none."""
    labels: dict[str, list[Region]] = {}
    for region in regions:
        if region.get("type") == "labels" and isinstance(region.get("id"), str):
            labels.setdefault(region["id"], []).append(region)
    labelled: list[_LabelledRegion] = []
    used: set[int] = set()
    for region in regions:
        kind = _KINDS.get(str(region.get("type")))
        if kind is None:
            continue
        own = region.get("id")
        more = labels.get(own, []) if region["type"] in _PLAIN and isinstance(own, str) else []
        used.update(map(id, more))
        labelled.append(_LabelledRegion(kind=kind, label=_label(task, [region, *more]), entries=[region, *more]))
    for region in regions:
        if region.get("type") == "labels" and id(region) not in used:
            kind = _kind_of(region.get("value"))
            if kind is not None:
                labelled.append(_LabelledRegion(kind=kind, label=_label(task, [region]), entries=[region]))
    return [one for one in labelled if one.label], sum(not one.label for one in labelled)


def _kind_of(value: object) -> str | None:
    """The kind of region that a value of the type labels describes, by its fields."""
    keys = value.keys() if isinstance(value, dict) else ()
    for kind, field_name in (("brush", "rle"), ("polygon", "points"), ("ellipse", "radiusX"), ("rectangle", "height")):
        if field_name in keys:
            return kind
    return "keypoint" if "x" in keys and "y" in keys else None


def _label(task: Task, entries: Iterable[Region]) -> str:
    """The one label of a region; empty if it has none."""
    labels: dict[str, None] = {}
    for entry in entries:
        value = entry.get("value")
        own = value.get(str(entry.get("type"))) if isinstance(value, dict) else None
        if not isinstance(own, list):
            continue
        if not all(isinstance(label, str) for label in own):
            raise task.error("labels as texts", f"{own!r:.60}")
        labels |= dict.fromkeys(own)
    if len(labels) > 1:
        raise task.error(
            "one label for every region", " and ".join(map(repr, labels)), advice="Draw a region for each of them."
        )
    return next(iter(labels), "")


def _size(task: Task, labelled: Sequence[_LabelledRegion]) -> tuple[int, int] | None:
    """The (width, height) that all regions declare, if any does."""
    sizes: dict[tuple[int, int], None] = {}
    for one in labelled:
        turned = one.first.get("image_rotation") or 0
        if turned != 0:
            raise task.error(
                "an image that was not turned while it was annotated",
                f"{one.label!r} on an image turned by {turned!r:.10} degrees ('image_rotation')",
                advice="Turn it back in Label Studio, check its regions, and export again.",
            )
        sides = [one.first.get("original_width"), one.first.get("original_height")]
        if sides != [None, None]:
            sizes[task.file.size(sides, f"'original_width' and 'original_height' in {task.name}")] = None
    if len(sizes) > 1:
        listed = " and ".join(f"{width} x {height}" for width, height in sizes)
        raise task.error("one 'original_width' and 'original_height'", listed)
    names = {one.first["to_name"]: None for one in labelled if isinstance(one.first.get("to_name"), str)}
    if len(names) > 1:
        raise task.error(
            "regions of one image",
            f"some of each of {', '.join(map(repr, names))} ('to_name')",
            advice="Export a project with one image a task.",
        )
    return next(iter(sizes), None)


class _Parents:
    """Which region a key-point names as its own: by ``parentID``, over other key-points, or by a relation."""

    def __init__(
        self,
        task: Task,
        labelled: Sequence[_LabelledRegion],
        areas: Sequence[_LabelledRegion],
        regions: Sequence[Region],
    ) -> None:
        self._task = task
        ids = Counter(one.id for one in labelled if one.id)
        self._known = {one.id: one for one in labelled if ids[one.id] == 1}
        self._numbers = {area.id: number for number, area in enumerate(areas) if ids[area.id] == 1}
        self._related: dict[str, set[str]] = {}
        for region in regions:
            if region.get("type") == "relation":
                ends = str(region.get("from_id")), str(region.get("to_id"))
                for one, other in (ends, ends[::-1]):
                    self._related.setdefault(one, set()).add(other)

    def of(self, point: _LabelledRegion) -> int | None:
        """The number of its region; None if it names none that exists."""
        seen: set[str] = set()
        parent = point.parent
        while parent in self._known and parent not in seen:
            if parent in self._numbers:
                return self._numbers[parent]
            seen.add(parent)
            parent = self._known[parent].parent
        related = sorted(self._numbers[other] for other in self._related.get(point.id, ()) if other in self._numbers)
        if len(related) > 1:
            raise self._task.error(
                f"a relation of the key-point {point.label!r} to one region", f"relations to {len(related)}"
            )
        return related[0] if related else None


def _around(
    task: Task, point: _LabelledRegion, at: tuple[float, float], shapes: Mapping[int, Corners | None]
) -> int | None:
    """The number of the one area that a point is in; None if there are no areas."""
    inside = [number for number, corners in shapes.items() if corners is not None and contains(corners, at)]
    if len(inside) == 1:
        return inside[0]
    if not shapes:
        return None
    raise task.error(
        f"the key-point {point.label!r} in exactly one of {len(shapes)} rectangles, or with one as its parent",
        f"it in {len(inside) or 'none'} of them, at ({at[0]:.1f}, {at[1]:.1f})",
        advice="Drag it onto its rectangle in Label Studio's list of regions, or move one of them.",
    )


def _check_strays(task: Task, points: Sequence[_LabelledRegion]) -> None:
    """Key-points without a region are one object, unless they name different regions, which are missing."""
    parents = dict.fromkeys(point.parent for point in points if point.parent)
    if len(parents) > 1:
        raise task.error(
            "the regions that key-points name as their parents",
            f"none of {', '.join(map(repr, list(parents)[:4]))}, so it is not known which points belong together",
        )


def _object(
    task: Task,
    area: _LabelledRegion | None,
    corners: Corners | None,
    points: Sequence[_LabelledRegion],
    size: tuple[int, int],
) -> DrawnObject:
    named: dict[str, tuple[float, float]] = {}
    for point in points:
        if point.label in named:
            kind = f"of one {area.label!r}" if area is not None else "of the image's only object"
            raise task.error(
                f"every key-point {kind} once",
                f"{point.label!r} twice",
                advice="Delete one, or draw a rectangle around each object.",
            )
        named[point.label] = _at(task, point, size)
    return DrawnObject(
        category=area.label if area is not None else None,
        box=None if corners is None else extent_in(corners, size),
        id=(area.id or None) if area is not None else LOOSE,
        points=named,
        area=area.entries if area is not None else [],
        point_regions={point.label: point.entries for point in points},
    )


def _at(task: Task, point: _LabelledRegion, size: tuple[int, int]) -> tuple[float, float]:
    """The location of a key-point, in pixels."""
    x, y = _numbers(task, point, "x", "y")
    return x / 100 * size[0], y / 100 * size[1]


def _shape(task: Task, area: _LabelledRegion, size: tuple[int, int]) -> Corners | None:
    """The outline of an area in pixels, in which turning keeps angles; None for a brush."""
    width, height = size
    if area.kind == "brush":
        return None
    if area.kind == "polygon":
        value = area.first.get("value")
        corners = task.file.points(
            value["points"] if isinstance(value, dict) and isinstance(value.get("points"), list) else (),
            f"'points' of {area.label!r} in {task.name}",
        )
        return corners / 100 * np.array(size) if len(corners) > 2 else None
    turn = _numbers(task, area, "rotation", default=0.0)[0]
    x, y = _numbers(task, area, "x", "y")
    left, top = x / 100 * width, y / 100 * height
    first, second = ("radiusX", "radiusY") if area.kind == "ellipse" else ("width", "height")
    sides = _numbers(task, area, first, second)
    wide, high = sides[0] / 100 * width, sides[1] / 100 * height
    return ellipse(left, top, (wide, high), turn) if area.kind == "ellipse" else rectangle(left, top, wide, high, turn)


def _numbers(task: Task, one: _LabelledRegion, *keys: str, default: float | None = None) -> tuple[float, ...]:
    value = one.first.get("value")
    known = value if isinstance(value, dict) else {}
    values = [known.get(key) if known.get(key) is not None else default for key in keys]
    named = " and ".join(map(repr, keys))
    return task.file.numbers(values, len(keys), f"{named} of {one.label!r} in {task.name}")
