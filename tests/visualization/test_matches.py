import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semcorr.imaging.image import Image, load_image
from semcorr.visualization.matches import gallery, heatmap_overlay, match_figure
from semcorr.visualization.style import PALETTE, Style, badge_positions, font_of, point_colour, shortened

GREY = 128


def plain(width: int, height: int, name: str = "plain.png") -> Image:
    return load_image(np.full((height, width, 3), GREY, np.uint8), name=name)


def close(figure: PIL.Image.Image, colour: tuple[int, int, int], tolerance: int = 12) -> np.ndarray:
    """Where the figure has this colour, as (x, y) of pixel centres."""
    pixels = np.asarray(figure).astype(int)
    rows, columns = np.nonzero((np.abs(pixels - colour) <= tolerance).all(axis=-1))
    return np.stack([columns, rows], axis=-1) + 0.5


def panels(figure: PIL.Image.Image) -> list[tuple[int, int, int, int]]:
    """Boxes of the grey panels of two plain images side by side."""
    columns = np.unique(close(figure, (GREY,) * 3, 0)[:, 0] - 0.5).astype(int)
    split = int(np.argmax(np.diff(columns))) + 1
    rows = [close(figure, (GREY,) * 3, 0)[:, 1] - 0.5]
    top, bottom = int(min(rows[0])), int(max(rows[0])) + 1
    return [(part[0], top, part[-1] + 1, bottom) for part in (columns[:split], columns[split:])]


# --- figures ----------------------------------------------------------------------------------------------------------


def test_points_are_drawn_where_they_are() -> None:
    source, target = plain(100, 80), plain(60, 80)
    from_points, to_points = [(25, 60)], [(45, 20)]
    figure = match_figure(source, target, from_points, to_points, height=400)
    pixels = np.asarray(figure)
    for box, image, ((x, y),) in zip(panels(figure), (source, target), (from_points, to_points), strict=True):
        left, top, right, bottom = box
        assert (right - left, bottom - top) == (image.size[0] * 5, 400)
        assert tuple(pixels[top + y * 5, left + x * 5]) == PALETTE[0]


def test_the_two_panels_and_nothing_else_without_points() -> None:
    figure = match_figure(plain(50, 50), plain(50, 50), np.zeros((0, 2)), np.zeros((0, 2)), height=240)
    assert len(close(figure, (GREY,) * 3, 0)) == 2 * 240 * 240


def test_every_point_has_its_own_colour() -> None:
    assert len({point_colour(index) for index in range(60)}) == 60
    points = np.stack([np.linspace(10, 190, 10), np.full(10, 50)], -1)
    figure = match_figure(plain(200, 100), plain(200, 100), points, points)
    for colour in PALETTE:
        assert len(close(figure, colour)) > 100


def test_lines_join_the_points_only_when_asked() -> None:
    arguments = plain(100, 100), plain(100, 100), [(20, 50)], [(80, 50)]
    without, joined = (match_figure(*arguments, lines=lines, height=300) for lines in (False, True))
    (_, top, right, bottom), other = panels(without)
    middle = ((right + other[0]) // 2, (top + bottom) // 2)
    assert without.getpixel(middle) == (255, 255, 255)
    assert np.abs(np.array(joined.getpixel(middle)) - PALETTE[0]).max() <= 12


def test_truth_is_a_ring_in_the_target_and_nan_has_none() -> None:
    arguments = plain(100, 100), plain(100, 100), [(50, 50), (20, 80)], [(50, 50), (20, 80)]
    without = match_figure(*arguments, height=500)
    ringed = match_figure(*arguments, truth=[(70, 20), (np.nan, np.nan)], height=500)
    _, (left, top, _, bottom) = panels(without)
    assert ringed.height > without.height  # its legend
    differing = np.abs(np.asarray(ringed).astype(int)[:bottom] - np.asarray(without).astype(int)[:bottom]).sum(-1) > 0
    # Numbers may move off the ring and the line to it; all of that is near the first point and its truth.
    rows, columns = np.nonzero(differing)
    assert left + 40 * 5 < columns.min() <= columns.max() < left + 80 * 5
    assert top + 12 * 5 < rows.min() <= rows.max() < top + 60 * 5
    # The ring has its point's colour at about ten pixels from the true location, and nothing of it within five.
    distance = np.linalg.norm(close(ringed, PALETTE[0]) - (left + 350, top + 100), axis=1)
    assert distance.min() > 5
    assert (distance < 11).sum() > 20


def test_heat_is_at_its_peak_where_the_map_is() -> None:
    source, target = plain(64, 64), plain(64, 64)
    maps = np.zeros((2, 8, 8))
    maps[0, 1, 6], maps[1, 6, 1] = 3e-4, 7.0  # each is stretched to its own range
    points = [(10, 10), (50, 50)]
    figure = match_figure(source, target, points, points, heatmaps=torch.from_numpy(maps), height=512)
    untouched = match_figure(source, target, points, points, height=512)
    _, (left, top, _, _) = panels(untouched)
    pixels = np.asarray(figure).astype(int)
    # The cell (column 6, row 1) of 8 is centred on (416, 96) of 512 pixels.
    peaks = [pixels[top + 96, left + 416], pixels[top + 416, left + 96]]
    np.testing.assert_array_equal(peaks[0], peaks[1])
    cold = pixels[top + 10, left + 256]
    assert cold.tolist() == [round(0.8 * GREY)] * 3
    assert peaks[0][0] > cold[0] + 60  # inferno ends in yellow


def test_the_overlay_is_the_mixture_of_photo_and_colour_map() -> None:
    import matplotlib as mpl

    heat = np.array([[0.0, 1.0], [0.5, 0.25]])
    overlay = np.asarray(heatmap_overlay(plain(2, 2), heat, 0.5, colormap="viridis")).astype(float)
    for index in np.ndindex(2, 2):
        weight = 0.5 * heat[index]
        expected = 0.8 * GREY * (1 - weight) + 255 * np.array(mpl.colormaps["viridis"](heat[index])[:3]) * weight
        np.testing.assert_allclose(overlay[index], expected, atol=0.6)


def test_a_flat_map_adds_no_colour() -> None:
    image = plain(30, 20)
    overlay = np.asarray(heatmap_overlay(image, np.full((4, 4), 0.2)))
    assert overlay.shape == image.pixels.shape
    assert (overlay == round(0.8 * GREY)).all()


@pytest.mark.parametrize(
    "sizes", [((64, 64), (64, 64)), ((3000, 60), (2000, 50)), ((20, 900), (300, 200)), ((2, 2), (9, 2))]
)
@pytest.mark.parametrize("height", [64, 300])
def test_figures_of_odd_sizes_are_of_a_reasonable_size(sizes: tuple[tuple[int, int], ...], height: int) -> None:
    source, target = (plain(*size, name="a long name of a photograph taken in summer.png") for size in sizes)
    points = [np.array([[0.5, 0.5], [1, 1]]) * size for size in sizes]
    figure = match_figure(source, target, *points, confidence=[0.5, 1.0], truth=points[1], height=height)
    unit = max(height, 240)
    assert figure.width <= 5.2 * unit
    assert figure.height <= 1.9 * unit


def test_very_wide_images_are_below_each_other() -> None:
    points = [(1, 1)]
    beside = match_figure(plain(200, 100), plain(200, 100), points, points, height=200)
    below = match_figure(plain(210, 100), plain(200, 100), points, points, height=200)
    assert beside.width > 800 > 500 > below.width
    assert below.height > beside.height


def test_names_and_confidences_are_listed_in_as_many_rows_as_they_need() -> None:
    points = np.full((12, 2), 5.0)
    arguments = plain(10, 10), plain(10, 10), points, points
    heights = [
        match_figure(*arguments, names=names, confidence=confidence, height=256).height
        for names, confidence in (
            (None, None),
            (None, np.linspace(0, 1, 12)),
            ([f"the {n}th whisker" for n in range(12)], None),
            (["whisker " * 40] * 12, np.linspace(0, 1, 12)),
        )
    ]
    assert heights == sorted(set(heights))


def test_the_same_figure_twice_and_the_images_as_they_were() -> None:
    rng = np.random.default_rng(0)
    source = load_image(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    before = source.pixels.copy()
    points = rng.random((30, 2)) * 40
    arguments = {"heatmaps": rng.random((30, 8, 8)), "confidence": rng.random(30), "truth": points + 1, "lines": True}
    one, two = (match_figure(source, source, points, points, **arguments) for _ in range(2))
    np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
    np.testing.assert_array_equal(source.pixels, before)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"target_points": [(1, 1), (2, 2)]}, "target_points has 2 entries for 1 source_points"),
        ({"heatmaps": np.zeros((3, 4, 4))}, "heatmaps has 3 entries for 1 source_points"),
        ({"heatmaps": np.zeros((1, 4))}, r"Heat maps must be \(N, height, width\), got shape \(1, 4\)"),
        ({"confidence": [0.1, 0.2]}, "confidence has 2 entries"),
        ({"names": []}, "names has 0 entries"),
        ({"truth": [(1, 1, 1)]}, r"truth must be \(N, 2\), a list of \(x, y\) pairs, got shape \(1, 3\)"),
        ({"source_points": [(np.nan, 1)]}, "source_points must be finite; only truth may be NaN"),
    ],
)
def test_what_does_not_belong_together_is_refused(change: dict[str, object], match: str) -> None:
    arguments = {"source_points": [(1, 1)], "target_points": [(1, 1)], **change}
    with pytest.raises(ValueError, match=match):
        match_figure(plain(9, 9), plain(9, 9), **arguments)


def test_a_heat_map_is_one_map() -> None:
    with pytest.raises(ValueError, match=r"A heat map must be \(height, width\), got shape \(1, 4, 4\)"):
        heatmap_overlay(plain(9, 9), np.zeros((1, 4, 4)))


# --- galleries --------------------------------------------------------------------------------------------------------


def test_a_gallery_is_a_grid() -> None:
    sizes = [(30, 20), (10, 40), (20, 10)]
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    images = [PIL.Image.new("RGB", size, colour) for size, colour in zip(sizes, colours, strict=True)]
    figure = gallery(images, columns=2, gap=4)
    assert figure.size == (30 + 4 + 10, 40 + 4 + 10)
    middles = [(15, 20), (39, 20), (15, 49)]
    for middle, size, colour in zip(middles, sizes, colours, strict=True):
        assert figure.getpixel(middle) == colour
        assert len(close(figure, colour, 0)) == size[0] * size[1]
    assert gallery(images, gap=1).size == (30, 20 + 40 + 10 + 2)
    with pytest.raises(ValueError, match="at least one image"):
        gallery([])


# --- marks ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0.0, 500.0), st.floats(0.0, 400.0)), min_size=1, max_size=8))
def test_numbers_stay_in_the_panel_off_other_points_and_each_other(points: list[tuple[float, float]]) -> None:
    style = Style.of(400)
    box = (0, 0, 500, 400)
    array = np.array(points)
    badges = badge_positions(array, np.zeros((0, 2)), box, style)
    assert badges.shape == array.shape
    assert (badges >= style.badge).all()
    assert (badges <= np.array(box[2:]) - style.badge).all()
    between = np.linalg.norm(badges[:, None] - badges[None], axis=-1) + np.eye(len(badges)) * 1e9
    assert between.min() > style.badge
    to_points = np.linalg.norm(badges[:, None] - array[None], axis=-1)
    assert to_points.min() > style.badge
    assert np.diag(to_points).max() < 7 * (style.badge + style.dot)


def test_text_is_cut_to_its_room() -> None:
    font = font_of(15)
    text = "a rather long name of a photograph.png"
    assert shortened(text, font.getlength(text), font) == text
    cut = shortened(text, 120.0, font)
    assert cut.endswith("…")
    assert text.startswith(cut[:-1])
    assert font.getlength(cut) <= 120 < font.getlength(text[: len(cut)] + "…")
