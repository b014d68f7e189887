"""What the browser shows: pictures with heat over them and numbered points, as plain data for ``viewer.js``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Float

from semcorr.app.colours import confidence_colour, heat_picture, hex_colour, strongest
from semcorr.app.shelf import OwnShelf
from semcorr.app.workspace import Found, Workspace
from semcorr.images import Image
from semcorr.marks import point_colour

FUSED = "all layers together"
_LARGEST = 2048
"""Pixels of a picture's longer side as the browser gets it; points are in the pixels of the picture itself."""

Panel = dict[str, Any]
View = dict[str, Any]


def view(panels: Sequence[Panel], *, empty: str, columns: int = 1, height: int = 400) -> View:
    """What a viewer shows: panels in a grid, each at most ``height`` pixels high, or a hint where there is none."""
    return {"panels": list(panels), "empty": empty, "columns": columns, "height": height}


def panel(
    shelf: OwnShelf,
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
        "src": shelf.picture(_shown(image)),
        "width": image.size[0],
        "height": image.size[1],
        "heat": None if heat is None else shelf.picture(heat_picture(heat)),
        "mode": mode,
        "points": list(points),
    }


def source_view(
    shelf: OwnShelf, work: Workspace, *, looked: Sequence[int] = (), maps: np.ndarray | None = None
) -> View:
    """The source with its numbered points; while learning, with the maps (looked, height, width) over it."""
    hint = "Send a source picture, or press an example. Then click the points you want to find."
    if work.source is None:
        return view([], empty=hint)
    points = [
        {"x": x, "y": y, "label": str(number), "colour": hex_colour(point_colour(number - 1)), "title": name}
        for number, ((x, y), name) in enumerate(zip(work.points, work.labels, strict=True), start=1)
    ]
    title = f"{work.source.name}, {work.source.size[0]} × {work.source.size[1]}"
    heat = None if maps is None or not len(looked) else strongest(maps)
    return view([panel(shelf, work.source, points, title=title, mode="place", heat=heat)], empty=hint, height=360)


def targets_view(
    shelf: OwnShelf, work: Workspace, *, point: int | None = None, layer: str = FUSED, active: int = 0
) -> View:
    """The targets with what was found in them.

    Args:
        shelf: where pictures are put up.
        work: the table.
        point: whose heat map is shown, counted from 0; None for all points' together.
        layer: which layer's, or ``FUSED``.
        active: the point that a click moves, counted from 0.
    """
    hint = "Send target pictures: the points are looked for in them."
    panels = []
    for number, image in enumerate(work.targets):
        title = f"{image.name}, {image.size[0]} × {image.size[1]}"
        if work.result is None:
            panels.append(panel(shelf, image, title=title))
            continue
        found = work.result.found[number]
        points = found_points(found, work.labels, active=active)
        panels.append(panel(shelf, image, points, title=title, mode="move", heat=heat_of(found, point, layer)))
    columns = min(max(len(panels), 1), 3)
    return view(panels, empty=hint, columns=columns, height=(460, 400, 320)[columns - 1])


def found_points(found: Found, names: Sequence[str], *, active: int | None = None) -> list[dict[str, Any]]:
    """Matches as the viewer draws them: the number in the point's own colour, the dot in that of its confidence."""
    drawn = []
    for index, ((x, y), confidence, name) in enumerate(
        zip(found.points.tolist(), found.matches.confidence.tolist(), names, strict=True)
    ):
        moved = index in found.moved
        told = "put right by hand" if moved else f"confidence {confidence:.2f}"
        drawn.append(
            {
                "x": x,
                "y": y,
                "label": str(index + 1),
                "colour": hex_colour(point_colour(index)),
                "dot": "#ffffff" if moved else confidence_colour(confidence),
                "title": f"{name}: {told}",
                "active": index == active,
                "moved": moved,
            }
        )
    return drawn


def heat_of(found: Found, point: int | None, layer: str) -> np.ndarray | None:
    """The heat map to show: of one point or all, of one layer or all together; None where there is none."""
    maps = found.matches.heatmaps
    if layer != FUSED:
        if found.layers is None or layer not in found.matches.layer_names:
            return None
        maps = found.layers[:, found.matches.layer_names.index(layer)]
    if not len(maps):
        return None
    return strongest(maps) if point is None else maps[min(point, len(maps) - 1)]


def layer_choices(work: Workspace) -> list[str]:
    """What of a result can be shown: all layers together, and each that has a map."""
    if work.result is None or not work.result.found or work.result.found[0].layers is None:
        return [FUSED]
    return [FUSED, *work.result.found[0].matches.layer_names]


def _shown(image: Image) -> PIL.Image.Image:
    picture = image.pil()
    picture.thumbnail((_LARGEST, _LARGEST), PIL.Image.Resampling.LANCZOS)
    return picture
