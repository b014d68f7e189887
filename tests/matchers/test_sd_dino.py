"""Features of two networks side by side: the cosine is a weighted mean of both cosines."""

import dataclasses
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F

from closeness import assert_close_to_scale
from models.diffusion.networks import save_checkpoint
from models.dino.networks import save_folder
from semcorr.errors import QueryError, SettingsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features.dift import DiftMatcher, DiftSettings
from semcorr.matchers.features.dino import DinoMatcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.sd_dino import SdDinoMatcher, SdDinoSettings, join
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.dino import VisionModel
from semcorr.settings import override

POINTS = [(20.0, 30.0), (77.0, 50.0)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("sd-dino")
    return save_checkpoint(root / "sd", "sd1"), save_folder(root / "dino", "dinov2")


@pytest.fixture(scope="module")
def matcher(folders: tuple[Path, Path]) -> SdDinoMatcher:
    settings = SdDinoSettings(prompt=None, samples=1, dino_resolution=64, weight=0.3)
    model = DiffusionModel.from_pretrained(folders[0], device="cpu")
    return SdDinoMatcher(model, VisionModel.from_pretrained(folders[1], device="cpu"), settings)


@pytest.fixture(scope="module")
def image() -> Image:
    cells = np.random.default_rng(3).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return load_image(PIL.Image.fromarray(cells).resize((150, 100), PIL.Image.Resampling.BICUBIC))


def test_joined_features_have_the_weighted_cosine() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(5, 4, 6, generator=generator), torch.randn(7, 4, 6, generator=generator)
    joined = join(first, second, 0.3).flatten(1).T
    expected = sum(
        part**2 * F.cosine_similarity(one.flatten(1).T[:, None], one.flatten(1).T[None], dim=-1)
        for one, part in ((first, 0.7), (second, 0.3))
    )
    assert_close_to_scale(joined @ joined.T, expected)


def test_the_finer_grid_of_each_axis_is_taken() -> None:
    assert join(torch.ones(2, 4, 4), torch.ones(3, 2, 9), 0.5).shape == (5, 4, 9)


@pytest.mark.parametrize(("weight", "alone"), [(0.0, "dift"), (1.0, "dino")])
def test_at_its_ends_it_is_one_of_the_two(matcher: SdDinoMatcher, image: Image, weight: float, alone: str) -> None:
    settings = override(matcher.settings, weight=weight)
    both = SdDinoMatcher(matcher.model, matcher.vision, settings).features(image, settings)
    if alone == "dino":
        own = DinoMatcher(matcher.vision, settings.dino())
        expected = own.features(image, own.settings)
    else:
        names = [field.name for field in dataclasses.fields(DiftSettings)]
        own = DiftMatcher(matcher.model, DiftSettings(**{name: getattr(settings, name) for name in names}))
        expected = own.features(image, own.settings)
    size = tuple(both.shape[1:])
    enlarged = F.interpolate(expected[None], size=size, mode="bilinear", align_corners=False)[0]
    part = both[: len(expected)] if alone == "dift" else both[-len(expected) :]
    assert_close_to_scale(part, F.normalize(enlarged, dim=0))
    assert float(both.norm(dim=0).sub(1).abs().max()) < 1e-5  # the other's part is nothing


def test_it_is_a_method_like_the_others(folders: tuple[Path, Path], image: Image) -> None:
    options = {"vision": str(folders[1]), "dino_resolution": 64, "samples": 1, "prompt": None, "device": "cpu"}
    matcher = load_matcher("sd-dino", folders[0], **options)
    assert isinstance(matcher, Matcher)
    query = matcher.describe(image, POINTS)
    matches = matcher.locate(query, image)
    assert np.abs(matches.points - POINTS).max() < 15
    assert query.settings["vision"] == str(folders[1])
    assert matcher.identity()["settings"]["weight"] == 0.5


def test_both_networks_are_in_the_fingerprint(matcher: SdDinoMatcher, image: Image, tmp_path: Path) -> None:
    other = VisionModel.from_pretrained(save_folder(tmp_path, "dinov2", seed=1), device="cpu")
    query = matcher.describe(image, POINTS)
    with pytest.raises(QueryError, match="made with model"):
        SdDinoMatcher(matcher.model, other, matcher.settings).locate(query, image)
    assert matcher.network().model_fingerprint not in (matcher.model.fingerprint, matcher.vision.fingerprint)


def test_a_misspelt_setting_is_an_error_before_anything_is_loaded() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'dino_layer'"):
        load_matcher("sd-dino", "nowhere/none", dino_laye=3)
    with pytest.raises(SettingsError, match="weight"):
        load_matcher("sd-dino", "nowhere/none", weight=1.5)
