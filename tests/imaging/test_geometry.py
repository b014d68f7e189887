import math
import re

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semcorr.errors import PointError
from semcorr.imaging.geometry import (
    Crop,
    check_points,
    crop_around,
    enlarge,
    lattice,
    mirror_points,
    patch_grid,
    resize,
    sample,
    scale_points,
    squash,
)

coordinates = st.floats(-50.0, 600.0, allow_nan=False, width=32)
points_lists = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=6)
crops = st.builds(Crop, *(st.integers(0, 200) for _ in range(2)), *(st.integers(1, 600) for _ in range(2)))
sizes = st.tuples(st.integers(1, 3000), st.integers(1, 3000))


def ramps(width: int, height: int) -> torch.Tensor:
    """An image whose first two channels hold the x and the y of each pixel's centre; the third is their sum."""
    x = (torch.arange(width, dtype=torch.float64) + 0.5).expand(height, width)
    y = (torch.arange(height, dtype=torch.float64) + 0.5)[:, None].expand(height, width)
    return torch.stack([x, y, x + y])


# --- points -----------------------------------------------------------------------------------------------------------


def test_points_are_returned_as_float64_pairs() -> None:
    for points in ([(1, 2.5), (0, 0)], np.array([[1, 2.5], [0, 0]], np.float32), torch.tensor([[1, 2.5], [0, 0]])):
        checked = check_points(points, (4, 3))
        assert checked.dtype == np.float64
        assert checked.tolist() == [[1, 2.5], [0, 0]]


def test_the_edges_belong_to_the_image() -> None:
    check_points([(0, 0), (640, 0), (0, 480), (640, 480)], (640, 480))


@pytest.mark.parametrize(
    ("point", "match"),
    [
        ((700, 12), "Point 2 is (700, 12), outside cat.jpg, which is "),
        ((12, 640.5), "Point 2 is (12, 640.5), outside cat.jpg, which is "),
        ((-0.25, 3), "Point 2 is (-0.25, 3), outside cat.jpg, which is "),
        ((7, -3), "Point 2 is (7, -3), outside cat.jpg, which is "),
        ((700, 700), "Point 2 is (700, 700), outside cat.jpg, which is "),
    ],
)
def test_a_point_outside_is_named(point: tuple[float, float], match: str) -> None:
    words = f"{match}640 x 480 pixels: x must be from 0 to 640, y from 0 to 480."
    with pytest.raises(PointError, match=f"^{re.escape(words)}$"):
        check_points([(1, 1), point], (640, 480), image="cat.jpg")


@pytest.mark.parametrize("point", [(470, 630), (480, 630), (470, 640), (0, 481), (0.5, 600)])
def test_swapping_is_suggested_where_it_helps(point: tuple[float, float]) -> None:
    words = (
        f"Point 1 is ({point[0]:g}, {point[1]:g}), outside the image, which is 640 x 480 pixels: x must be from 0 to "
        "640, y from 0 to 480. As (y, x) it would be inside: are the two swapped?"
    )
    with pytest.raises(PointError, match=f"^{re.escape(words)}$"):
        check_points([point], (640, 480))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_point_must_be_finite(bad: float) -> None:
    with pytest.raises(PointError, match=rf"^Point 3 is \(5, {bad:g}\): both coordinates must be finite numbers\.$"):
        check_points([(1, 1), (2, 2), (5, bad)], (640, 480))


@pytest.mark.parametrize("none", [[], np.zeros((0, 2)), ()])
def test_no_points(none: object) -> None:
    with pytest.raises(
        PointError, match=r"^No points were given: name at least one \(x, y\) in pixels of the image\.$"
    ):
        check_points(none, (640, 480))


@pytest.mark.parametrize(
    ("points", "match"),
    [
        ((3, 4), "must be a list of (x, y) pairs, shape (N, 2), got shape (2,). For one point write [(x, y)]."),
        ((3, 4, 5), "must be a list of (x, y) pairs, shape (N, 2), got shape (3,)."),
        ([(1, 2, 3)], "must be a list of (x, y) pairs, shape (N, 2), got shape (1, 3)."),
        ([[[1, 2]]], "must be a list of (x, y) pairs, shape (N, 2), got shape (1, 1, 2)."),
        ([[[1, 2], [3, 4]]], "must be a list of (x, y) pairs, shape (N, 2), got shape (1, 2, 2)."),
    ],
)
def test_points_of_the_wrong_shape(points: object, match: str) -> None:
    with pytest.raises(PointError, match=f"^Points {re.escape(match)}$"):
        check_points(points, (640, 480))


@pytest.mark.parametrize("points", [[(1, 2), (3,)], [("left", "ear")]])
def test_points_that_are_no_numbers(points: object) -> None:
    words = re.escape(f"Points must be numbers, a list of (x, y) pairs, got {points!r}: ")
    with pytest.raises(PointError, match=rf"^{words}.+\.$") as caught:
        check_points(points, (640, 480))
    assert isinstance(caught.value.__cause__, ValueError)


def test_scaling_is_by_the_ratio_of_the_sizes() -> None:
    points = np.array([[0.0, 0.0], [300.0, 200.0], [150.0, 50.0]])
    expected = [[0, 0], [512, 512], [256, 128]]
    assert scale_points(points, (300, 200), (512, 512)).tolist() == expected
    moved = scale_points(torch.from_numpy(points).float(), (300, 200), (512, 512))
    assert moved.dtype == torch.float32
    torch.testing.assert_close(moved, torch.tensor(expected, dtype=torch.float32))


@given(points_lists, sizes, sizes)
def test_scaling_there_and_back(points: list[tuple[float, float]], one: tuple[int, int], two: tuple[int, int]) -> None:
    array = np.array(points)
    np.testing.assert_allclose(scale_points(scale_points(array, one, two), two, one), array, rtol=1e-12, atol=1e-9)


# --- squash -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height", "resolution"), [(37, 21, 64), (300, 200, 64), (50, 20, 32), (9, 90, 33)])
def test_squash_is_pillows_antialiased_bilinear(width: int, height: int, resolution: int) -> None:
    pixels = np.random.default_rng(0).random((3, height, width), dtype=np.float32)
    squashed = squash(torch.from_numpy(pixels), resolution)
    assert squashed.shape == (3, resolution, resolution)
    for channel, got in zip(pixels, squashed, strict=True):
        resized = PIL.Image.fromarray(channel).resize((resolution, resolution), PIL.Image.Resampling.BILINEAR)
        np.testing.assert_allclose(got, np.asarray(resized), atol=2e-5)


def test_fine_texture_does_not_alias_when_it_shrinks() -> None:
    board = (torch.arange(256)[:, None] + torch.arange(256)) % 2
    squashed = squash(board.float().expand(3, -1, -1), 32)
    assert (squashed[:, 1:-1, 1:-1] - 0.5).abs().max() < 0.01


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    image = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    assert torch.equal(squash(image, 48), image)


def test_squashed_pixels_are_where_scaled_points_are() -> None:
    # A ramp resized is the ramp of the scaled coordinates, except within half a source pixel of the border.
    size, resolution = (40, 25), 64
    squashed = squash(ramps(*size), resolution)
    centres = np.arange(resolution) + 0.5
    x = scale_points(np.stack([centres, centres], -1), (resolution, resolution), size)
    np.testing.assert_allclose(squashed[0, 10], np.clip(x[:, 0], 0.5, size[0] - 0.5), atol=1e-9)
    np.testing.assert_allclose(squashed[1, :, 10], np.clip(x[:, 1], 0.5, size[1] - 0.5), atol=1e-9)


# --- crops ------------------------------------------------------------------------------------------------------------


@given(points_lists, crops, st.integers(8, 1024))
def test_crop_there_and_back(points: list[tuple[float, float]], crop: Crop, resolution: int) -> None:
    array = np.array(points)
    back = crop.to_frame(crop.to_crop(array, resolution), resolution)
    np.testing.assert_allclose(back, array, rtol=1e-12, atol=1e-9)
    tensor = torch.from_numpy(array)
    torch.testing.assert_close(crop.to_crop(tensor, resolution), torch.from_numpy(crop.to_crop(array, resolution)))


@given(crops, st.integers(8, 1024))
def test_the_corners_of_a_crop_are_the_corners_of_its_frame(crop: Crop, resolution: int) -> None:
    right, bottom = crop.left + crop.width, crop.top + crop.height
    corners = np.array([[crop.left, crop.top], [right, crop.top], [right, bottom]], dtype=np.float64)
    expected = np.array([[0, 0], [1, 0], [1, 1]]) * resolution
    np.testing.assert_allclose(crop.to_crop(corners, resolution), expected, atol=1e-6 * resolution)


def test_whole_numbers_are_points_too() -> None:
    crop = Crop(10, 20, 40, 80)
    assert crop.to_crop(np.array([[30, 40]]), 100).tolist() == [[50, 25]]
    assert crop.to_crop(torch.tensor([[30, 40]]), 100).tolist() == [[50, 25]]


@given(st.data())
def test_a_cut_shows_the_frame_where_its_points_say(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(4, 30)), data.draw(st.integers(4, 30))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    crop = Crop(left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
    resolution = data.draw(st.integers(max(crop.width, crop.height), 48))  # enlarging, where bilinear keeps a ramp
    cut = crop.cut(ramps(width, height), resolution)
    centres = torch.arange(resolution, dtype=torch.float64) + 0.5
    frame = crop.to_frame(torch.stack([centres, centres], -1), resolution)
    x = frame[:, 0].clamp(left + 0.5, left + crop.width - 0.5)
    y = frame[:, 1].clamp(top + 0.5, top + crop.height - 0.5)
    torch.testing.assert_close(cut[0], x.expand(resolution, -1))
    torch.testing.assert_close(cut[1], y[:, None].expand(-1, resolution))
    torch.testing.assert_close(cut[2], x + y[:, None])


def test_a_cut_of_its_own_size_is_the_pixels_themselves() -> None:
    image = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Crop(5, 7, 11, 11).cut(image, 11), image[:, :, 7:18, 5:16])
    assert Crop(5, 7, 11, 11).cut(image[0], 22).shape == (3, 22, 22)


def test_a_crop_must_lie_in_the_image() -> None:
    image = torch.zeros(3, 20, 30)
    for crop in (Crop(20, 0, 11, 5), Crop(0, 16, 5, 5)):
        words = re.escape(f"{crop} reaches beyond the image of 30 x 20 pixels.")
        with pytest.raises(ValueError, match=f"^{words}$"):
            crop.cut(image, 8)
    assert Crop(19, 0, 11, 20).cut(image, 8).shape == (3, 8, 8)  # to the very edges


@pytest.mark.parametrize("edges", [(0, 0, 0, 5), (0, 0, 5, 0), (-1, 0, 5, 5), (0, -1, 5, 5)])
def test_a_crop_has_pixels_and_starts_in_the_image(edges: tuple[int, int, int, int]) -> None:
    words = r"A crop starts at 0 or later and has at least one pixel each way, got Crop\(left=.*\)\."
    with pytest.raises(ValueError, match=f"^{words}$"):
        Crop(*edges)


# --- mirrors, grids, samples ------------------------------------------------------------------------------------------


@given(points_lists, sizes)
def test_a_mirror_exchanges_left_and_right(points: list[tuple[float, float]], size: tuple[int, int]) -> None:
    mirrored = mirror_points(np.array(points), size)
    np.testing.assert_allclose(mirrored, [(size[0] - x, y) for x, y in points])
    np.testing.assert_allclose(mirror_points(mirrored, size), points, atol=1e-9)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_a_lattice_has_just_the_points_inside(width: int, height: int, step: int) -> None:
    grid = lattice((width, height), step)
    columns = [x for x in (np.arange(50) + 0.5) * step if x < width]
    rows = [y for y in (np.arange(50) + 0.5) * step if y < height]
    assert grid.shape == (len(rows), len(columns), 2)
    assert grid.tolist() == [[[x, y] for x in columns] for y in rows]


def between(values: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """What lies at (x, y) between the pixels of (channels, height, width), by the definition of bilinear."""
    height, width = values.shape[-2:]
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    u, v = x - left, y - top
    above = values[:, top, left] * (1 - u) + values[:, top, right] * u
    below = values[:, bottom, left] * (1 - u) + values[:, bottom, right] * u
    return above * (1 - v) + below * v


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# The grid reaches beyond the image in the first, and stops short of its edge in the others.
@pytest.mark.parametrize(("size", "step"), [((8, 5), 3), ((10, 7), 3), ((9, 13), 4), ((4, 6), 1)])
def test_a_grid_is_enlarged_to_all_pixels(size: tuple[int, int], step: int) -> None:
    rows, columns, _ = lattice(size, step).shape
    grid = noise(2, rows, columns)
    smooth, blocks = enlarge(grid, step, size), enlarge(grid, step, size, nearest=True)
    assert smooth.shape == blocks.shape == (2, size[1], size[0])
    for row in range(size[1]):
        for column in range(size[0]):
            torch.testing.assert_close(
                smooth[:, row, column], between(grid, (column + 0.5) / step, (row + 0.5) / step), msg=f"{column, row}"
            )
            near = grid[:, min(row // step, rows - 1), min(column // step, columns - 1)]
            assert torch.equal(blocks[:, row, column], near)


def test_a_grid_that_stops_short_is_continued_by_its_edge() -> None:
    """Of 11 pixels the points of step 4 are in pixels 2, 6 and 10; of 9, in 2 and 6: pixel 8 lies beyond both cells."""
    grid = noise(1, 2, 2)
    smooth = enlarge(grid, 4, (9, 9))
    assert torch.equal(smooth[0, 8, :8], smooth[0, 7, :8])
    assert torch.equal(smooth[0, :, 8], smooth[0, :, 7])
    assert torch.equal(enlarge(grid, 4, (9, 9), nearest=True)[0, 8], grid[0, 1, [0, 0, 0, 0, 1, 1, 1, 1, 1]])
    # Along one axis alone; and as many channels as there are, which are no axis of the image.
    assert enlarge(noise(20, 2, 2), 4, (9, 8)).shape == (20, 8, 9)
    assert enlarge(noise(20, 2, 2), 4, (8, 9)).shape == (20, 9, 8)


@given(st.integers(1, 7), st.integers(1, 7), st.lists(st.tuples(st.floats(-3, 10), st.floats(-3, 10)), min_size=1))
def test_a_sample_lies_between_pixel_centres(width: int, height: int, points: list[tuple[float, float]]) -> None:
    image = noise(2, height, width)
    sampled = sample(image, torch.tensor(points, dtype=torch.float64)[None])
    assert sampled.shape == (2, 1, len(points))
    for index, (x, y) in enumerate(points):
        torch.testing.assert_close(sampled[:, 0, index], between(image, x, y))


def test_a_resize_has_its_width_first() -> None:
    image = noise(3, 4, 6)
    resized = resize(image, (12, 10))
    assert resized.shape == (3, 10, 12)
    for row in range(10):
        for column in range(12):
            expected = between(image, (column + 0.5) / 2, (row + 0.5) * 4 / 10)
            torch.testing.assert_close(resized[:, row, column], expected)


@pytest.mark.parametrize(
    ("size", "resolution", "patch", "expected"),
    [
        ((640, 480), 224, 14, (16, 12)),
        ((480, 640), 224, 14, (12, 16)),
        ((200, 100), 100, 10, (10, 5)),
        ((200, 110), 100, 10, (10, 6)),  # 5.5 patches
        ((200, 109), 100, 10, (10, 5)),  # 5.45
        ((1000, 3), 224, 14, (16, 1)),
        ((7, 7), 35, 16, (2, 2)),  # 2.19
    ],
)
def test_patches_are_rounded_half_up(
    size: tuple[int, int], resolution: int, patch: int, expected: tuple[int, int]
) -> None:
    assert patch_grid(size, resolution, patch) == expected


# --- a crop around a box ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((40, 30, 60, 40), 0.0, Crop(40, 25, 20, 20)),  # the longer side is 20, around (50, 35)
        ((40, 30, 60, 40), 0.5, Crop(30, 15, 40, 40)),
        ((30, 40, 40, 60), 0.5, Crop(15, 30, 40, 40)),
        ((40.5, 30, 60.5, 40), 0.0, Crop(40, 25, 21, 20)),  # parts of pixels are in it
        ((0, 0, 20, 10), 0.25, Crop(0, 0, 25, 20)),  # cut at the left and the top
        ((90, 70, 100, 80), 1.0, Crop(80, 60, 20, 20)),  # at the right and the bottom
        ((-50, -10, 300, 90), 0.1, Crop(0, 0, 100, 80)),
        ((99.5, 79.5, 200, 200), -0.5, Crop(99, 79, 1, 1)),  # its middle is beyond the edge: the last pixel
        ((-200, -200, 0.5, 0.5), -0.5, Crop(0, 0, 1, 1)),
    ],
)
def test_a_square_around_a_box(box: tuple[float, float, float, float], margin: float, expected: Crop) -> None:
    assert crop_around(box, margin, (100, 80)) == expected


@pytest.mark.parametrize(
    "box",
    [
        *[(100, 0, 120, 10), (0, 80, 10, 90), (-9, 3, 0, 9), (3, -9, 9, 0)],  # beside the image, each way
        *[(50, 10, 50, 20), (10, 50, 20, 50), (60, 10, 50, 20)],  # nothing in it
        (0, 0, math.nan, 10),
        (0, 0, math.inf, 10),
    ],
)
def test_a_box_without_a_pixel_is_refused(box: tuple[float, float, float, float]) -> None:
    words = re.escape(
        f"Box ({', '.join(f'{edge:g}' for edge in box)}) lies outside the image, which is 100 x 80 pixels."
    )
    with pytest.raises(PointError, match=f"^{words}$"):
        crop_around(box, 0.1, (100, 80))
