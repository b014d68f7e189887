"""What the browser shows: pictures with heat over them and numbered points, as plain data for ``viewer.js``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Float

from semcorr.app.page.colours import confidence_colour, heat_picture, hex_colour, strongest
from semcorr.app.server.served_files import SessionFiles
from semcorr.app.workspace import Prediction, Workspace
from semcorr.imaging.image import Image
from semcorr.visualization.style import point_colour

FUSED = "all layers together"
_LARGEST = 2048
"""Pixels of a picture's longer side as the browser gets it; points are in the pixels of the picture itself."""

Panel = dict[str, Any]
View = dict[str, Any]


def view(panels: Sequence[Panel], *, empty: str, columns: int = 1, height: int = 400) -> View:
    """What a viewer shows: panels in a grid, each at most ``height`` pixels high, or a hint where there is none."""
    return {"panels": list(panels), "empty": empty, "columns": columns, "height": height}


def panel(
    files: SessionFiles,
    image: Image,
    points: Sequence[dict[str, Any]] = (),
    *,
    title: str,
    mode: str = "look",
    heat: Float[np.ndarray, "height width"] | None = None,
) -> Panel:
    """One picture. ``mode``: "place" takes new points, "move" moves those there are, "look" neither."""
    return {
        "title": title,
        "src": files.picture(_shown(image)),
        "width": image.size[0],
        "height": image.size[1],
        "heat": None if heat is None else files.picture(heat_picture(heat)),
        "mode": mode,
        "points": list(points),
    }


def source_view(
    files: SessionFiles,
    work: Workspace,
    *,
    looked: Sequence[int] = (),
    maps: np.ndarray | None = None,
    active: int = -1,
) -> View:
    """The source with its numbered points; while learning, with the maps (looked, height, width) over it."""
    hint = "Send a source image, or press an example. Then click the points you want to find."
    if work.source is None:
        return view([], empty=hint)
    points = []
    for index, ((x, y), name, one) in enumerate(zip(work.points, work.labels, work.ids, strict=True)):
        pending = bool(work.matches) and any(work.location((target, one)) is None for target in work.target_ids)
        title = f"{name}: not found yet" if pending else name
        drawn = _drawn(index, x, y, title, index == active)
        points.append({**drawn, "pending": pending})
    title = f"{work.source.name}, {work.source.size[0]} × {work.source.size[1]}"
    heat = None if maps is None or not len(looked) else strongest(maps)
    return view([panel(files, work.source, points, title=title, mode="place", heat=heat)], empty=hint, height=360)


def targets_view(
    files: SessionFiles, work: Workspace, *, point: int | None = None, layer: str = FUSED, active: int = 0
) -> View:
    """The targets with what was found in them.

    Args:
        files: where pictures are put up.
        work: the workspace.
        point: whose heat map is shown, counted from 0; None for all points' together.
        layer: which layer's, or ``FUSED``.
        active: the point that a click moves, counted from 0.
    """
    hint = "Send target images: the points are looked for in them."
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
    """Matches as the viewer draws them: the number in the point's own colour, the dot in that of its confidence.

    A point that is not found yet comes without a location, so that the others keep their numbers.
    """
    drawn = []
    for index, (point, name) in enumerate(zip(work.ids, work.labels, strict=True)):
        cell = (work.target_ids[target], point)
        x, y = work.location(cell) or (None, None)
        placed, match = work.decisions.get(cell), work.matches.get(cell)
        dot, outdated = "#ffffff", False
        if placed is not None:
            told = "put right by hand" if placed.how == "corrected" else "accepted"
        elif match is not None:
            told, outdated = f"confidence {match.confidence:.2f}", work.outdated(cell)
            told += ", of the point's earlier location: Find again" if outdated else ""
            dot = confidence_colour(match.confidence)
        else:
            told = "not found yet"
        state = {"dot": dot, "moved": placed is not None and placed.how == "corrected", "outdated": outdated}
        drawn.append({**_drawn(index, x, y, f"{name}: {told}", index == active), **state})
    return drawn


def _drawn(index: int, x: float | None, y: float | None, title: str, active: bool) -> dict[str, Any]:
    colour = hex_colour(point_colour(index))
    return {"x": x, "y": y, "label": str(index + 1), "colour": colour, "title": title, "active": active}


def heat_in(work: Workspace, target: int, point: int | None, layer: str) -> np.ndarray | None:
    """The heat map to show in a target, of one point or all, of one layer or all together; None where there is none."""
    points = work.ids if point is None else work.ids[point : point + 1]
    cells = [(work.target_ids[target], one) for one in points]
    maps = [map_of(match.prediction, match.index, layer) for cell in cells if (match := work.matches.get(cell))]
    known = [one for one in maps if one is not None]
    # Methods differ in their maps' sizes: those of the method that was used last are shown together.
    alike = [one for one in known if one.shape == known[-1].shape]
    return None if not alike else alike[0] if point is not None else strongest(np.stack(alike))


def map_of(found: Prediction, index: int, layer: str) -> np.ndarray | None:
    """A point's map of one layer, or of all together; None where there is none."""
    if layer == FUSED:
        return found.matches.heatmaps[index]
    if found.layers is None or layer not in found.matches.layer_names:
        return None
    layers: np.ndarray = found.layers[index, found.matches.layer_names.index(layer)]
    return layers


def heat_of(found: Prediction, point: int | None, layer: str) -> np.ndarray | None:
    """The heat map to show: of one point or all, of one layer or all together; None where there is none."""
    count = len(found.matches.heatmaps)
    points = range(count) if point is None else [min(point, count - 1)] if count else []
    known = [one for index in points if (one := map_of(found, index, layer)) is not None]
    return None if not known else known[0] if point is not None else strongest(np.stack(known))


def layer_choices(work: Workspace) -> list[str]:
    """What of the results can be shown: all layers together, and each that has a map."""
    names = [
        name
        for match in work.matches.values()
        if match.prediction.layers is not None
        for name in match.prediction.matches.layer_names
    ]
    return [FUSED, *dict.fromkeys(names)]


def _shown(image: Image) -> PIL.Image.Image:
    picture = image.pil()
    picture.thumbnail((_LARGEST, _LARGEST), PIL.Image.Resampling.LANCZOS)
    return picture
