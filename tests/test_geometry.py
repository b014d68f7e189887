import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semcorr.errors import PointError
from semcorr.geometry import Crop, check_points, scale_points, squash

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
        (
            (700, 12),
            r"Point 2 is \(700, 12\), outside cat\.jpg, which is 640 x 480 pixels: x must be from 0 to 640, y f",
        ),
        ((12, 480.5), r"Point 2 is \(12, 480\.5\), outside .*y must be from|y from 0 to 480"),
        ((-0.25, 3), r"Point 2 is \(-0\.25, 3\), outside"),
        ((470, 630), r"outside cat\.jpg.* As \(y, x\) it would be inside: are the two swapped\?"),
    ],
)
def test_a_point_outside_is_named(point: tuple[float, float], match: str) -> None:
    with pytest.raises(PointError, match=match):
        check_points([(1, 1), point], (640, 480), image="cat.jpg")


def test_swapping_is_suggested_only_where_it_helps() -> None:
    for point in ((-3, 7), (7, -3), (700, 700)):
        with pytest.raises(PointError, match=r"y from 0 to 480\.$"):
            check_points([point], (640, 480))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_point_must_be_finite(bad: float) -> None:
    with pytest.raises(PointError, match=r"Point 3 is \(5, -?(nan|inf)\): both coordinates must be finite numbers"):
        check_points([(1, 1), (2, 2), (5, bad)], (640, 480))


@pytest.mark.parametrize("none", [[], np.zeros((0, 2)), ()])
def test_no_points(none: object) -> None:
    with pytest.raises(PointError, match=r"No points were given: name at least one \(x, y\)"):
        check_points(none, (640, 480))


@pytest.mark.parametrize(
    ("points", "match"),
    [
        ((3, 4), r"got shape \(2,\)\. For one point write \[\(x, y\)\]"),
        ([(1, 2, 3)], r"shape \(N, 2\), got shape \(1, 3\)\.$"),
        ([[[1, 2]]], r"got shape \(1, 1, 2\)"),
        ([(1, 2), (3,)], "Points must be numbers, a list of"),
        ([("left", "ear")], "Points must be numbers, a list of"),
    ],
)
def test_points_of_the_wrong_shape(points: object, match: str) -> None:
    with pytest.raises(PointError, match=match):
        check_points(points, (640, 480))


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
        with pytest.raises(ValueError, match="reaches beyond the image of 30 x 20 pixels"):
            crop.cut(image, 8)
    with pytest.raises(ValueError, match="has at least one pixel each way"):
        Crop(0, 0, 0, 5)
    with pytest.raises(ValueError, match="starts at 0 or later"):
        Crop(-1, 0, 5, 5)
