"""Points carried by best buddies: known maps between images are found again."""

import dataclasses
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from closeness import assert_close_to_scale
from semcorr.errors import QueryError, SettingsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features.dift import DiftBuddyMatcher, DiftBuddySettings, DiftMatcher, DiftSettings
from semcorr.matchers.features.matcher import refined_targets
from semcorr.matchers.features.mutual_neighbours import Buddies
from semcorr.matchers.features.settings import FeatureSettings
from semcorr.matchers.results import Query
from semcorr.models.diffusion import DiffusionModel
from semcorr.settings import override

SETTINGS = DiftBuddySettings(prompt=None, samples=2, resolution=128, levels=1)
POINTS = [(20.0, 30.0), (77.0, 50.0), (130.0, 80.0)]


@pytest.fixture(scope="module")
def matcher(sd1: DiffusionModel) -> DiftBuddyMatcher:
    return DiftBuddyMatcher(sd1, SETTINGS)


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("mls", ["affine", "similarity", "rigid"])
def test_an_image_carries_its_points_to_themselves(sd1: DiffusionModel, source: Image, levels: int, mls: str):
    matcher = DiftBuddyMatcher(sd1, override(SETTINGS, levels=levels, mls=mls))
    matches = matcher.locate(matcher.describe(source, POINTS, names=["a", "b", "c"]), source)
    assert_close_to_scale(matches.points, POINTS, rel=1e-6)
    np.testing.assert_allclose(matches.confidence, 1, atol=1e-5)
    assert matches.names == ("a", "b", "c")
    peaks = [np.unravel_index(one.argmax(), one.shape) for one in matches.heatmaps]
    np.testing.assert_allclose([(x + 0.5, y + 0.5) for y, x in peaks], POINTS, atol=0.5)


def test_an_enlarged_image_carries_them_by_the_same_factor(sd1: DiffusionModel, source: Image):
    """Squashed to the model's frame both are nearly the same image; noise would be each image's own."""
    matcher = DiftBuddyMatcher(sd1, override(SETTINGS, samples=1, noise="none"))
    large = load_image(PIL.Image.fromarray(source.pixels).resize((450, 400), PIL.Image.Resampling.BICUBIC))
    matches = matcher.locate(matcher.describe(source, POINTS), large)
    np.testing.assert_allclose(matches.points, np.array(POINTS) * [3, 4], atol=12)


@pytest.mark.parametrize("peak", ["parabola", "soft"])
def test_finer_points_of_pairs_carry_points_elsewhere(
    sd1: DiffusionModel, matcher: DiftBuddyMatcher, source: Image, target: Image, peak: str
):
    query = matcher.describe(source, POINTS)
    refined = dataclasses.replace(query, settings=override(SETTINGS, peak=peak).to_dict())
    expected, finer = matcher.locate(query, target), matcher.locate(refined, target)
    assert not np.array_equal(finer.points, expected.points)
    np.testing.assert_array_equal(finer.confidence, expected.confidence)
    assert ((finer.points >= 0) & (finer.points <= target.size)).all()


def test_a_query_survives_a_file_and_parts_of_it(
    matcher: DiftBuddyMatcher, source: Image, target: Image, tmp_path: Path
):
    query = matcher.describe(source, POINTS)
    again = Query.load(query.save(tmp_path / "query.safetensors")).take([2, 0])
    expected = matcher.locate(query, target)
    assert_close_to_scale(matcher.locate(again, target).points, expected.points[[2, 0]], rel=1e-6)
    assert ((expected.points >= 0) & (expected.points <= target.size)).all()
    assert isinstance(matcher, Matcher)


def test_what_is_impossible_is_an_error(matcher: DiftBuddyMatcher, sd1: DiffusionModel, source: Image, target: Image):
    query = matcher.describe(source, POINTS)
    never = dataclasses.replace(query, settings=override(SETTINGS, least=1.0).to_dict())
    with pytest.raises(QueryError, match=r"no best buddies with a cosine of at least 1. Lower the setting 'least'"):
        matcher.locate(never, target)
    with pytest.raises(QueryError, match="lacks its image's features"):
        matcher.locate(dataclasses.replace(query, shared={}), target)
    other = DiftMatcher(sd1, DiftSettings(prompt=None, samples=2, resolution=128)).describe(source, POINTS)
    with pytest.raises(QueryError, match="made by method 'dift', expected 'nbb'"):
        matcher.locate(other, target)
    with pytest.raises(SettingsError, match=r"'mls'.*'affine'"):
        override(SETTINGS, mls="projective")


def test_it_is_loaded_with_the_settings_of_both():
    matcher = DiftBuddyMatcher.from_pretrained("toy", device="cpu", samples=1, levels=3)
    assert (matcher.settings.samples, matcher.settings.levels, matcher.settings.t) == (1, 3, 261)


def test_the_second_cell_of_a_pair_is_refined_in_the_target():
    """Features whose cosine with the pair's own falls as a paraboloid around a known point of the target."""
    columns, rows = torch.arange(8) + 0.5, torch.arange(6)[:, None] + 0.5
    cosine = 0.9 - 0.02 * (columns - 4.3) ** 2 - 0.03 * (rows - 2.8) ** 2
    target = torch.stack((cosine, (1 - cosine**2).sqrt()))
    source = torch.zeros(2, 3, 3)
    source[:, 1, 2] = torch.tensor([1.0, 0.0])
    pairs = Buddies(source=torch.tensor([[2, 1]]), target=torch.tensor([[4, 2]]), similarity=torch.tensor([0.9]))
    refined = refined_targets(pairs, source, target, FeatureSettings(peak="parabola"))
    np.testing.assert_allclose(refined, [[4.3, 2.8]], atol=1e-4)
    assert refined_targets(pairs, source, target, FeatureSettings()).tolist() == [[4.5, 2.5]]
