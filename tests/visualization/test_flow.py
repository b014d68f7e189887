import colorsys

import numpy as np
import PIL.Image
import pytest

from semcorr.errors import FlowError, SettingsError
from semcorr.imaging.flow import Flow
from semcorr.imaging.geometry import lattice
from semcorr.visualization.flow import UNKNOWN, colour_wheel, warp


def flow_of(displacement: np.ndarray, target_size: tuple[int, int] | None = None) -> Flow:
    height, width = displacement.shape[:2]
    return Flow(
        displacement=displacement,
        confidence=np.ones((height, width)),
        source_size=(width, height),
        target_size=target_size or (width, height),
    )


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hue(pixel: np.ndarray) -> float:
    return colorsys.rgb_to_hsv(*(pixel / 255))[0]


# --- colours ----------------------------------------------------------------------------------------------------------


def test_quarter_turns_of_direction_are_quarter_turns_of_hue() -> None:
    right, down, left, up = (1, 0), (0, 1), (-1, 0), (0, -1)
    pixels = np.asarray(colour_wheel(flow_of(np.array([[right, down, left, up]]) * 3.0)))[0]
    assert [hue(pixel) for pixel in pixels] == pytest.approx([0, 0.25, 0.5, 0.75], abs=0.002)
    assert pixels[0].tolist() == [255, 0, 0]


def test_colours_are_those_of_direction_and_length() -> None:
    vectors = np.random.default_rng(1).normal(size=(6, 8, 2)) * 5
    longest = np.linalg.norm(vectors, axis=-1).max()
    for given in (None, 4.0):
        pixels = np.asarray(colour_wheel(flow_of(vectors), longest=given)).astype(float)
        for (x, y), pixel in zip(vectors.reshape(-1, 2), pixels.reshape(-1, 3), strict=True):
            turns = np.degrees(np.arctan2(y, x)) / 360 % 1
            full = min(np.hypot(x, y) / (given or longest), 1)
            np.testing.assert_allclose(pixel, 255 * np.array(colorsys.hsv_to_rgb(turns, full, 1)), atol=0.51)


def test_no_length_is_white_and_unknown_is_grey() -> None:
    vectors = np.zeros((2, 3, 2))
    assert (np.asarray(colour_wheel(flow_of(vectors))) == 255).all()
    vectors[1, 2], vectors[0, 1] = np.nan, (5, 0)
    pixels = np.asarray(colour_wheel(flow_of(vectors)))
    assert pixels[1, 2].tolist() == list(UNKNOWN)
    assert pixels[0, 1].tolist() == [255, 0, 0]
    assert np.count_nonzero((pixels == 255).all(axis=-1)) == 4
    assert (np.asarray(colour_wheel(flow_of(np.full((2, 3, 2), np.nan)))) == UNKNOWN).all()


def test_a_coarse_flow_is_drawn_at_the_sources_size() -> None:
    grid = lattice((20, 13), 4)
    flow = Flow(
        displacement=np.full(grid.shape, (0.0, 2.0)),
        confidence=np.ones(grid.shape[:2]),
        source_size=(20, 13),
        target_size=(5, 5),
        step=4,
    )
    image = colour_wheel(flow)
    assert image.size == (20, 13)
    assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) == 1


def test_the_legend_has_every_direction_where_it_leads() -> None:
    vectors = np.zeros((300, 200, 2))
    vectors[0, 0] = (0, 12.5)
    plain, figure = (colour_wheel(flow_of(vectors), legend=legend) for legend in (False, True))
    pixels = np.asarray(figure)
    np.testing.assert_array_equal(pixels[:300, :200], np.asarray(plain))
    coloured = np.argwhere(np.ptp(pixels[:, 200:].astype(int), axis=-1) > 40)
    (top, left), (bottom, right) = coloured.min(axis=0), coloured.max(axis=0)
    assert abs((bottom - top) - (right - left)) <= 2
    middle, reach = np.array([(top + bottom) / 2, (left + right) / 2]), 0.42 * (bottom - top)
    for turns in np.arange(8) / 8:
        away = np.array([np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)]) * reach  # (row, column)
        row, column = np.round(middle + away).astype(int)
        assert abs((hue(pixels[row, 200 + column]) - turns + 0.5) % 1 - 0.5) < 0.02
    row, column = np.round(middle).astype(int)
    assert pixels[row, 200 + column].min() > 240
    assert (pixels[bottom + 3 :, 200:] < 100).any()  # the words


@pytest.mark.parametrize("longest", [0.0, -1.0, np.inf, np.nan])
def test_the_longest_is_above_nothing(longest: float) -> None:
    with pytest.raises(SettingsError, match="longest must be a number of pixels above 0"):
        colour_wheel(flow_of(np.ones((2, 2, 2))), longest=longest)


# --- warping ----------------------------------------------------------------------------------------------------------


def test_a_shift_of_whole_pixels_moves_the_image() -> None:
    target = noise(30, 20)
    warped = np.asarray(warp(target, flow_of(np.full((20, 30, 2), (4.0, -3.0)))))
    np.testing.assert_array_equal(warped[3:, :26], target[:-3, 4:])
    assert (warped[:3] == UNKNOWN).all()
    assert (warped[:, 26:] == UNKNOWN).all()


def test_a_shift_of_half_a_pixel_is_the_mean_of_two() -> None:
    target = noise(30, 20)
    warped = np.asarray(warp(target, flow_of(np.full((20, 30, 2), (0.5, 0.0))))).astype(float)
    means = (target[:, :-1].astype(float) + target[:, 1:]) / 2
    np.testing.assert_allclose(warped[:, :-1], means, atol=0.51)
    np.testing.assert_array_equal(warped[:, -1], target[:, -1])  # on the very edge of the image


def test_a_quarter_turn_is_undone() -> None:
    source = noise(30, 20)
    target = np.rot90(source)  # to the left: (x, y) goes to (y, width - x)
    points = lattice((30, 20), 1)
    turned = np.stack([points[..., 1], 30 - points[..., 0]], axis=-1)
    warped = warp(np.ascontiguousarray(target), flow_of(turned - points, (20, 30)))
    np.testing.assert_array_equal(np.asarray(warped), source)


def test_a_target_twice_as_large_is_reduced() -> None:
    source = noise(30, 20)
    target = source.repeat(2, axis=0).repeat(2, axis=1)
    warped = warp(target, flow_of(lattice((30, 20), 1), (60, 40)))  # twice a point is it and itself
    np.testing.assert_array_equal(np.asarray(warped), source)


def test_a_target_half_as_large_is_enlarged_bilinearly() -> None:
    target = noise(15, 10)
    warped = warp(target, flow_of(-lattice((30, 20), 1) / 2, (15, 10)))
    resized = PIL.Image.fromarray(target).resize((30, 20), PIL.Image.Resampling.BILINEAR)
    np.testing.assert_allclose(np.asarray(warped).astype(int), np.asarray(resized), atol=1)


def test_a_coarse_shift_warps_like_a_fine_one() -> None:
    target, grid = noise(30, 20), lattice((30, 20), 7)
    flow = Flow(
        displacement=np.full(grid.shape, (2.0, 1.0)),
        confidence=np.ones(grid.shape[:2]),
        source_size=(30, 20),
        target_size=(30, 20),
        step=7,
    )
    fine = warp(target, flow_of(np.full((20, 30, 2), (2.0, 1.0))))
    np.testing.assert_array_equal(np.asarray(warp(target, flow)), np.asarray(fine))


def test_what_is_not_known_is_grey() -> None:
    vectors = np.zeros((20, 30, 2))
    vectors[5:9, 2:6] = np.nan
    target = np.full((20, 30, 3), 255, np.uint8)
    warped = np.asarray(warp(target, flow_of(vectors)))
    grey = (warped == UNKNOWN).all(axis=-1)
    np.testing.assert_array_equal(grey, np.isnan(vectors[..., 0]))
    assert (warped[~grey] == 255).all()


def test_another_image_than_the_target_is_refused() -> None:
    with pytest.raises(FlowError, match="'image' is 30 x 20 pixels, and the flow leads to an image of 20 x 30"):
        warp(noise(30, 20), flow_of(np.zeros((4, 4, 2)), (20, 30)))
