"""One source and many targets: a panel for every target, and points at their positions."""

import dataclasses

import numpy as np
import PIL.Image
import pytest

from semcorr.visualization.paper_figures import QUERY, one_to_many
from semcorr.visualization.style import PEAK
from visualization.test_heatmap_grids import corners, is_dot, matches_of, plain


def has(figure: PIL.Image.Image, point: np.ndarray, colour: tuple[int, int, int]) -> bool:
    x, y = (int(value) for value in point)
    return bool((np.abs(np.asarray(figure)[y - 1 : y + 2, x - 1 : x + 2].astype(int) - colour) <= 12).all())


def test_the_source_has_the_query_point_and_every_target_its_match() -> None:
    points = [[(30.0, 20.0)], [(150.0, 90.0)], [(100.0, 50.0)]]
    matches = [matches_of((200, 100), one, 2) for one in points]
    asked = np.array([[60.0, 40.0]])
    matches = [dataclasses.replace(one, query_points=asked) for one in matches]
    figure = one_to_many(plain(200, 100), [plain(200, 100)] * 3, matches, height=125)
    source, *targets = corners(figure, 200, 4)
    assert has(figure, source + asked[0], QUERY)
    for corner, (point,) in zip(targets, points, strict=True):
        assert is_dot(figure, corner + point)
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
        point, colour = two.points[number // 3], QUERY if number % 3 == 0 else PEAK
        assert has(both, corner + point, colour)


def test_targets_of_any_shape() -> None:
    sizes = [(900, 30), (20, 500), (64, 64)]
    matches = [matches_of(size, [(10.0, 10.0)], 2) for size in sizes]
    figure = one_to_many(plain(30, 30), [plain(*size) for size in sizes], matches)
    assert figure.width < 4 * 1.7 * 256
    assert figure.height < 400


def test_matches_of_other_targets_or_other_points_are_refused() -> None:
    image, one = plain(9, 9), matches_of((9, 9), [(1.0, 1.0)], 2)
    other = matches_of((9, 9), [(2.0, 1.0)], 2)
    for targets, matches in (([], []), ([image], []), ([image], [one, one])):
        with pytest.raises(ValueError, match="matches for each of at least one target"):
            one_to_many(image, targets, matches)
    with pytest.raises(ValueError, match="different points"):
        one_to_many(image, [image] * 2, [one, other])
