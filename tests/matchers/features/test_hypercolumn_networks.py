"""Hypercolumns on VGG and ResNet: the layers of publications, points found, and precisions that overflow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

import semcorr
from models.cnn.networks import VGG_STAGES, save_timm, timm_resnet, timm_vgg
from semcorr.errors import LayerError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.features.hypercolumn import buddies, photographs
from semcorr.models.cnn import ConvolutionalModel

RESNETS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}


@pytest.fixture(scope="module")
def image() -> Image:
    """Coloured noise of several sizes, so that no two positions look alike."""
    random = np.random.default_rng(0)
    total = np.zeros((224, 224, 3))
    for cells in (8, 20, 50):
        noise = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        total += np.asarray(PilImage.fromarray(noise).resize((224, 224), PilImage.Resampling.BICUBIC))
    return load_image((total / 3).astype(np.uint8))


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_timm(tmp_path_factory.mktemp("vgg") / "vgg19", "vgg19", timm_vgg("vgg19"))


def blocks(settings: Any) -> list[int]:
    return [block for several in settings.blocks().values() for block in several]


@pytest.mark.parametrize("family", sorted(VGG_STAGES))
def test_a_vggs_layers_are_the_first_of_its_last_three_stages(tmp_path: Path, family: str) -> None:
    model = ConvolutionalModel.from_pretrained(save_timm(tmp_path / "a", family, timm_vgg(family)), device="cpu")
    first = [model.network.strides.index(stride) for stride in (4, 8, 16)]
    assert blocks(photographs(family)) == blocks(buddies(family)) == first
    assert photographs(family).grid == 224 // 4


@pytest.mark.parametrize("family", sorted(RESNETS))
def test_a_resnets_layers_end_with_its_third_stage(tmp_path: Path, family: str) -> None:
    tensors = timm_resnet(RESNETS[family], bottleneck=family not in ("resnet18", "resnet34"))
    model = ConvolutionalModel.from_pretrained(save_timm(tmp_path / "a", family, tensors), device="cpu")
    read = blocks(photographs(family))
    assert read == sorted(set(read))
    strides = [model.network.strides[block] for block in read]
    assert strides[-1] == 16
    assert photographs(family).grid == 300 // 4


def test_hyperpixel_flows_layers_are_those_of_its_authors() -> None:
    # README of github.com/juhongm999/hpf, for PF-PASCAL; images of at most 300 pixels (model/util.py there).
    assert photographs("resnet50").layers == ("2@300", "7@300", "11@300", "12@300", "13@300")
    assert blocks(photographs("resnet101")) == [2, 17, 21, 22, 25, 26, 28]


@pytest.mark.parametrize("method", ["hypercolumn", "nbb-hypercolumn"])
def test_points_are_located_in_the_same_image_moved(vgg: Path, image: Image, method: str) -> None:
    moved = load_image(np.roll(image.pixels, (32, 48), axis=(0, 1)))  # by whole cells of the coarsest layer
    matcher = semcorr.load_matcher(method, vgg, device="cpu")
    points = np.array([(90.0, 90.0), (120.0, 70.0)])
    matches = matcher.locate(matcher.describe(image, points), moved)
    assert np.abs(matches.points - (points + np.array([48, 32]))).max() < 4


def test_the_rounds_of_best_buddies_are_those_of_a_vggs_three_levels(vgg: Path) -> None:
    settings = semcorr.load_matcher("nbb-hypercolumn", vgg, device="cpu").settings
    assert (settings.levels, settings.radius, settings.grid) == (3, 2, 56)
    assert semcorr.load_matcher("nbb-hypercolumn", device="cpu").settings.levels == 2


@pytest.mark.parametrize("method", ["hypercolumn", "nbb-hypercolumn"])
def test_what_overflows_is_done_in_float32(tmp_path: Path, image: Image, method: str) -> None:
    tensors = timm_vgg("vgg11")
    for name, factor in (("features.0", 1e6), ("features.3", 1e-6)):
        tensors[f"{name}.weight"] = tensors[f"{name}.weight"] * factor
    folder = save_timm(tmp_path / "vgg", "vgg11", tensors)
    half, exact = (semcorr.load_matcher(method, folder, device="cpu", dtype=dtype) for dtype in ("float16", "float32"))
    points = [(120.0, 90.0)]
    query, expected = half.describe(image, points), exact.describe(image, points)
    assert query.warnings[0].startswith("described in float32, because float16 overflowed (")
    matches = half.locate(query, image)
    assert matches.warnings[0].startswith("located in float32, because float16 overflowed (")
    assert np.array_equal(matches.points, exact.locate(expected, image).points)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_finds_the_same_points(image: Image, dtype: Any) -> None:
    points = [(120.0, 90.0), (160.0, 130.0)]
    half = semcorr.load_matcher("hypercolumn", device="cpu", dtype=dtype, layers=("10@224",), prior="none")
    matches = half.locate(half.describe(image, points), image)
    assert not matches.warnings
    assert np.abs(matches.points - points).max() < 6


def test_a_block_that_a_network_lacks_is_named(vgg: Path) -> None:
    with pytest.raises(LayerError, match="vgg19 has 16 blocks, 0 to 15: got 16"):
        semcorr.load_matcher("hypercolumn", vgg, device="cpu", layers=("16@224",))
