"""A grid of images with their key-points."""

import numpy as np
import PIL.Image

from semcorr.imaging.image import load_image
from semcorr.visualization.keypoints import keypoint_grid
from semcorr.visualization.panels import panel_style
from semcorr.visualization.style import point_colour


def test_every_image_has_its_points_in_their_colours():
    images = [load_image(PIL.Image.new("RGB", size, "black")) for size in ((100, 100), (200, 100), (100, 100))]
    points = [
        np.array([[25.0, 50.0], [75.0, 50.0]]),
        np.array([[50.0, 50.0], [np.nan, np.nan]]),
        np.full((2, 2), np.nan),
    ]
    figure = np.asarray(keypoint_grid(images, points, height=200))
    gap, radius = panel_style(200).gap, panel_style(200).badge
    # Panels are 200 high, and as wide as the widest, 320.
    assert figure.shape[1] == 3 * 320 + 4 * gap
    for index, colour in enumerate(map(point_colour, range(2))):
        rows, columns = np.nonzero((np.abs(figure.astype(int) - colour) <= 2).all(axis=2))
        by_panel = (columns - gap) // (320 + gap)
        assert set(by_panel.tolist()) == ({0, 1} if index == 0 else {0})
        first = by_panel == 0
        assert abs(columns[first].mean() - (gap + 50 + 100 * index)) < radius
        assert abs(rows[first].mean() - (figure.shape[0] / 2)) < radius
