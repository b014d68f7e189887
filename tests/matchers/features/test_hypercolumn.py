"""Hypercolumns: where a feature is, whatever it was read from, and points found among real features."""

import numpy as np
import pytest
import torch
from PIL import Image as PilImage

import semcorr
from semcorr.errors import SettingsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.features.hypercolumn import HypercolumnMatcher, HypercolumnSettings, hypercolumns
from semcorr.models.cnn import BlockOutput


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


def test_each_layer_is_read_where_its_cells_are_centred() -> None:
    # A feature that is the angle of its own position, read from a coarse map whose cells are centred too far right.
    def angle_of(position: torch.Tensor) -> torch.Tensor:
        across, down = position.unbind(-1)
        return torch.stack((torch.cos(across / 40), torch.sin(across / 40), torch.cos(down / 40), torch.sin(down / 40)))

    def output(cells: int, shift: float) -> BlockOutput:
        centres = (torch.arange(cells) + 0.5 + shift) * (64 / cells)
        grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
        return BlockOutput(features=angle_of(grid), shift=shift)

    features = hypercolumns([output(32, 0.0), output(16, 0.4)])
    assert features.shape == (8, 32, 32)
    inside = slice(3, -3)  # beyond the outermost centres a map is constant
    difference = features[:4, inside, inside] - features[4:, inside, inside]
    assert difference.abs().max() < 2e-3
    unshifted = hypercolumns([output(32, 0.0), BlockOutput(features=output(16, 0.4).features, shift=0.0)])
    assert (unshifted[:4, inside, inside] - unshifted[4:, inside, inside]).abs().max() > 1e-2


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
        "import sys, semcorr.matchers.features.hypercolumn; "
        "print({'diffusers', 'transformers', 'matplotlib'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"
