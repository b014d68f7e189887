"""Hypercolumns: where a feature is, whatever it was read from, and points found among real features."""

import numpy as np
import pytest
import torch
from PIL import Image as PilImage

import semcorr
from semcorr.errors import SettingsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.features.hypercolumn import HypercolumnMatcher, HypercolumnSettings, hypercolumns
from semcorr.settings import override


@pytest.fixture(scope="module")
def matcher() -> HypercolumnMatcher:
    return HypercolumnMatcher.from_pretrained(device="cpu")


@pytest.fixture
def image() -> Image:
    """Coloured noise of several sizes, so that no two positions look alike."""
    random = np.random.default_rng(0)
    total = np.zeros((240, 320, 3))
    for cells in (3, 8, 20):
        noise = random.integers(0, 256, (cells * 3, cells * 4, 3), dtype=np.uint8)
        total += np.asarray(PilImage.fromarray(noise).resize((320, 240), PilImage.Resampling.BICUBIC))
    return load_image((total / 3).astype(np.uint8))


def test_layers_of_different_cells_agree_about_positions() -> None:
    # Features that are the angles of their own positions.
    def output(cells: int) -> torch.Tensor:
        along = (torch.arange(cells) + 0.5) / cells * 1.5
        x, y = torch.meshgrid(along, along, indexing="xy")
        return torch.stack((torch.cos(x), torch.sin(x), torch.cos(y), torch.sin(y)))

    features = hypercolumns([output(32), output(16)], (64, 64), centred=False)
    assert features.shape == (8, 64, 64)
    at = (torch.arange(64) + 0.5) / 64 * 1.5
    inside = slice(2, -2)  # beyond the outermost centres a map is constant
    for map_ in features.split(4):
        assert torch.allclose(map_[0, inside, inside], at[inside].cos() / 2**0.5, atol=2e-3)
        assert torch.allclose(map_[3, inside, inside], at[inside, None].sin() / 2**0.5, atol=2e-3)


def test_what_all_of_an_image_has_in_common_is_taken_out() -> None:
    own = torch.randn(5, 9, 9, generator=torch.Generator().manual_seed(0))
    own -= own.mean(dim=(1, 2), keepdim=True)
    common = torch.arange(5.0)[:, None, None] * 10
    plain, with_common = (hypercolumns([features], (9, 9), centred=True) for features in (own, own + common))
    assert torch.allclose(plain, with_common, atol=1e-5)
    assert torch.allclose(plain.norm(dim=0), torch.ones(9, 9))


def test_points_of_an_image_are_located_in_the_same_image_moved(matcher: HypercolumnMatcher, image: Image) -> None:
    moved = load_image(np.roll(image.pixels, (32, 64), axis=(0, 1)))
    points = np.array([(80.0, 60.0), (160.0, 120.0), (100.0, 170.0)])
    matches = matcher.locate(matcher.describe(image, points), moved)
    assert np.abs(matches.points - (points + np.array([64, 32]))).max() < 12


def test_layers_of_one_resolution_share_a_pass() -> None:
    assert HypercolumnSettings(layers=("10@512", "14@320", "14@512")).blocks() == {512: [10, 14], 320: [14]}


@pytest.mark.parametrize("layers", [(), ("14",), ("14@",), ("a@512",)])
def test_layers_that_are_none_are_refused(layers: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="layers"):
        HypercolumnSettings(layers=layers)


def test_best_buddies_among_hypercolumns_follow_a_moved_image(image: Image) -> None:
    moved = load_image(np.roll(image.pixels, (32, 64), axis=(0, 1)))
    matcher = semcorr.load_matcher("nbb-hypercolumn", device="cpu")
    matches = matcher.locate(matcher.describe(image, [(130.0, 100.0)]), moved)
    assert np.abs(matches.points - (194, 132)).max() < 12


def test_no_library_of_diffusion_networks_is_imported_for_it() -> None:
    import subprocess
    import sys

    code = (
        "import sys, semcorr.matchers.features.hypercolumn, semcorr.models.cnn.load_folder; "
        "print({'diffusers', 'transformers', 'matplotlib'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


@pytest.mark.parametrize(
    ("extent", "factor", "grid"), [(160, 1, 64), (122, 1, 64), (121, 1.5, 80), (80, 1.5, 80), (79, 2.25, 80)]
)
def test_resolutions_follow_the_size_of_the_smallest_object(extent: float, factor: float, grid: int) -> None:
    settings = HypercolumnSettings(layers=("10@320", "14@512"), enlarge="auto")
    small = np.array([(10.0, 10.0), (10.0 + extent, 10.0), (50.0, 20.0)])
    suited = settings.suited_to([(small * 2, (320, 240)), (small, (320, 240))])
    # Of an enlarged image the finest resolution alone is read.
    assert suited.layers == (("10@320", "14@512") if factor == 1 else (f"14@{round(512 * factor)}",))
    assert suited.grid == grid
    assert suited.enlarge == 1
    # Two points say little of an object's size.
    assert settings.suited_to([(small[:2], (320, 240))]).layers == settings.layers


def test_a_number_enlarges_whatever_the_object() -> None:
    settings = HypercolumnSettings(layers=("14@512",), grid=64, enlarge=1.125)
    suited = settings.suited_to([])
    assert (suited.layers, suited.grid, suited.enlarge) == (("14@576",), 72, 1)


def test_a_query_says_at_which_resolution_it_was_described(matcher: HypercolumnMatcher, image: Image) -> None:
    coarse = matcher.with_settings(override(matcher.settings, layers=("10@160",)))
    query = coarse.describe(image, [(150, 100), (180, 120), (160, 140)])  # 41 of 320 pixels
    assert tuple(query.settings["layers"]) == ("10@360",)
    assert query.settings["enlarge"] == 1
    moved = load_image(np.roll(image.pixels, (32, 64), axis=(0, 1)))
    assert np.abs(coarse.locate(query, moved).points - (query.points + np.array([64, 32]))).max() < 12
