import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from semcorr.imaging import heatmaps
from semcorr.imaging.geometry import Crop
from semcorr.imaging.heatmaps import (
    CoverageMean,
    CropPaste,
    agreement,
    fuse_mean,
    gaussian,
    peak,
    peak_value,
    softmax_pixels,
    upsample,
)


def bilinear(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize pixel by pixel from the definition: pixel areas aligned, samples beyond the border repeat it."""
    rows, columns = image.shape
    out = np.zeros((height, width))
    for j in range(height):
        for i in range(width):
            y = min(max((j + 0.5) * rows / height - 0.5, 0), rows - 1)
            x = min(max((i + 0.5) * columns / width - 0.5, 0), columns - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            v, u = y - top, x - left
            above = image[top, left] * (1 - u) + image[top, right] * u
            below = image[bottom, left] * (1 - u) + image[bottom, right] * u
            out[j, i] = above * (1 - v) + below * v
    return out


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- the target -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel_centre", [0.0, 0.5])
def test_gaussian_is_its_formula(pixel_centre: float) -> None:
    centres = torch.tensor([[3.25, 2.0], [-1.0, 9.5]], dtype=torch.float64)
    maps = gaussian(centres, 1.7, (6, 5), pixel_centre)
    assert maps.shape == (2, 5, 6)
    for one, (x, y) in zip(maps, centres.tolist(), strict=True):
        for j in range(5):
            for i in range(6):
                squared = (i + pixel_centre - x) ** 2 + (j + pixel_centre - y) ** 2
                assert one[j, i].item() == pytest.approx(math.exp(-squared / (2 * 1.7**2)), rel=1e-12)


def test_gaussian_keeps_leading_axes_and_the_dtype() -> None:
    maps = gaussian(torch.zeros(2, 3, 2), 4.0, (7, 5))
    assert maps.shape == (2, 3, 5, 7)
    assert maps.dtype == torch.float32
    assert gaussian(torch.tensor([2.5, 1.5]), 1.0, (7, 5))[1, 2] == 1
    for dtype in (torch.float16, torch.float64):
        assert gaussian(torch.zeros(2, dtype=dtype), 1.0, (7, 5)).dtype == dtype


@given(st.data())
def test_the_peak_of_a_gaussian_is_the_centre_of_its_cell(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    column, row = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    # Anywhere in the cell; on its very edge two cells are equally near.
    within = st.floats(0.02, 0.98)
    centre = torch.tensor([column + data.draw(within), row + data.draw(within)], dtype=torch.float64)
    # With a wider Gaussian neighbouring values differ by less than the arithmetic resolves.
    sigma = data.draw(st.floats(0.8, 30.0))
    assert peak(gaussian(centre, sigma, (width, height))).tolist() == [column + 0.5, row + 0.5]


# --- resizing and fusing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(9, 10), (4, 3), (2, 7), (1, 1)])
def test_upsample_is_bilinear(width: int, height: int) -> None:
    maps = random(2, 3, 3, 4)
    resized = upsample(maps, (width, height))
    assert resized.shape == (2, 3, height, width)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(resized[index], bilinear(maps[index].numpy(), width, height), atol=1e-12)


def test_upsampled_ramps_keep_their_coordinates() -> None:
    x = (torch.arange(8, dtype=torch.float64) + 0.5).expand(6, 8)
    enlarged = upsample(x * 4, (32, 24))
    centres = torch.arange(32) + 0.5
    torch.testing.assert_close(enlarged[0], centres.clamp(2, 30).double())


def test_fusing_layers_of_different_resolutions() -> None:
    layers = [random(2, 4, 4), random(2, 3, 5, seed=1), random(2, 8, 6, seed=2)]
    fused = fuse_mean(layers, (6, 8))
    for row in range(2):
        expected = sum(bilinear(layer[row].numpy(), 6, 8) for layer in layers) / 3
        np.testing.assert_allclose(fused[row], expected, atol=1e-12)
    stack = random(5, 2, 4, 4)
    torch.testing.assert_close(fuse_mean(stack, (4, 4)), stack.mean(0))
    with pytest.raises(ValueError, match=r"^There are no maps to fuse: at least one is needed\.$"):
        fuse_mean([], (4, 4))


def test_softmax_over_pixels() -> None:
    maps = random(3, 2, 4, 5)
    probabilities = softmax_pixels(maps)
    exponentials = np.exp(maps.numpy())
    expected = exponentials / exponentials.sum((-2, -1), keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-12)
    np.testing.assert_allclose(softmax_pixels(maps[0, 1]), expected[0, 1], rtol=1e-12)


# --- peaks and agreement ----------------------------------------------------------------------------------------------


def test_peaks_are_pixel_centres_the_first_of_equals() -> None:
    maps = torch.zeros(2, 3, 4)
    maps[0, 2, 1] = maps[0, 2, 3] = 5
    maps[1, 0, 3] = -1
    assert peak(maps).tolist() == [[1.5, 2.5], [0.5, 0.5]]
    assert peak(maps).dtype == torch.float32
    assert peak_value(maps).tolist() == [5, 0]
    assert peak(maps.half()).tolist() == peak(maps).tolist()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000))
def test_the_peak_is_where_the_value_is(height: int, width: int, seed: int) -> None:
    one = random(height, width, seed=seed)
    x, y = peak(one).tolist()
    assert one[int(y), int(x)] == one.max() == peak_value(one)


def test_agreement_of_two_rounds_is_a_gaussian_of_their_distance() -> None:
    points = torch.tensor([[[0.0, 0.0], [3.0, 4.0]], [[7.0, 7.0], [7.0, 7.0]]], dtype=torch.float64)
    expected = torch.tensor([math.exp(-25 / (2 * 2.5**2)), 1.0], dtype=torch.float64)
    torch.testing.assert_close(agreement(points, 2.5), expected)


def test_agreement_of_several_rounds_is_the_mean_over_pairs() -> None:
    points = random(4, 5, 2) * 20
    expected = [
        np.mean(
            [
                math.exp(-((one[a] - one[b]) ** 2).sum().item() / (2 * 6.0**2))
                for a in range(5)
                for b in range(5)
                if a < b
            ]
        )
        for one in points
    ]
    np.testing.assert_allclose(agreement(points, 6.0), expected, rtol=1e-12)
    torch.testing.assert_close(agreement(points[:, torch.tensor([3, 0, 4, 1, 2])], 6.0), agreement(points, 6.0))


def test_one_round_cannot_disagree() -> None:
    assert agreement(torch.rand(3, 1, 2), 1.0).tolist() == [1, 1, 1]


# --- the mean over crops ----------------------------------------------------------------------------------------------


@given(st.data())
def test_coverage_mean_is_the_brute_force_loop(data: st.DataObject) -> None:
    rows, layers, height, width = (data.draw(st.integers(1, most)) for most in (3, 2, 12, 12))
    canvas = CoverageMean((rows, layers, height, width), dtype=torch.float64)
    total, count = np.zeros((rows, layers, height, width)), np.zeros((rows, height, width))
    for step in range(data.draw(st.integers(0, 4))):
        h, w = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
        maps = random(rows, layers, h, w, seed=step)
        crops = []
        for _ in range(rows):
            left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
            crops.append(
                Crop(left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
            )
        canvas.add(maps, crops)
        for row, crop in enumerate(crops):
            for layer in range(layers):
                enlarged = bilinear(maps[row, layer].numpy(), crop.width, crop.height)
                for j in range(crop.height):
                    for i in range(crop.width):
                        total[row, layer, crop.top + j, crop.left + i] += enlarged[j, i]
            count[row, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width] += 1
    expected = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], 0)
    np.testing.assert_allclose(canvas.mean(), expected, atol=1e-12)
    np.testing.assert_array_equal(canvas.covered(), count)


def test_one_crop_can_serve_all_rows() -> None:
    maps = random(3, 2, 2)
    one, each = (CoverageMean((3, 6, 6), dtype=torch.float64) for _ in range(2))
    one.add(maps, Crop(1, 2, 4, 3))
    each.add(maps, [Crop(1, 2, 4, 3)] * 3)
    assert torch.equal(one.mean(), each.mean())
    assert one.mean()[:, 0].abs().sum() == 0


def test_what_does_not_fit_the_canvas_is_refused() -> None:
    canvas = CoverageMean((2, 4, 6, 6))
    with pytest.raises(
        ValueError, match=r"^Expected maps \(2, 4\) \+ \(h, w\) and 2 crops, got \(2, 3, 5, 5\) and 2 crops\.$"
    ):
        canvas.add(torch.zeros(2, 3, 5, 5), Crop(0, 0, 6, 6))
    with pytest.raises(ValueError, match=r"and 2 crops, got \(2, 4, 5, 5\) and 1 crops\.$"):
        canvas.add(torch.zeros(2, 4, 5, 5), [Crop(0, 0, 6, 6)])
    for crop in (Crop(1, 0, 6, 6), Crop(0, 1, 6, 6)):
        words = re.escape(f"{crop} reaches beyond the canvas (6, 6) (height, width).")
        with pytest.raises(ValueError, match=f"^{words}$"):
            canvas.add(torch.zeros(2, 4, 5, 5), crop)
    with pytest.raises(ValueError, match=r"^The canvas must be \(rows, \.\.\., height, width\), got \(6, 6\)\.$"):
        CoverageMean((6, 6))
    flat = CoverageMean((1, 4, 9), dtype=torch.float64)
    with pytest.raises(ValueError, match=r"^Expected maps \(1,\) \+ \(h, w\) and 1 crops, got \(2, 3, 3\)"):
        flat.add(torch.zeros(2, 3, 3), Crop(0, 0, 3, 3))
    with pytest.raises(ValueError, match=r"reaches beyond the canvas \(4, 9\) \(height, width\)\.$"):
        flat.add(torch.zeros(1, 3, 3), Crop(0, 2, 3, 3))


def test_a_canvas_is_in_the_precision_that_was_asked_for() -> None:
    canvas = CoverageMean((1, 4, 9), dtype=torch.float64)
    canvas.add(torch.full((1, 4, 9), 1 / 3, dtype=torch.float64), Crop(0, 0, 9, 4))
    assert canvas.covered().dtype == torch.float64
    assert canvas.mean().unique().tolist() == [1 / 3]


def test_pasting_gives_the_mean_over_the_crops_that_cover_a_pixel():
    """Two maps of three crops on a canvas of 8, enlarged pixel by pixel and pasted by hand."""
    crops = [Crop(left=0, top=0, width=5, height=6), Crop(left=3, top=2, width=5, height=6)]
    crops.append(Crop(left=1, top=1, width=3, height=4))
    maps = torch.rand(3, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pasted = CropPaste(crops, 8)
    # Other sizes in between: what is kept for one must not serve another.
    for count, some in ((1, maps), (3, maps), (3, random(3, 2, 5, 2)), (2, random(3, 2, 3, 3).float()), (3, maps)):
        total, covered = np.zeros((2, 8, 8)), np.zeros((8, 8))
        for crop, pair in zip(crops[:count], some, strict=False):
            for index in range(2):
                total[(index, *crop.slices)] += bilinear(pair[index].numpy(), crop.width, crop.height)
            covered[crop.slices] += 1
        expected = total / np.maximum(covered, 1)
        mean = pasted.mean(some[:count])
        assert mean.dtype == some.dtype
        np.testing.assert_allclose(mean.numpy(), expected, atol=1e-6 if some.dtype == torch.float32 else 1e-12)


@given(
    top=st.tuples(st.floats(2.1, 5.9), st.floats(2.1, 5.9)),
    bend=st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)),
)
def test_the_parabola_finds_the_top_of_a_paraboloid(top: tuple[float, float], bend: tuple[float, float]):
    columns, rows = torch.arange(8, dtype=torch.float64) + 0.5, torch.arange(9, dtype=torch.float64)[:, None] + 0.5
    values = -bend[0] * (columns - top[0]) ** 2 - bend[1] * (rows - top[1]) ** 2
    np.testing.assert_allclose(heatmaps.parabola_peak(values), top, atol=1e-4)


def test_every_map_has_a_parabola_of_its_own_also_next_to_the_edge():
    columns, rows = torch.arange(5, dtype=torch.float64) + 0.5, torch.arange(4, dtype=torch.float64)[:, None] + 0.5
    tops = torch.tensor([[1.7, 1.3], [3.3, 2.6], [2.5, 1.6]])
    values = torch.stack([-((columns - x) ** 2) - 2 * (rows - y) ** 2 for x, y in tops.tolist()])
    torch.testing.assert_close(heatmaps.parabola_peak(values), tops)  # and in float32, whatever the maps are in


def test_a_parabola_at_the_edge_stays_at_the_pixel():
    values = torch.zeros(2, 3, 4)
    values[0, 0, 3], values[1, 2, 0] = 1.0, 1.0
    assert heatmaps.parabola_peak(values).tolist() == [[3.5, 0.5], [0.5, 2.5]]
    assert heatmaps.parabola_peak(torch.ones(1, 1)).tolist() == [0.5, 0.5]


def test_the_soft_peak_is_the_weighted_mean_of_a_window():
    values = torch.zeros(1, 5, 7)
    values[0, 2, 3], values[0, 2, 4], values[0, 0, 6] = 2.0, 1.0, 1.9
    weights = {(x, y): np.exp(float(values[0, y, x]) / 0.5) for x in (2, 3, 4) for y in (1, 2, 3)}
    total = sum(weights.values())
    expected = [sum(w * (cell[axis] + 0.5) for cell, w in weights.items()) / total for axis in (0, 1)]
    np.testing.assert_allclose(heatmaps.soft_peak(values, 1, 0.5)[0], expected, atol=1e-5)


def test_a_cold_soft_peak_is_the_peak():
    values = torch.rand(4, 6, 5, generator=torch.Generator().manual_seed(0))
    peaks = heatmaps.soft_peak(values.double(), 2, 1e-6)
    assert peaks.dtype == torch.float32
    np.testing.assert_allclose(peaks, heatmaps.peak(values), atol=1e-4)
    np.testing.assert_allclose(heatmaps.soft_peak(values.reshape(2, 2, 6, 5), 2, 1e-6), peaks.reshape(2, 2, 2))


def known_gaussians(grid: tuple[int, int], sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres all over a grid of (columns, rows) but next to its edge, and a map of it around each."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(60, 2, generator=generator) * (torch.tensor(grid) - 4) + 2
    return centres, gaussian(centres, sigma, grid)


@pytest.mark.parametrize(("kind", "within"), [("parabola", 0.1), ("soft", 0.16)])
@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("grid", [(16, 16), (32, 32), (64, 64), (20, 12)])
@pytest.mark.parametrize("enlarged", [1, 2, 3.7, 8])
def test_a_known_peak_is_located_to_a_fraction_of_a_cell(
    kind: heatmaps.Peak, within: float, sigma: float, grid: tuple[int, int], enlarged: float
) -> None:
    centres, maps = known_gaussians(grid, sigma)
    size = (round(grid[0] * enlarged), round(grid[1] * enlarged))
    large = upsample(maps, size)
    cell = torch.tensor([size[0] / grid[0], size[1] / grid[1]])
    off = (heatmaps.find_peak(large, kind, grid=grid) / cell - centres).abs()
    assert off.max() < within
    # The largest pixel is off by half a pixel and more.
    assert off.mean() < (heatmaps.find_peak(large, "cell", grid=grid) / cell - centres).abs().mean()


@pytest.mark.parametrize("kind", ["parabola", "soft"])
def test_plateaus_of_repeated_cells_are_refined_as_the_cells_are(kind: heatmaps.Peak) -> None:
    centres, maps = known_gaussians((16, 12), 1.0)
    plain = heatmaps.find_peak(maps, kind)
    repeated = F.interpolate(maps[:, None], scale_factor=5, mode="nearest")[:, 0]
    peaks = heatmaps.find_peak(repeated, kind, grid=(16, 12)) / 5
    # Antialiasing averages over neighbours, whose share is small and alike on both sides.
    assert (peaks - plain).abs().max() < 0.05
    assert (peaks - centres).abs().max() < 0.1


def test_the_peak_of_two_equal_neighbours_is_between_them() -> None:
    maps = torch.zeros(2, 6, 8)
    maps[0, 2, 3:5] = 1.0
    maps[1, 2:4, 3] = 1.0
    for size in ((8, 6), (32, 24), (24, 18)):
        large = upsample(maps, size)
        peaks = heatmaps.find_peak(large, "parabola", grid=(8, 6)) * torch.tensor([8 / size[0], 6 / size[1]])
        torch.testing.assert_close(peaks, torch.tensor([[4.0, 2.5], [3.5, 3.0]]), atol=1e-3, rtol=0)


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    grid=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kind=st.sampled_from(["cell", "parabola", "soft"]),
    window=st.integers(1, 20),
    flat=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_no_peak_is_outside_its_map(
    size: tuple[int, int],
    grid: tuple[int, int],
    kind: heatmaps.Peak,
    window: int,
    flat: bool,
    seed: int,
) -> None:
    maps = torch.rand(2, 3, size[1], size[0], generator=torch.Generator().manual_seed(seed)) ** 8
    maps = torch.zeros_like(maps) if flat else maps
    peaks = heatmaps.find_peak(maps, kind, grid=grid, window=window)
    assert peaks.shape == (2, 3, 2)
    assert peaks.dtype == torch.float32
    assert ((peaks >= 0) & (peaks <= torch.tensor(size))).all()
    # Next to the largest pixel's cell at most: no other peak is taken for it.
    cells = torch.tensor([max(1, size[0] / grid[0]), max(1, size[1] / grid[1])])
    reach = 2 + (window if kind == "soft" else 0)
    assert ((peaks - peak(maps)).abs() <= reach * cells).all()


@pytest.mark.parametrize("kind", ["parabola", "soft"])
def test_a_peak_in_a_corner_stays_in_its_cell(kind: heatmaps.Peak) -> None:
    corners = torch.tensor([[0.2, 0.3], [9.8, 0.3], [0.2, 7.7], [9.8, 7.7]])
    maps = gaussian(corners, 1.0, (10, 8))
    for size in ((10, 8), (40, 32), (500, 400)):
        peaks = heatmaps.find_peak(upsample(maps, size), kind, grid=(10, 8)) * torch.tensor([10 / size[0], 8 / size[1]])
        assert (peaks - corners).abs().max() <= 0.5
        assert ((peaks >= 0) & (peaks <= torch.tensor([10, 8]))).all()


def test_the_scale_of_a_map_does_not_move_its_peak() -> None:
    _, maps = known_gaussians((16, 16), 1.0)
    for kind in ("cell", "parabola", "soft"):
        peaks = heatmaps.find_peak(maps, kind)
        torch.testing.assert_close(heatmaps.find_peak(1e-3 * maps + 5e-3, kind), peaks, atol=1e-2, rtol=0)
        torch.testing.assert_close(heatmaps.find_peak(100 * maps, kind), peaks, atol=1e-2, rtol=0)


def test_a_soft_peak_does_not_depend_on_how_far_its_map_was_enlarged() -> None:
    _, maps = known_gaussians((16, 16), 1.0)
    at = [heatmaps.find_peak(upsample(maps, (16 * n, 16 * n)), "soft", grid=(16, 16)) / n for n in (4, 16, 32)]
    torch.testing.assert_close(at[1], at[0], atol=0.02, rtol=0)
    torch.testing.assert_close(at[2], at[1], atol=0.01, rtol=0)


def test_another_cell_than_the_largest_is_refined_where_that_is_asked_for() -> None:
    columns, rows = torch.arange(9) + 0.5, torch.arange(7)[:, None] + 0.5
    maps = (-((columns - 3.3) ** 2) - (rows - 2.6) ** 2).clamp(min=-2)[None].repeat(2, 1, 1)
    maps[:, 5, 7] = 9.0  # the largest
    at = torch.tensor([[3, 2], [7, 5]])
    peaks = heatmaps.refine_peak(maps, at, "parabola")
    torch.testing.assert_close(peaks, torch.tensor([[3.3, 2.6], [7.5, 5.5]]), atol=1e-5, rtol=0)
    assert heatmaps.refine_peak(maps, at, "cell").tolist() == [[3.5, 2.5], [7.5, 5.5]]
    cold = heatmaps.refine_peak(maps, at, "soft", temperature=1e-4)
    assert (cold - torch.tensor([[3.5, 2.5], [7.5, 5.5]])).abs().max() < 0.11  # to a step of a fifth of a cell


@pytest.mark.parametrize("size", [(60, 40), (30, 40), (600, 400)])
def test_the_second_peak_is_the_highest_pixel_away_from_the_first(size: tuple[int, int]) -> None:
    maps = torch.zeros(3, 40, 60)
    maps[:, 10, 10] = 2.0  # around it lies what is no second peak
    maps[:, 11, 11] = 1.9
    maps[0, 30, 50], maps[1, 30, 50] = 0.8, 2.0
    second = heatmaps.second_peak(maps, size)
    torch.testing.assert_close(second, torch.tensor([0.4, 1.0, 0.0]))
    # Heights count from the median, whatever the scale.
    torch.testing.assert_close(heatmaps.second_peak(3 * maps - 7, size), second)


def test_away_is_a_fraction_of_the_images_longer_side() -> None:
    maps = torch.zeros(1, 10, 10)
    maps[0, 5, 0], maps[0, 5, 4] = 1.0, 0.5
    # Four of ten columns are 0.4 of a wide image, and 0.1 of one four times as high as wide.
    assert heatmaps.second_peak(maps, (200, 100)).item() == pytest.approx(0.5)
    assert heatmaps.second_peak(maps, (100, 400)).item() == 0
    assert heatmaps.second_peak(maps, (100, 400), apart=0.05).item() == pytest.approx(0.5)
    assert heatmaps.second_peak(torch.ones(1, 10, 10), (10, 10)).item() == 1


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_away_begins_as_far_on_every_side(turned: bool, mirrored: bool) -> None:
    row = torch.tensor([0.0, 0.0, 0.3, 0.9, 1.0, 0.9, 0.5, 0.0])
    maps = torch.zeros(8, 8)
    maps[4] = row.flip(0) if mirrored else row
    maps = (maps.T if turned else maps)[None]
    # An eighth of the side is a pixel; what is just as far is not away yet.
    assert heatmaps.second_peak(maps, (8, 8), apart=1 / 8).item() == pytest.approx(0.5)
    assert heatmaps.second_peak(maps, (8, 8), apart=2 / 8).item() == 0
    assert heatmaps.second_peak(maps, (8, 8), apart=0.0).item() == pytest.approx(0.9)


def test_lower_than_the_median_is_no_second_peak() -> None:
    assert heatmaps.second_peak(torch.tensor([[[5.0, 4, 4, 4, 4, 0, 0, 0]]]), (8, 1), apart=0.5).item() == 0
    assert heatmaps.second_peak(torch.tensor([[[5.0, 4, 4, 4, 4, 0, 0, 0]]]), (8, 1), apart=2.0).item() == 0


def test_everything_stays_on_its_device() -> None:
    """On PyTorch's device of shapes alone: as a GPU, it refuses arithmetic with tensors of another device."""
    maps = torch.zeros(3, 2, 6, 5, device="meta")
    canvas = CoverageMean((3, 2, 9, 9), device="meta")
    canvas.add(maps, Crop(0, 0, 9, 9))
    tensors = [
        gaussian(torch.zeros(3, 2, device="meta"), 2.0, (5, 6)),
        fuse_mean(maps, (7, 7)),
        peak(maps),
        peak_value(maps),
        agreement(torch.zeros(4, 3, 2, device="meta"), 1.0),
        agreement(torch.zeros(4, 1, 2, device="meta"), 1.0),
        canvas.mean(),
        canvas.covered(),
        CropPaste([Crop(0, 0, 9, 9), Crop(1, 2, 3, 4), Crop(5, 5, 4, 4)], 9).mean(maps),
        heatmaps.parabola_peak(maps),
        heatmaps.soft_peak(maps, 2, 0.5),
        heatmaps.second_peak(maps[0], (50, 60)),
    ]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_a_gaussian_peak_is_the_mean_under_a_weighted_softmax():
    maps = torch.randn(2, 9, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at = torch.tensor([[3, 4], [11, 0]])
    peaks = heatmaps.gaussian_peak(maps, at, 2.0, 0.5)
    for map_, (column, row), point in zip(maps.numpy(), at.tolist(), peaks, strict=True):
        rows, columns = np.mgrid[:9, :12]
        weight = np.exp(map_ / 0.5 - ((columns - column) ** 2 + (rows - row) ** 2) / 8)
        right = [(weight * (columns + 0.5)).sum() / weight.sum(), (weight * (rows + 0.5)).sum() / weight.sum()]
        assert point.tolist() == pytest.approx(right, abs=1e-5)
