"""DINO as a method: its features are the network's, and matches do not depend on how it was called."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from closeness import assert_close_to_scale, assert_same_peaks, leads
from models.dino.networks import KINDS, as_map, save_folder, whole_network
from semcorr.errors import LayerError, QueryError, SettingsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features.dino import (
    DinoBuddyMatcher,
    DinoBuddySettings,
    DinoMatcher,
    DinoSettings,
    published,
    without_position,
)
from semcorr.matchers.features.mutual_matches import mutual_matches
from semcorr.matchers.load import load_matcher
from semcorr.matchers.results import Query
from semcorr.models.dino import VisionModel
from semcorr.settings import override

POINTS = [(20.0, 30.0), (77.0, 50.0), (130.0, 80.0)]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("dino")
    return {kind: save_folder(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="session")
def dinov2(folders: dict[str, Path]) -> VisionModel:
    return VisionModel.from_pretrained(folders["dinov2"], device="cpu")


def test_a_point_is_located_where_the_networks_own_tokens_are_most_similar(dinov2: VisionModel) -> None:
    """From transformers' hidden states alone: images of whole patches, points in the middle of a patch."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (24, 40, 3), dtype=np.uint8) for _ in range(2)]
    hidden = []
    for image in images:
        tensor = torch.from_numpy(image).movedim(-1, 0) / 255
        states = whole_network(dinov2.network, "dinov2", tensor).hidden_states[2]
        hidden.append(F.normalize(as_map(states, "dinov2", tensor), dim=0))
    matcher = DinoMatcher(dinov2, DinoSettings(layer=1, resolution=40, peak="parabola"))
    cells = [(3, 2), (0, 0), (9, 5)]
    query = matcher.describe(images[0], [(4 * x + 2, 4 * y + 2) for x, y in cells])
    matches = matcher.locate(query, images[1])
    for (x, y), point, confidence in zip(cells, matches.points, matches.confidence, strict=True):
        similarity = torch.einsum("d,dhw->hw", hidden[0][:, y, x], hidden[1])
        assert leads(similarity) > 1e-4
        row, column = divmod(int(similarity.argmax()), 10)
        # A parabola's top lies within half a cell of the highest one.
        assert np.abs(point - (4 * column + 2, 4 * row + 2)).max() <= 2 + 1e-6
        assert confidence == pytest.approx(float(similarity.max().clamp(min=0)), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_an_images_points_in_itself(folders: dict[str, Path], source: Image, kind: str) -> None:
    options = {"layer": 2, "resolution": 96, "device": "cpu"}
    matcher = load_matcher("dino", folders[kind], **options)
    assert isinstance(matcher, Matcher)
    query = matcher.describe(source, POINTS, names=["a", "b", "c"])
    matches = matcher.locate(query, source)
    # Features between cells are a mixture, which another mixture may resemble more.
    assert np.abs(matches.points - POINTS).max() < 150 / 96 * 8
    np.testing.assert_allclose(matches.confidence, 1, atol=0.02)
    assert matches.names == ("a", "b", "c")
    assert matches.heatmaps.shape == (3, 100, 150)


def test_a_query_is_kept_and_belongs_to_its_network(
    folders: dict[str, Path], dinov2: VisionModel, source: Image, target: Image, tmp_path: Path
) -> None:
    matcher = DinoMatcher(dinov2, DinoSettings(resolution=64, facet="key"))
    query = matcher.describe(source, POINTS)
    again = Query.load(query.save(tmp_path / "query.safetensors") or tmp_path / "query.safetensors")
    np.testing.assert_array_equal(matcher.locate(again, target).points, matcher.locate(query, target).points)
    alone = matcher.locate(matcher.describe(source, POINTS[2:]), target)
    together = matcher.locate(query, target)
    assert_same_peaks(alone.points, together.points[[2]], alone.heatmaps, together.heatmaps[[2]], target.size)
    other = DinoMatcher(VisionModel.from_pretrained(folders["vit"], device="cpu"), DinoSettings(resolution=64))
    with pytest.raises(QueryError, match="made with model"):
        other.locate(query, target)


def test_published_settings_follow_the_kind() -> None:
    assert (published("vit").layer, published("vit").facet, published("vit").resolution) == (9, "key", None)
    for kind in ("dinov2", "dinov2_with_registers", "dinov3_vit"):
        assert (published(kind).layer, published(kind).facet, published(kind).resolution) == (-1, "token", 840)


def test_what_does_not_fit_is_refused_before_there_is_an_image(folders: dict[str, Path], dinov2: VisionModel) -> None:
    with pytest.raises(LayerError, match="has 4 blocks"):
        load_matcher("dino", folders["vit"], device="cpu")  # block 9, as published
    with pytest.raises(LayerError, match="from 0 to 3"):
        DinoMatcher(dinov2, DinoSettings(layer=4))
    with pytest.raises(SettingsError, match="divides images into patches of 4 x 4"):
        DinoMatcher(dinov2, DinoSettings(resolution=3))
    with pytest.raises(SettingsError, match="Did you mean 'facet'"):
        load_matcher("dino", "nowhere/none", facett="key")
    with pytest.raises(SettingsError, match="Presets are: published"):
        load_matcher("dino", folders["dinov2"], "paper")


def test_best_buddies_and_mutual_matches_of_dino(dinov2: VisionModel, source: Image) -> None:
    matcher = DinoBuddyMatcher(dinov2, DinoBuddySettings(resolution=96, levels=1))
    matches = matcher.locate(matcher.describe(source, POINTS), source)
    assert_close_to_scale(matches.points, POINTS, rel=1e-6)
    pairs = mutual_matches(DinoMatcher(dinov2, DinoSettings(resolution=96)), source, load_image(source.pixels))
    np.testing.assert_allclose(pairs.source, pairs.target)
    assert len(pairs.source) == 24 * 16


@pytest.mark.parametrize("kind", KINDS)
def test_directions_of_a_grey_images_features_are_removed(folders: dict[str, Path], source: Image, kind: str) -> None:
    model = VisionModel.from_pretrained(folders[kind], device="cpu")
    settings = DinoSettings(resolution=96, layer=1)
    plain = DinoMatcher(model, settings).features(source, settings).flatten(1).double().numpy()
    grey = torch.full((3, *source.pixels.shape[:2]), 0.5)
    constant = model.features(grey, layer=1, facet="token", resolution=96, norm=False).flatten(1).double().numpy()
    left, strengths, _ = np.linalg.svd(constant - constant.mean(axis=1, keepdims=True), full_matrices=False)
    clear = [count for count in range(1, 8) if strengths[count - 1] > 1.02 * strengths[count]]
    assert clear  # else no directions are determined
    for count in clear:
        removing = override(settings, position_directions=count)
        features = DinoMatcher(model, removing).features(source, removing).flatten(1).double().numpy()
        axes = left[:, :count]
        assert_close_to_scale(features, plain - axes @ (axes.T @ plain), rel=1e-3)


def test_a_constant_image_has_no_positions_left_without_all_its_directions() -> None:
    rng = torch.Generator().manual_seed(0)
    mean, positions = torch.randn(20, 1, 1, generator=rng), torch.randn(20, 3, 4, generator=rng)
    positions -= positions.mean(dim=(1, 2), keepdim=True)
    constant = mean + positions
    left = without_position(constant, constant, 11)
    assert float((left - left.mean(dim=(1, 2), keepdim=True)).abs().max()) < 1e-5
    assert float(left.abs().max()) > 0.01
    # What is orthogonal to every position's difference stays.
    basis = torch.linalg.qr(positions.flatten(1)).Q[:, :11]
    content = torch.randn(20, 3, 4, generator=rng)
    content -= torch.einsum("dk,ek,ehw->dhw", basis, basis, content)
    torch.testing.assert_close(without_position(constant + content, constant, 11), left + content)
