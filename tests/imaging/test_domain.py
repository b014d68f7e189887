"""Kinds of images are distinguished: closed forms of the statistics, drawings, and images with a camera's grain."""

import numpy as np
import PIL.Image
import pytest

from semcorr.imaging.domain import MARGIN, Domain, statistics
from semcorr.imaging.image import Image, load_image
from semcorr.toy.render import render_scene


def drawing(seed: int, size: int = 128, split: str = "test") -> Image:
    return load_image(render_scene(seed, size, split=split).image)


def grainy(seed: int, size: tuple[int, int] = (160, 120)) -> Image:
    """Smooth shading with noise on it, as a camera's."""
    rng = np.random.default_rng(seed)
    cells = PIL.Image.fromarray(rng.integers(0, 255, (5, 5, 3), dtype=np.uint8))
    smooth = np.asarray(cells.resize(size, PIL.Image.Resampling.BICUBIC)).astype(float)
    return load_image(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def drawings() -> Domain:
    return Domain.of(statistics(drawing(seed, 256, split="val")) for seed in range(80))


def test_one_colour_is_flat() -> None:
    values = statistics(load_image(np.full((64, 128, 3), 90, np.uint8)))
    assert values == {"flat": 1.0, "flat elsewhere": 1.0, "soft": 0.0}


def test_statistics_by_hand() -> None:
    """Of 128 x 128 pixels the left 64 columns have one colour; the others go up by 8 a column, which is soft.

    Across there are 127 pairs a row: 63 are equal, 1 leads over, 63 are soft. Down all 127 x 128 pairs are equal.
    """
    columns = np.concatenate([np.full(64, 200), np.arange(64) * 2])
    pixels = np.repeat(np.tile(columns, (128, 1))[..., None], 3, axis=2).astype(np.uint8)
    values = statistics(load_image(pixels))
    assert values["flat"] == 1 - 128 / (2 * 127 * 128)  # steps of 2 are flat; from 200 to 0 is an edge
    assert values["soft"] == 0
    columns[64:] = np.arange(64) * 3
    pixels = np.repeat(np.tile(columns, (128, 1))[..., None], 3, axis=2).astype(np.uint8)
    values = statistics(load_image(pixels))
    assert values["flat"] == pytest.approx((127 * 128 + 63 * 128) / (2 * 127 * 128))
    assert values["soft"] == pytest.approx(63 * 128 / (2 * 127 * 128))
    # Elsewhere than 200's cell (192 to 207): 64 columns, 63 pairs across, 64 of 127 down.
    assert values["flat elsewhere"] == pytest.approx(64 * 127 / (64 * 127 + 63 * 128))


def test_larger_and_smaller_copies_are_of_one_kind() -> None:
    pixels = drawing(3, 128).pixels
    large = np.kron(pixels, np.ones((4, 4, 1), np.uint8))
    assert statistics(load_image(large)) == statistics(load_image(pixels))


@pytest.mark.parametrize("size", [64, 96, 128, 256])
def test_other_drawings_are_like_those_seen(drawings: Domain, size: int) -> None:
    assert sum(drawings.contains(statistics(drawing(seed, size))) for seed in range(40)) >= 38


def test_grain_is_not_like_drawings(drawings: Domain) -> None:
    assert not any(drawings.contains(statistics(grainy(seed))) for seed in range(20))
    photographs = Domain.of(statistics(grainy(seed)) for seed in range(20))
    assert sum(photographs.contains(statistics(grainy(seed))) for seed in range(100, 120)) >= 18
    assert not any(photographs.contains(statistics(drawing(seed))) for seed in range(20))


def test_room_beyond_what_was_seen_and_what_is_not_known() -> None:
    seen = Domain.of(
        [{"flat": 0.4, "flat elsewhere": 0.4, "soft": 0.1}, {"flat": 0.6, "flat elsewhere": 0.4, "soft": 0.2}]
    )
    inside = {"flat": 0.6 + 0.2 * MARGIN, "flat elsewhere": 0.4, "soft": 0.1}
    assert seen.contains({**inside, "flat": 0.6 + 0.2 * MARGIN - 1e-9})
    assert not seen.contains({**inside, "flat": 0.6 + 0.2 * MARGIN + 1e-6})
    assert not seen.contains({**inside, "flat elsewhere": 0.41})
    assert not seen.contains({})
    assert Domain.from_dict(seen.to_dict()) == seen
    for broken in (
        {},
        {"images": 1, "ranges": {}},
        {"images": 1, "ranges": {"flat": [0.5, 0.2]}},
        {"images": 1, "ranges": {"a": 1}},
    ):
        with pytest.raises((KeyError, ValueError, TypeError)):
            Domain.from_dict(broken)


def test_photographs_are_not_like_the_bundled_calibrations_drawings(photographs) -> None:
    from semcorr.matchers.load import load_matcher
    from semcorr.matchers.wrappers.calibration import bundled, key_of

    matcher = load_matcher("dift", "toy", device="cpu", calibration="none")
    calibration = bundled("dift", key_of("dift", matcher.identity()))
    assert calibration is not None
    assert calibration.domain is not None
    files = sorted((photographs / "pf-willow").rglob("*.png"))[::10]
    assert not any(calibration.domain.contains(statistics(load_image(file))) for file in files)
