"""The data that ``viewer.js`` draws: images with heat maps and numbered points."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import PIL.Image
from jaxtyping import Float

from semcorr.app.page.colours import confidence_colour, heat_image, hex_colour, strongest
from semcorr.app.server.served_files import SessionFiles
from semcorr.app.workspace import Prediction, Workspace
from semcorr.imaging.image import Image
from semcorr.visualization.style import point_colour

FUSED = "all layers together"
_MAX_SIDE = 2048
"""Pixels of an image's longer side as the browser gets it; points are in the pixels of the original image."""

Panel = dict[str, Any]
View = dict[str, Any]


def view(panels: Sequence[Panel], *, empty: str, columns: int = 1, height: int = 400) -> View:
    """A grid of panels, each at most ``height`` pixels high, or a hint where there is none."""
    return {"panels": list(panels), "empty": empty, "columns": columns, "height": height}


def panel(
    files: SessionFiles,
    image: Image,
    points: Sequence[dict[str, Any]] = (),
    *,
    title: str,
    mode: Literal["add", "move", "view"] = "view",
    heat: Float[np.ndarray, "height width"] | None = None,
) -> Panel:
    """One image. In the mode "add" a click adds a point, in "move" it moves the active one, in "view" neither."""
    return {
        "title": title,
        "src": files.add_image(_thumbnail(image)),
        "width": image.size[0],
        "height": image.size[1],
        "heat": None if heat is None else files.add_image(heat_image(heat)),
        "mode": mode,
        "points": list(points),
    }


def source_view(
    files: SessionFiles,
    work: Workspace,
    *,
    preview: Float[np.ndarray, "points height width"] | None = None,
    active: int = -1,
) -> View:
    """The source with its numbered points and, while they are optimized, a preview of their maps."""
    hint = "Send a source image, or press an example. Then click the points you want to find."
    if work.source is None:
        return view([], empty=hint)
    points = []
    for index, ((x, y), name, id_) in enumerate(zip(work.points, work.labels, work.ids, strict=True)):
        pending = bool(work.matches) and any(work.location((target, id_)) is None for target in work.target_ids)
        title = f"{name}: not found yet" if pending else name
        points.append({**mark(index, x, y, title, index == active), "pending": pending})
    title = f"{work.source.name}, {work.source.size[0]} × {work.source.size[1]}"
    heat = None if preview is None or not len(preview) else strongest(preview)
    return view([panel(files, work.source, points, title=title, mode="add", heat=heat)], empty=hint, height=360)


def targets_view(
    files: SessionFiles, work: Workspace, *, point: int | None = None, layer: str = FUSED, active: int = 0
) -> View:
    """The targets with their matches.

    Args:
        files: The session's files, which get the images.
        work: The workspace.
        point: The point whose heat map is shown, counted from 0; None for all points together.
        layer: The layer whose heat map is shown, or ``FUSED``.
        active: The point that a click moves, counted from 0.
    """
    hint = "Send target images to find the points in."
    panels = []
    for number, image in enumerate(work.targets):
        title = f"{image.name}, {image.size[0]} × {image.size[1]}"
        if not work.matches and not work.decisions:
            panels.append(panel(files, image, title=title))
            continue
        points = match_marks(work, number, active=active)
        panels.append(panel(files, image, points, title=title, mode="move", heat=heat_in(work, number, point, layer)))
    columns = min(max(len(panels), 1), 3)
    return view(panels, empty=hint, columns=columns, height=(460, 400, 320)[columns - 1])


def match_marks(work: Workspace, target: int, *, active: int | None = None) -> list[dict[str, Any]]:
    """The marks of matches: the number has the point's own colour, the dot that of its confidence.

    A point that is not found yet has no location; the others keep their numbers.
    """
    marks = []
    for index, (point, name) in enumerate(zip(work.ids, work.labels, strict=True)):
        cell = (work.target_ids[target], point)
        x, y = work.location(cell) or (None, None)
        decision, match = work.decisions.get(cell), work.matches.get(cell)
        dot, outdated = "#ffffff", False
        if decision is not None:
            state = "corrected by hand" if decision.how == "corrected" else "accepted"
        elif match is not None:
            state, outdated = f"confidence {match.confidence:.2f}", work.outdated(cell)
            state += ", of the point's earlier location: Find again" if outdated else ""
            dot = confidence_colour(match.confidence)
        else:
            state = "not found yet"
        moved = decision is not None and decision.how == "corrected"
        more = {"dot": dot, "moved": moved, "outdated": outdated}
        marks.append({**mark(index, x, y, f"{name}: {state}", index == active), **more})
    return marks


def mark(index: int, x: float | None, y: float | None, title: str, active: bool = False) -> dict[str, Any]:
    """A point as the viewer draws it: its number in its own colour, at (x, y) in pixels of the image."""
    colour = hex_colour(point_colour(index))
    return {"x": x, "y": y, "label": str(index + 1), "colour": colour, "title": title, "active": active}


def heat_in(work: Workspace, target: int, point: int | None, layer: str) -> np.ndarray | None:
    """The heat map of a target, of one point or all, of one layer or all together; None where there is none."""
    points = work.ids if point is None else work.ids[point : point + 1]
    matches = [match for id_ in points if (match := work.matches.get((work.target_ids[target], id_)))]
    maps = [map_ for match in matches if (map_ := map_of(match.prediction, match.index, layer)) is not None]
    # The maps of different methods differ in size: only those of the method that was used last are combined.
    return _combined([map_ for map_ in maps if map_.shape == maps[-1].shape], point)


def map_of(prediction: Prediction, index: int, layer: str) -> np.ndarray | None:
    """A point's heat map of one layer, or of all together; None where there is none."""
    if layer == FUSED:
        return prediction.matches.heatmaps[index]
    if prediction.layers is None or layer not in prediction.matches.layer_names:
        return None
    layers: np.ndarray = prediction.layers[index, prediction.matches.layer_names.index(layer)]
    return layers


def heat_of(prediction: Prediction, point: int | None, layer: str) -> np.ndarray | None:
    """A prediction's heat map, of one point or all, of one layer or all together; None where there is none."""
    count = len(prediction.matches.heatmaps)
    points = range(count) if point is None else [min(point, count - 1)] if count else []
    return _combined([map_ for index in points if (map_ := map_of(prediction, index, layer)) is not None], point)


def _combined(maps: Sequence[np.ndarray], point: int | None) -> np.ndarray | None:
    """The map of the one point, or the maximum of all points' maps; None where there is none."""
    return None if not maps else maps[0] if point is not None else strongest(np.stack(maps))


def layer_choices(work: Workspace) -> list[str]:
    """The entries of the list of layers: all together, and each that has heat maps."""
    names = [
        name
        for match in work.matches.values()
        if match.prediction.layers is not None
        for name in match.prediction.matches.layer_names
    ]
    return [FUSED, *dict.fromkeys(names)]


def _thumbnail(image: Image) -> PIL.Image.Image:
    thumbnail = image.pil()
    thumbnail.thumbnail((_MAX_SIDE, _MAX_SIDE), PIL.Image.Resampling.LANCZOS)
    return thumbnail
