"""Grids of maps: a panel for each, marks where the peaks are, captions that say which layer."""

import numpy as np
import PIL.Image
import pytest

from semcorr.imaging.image import Image, load_image
from semcorr.matchers.results import Diagnostics, Matches
from semcorr.visualization.heatmap_grids import layer_caption, layer_grid, word_grid
from semcorr.visualization.matches import heatmap_overlay, peak_of
from semcorr.visualization.panels import even_columns, fitted
from semcorr.visualization.style import PEAK

GREY = 128


def plain(width: int, height: int, name: str = "plain.png") -> Image:
    return load_image(np.full((height, width, 3), GREY, np.uint8), name=name)


def peaks_at(cells: list[tuple[int, int]], side: int = 8) -> np.ndarray:
    """Return a map for each cell (column, row), with its peak there."""
    maps = np.zeros((len(cells), side, side), np.float32)
    for one, (column, row) in zip(maps, cells, strict=True):
        one[row, column] = 0.5
    return maps


def matches_of(size: tuple[int, int], points: list[tuple[float, float]], layers: int, **changes: object) -> Matches:
    count = len(points)
    fields = {
        "points": np.array(points, dtype=float),
        "confidence": np.full(count, 0.5),
        "heatmaps": np.random.default_rng(0).random((count, 8, 8)),
        "image_size": size,
        "image_sha256": "",
        "query_points": np.array(points, dtype=float),
        "diagnostics": Diagnostics(
            round_points=np.zeros((count, 1, 2)),
            layer_points=np.zeros((count, layers, 2)),
            layer_names=tuple(f"up_blocks.1.attentions.{number}" for number in range(layers)),
        ),
    }
    return Matches(**(fields | changes))


def is_peak(pixels: np.ndarray, tolerance: int = 12) -> np.ndarray:
    return (np.abs(pixels.astype(int) - PEAK) <= tolerance).all(axis=-1)


def around(figure: PIL.Image.Image, point: np.ndarray, radius: int) -> np.ndarray:
    """The pixels of a square around a point (x, y)."""
    x, y = (int(value) for value in point)
    return np.asarray(figure)[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]


def is_dot(figure: PIL.Image.Image, point: np.ndarray) -> bool:
    return bool(is_peak(around(figure, point, 1)).all())


def is_ring(figure: PIL.Image.Image, point: np.ndarray) -> bool:
    """Hollow, and of the peak's colour around that; thin, so that its pixels are mixed with those of its rims."""
    return not is_peak(around(figure, point, 3)).any() and is_peak(around(figure, point, 12), 60).sum() > 30


def corners(figure: PIL.Image.Image, width: int, count: int) -> list[np.ndarray]:
    """Top left corners of the ``count`` panels, framed by hairlines: row by row."""
    line = (np.asarray(figure) == (205, 210, 216)).all(axis=-1)
    corner_list: list[np.ndarray] = []
    for y, x in zip(*np.nonzero(line), strict=True):
        whole = (
            line[y, x : x + width].all() and line[y : y + 20, x].all() and not line[y + 1, x + 1 : x + width - 1].any()
        )
        if whole and not (x and line[y, x - 1]) and not (y and line[y - 1, x]):
            corner_list.append(np.array([x, y]))
    assert len(corner_list) == count
    return corner_list


# --- one map ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "cell"), [((200, 100), (5, 2)), ((60, 300), (0, 7)), ((40, 40), (7, 0))])
def test_the_marked_peak_is_the_largest_pixels_centre(size: tuple[int, int], cell: tuple[int, int]) -> None:
    heat = peaks_at([cell])[0]
    centre = ((cell[0] + 0.5) * size[0] / 8, (cell[1] + 0.5) * size[1] / 8)
    np.testing.assert_allclose(peak_of(heat, size), centre)
    overlay = heatmap_overlay(plain(*size), heat, peak=True)
    assert np.abs(np.array(overlay.getpixel((int(centre[0]), int(centre[1])))) - PEAK).max() <= 4
    assert overlay.size == size
    given = heatmap_overlay(plain(*size), heat, peak=centre)
    np.testing.assert_array_equal(given, overlay)


def test_without_a_mark_nothing_changes_and_another_point_or_colour_may_be_marked() -> None:
    heat, image = peaks_at([(2, 2)])[0], plain(160, 160)
    bare = np.asarray(heatmap_overlay(image, heat)).astype(int)
    np.testing.assert_array_equal(bare, heatmap_overlay(image, heat, peak=False))
    moved = heatmap_overlay(image, heat, peak=(120.0, 30.0), colour=(255, 0, 0))
    assert moved.getpixel((120, 30)) == (255, 0, 0)
    rows, columns = np.nonzero(np.abs(np.asarray(moved).astype(int) - bare).sum(axis=-1))
    assert max(abs(columns - 120).max(), abs(rows - 30).max()) < 12


# --- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side", "words"),
    [
        ("up_blocks.1.attentions.0", None, "decoder 2.1"),
        ("up_blocks.2.attentions.1", 16, "decoder 3.2, 16 × 16"),
        ("down_blocks.0.attentions.1", None, "encoder 1.2"),
        ("mid_block.attentions.0", 8, "middle 1, 8 × 8"),
        ("up_blocks.0.attentions.2.transformer_blocks.9", None, "decoder 1.3.10"),
        ("11", 3, "11"),
    ],
)
def test_captions_say_where_in_the_network_a_layer_is(name: str, side: int | None, words: str) -> None:
    assert layer_caption(name, side) == words


def test_each_panel_has_its_layers_peak_and_the_answer() -> None:
    """Two points and two layers on an image of 200 by 100, in panels of the same size."""
    answers = np.array([(40.0, 30.0), (160.0, 70.0)])
    cells = [[(6, 6), (2, 5)], [(1, 1), (3, 6)]]
    layers = np.stack([peaks_at(own) for own in cells])
    figure = layer_grid(plain(200, 100), matches_of((200, 100), answers.tolist(), 2), layers, height=125)
    assert fitted((200, 100), 125) == (200, 100)
    for number, corner in enumerate(corners(figure, 200, 6)):
        point, panel = divmod(number, 3)
        if panel == 0:
            assert is_dot(figure, corner + answers[point])
            continue
        own = (np.array(cells[point][panel - 1]) + 0.5) * (200 / 8, 100 / 8)
        assert is_dot(figure, corner + own)
        assert is_ring(figure, corner + answers[point])


def test_many_layers_wrap_and_many_points_have_smaller_panels() -> None:
    target = plain(100, 100)
    rng = np.random.default_rng(0)
    wide = layer_grid(target, matches_of((100, 100), [(50, 50)], 11), rng.random((1, 11, 8, 8)))
    assert wide.height > 2 * 256
    assert wide.width < 6.5 * 300
    one = layer_grid(target, matches_of((100, 100), [(50, 50)], 2), rng.random((1, 2, 8, 8)))
    points = [(50.0, 50.0)] * 20
    twenty = layer_grid(target, matches_of((100, 100), points, 2), rng.random((20, 2, 8, 8)))
    assert twenty.width < one.width
    assert 20 * 150 < twenty.height < 6000
    for panels, most, columns in ((5, 6, 5), (7, 6, 4), (12, 6, 6), (13, 6, 5), (1, 6, 1)):
        assert even_columns(panels, most) == columns


@pytest.mark.parametrize("size", [(3000, 60), (40, 900), (3, 3)])
def test_images_of_any_shape_keep_it_and_panels_are_neither_tiny_nor_huge(size: tuple[int, int]) -> None:
    figure = layer_grid(plain(*size), matches_of(size, [(1.0, 2.0)], 2), np.random.default_rng(0).random((1, 2, 4, 4)))
    assert figure.width <= 3 * 1.6 * 256 + 100
    assert figure.height <= 256 + 200
    width, height = fitted(size, 256)
    assert max(width / (1.6 * 256), height / 256) == pytest.approx(1, abs=0.01)
    assert width / height == pytest.approx(size[0] / size[1], rel=0.1)


def test_other_numbers_of_points_or_layers_are_refused() -> None:
    matches = matches_of((9, 9), [(4, 4)], 2)
    for shape in ((2, 2, 4, 4), (1, 3, 4, 4), (2, 4, 4)):
        with pytest.raises(ValueError, match=r"layers must be \(1, 2\) \(points, layers\)"):
            layer_grid(plain(9, 9), matches, np.zeros(shape))


# --- words ------------------------------------------------------------------------------------------------------------


def test_the_image_stands_first_and_each_word_has_its_peak() -> None:
    maps = peaks_at([(1, 6), (6, 1)])
    figure = word_grid(plain(160, 160), ["one", "two"], maps, height=160)
    image, one, two = corners(figure, 160, 3)
    assert is_dot(figure, one + np.array([30, 130]))
    assert is_dot(figure, two + np.array([130, 30]))
    untouched = np.asarray(figure)[image[1] + 1 : image[1] + 159, image[0] + 1 : image[0] + 159]
    assert (untouched == GREY).all()
