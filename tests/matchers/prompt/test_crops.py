import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from closeness import assert_close_to_scale
from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.crops import CORNERS, CropLatents, crop_range
from semcorr.models.diffusion import DiffusionModel

SIDES = st.integers(16, 512)
FRACTIONS = st.floats(0.5, 1.0)
UNIT = st.floats(0.0, 1.0)


def test_the_sizes_of_the_paper():
    allowed = crop_range(256.0, 256.0, resolution=512, fraction=0.9316549294381423, margin=0.15)
    assert allowed.side == 477
    assert (allowed.left_min, allowed.left_max, allowed.top_min, allowed.top_max) == (0, 35, 0, 35)


def test_the_margin_binds_near_an_edge():
    # The margin is int(.15 * 477) = 71 px: a point at x = 90.7 lets the crop start at most at 90 - 71 = 19, and one at
    # y = 430 at least at 430 - 477 + 71 = 24.
    allowed = crop_range(90.7, 430.0, resolution=512, fraction=0.9316549294381423, margin=0.15)
    assert (allowed.left_min, allowed.left_max, allowed.top_min, allowed.top_max) == (0, 19, 24, 35)


def test_the_image_wins_over_the_margin():
    allowed = crop_range(2.0, 511.0, resolution=512, fraction=0.9316549294381423, margin=0.15)
    assert (allowed.left_min, allowed.left_max, allowed.top_min, allowed.top_max) == (0, 0, 35, 35)


@given(resolution=SIDES, fraction=FRACTIONS, margin=st.floats(0, 0.49), x=UNIT, y=UNIT, data=st.data())
def test_every_allowed_crop_is_inside_and_keeps_the_point(
    resolution: int, fraction: float, margin: float, x: float, y: float, data: st.DataObject
):
    x, y = x * resolution, y * resolution
    allowed = crop_range(x, y, resolution=resolution, fraction=fraction, margin=margin)
    left = data.draw(st.integers(allowed.left_min, allowed.left_max))
    top = data.draw(st.integers(allowed.top_min, allowed.top_max))
    crop = allowed.crop(left, top)
    assert allowed.contains(crop)
    assert crop.left >= 0
    assert crop.left + crop.width <= resolution
    assert crop.top + crop.height <= resolution
    assert crop.left <= x <= crop.left + crop.width
    assert crop.top <= y <= crop.top + crop.height
    inset = int(crop.width * margin)
    # The margin holds to a pixel, or the crop already touches the image's edge on that side.
    assert x - crop.left >= inset - 1 or crop.left == 0
    assert crop.left + crop.width - x >= inset - 1 or crop.left + crop.width == resolution


@given(resolution=SIDES, fraction=FRACTIONS, x=UNIT)
def test_without_margin_no_crop_that_keeps_the_pixel_is_left_out(resolution: int, fraction: float, x: float):
    column = min(int(x * resolution), resolution - 1)
    allowed = crop_range(column + 0.5, 0.0, resolution=resolution, fraction=fraction, margin=0.0)
    last = resolution - allowed.side
    keeping = [left for left in range(last + 1) if left <= column < left + allowed.side]
    assert (allowed.left_min, allowed.left_max) == (keeping[0], keeping[-1])


@given(resolution=SIDES, fraction=FRACTIONS, margin=st.floats(0, 0.49))
def test_the_first_four_crops_are_the_corners_and_cover_everything(resolution: int, fraction: float, margin: float):
    covered = torch.zeros(resolution, resolution)
    for x, y in CORNERS:
        allowed = crop_range(x * resolution, y * resolution, resolution=resolution, fraction=fraction, margin=margin)
        assert (allowed.left_min, allowed.top_min) == (allowed.left_max, allowed.top_max)
        covered[allowed.crop(allowed.left_min, allowed.top_min).slices] = 1
    # Crops of just less than half an odd frame leave its middle row and column uncovered; no other can be.
    gap = resolution % 2 == 1 and 2 * int(resolution * fraction + 1e-9) == resolution - 1
    assert covered.sum() == resolution**2 - (2 * resolution - 1 if gap else 0)


def test_a_fraction_of_one_is_no_cropping():
    allowed = crop_range(10.0, 60.0, resolution=64, fraction=1.0, margin=0.15)
    assert allowed == crop_range(63.0, 0.0, resolution=64, fraction=1.0, margin=0.0)
    assert allowed.crop(0, 0) == Crop(0, 0, 64, 64)


def test_other_sizes_are_not_allowed():
    allowed = crop_range(32.0, 32.0, resolution=64, fraction=0.9, margin=0.0)
    assert not allowed.contains(Crop(0, 0, allowed.side - 1, allowed.side))
    assert not allowed.contains(Crop(64 - allowed.side + 1, 0, allowed.side, allowed.side))


def test_latents_are_those_of_the_resized_crops_however_they_are_asked_for(model: DiffusionModel):
    frame = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    crops = [Crop(0, 0, 60, 60), Crop(4, 0, 60, 60), Crop(0, 0, 60, 60), Crop(1, 3, 60, 60)]
    expected = torch.cat([model.encode(crop.cut(frame, 64)[None]) for crop in crops])
    together = CropLatents(model, frame)
    assert_close_to_scale(together(crops), expected)
    assert_close_to_scale(together(crops[1:2]), expected[1:2])


def test_the_memory_of_latents_is_bounded(model: DiffusionModel):
    frame = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    latents = CropLatents(model, frame, limit_bytes=3 * 4 * 8 * 8 * 4)
    for left in range(10):
        crop = Crop(left % 5, left // 5, 60, 60)
        assert_close_to_scale(latents([crop]), model.encode(crop.cut(frame, 64)[None]))
        assert len(latents) <= 3


@pytest.mark.parametrize("margin", [0.0, 0.15])
def test_a_point_on_the_far_edge_is_kept(margin: float):
    allowed = crop_range(512.0, 512.0, resolution=512, fraction=0.5, margin=margin)
    assert (allowed.left_min, allowed.left_max) == (256, 256)
