"""Corrected objects in Label Studio's tasks: accepted ones become annotations, others stay predictions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from semcorr.imaging.geometry import Box
from semcorr.keypoints.base import MISSING, AnnotatedImage, Annotations, Instance
from semcorr.keypoints.corrections import Changed, CorrectedPoint, Corrections, points_of, with_sources
from semcorr.keypoints.declared_size import coordinate_frame
from semcorr.keypoints.file_reader import DataFile, annotation_file
from semcorr.keypoints.label_studio.controls import Controls
from semcorr.keypoints.label_studio.read import BESIDE_PREDICTIONS, read_task
from semcorr.keypoints.label_studio.regions import DrawnObject, drawing_of
from semcorr.keypoints.label_studio.tasks import TITLE, Notes, Region, Task
from semcorr.keypoints.label_studio.write import POINT_WIDTH, controls_of, drawn, percent, rectangle_value
from semcorr.keypoints.provenance import ACCEPTED, MARK, PLACED
from semcorr.keypoints.shapes import extent

_ORIGINS = {ACCEPTED: {"origin": "prediction", MARK: ACCEPTED}, PLACED: {"origin": "manual", MARK: PLACED}}
"""What the region of a point says of who set it: Label Studio's own field, and this package's."""


def correct(annotations: Annotations, corrections: Corrections) -> Annotations:
    """Tasks with other objects in place of some of their own; everything else that they hold stays.

    Regions of an accepted object move from the last prediction to the last annotation, or to a new one. Those of points
    that a person set say so. Where objects of the prediction are left that nobody has decided on, the annotation has a
    mark, without which it would replace the whole prediction, as an annotation from Label Studio does.

    Regions of an object that was annotated stay where they are; of its points only those that were changed are written
    anew.
    """
    file = annotation_file(annotations.path, TITLE)

    def corrected(image: AnnotatedImage, changed: Changed) -> dict[str, Any]:
        return _Corrector(annotations, image, file).task(changed)

    return with_sources(annotations, corrections, corrected)


@dataclass(kw_only=True)
class _Moves:
    """What becomes of a prediction's regions.

    Attributes:
        instead: Regions in place of one, by its identity; of an object they stand where its first region stood.
        accepted: Those that go to the annotation.
        gone: Ids that are no longer in the prediction.
    """

    instead: dict[int, list[Region]] = field(default_factory=dict)
    accepted: list[Region] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)


class _Corrector:
    """Corrects the task of one image."""

    def __init__(self, annotations: Annotations, image: AnnotatedImage, file: DataFile) -> None:
        self._annotations, self._image = annotations, image
        self._controls: Controls = controls_of(annotations)
        self._task = Task(name=image.file, source=image.source, file=file)
        self._size = coordinate_frame(image) or file.folder.image_size(image.path)
        known = read_task(self._task, image.path, Notes()).objects
        # In the order of the image's objects, which are those of categories with key-points.
        self._drawn = [one.drawn for one in known if one.drawn.category in (None, *annotations.categories)]

    def task(self, changed: Changed) -> dict[str, Any]:
        """The task with changed objects."""
        submitted = self._task.submitted()
        annotated = {number: one for number, one in changed.items() if not self._image.instances[number].predicted}
        own = self._reannotated(self._task.regions(submitted[-1]), annotated) if submitted else []
        if len(annotated) == len(changed):
            return _with_result(self._image.source, submitted, own, _mark_of(submitted))
        last = self._task.listed("predictions")[-1]
        areas = {_id(region) for region in own} - {""}
        moves = _Moves()
        for number, one in changed.items():
            if number not in annotated:
                self._move(number, one, moves, areas, boxed=self._has_areas(own))
        result = [region for old in self._task.regions(last) for region in moves.instead.get(id(old), [old])]
        related = [one for one in result if _ends(one) & moves.gone]
        result = [one for one in result if one not in related]
        now = {number: changed.get(number, one) for number, one in enumerate(self._image.instances)}
        left = [one for one in now.values() if one is not None and one.predicted]
        prediction = {**last, "result": result, **_score(left)}
        entries = [one if one is not last else prediction for one in self._image.source["predictions"]]
        source = {**self._image.source, "predictions": entries}
        moved = {_id(one) for one in moves.accepted}
        accepted = [*_joined(own, moves.accepted), *(one for one in related if _ends(one) <= moved | areas)]
        if moves.accepted or (submitted and MARK in submitted[-1]):
            mark = {MARK: BESIDE_PREDICTIONS} if left else {}
            source = _with_result(source, submitted, accepted, mark)
        elif annotated:
            source = _with_result(source, submitted, own, {})
        return source

    def _reannotated(self, regions: Sequence[Region], changed: Changed) -> list[Region]:
        """An annotation's regions with changed objects of its own."""
        instead: dict[int, list[Region]] = {}
        for number, one in changed.items():
            instead |= self._instead(number, one)
        gone = {_id(region) for region in regions if instead.get(id(region), [region]) == []} - {""}
        kept = [region for region in regions if not _ends(region) & gone]
        return [region for old in kept for region in instead.get(id(old), [old])]

    def _instead(self, number: int, one: Instance | None) -> dict[int, list[Region]]:
        """Regions in place of each of an annotated object, by its identity; new points stand behind the last."""
        old, before = self._drawn[number], self._image.instances[number]
        if one is None:
            return {id(region): [] for region in old.regions}
        instead = {id(region): [region] for region in old.regions}
        key = old.id if old.area and old.id is not None else f"{before.category}-{number}"
        parent = {"parentID": key} if old.area and old.id is not None else {}
        names, added = self._annotations.categories[one.category].keypoints, []
        shown = {point.name: point for point in points_of(one, names) if point.mark > MISSING}
        for name, regions in old.point_regions.items():
            if name not in shown:
                instead |= {id(region): [] for region in regions}
        for name, point in shown.items():
            assert point.xy is not None  # noqa: S101  # it is marked
            if name not in old.points:
                added += [{**region, **parent} for region in self._new_point(key, name, point.xy)]
            elif point.xy != old.points[name]:
                instead |= {id(region): [self._moved(region, point.xy)] for region in old.point_regions[name]}
        if one.category != before.category:
            first = id(old.regions[0])
            instead |= {id(region): [] for region in old.area}
            instead[first] = [*self._new_area(key, one), *instead[first]]
        instead[id(old.regions[-1])] += added
        return instead

    def _move(self, number: int, one: Instance | None, moves: _Moves, areas: set[str], *, boxed: bool) -> None:
        old = self._drawn[number]
        first, *others = old.regions
        moves.instead |= {id(first): [], **{id(region): [] for region in others}}
        moves.gone |= {_id(region) for region in old.regions} - {""}
        if one is None:
            return
        if one.predicted:
            regions = self._regions(number, one, boxed=False)
            moves.gone -= {_id(region) for region in regions}
            moves.instead[id(first)] = regions
        elif (one.visibility > MISSING).any():
            moves.accepted += self._renamed(self._regions(number, one, boxed=boxed), old, areas)
        else:
            moves.instead[id(first)] = list(old.area)

    def _has_areas(self, regions: Sequence[Region]) -> bool:
        """Whether an annotation has areas, so that a point without one would be another object's."""
        return any(one.area for one in drawing_of(self._task, regions, lambda: self._size).objects)

    def _regions(self, number: int, one: Instance, *, boxed: bool) -> list[Region]:
        """The regions of an object as it is now."""
        old, before = self._drawn[number], self._image.instances[number]
        key = old.id if old.area and old.id is not None else f"{before.category}-{number}"
        area = [{"id": key, **region} for region in old.area]
        if one.category != before.category or (boxed and not area):
            area = self._new_area(key, one)
        elif before.drawn_box is None and one.box is not None and one.box != before.box:
            area = [_resized(region, one.box, self._size) for region in area]
        if area and one.predicted and one.score is not None:
            area[0] = {**area[0], "score": round(one.score, 4)}
        parent = {"parentID": key} if area else {}
        regions = area
        for point in points_of(one, self._annotations.categories[one.category].keypoints):
            if point.xy is not None and point.mark > MISSING:
                regions += [{**region, **parent} for region in self._point(old, key, point, point.xy)]
        return regions

    def _new_area(self, key: str, one: Instance) -> list[Region]:
        value = rectangle_value(one.box or extent(one.points[one.visibility > MISSING]), self._size)
        return drawn(self._size, self._controls.of_area(one.category), key, value, one.category, one.score)

    def _at(self, xy: tuple[float, float]) -> dict[str, float]:
        return dict(zip("xy", map(percent, xy, self._size), strict=True))

    def _new_point(self, key: str, name: str, xy: tuple[float, float]) -> list[Region]:
        value = {**self._at(xy), "width": POINT_WIDTH}
        return drawn(self._size, self._controls.of_point(name), f"{key}-{name}", value, name, None)

    def _moved(self, region: Region, xy: tuple[float, float]) -> Region:
        """A region of an annotated point elsewhere; a mark of a prediction that was accepted says who moved it."""
        moved = {**region, "value": {**region["value"], **self._at(xy)}}
        if MARK in region:
            moved = {key: value for key, value in moved.items() if key != "score"} | _ORIGINS[PLACED]
        return moved

    def _point(self, old: DrawnObject, key: str, point: CorrectedPoint, xy: tuple[float, float]) -> list[Region]:
        known = [{**region} for region in old.point_regions.get(point.name, [])]
        if not known:
            known = self._new_point(key, point.name, xy)
        elif xy != old.points[point.name]:
            known = [{**region, "value": {**region["value"], **self._at(xy)}} for region in known]
        for region in known:
            for name in ("origin", MARK, *(["score"] if point.origin == PLACED else [])):
                region.pop(name, None)
            region |= _ORIGINS.get(point.origin or "", {})
            if point.origin != PLACED and point.confidence is not None:
                region["score"] = round(point.confidence, 4)
        return known

    def _renamed(self, regions: list[Region], old: DrawnObject, areas: set[str]) -> list[Region]:
        """Regions with ids that the annotation does not have yet, but for an area that is its own."""
        names: dict[str, str] = {}
        for region in regions:
            name = _id(region)
            while name in areas and name != old.id:
                name += "-"
            names[_id(region)] = name
        return [
            {**region, **{key: names.get(region[key], region[key]) for key in ("id", "parentID") if key in region}}
            for region in regions
        ]


def _mark_of(submitted: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mark of a task's last annotation."""
    return {MARK: submitted[-1][MARK]} if MARK in submitted[-1] else {}


def _resized(region: Region, box: Box, size: tuple[int, int]) -> Region:
    """A region of an object's own extent around its points as they are now; one of another shape stays."""
    value = region.get("value")
    if not isinstance(value, dict) or not {"x", "y", "width", "height"} <= set(value) or value.get("rotation"):
        return region
    return {**region, "value": {**value, **rectangle_value(box, size)}}


def _joined(own: Sequence[Region], accepted: Sequence[Region]) -> list[Region]:
    """An annotation's regions with those of accepted objects.

    An area that the annotation has stays, unless the accepted object is of another category.
    """
    known, new = _by_id(own), _by_id(accepted)
    instead = {key: new[key] for key in new.keys() & known.keys() if _labels(new[key]) != _labels(known[key])}
    result: list[Region] = []
    for region in own:
        key = _id(region)
        if region.get("type") == "relation" or key not in instead:
            result.append(region)
        elif region is known[key][0]:
            result += instead[key]
    return [*result, *(region for region in accepted if _id(region) not in known)]


def _ends(region: Region) -> set[str]:
    """The ids of the two regions that a relation joins."""
    return {str(region.get("from_id")), str(region.get("to_id"))} if region.get("type") == "relation" else set()


def _by_id(regions: Iterable[Region]) -> dict[str, list[Region]]:
    by_id: dict[str, list[Region]] = {}
    for region in regions:
        if region.get("type") != "relation" and _id(region):
            by_id.setdefault(_id(region), []).append(region)
    return by_id


def _id(region: Region) -> str:
    """A region's id; empty if it has none."""
    return str(region.get("id", ""))


def _labels(regions: Iterable[Region]) -> set[str]:
    values = [region["value"] for region in regions if isinstance(region.get("value"), dict)]
    return {str(label) for value in values for key, own in value.items() if key.endswith("labels") for label in own}


def _score(left: Iterable[Instance]) -> dict[str, float]:
    """The score of a prediction: the mean of those of its objects."""
    scores = [one.score for one in left if one.score is not None]
    return {"score": round(float(np.mean(scores)), 4)} if scores else {}


def _with_result(
    source: dict[str, Any], submitted: Sequence[dict[str, Any]], result: list[Region], mark: Mapping[str, Any]
) -> dict[str, Any]:
    """A task whose last annotation has another result; a new one if it has none."""
    if not submitted:
        return {**source, "annotations": [*(source.get("annotations") or []), {"result": result, **mark}]}
    last = submitted[-1]
    annotation = {**{key: value for key, value in last.items() if key != MARK}, "result": result, **mark}
    key = next(key for key in ("annotations", "completions") if any(one is last for one in source.get(key) or []))
    return {**source, key: [annotation if one is last else one for one in source[key]]}
