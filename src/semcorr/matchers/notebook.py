"""What a notebook shows of queries and matches: tables in HTML, with heat maps as small images in them."""

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import Float

from semcorr.imaging.geometry import Size, scale_points

SHOWN = 20
"""Points that are listed; there may be thousands."""

_HEIGHT, _WIDTH = 96, 192
"""The largest size at which a heat map is shown, in pixels of the page."""
_FINER = 2
"""Pixels of an image for each of the page's, as fine screens have them."""
_DOT = 4
"""Radius of a point's dot, in pixels of the page."""


def point_table(
    caption: str, count: int, names: Sequence[str] | None, columns: Mapping[str, Callable[[int], str]]
) -> str:
    """Return a table with a row for each point, the first ``SHOWN`` of them.

    Args:
        caption: The line above it, as text.
        count: How many points there are.
        names: Their names, or None.
        columns: By heading, what returns a point's cell as HTML.
    """
    named = {} if names is None else {"name": lambda index: html.escape(names[index])}
    cells = {"point": lambda index: str(index + 1), **named, **columns}
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in cells)
    rows = ("".join(f"<td>{cell(index)}</td>" for cell in cells.values()) for index in range(min(count, SHOWN)))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    rest = f"<p>and {count - SHOWN:,} more</p>" if count > SHOWN else ""
    return f"<p>{html.escape(caption)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def position(point: Float[np.ndarray, "2"]) -> str:
    """Return a point as a cell; a dash for NaN, which an image does not show."""
    return "–" if np.isnan(point[0]) else f"{point[0]:.1f}, {point[1]:.1f}"


def heatmap_cell(heatmap: Float[np.ndarray, "height width"], point: Float[np.ndarray, "2"], size: Size) -> str:
    """Return a heat map with a dot at a point, as a cell.

    Args:
        heatmap: It covers the whole image, and is scaled to its own range.
        point: (x, y) in pixels of the image.
        size: (width, height) of the image, whose proportions are shown.
    """
    import matplotlib as mpl  # Here, because importing it makes folders in the user's home.

    scale = _FINER * min(_HEIGHT / size[1], _WIDTH / size[0])
    shown = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    low, high = float(heatmap.min()), float(heatmap.max())
    unit = PIL.Image.fromarray(((heatmap - low) / (high - low or 1)).astype(np.float32))
    heat = np.asarray(unit.resize(shown, PIL.Image.Resampling.BILINEAR))
    image = PIL.Image.fromarray((mpl.colormaps["inferno"](heat)[..., :3] * 255).astype(np.uint8))
    x, y = scale_points(point, size, shown)
    radius = _FINER * _DOT
    box = (x - radius, y - radius, x + radius, y + radius)
    PIL.ImageDraw.Draw(image).ellipse(box, fill=(0, 200, 255), outline="white", width=_FINER)
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    width, height = (max(1, side // _FINER) for side in shown)
    label = f"heat map, point at {position(point)}"
    return f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" alt="{label}">'
