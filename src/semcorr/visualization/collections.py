"""The canonical grid of a collection, drawn on its images."""

from pathlib import Path

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float, UInt8

from semcorr.errors import ImageError
from semcorr.imaging import heatmaps
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.collection.collection import Collection, Mapped
from semcorr.visualization.panels import Panel, fitted, panel_grid, panel_style, resized, with_margin

_HEIGHT = 150
_COLUMNS = 6
_LINES = 8
"""Lines of the grid along each side of what the objects cover of it."""

_OPAQUE = 0.62
_FADED = 0.35


def canonical_figure(collection: Collection, *, columns: int = _COLUMNS) -> PIL.Image.Image:
    """Return the canonical grid, and every image with its colours and lines warped back onto the object.

    The same colour is the same location of the grid. What is not the object is faded. An image whose file is missing or
    has changed is drawn in grey.

    Args:
        collection: The collection.
        columns: Panels in a row.
    """
    images = collection.images
    cells = np.concatenate([mapped.coordinates[:, mapped.inside].T.numpy() for _, mapped in images])
    ends = np.quantile(cells, [0.02, 0.98], axis=0)
    style = panel_style(_HEIGHT)
    axis = (np.arange(_HEIGHT) + 0.5) / _HEIGHT
    whole = np.stack(np.meshgrid(axis, axis), axis=-1)
    panels = [Panel(image=PIL.Image.fromarray(_colours(whole)), caption="canonical grid")]
    for path, mapped in images:
        image = _read(path)
        size = fitted(image.size, _HEIGHT)
        panels.append(Panel(image=_warped_back(resized(image, size), mapped, ends), caption=Path(path).name))
    return with_margin(panel_grid(panels, min(columns, len(panels)), style), style.gap)


def _read(path: str) -> Image:
    try:
        return load_image(path)
    except ImageError:
        return Image(pixels=np.full((64, 64, 3), 128, dtype=np.uint8), name=path)


def _warped_back(image: Image, mapped: Mapped, ends: Float[np.ndarray, "2 2"]) -> PIL.Image.Image:
    coordinates = heatmaps.upsample(mapped.coordinates, image.size).movedim(0, -1).numpy().astype(np.float64)
    inside = heatmaps.upsample(mapped.inside.to(torch.float32)[None], image.size)[0].numpy() >= 0.5
    colours = _colours((coordinates - ends[0]) / np.maximum(ends[1] - ends[0], 1e-9)).astype(np.float64)
    pixels = image.pixels.astype(np.float64)
    grey = pixels.mean(axis=2, keepdims=True).repeat(3, axis=2)
    pixels = np.where(inside[..., None], (1 - _OPAQUE) * grey + _OPAQUE * colours, 255 - (255 - pixels) * _FADED)
    return PIL.Image.fromarray(np.floor(pixels + 0.5).clip(0, 255).astype(np.uint8))


def _colours(unit: Float[np.ndarray, "height width 2"]) -> UInt8[np.ndarray, "height width 3"]:
    """Return a colour for each location of the unit square, with dark lines between its ``_LINES`` x ``_LINES`` fields.

    Red rises to the right, green downwards, and blue to the upper left.
    """
    x, y = np.moveaxis(unit.clip(0, 1), -1, 0)
    colours = np.stack([x, y, 1 - (x + y) / 2], axis=-1) * 215 + 40
    fields = np.floor(unit.clip(0, 1 - 1e-9) * _LINES)
    edge = np.zeros(unit.shape[:2], dtype=bool)
    edge[:, 1:] |= (fields[:, 1:] != fields[:, :-1]).any(axis=-1)
    edge[1:] |= (fields[1:] != fields[:-1]).any(axis=-1)
    colours[edge] *= 0.35
    return np.floor(colours + 0.5).astype(np.uint8)
