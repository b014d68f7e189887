"""Heat maps of matches: of one point or all, of one layer or all together."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from semcorr.app.colours import strongest
from semcorr.app.workspace import Prediction, Workspace

FUSED = "all layers together"

Heat = Float[np.ndarray, "height width"]


def heat_in(work: Workspace, target: int, point: int | None, layer: str) -> Heat | None:
    """The heat map in a target.

    Args:
        work: The workspace.
        target: The target's id.
        point: The point's id; None for all points together.
        layer: A layer's name, or :data:`FUSED`.

    Returns:
        The map over the whole target; None where there is none.
    """
    points = work.ids if point is None else (point,)
    matches = [match for id_ in points if (match := work.matches.get((target, id_)))]
    maps = [map_ for match in matches if (map_ := map_of(match.prediction, match.index, layer)) is not None]
    # The maps of different methods differ in size: only those of the method that was used last are combined.
    return _combined([map_ for map_ in maps if map_.shape == maps[-1].shape], point)


def heat_of(prediction: Prediction, point: int | None, layer: str) -> Heat | None:
    """A prediction's heat map, of one point (counted from 0) or all; None where there is none."""
    count = len(prediction.matches.heatmaps)
    points = range(count) if point is None else [point] if point < count else []
    return _combined([map_ for index in points if (map_ := map_of(prediction, index, layer)) is not None], point)


def map_of(prediction: Prediction, index: int, layer: str) -> Heat | None:
    """A point's heat map of one layer, or of all together; None where there is none."""
    if layer == FUSED:
        return prediction.matches.heatmaps[index]
    if prediction.layers is None or layer not in prediction.matches.layer_names:
        return None
    layers: np.ndarray = prediction.layers[index, prediction.matches.layer_names.index(layer)]
    return layers


def layer_choices(work: Workspace) -> list[str]:
    """The layers that have heat maps, all together first."""
    names = [
        name
        for match in work.matches.values()
        if match.prediction.layers is not None
        for name in match.prediction.matches.layer_names
    ]
    return [FUSED, *dict.fromkeys(names)]


def _combined(maps: Sequence[np.ndarray], point: int | None) -> Heat | None:
    """The map of the one point, or the maximum of all points' maps; None where there is none."""
    return None if not maps else maps[0] if point is not None else strongest(np.stack(maps))
