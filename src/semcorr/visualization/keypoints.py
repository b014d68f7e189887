"""Many images with the same key-points, side by side."""

from collections.abc import Iterable, Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import Float

from semcorr.imaging.geometry import scale_points
from semcorr.imaging.image import ImageSource, load_image
from semcorr.visualization.panels import Panel, even_columns, fitted, panel_grid, panel_style, resized, with_margin
from semcorr.visualization.style import FINER, Pen, Style, lay_over

_COLUMNS = 6


def keypoint_grid(
    images: Sequence[ImageSource], points: Iterable[Float[np.ndarray, "keypoints 2"]], *, height: int = 200
) -> PIL.Image.Image:
    """Draw images in a grid, each with its key-points as numbered discs; a number has one colour in all of them.

    Args:
        images: The images.
        points: Of each image, (x, y) of its key-points in the image's own pixels; NaN where there is none.
        height: Of a panel, in pixels.

    Raises:
        ImageError: An image cannot be used.
    """
    style = panel_style(height)
    panels = [
        Panel(image=_with_badges(image, known, height, style)) for image, known in zip(images, points, strict=True)
    ]
    return with_margin(panel_grid(panels, even_columns(len(panels), _COLUMNS), style), style.gap)


def _with_badges(
    source: ImageSource, points: Float[np.ndarray, "keypoints 2"], height: int, style: Style
) -> PIL.Image.Image:
    image = load_image(source)
    size = fitted(image.size, height)
    panel = resized(image, size).pil()
    layer = PIL.Image.new("RGBA", (panel.width * FINER, panel.height * FINER))
    pen = Pen(PIL.ImageDraw.Draw(layer), style)
    for index, point in enumerate(scale_points(points, image.size, size)):
        if np.isfinite(point).all():
            pen.badge(point, index)
    lay_over(panel, layer, (0, 0))
    return panel
