"""The paper's figures: a panel for every target, points where they are, and the Gaussian that is learned."""

import dataclasses

import numpy as np
import PIL.Image
import pytest

from semcorr.visualization.paper_figures import QUERY, _gaussian, method_figure, one_to_many
from semcorr.visualization.style import PEAK
from visualization.test_heatmap_grids import corners, is_dot, matches_of, plain


def has(figure: PIL.Image.Image, place: np.ndarray, colour: tuple[int, int, int]) -> bool:
    x, y = (int(value) for value in place)
    return bool((np.abs(np.asarray(figure)[y - 1 : y + 2, x - 1 : x + 2].astype(int) - colour) <= 12).all())


def test_the_source_has_the_point_and_every_target_what_was_found() -> None:
    points = [[(30.0, 20.0)], [(150.0, 90.0)], [(100.0, 50.0)]]
    found = [matches_of((200, 100), one, 2) for one in points]
    asked = np.array([[60.0, 40.0]])
    found = [dataclasses.replace(one, query_points=asked) for one in found]
    figure = one_to_many(plain(200, 100), [plain(200, 100)] * 3, found, height=125)
    source, *targets = corners(figure, 200, 4)
    assert has(figure, source + asked[0], QUERY)
    for corner, (place,) in zip(targets, points, strict=True):
        assert is_dot(figure, corner + place)
    assert len({int(corner[1]) for corner in (source, *targets)}) == 1  # side by side


def test_more_targets_go_below_and_more_points_into_rows_of_their_own() -> None:
    one = matches_of((100, 100), [(50.0, 50.0)], 2)
    heights = {
        count: one_to_many(plain(100, 100), [plain(100, 100)] * count, [one] * count, height=100).height
        for count in (1, 4, 5, 8, 9)
    }
    assert heights[1] == heights[4] < heights[5] == heights[8] < heights[9]
    two = matches_of((100, 100), [(50.0, 50.0), (20.0, 20.0)], 2)
    both = one_to_many(plain(100, 100), [plain(100, 100)] * 2, [two] * 2, height=100)
    for number, corner in enumerate(corners(both, 100, 6)):
        place, colour = two.points[number // 3], QUERY if number % 3 == 0 else PEAK
        assert has(both, corner + place, colour)


def test_targets_of_any_shape() -> None:
    sizes = [(900, 30), (20, 500), (64, 64)]
    found = [matches_of(size, [(10.0, 10.0)], 2) for size in sizes]
    figure = one_to_many(plain(30, 30), [plain(*size) for size in sizes], found)
    assert figure.width < 4 * 1.7 * 256
    assert figure.height < 400
    method_figure(plain(900, 30), plain(20, 500), *[matches_of((1, 1), [(0.5, 0.5)], 2)] * 2)


def test_matches_of_other_targets_or_other_points_are_refused() -> None:
    image, one = plain(9, 9), matches_of((9, 9), [(1.0, 1.0)], 2)
    other = matches_of((9, 9), [(2.0, 1.0)], 2)
    for targets, found in (([], []), ([image], []), ([image], [one, one])):
        with pytest.raises(ValueError, match="matches for each of at least one target"):
            one_to_many(image, targets, found)
    with pytest.raises(ValueError, match="different points"):
        one_to_many(image, [image] * 2, [one, other])
    with pytest.raises(ValueError, match="point must be from 0 to 0, got 1"):
        method_figure(image, image, one, one, point=1)


def test_the_method_shows_the_point_its_gaussian_and_what_was_found() -> None:
    asked, answer = np.array([[60.0, 40.0]]), np.array([[150.0, 70.0]])
    in_source = dataclasses.replace(matches_of((200, 100), [(0.0, 0.0)], 2), query_points=asked)
    in_target = dataclasses.replace(in_source, points=answer)
    figure = method_figure(plain(200, 100), plain(200, 100), in_source, in_target, height=160)
    panels = corners(figure, 200 * 208 // 200, 6)  # 1.3 times 160 is 208 wide
    scale = 208 / 200
    for number, (place, colour) in {0: (asked, QUERY), 2: (asked, QUERY), 5: (answer, PEAK)}.items():
        assert has(figure, panels[number] + place[0] * scale, colour)


def test_the_gaussian_is_the_one_that_learning_aims_at() -> None:
    """In the frame of the maps, a square: in the picture's own pixels it is as much wider as the picture is."""
    heat = _gaussian(np.array([60.0, 40.0]), (200, 100), (32, 32), 0.1)
    x, y = 60 / 200 * 32, 40 / 100 * 32
    for row, column in ((0, 0), (12, 9), (31, 20)):
        squared = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
        assert heat[row, column] == pytest.approx(np.exp(-squared / (2 * 3.2**2)), abs=1e-12)
