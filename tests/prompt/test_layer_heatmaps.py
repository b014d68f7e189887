"""Each layer's own maps: their peaks, what they are the mean of, and that locating is as it was."""

import dataclasses

import numpy as np
import pytest
import torch

from semcorr.errors import QueryError
from semcorr.fusion.attention_dift import AttentionDiftMatcher, settings_of
from semcorr.geometry import scale_points, squash
from semcorr.images import Image
from semcorr.matching import Query
from semcorr.prompt import PromptMatcher, PromptSettings, override
from semcorr.prompt.crops import CropLatents
from semcorr.prompt.draws import SeededDraws
from semcorr.prompt.locate import fuse_layers, locate_rows
from semcorr.prompt.reading import Reader

POINTS = [(30.0, 40.0), (120.5, 70.0), (75.0, 12.0)]
KINDS = {
    "live": {},
    "softmax": {"fusion": "softmax", "heads": "upper_half"},
    "frozen": {"queries": "frozen", "neutral": "zeros", "learn_crops": 4},
}


@pytest.fixture(scope="module", params=list(KINDS))
def described(
    request: pytest.FixtureRequest, model, settings: PromptSettings, source: Image
) -> tuple[PromptMatcher, Query]:
    matcher = PromptMatcher(model, override(settings, **KINDS[request.param]))
    return matcher, matcher.describe(source, POINTS)


def peaks(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The first largest pixel's centre of each map (..., height, width), in pixels of an image of ``size``."""
    height, width = maps.shape[-2:]
    rows, columns = np.unravel_index(maps.reshape(*maps.shape[:-2], -1).argmax(-1), (height, width))
    return np.stack([(columns + 0.5) * size[0] / width, (rows + 0.5) * size[1] / height], axis=-1)


def test_the_peak_of_each_map_is_the_layers_point(described: tuple[PromptMatcher, Query], target: Image):
    matcher, query = described
    maps, found = matcher.layer_heatmaps(query, target), matcher.locate(query, target)
    assert maps.dtype == np.float32
    assert maps.shape == (len(POINTS), len(found.layer_names), 128, 128)
    np.testing.assert_allclose(peaks(maps, target.size), found.layer_points, rtol=0, atol=1e-9)
    assert len(np.unique(found.layer_points.reshape(-1, 2), axis=0)) > len(POINTS)  # they do differ


def test_fused_they_are_the_heat_map(described: tuple[PromptMatcher, Query], target: Image):
    matcher, query = described
    maps, found = matcher.layer_heatmaps(query, target), matcher.locate(query, target)
    for own, whole in zip(maps, found.heatmaps, strict=True):
        fused = fuse_layers(torch.from_numpy(own), matcher.settings.fusion)
        np.testing.assert_array_equal(fused.numpy(), whole)


def test_each_is_the_mean_over_the_points_rounds(described: tuple[PromptMatcher, Query], target: Image):
    matcher, query = described
    reader = Reader(matcher.model, matcher.settings)
    rows = locate_rows(
        reader,
        CropLatents(matcher.model, squash(target.tensor(), 128)),
        torch.from_numpy(np.array(query.tensors["embeddings"])),
        SeededDraws(0, target.sha256, query.points),
        batch=1,
    )
    expected = np.zeros((len(POINTS), len(reader.layers), 128, 128))
    for row, maps in rows:
        expected[row.point] += maps.double().numpy() / matcher.settings.rounds
    np.testing.assert_allclose(matcher.layer_heatmaps(query, target), expected, rtol=0, atol=2e-6)


def test_a_point_has_the_same_maps_alone(described: tuple[PromptMatcher, Query], target: Image):
    matcher, query = described
    together, alone = matcher.layer_heatmaps(query, target), matcher.layer_heatmaps(query.take([1]), target)
    np.testing.assert_allclose(alone[0], together[1], rtol=0, atol=2e-6)


def test_progress_is_told_and_another_methods_query_refused(
    matcher: PromptMatcher, source: Image, target: Image, settings: PromptSettings
):
    query, told = matcher.describe(source, POINTS[:1]), []
    matcher.layer_heatmaps(query, target, progress=lambda stage, done, total, **_: told.append((stage, done, total)))
    crops = settings.rounds * settings.locate_crops
    assert told[-1] == ("locate", crops, crops)
    with pytest.raises(QueryError, match="'dift', expected 'prompt'"):
        matcher.layer_heatmaps(dataclasses.replace(query, method="dift"), target)


def test_attention_and_features_show_the_attentions_layers(target: Image, source: Image):
    toy = AttentionDiftMatcher.from_pretrained(device="cpu", steps=2, dift_samples=1)
    query = toy.describe(source, POINTS[:2])
    maps, found = toy.layer_heatmaps(query, target), toy.locate(query, target)
    np.testing.assert_allclose(peaks(maps, target.size), found.layer_points, rtol=0, atol=1e-9)
    own = PromptMatcher(toy.model, override(settings_of("fast", "toy"), steps=2, dift_samples=1).prompt())
    side = maps.shape[-1]
    expected = own.locate(own.describe(source, POINTS[:2]), target)
    mean = scale_points(peaks(maps.mean(axis=1), (side, side)), (side, side), target.size)
    np.testing.assert_allclose(mean, expected.points, rtol=0, atol=1e-9)
    with pytest.raises(QueryError, match="'prompt', expected 'attention-dift'"):
        toy.layer_heatmaps(dataclasses.replace(query, method="prompt"), target)
