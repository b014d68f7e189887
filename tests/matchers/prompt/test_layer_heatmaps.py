"""Each layer's own maps: their peaks, what they are the mean of, and that locating is as it was."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import torch

from closeness import assert_close_to_scale, assert_same_peaks
from semcorr.errors import QueryError
from semcorr.imaging.geometry import scale_points, squash
from semcorr.imaging.image import Image
from semcorr.matchers.attention_dift import AttentionDiftMatcher, settings_of
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, override
from semcorr.matchers.prompt.attention_reader import AttentionReader
from semcorr.matchers.prompt.crops import CropLatents
from semcorr.matchers.prompt.locate import fuse_layers, locate_rows
from semcorr.matchers.prompt.random_streams import SeededStreams
from semcorr.matchers.results import Matches, Query

POINTS = [(30.0, 40.0), (120.5, 70.0), (75.0, 12.0)]
FACE_POINTS = [(54.5, 53.6), (74.1, 86.9), (72.4, 68.8)]
KINDS = {
    "live": {},
    "softmax": {"fusion": "softmax", "heads": "upper_half"},
    "frozen": {"queries": "frozen", "neutral": "zeros", "optimize_crops": 4, "optimize_noise": "shared"},
}


class Seen(NamedTuple):
    """A matcher's own maps of each layer, and what it found, for the same query."""

    matcher: PromptMatcher
    query: Query
    maps: np.ndarray
    matches: Matches


@pytest.fixture(scope="module")
def face(faces: tuple[Image, Image]) -> Image:
    return faces[1]


@pytest.fixture(scope="module", params=list(KINDS))
def seen(request: pytest.FixtureRequest, toy_matcher: PromptMatcher, faces: tuple[Image, Image], face: Image) -> Seen:
    """On the bundled model, whose peaks lead clearly: crops follow them, and with the crops goes the whole map."""
    matcher = PromptMatcher(toy_matcher.model, override(toy_matcher.settings, **KINDS[request.param]))
    query = matcher.describe(faces[0], FACE_POINTS)
    return Seen(matcher, query, matcher.layer_heatmaps(query, face), matcher.locate(query, face))


def peaks(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The first largest pixel's centre of each map (..., height, width), in pixels of an image of ``size``."""
    height, width = maps.shape[-2:]
    rows, columns = np.unravel_index(maps.reshape(*maps.shape[:-2], -1).argmax(-1), (height, width))
    return np.stack([(columns + 0.5) * size[0] / width, (rows + 0.5) * size[1] / height], axis=-1)


def test_the_peak_of_each_map_is_the_layers_point(seen: Seen, face: Image):
    maps, matches = seen.maps, seen.matches
    assert maps.dtype == np.float32
    assert maps.shape == (len(FACE_POINTS), len(matches.layer_names), 64, 64)
    np.testing.assert_allclose(peaks(maps, face.size), matches.diagnostics.layer_points, rtol=0, atol=1e-9)
    assert len(np.unique(matches.diagnostics.layer_points.reshape(-1, 2), axis=0)) > len(FACE_POINTS)  # they do differ


def test_fused_they_are_the_heat_map(seen: Seen):
    for own, whole in zip(seen.maps, seen.matches.heatmaps, strict=True):
        fused = fuse_layers(torch.from_numpy(own), seen.matcher.settings.fusion)
        np.testing.assert_array_equal(fused.numpy(), whole)


def test_each_is_the_mean_over_the_points_rounds(seen: Seen, face: Image):
    matcher, query = seen.matcher, seen.query
    reader = AttentionReader(matcher.model, matcher.settings)
    rows = locate_rows(
        reader,
        CropLatents(matcher.model, squash(face.tensor(), 64)),
        torch.from_numpy(np.array(query.tensors["embeddings"])),
        SeededStreams(0, face.sha256, query.points),
        batch=1,
    )
    expected = np.zeros((len(FACE_POINTS), len(reader.layers), 64, 64))
    for row, maps in rows:
        expected[row.point] += maps.double().numpy() / matcher.settings.rounds
    assert_close_to_scale(seen.maps, expected)


def test_a_point_has_the_same_maps_alone(seen: Seen, face: Image):
    assert_close_to_scale(seen.matcher.layer_heatmaps(seen.query.take([1]), face)[0], seen.maps[1])


def test_progress_is_reported_and_another_methods_query_refused(
    matcher: PromptMatcher, source: Image, target: Image, settings: PromptSettings
):
    query, calls = matcher.describe(source, POINTS[:1]), []
    matcher.layer_heatmaps(query, target, progress=lambda stage, done, total, **_: calls.append((stage, done, total)))
    crops = settings.rounds * settings.locate_crops
    assert calls[-1] == ("locate", crops, crops)
    with pytest.raises(QueryError, match="'dift', expected 'prompt'"):
        matcher.layer_heatmaps(dataclasses.replace(query, method="dift"), target)


def test_attention_and_features_show_the_attentions_layers(faces: tuple[Image, Image]):
    source, target = faces
    # Layers' points are middles of cells, and so are a method's then.
    toy = AttentionDiftMatcher.from_pretrained("toy", device="cpu", steps=2, dift_samples=1, peak="cell")
    query = toy.describe(source, FACE_POINTS[:2])
    maps, matches = toy.layer_heatmaps(query, target), toy.locate(query, target)
    np.testing.assert_allclose(peaks(maps, target.size), matches.diagnostics.layer_points, rtol=0, atol=1e-9)
    own = PromptMatcher(toy.model, override(settings_of("fast", "toy"), steps=2, dift_samples=1, peak="cell").prompt())
    side = maps.shape[-1]
    expected = own.locate(own.describe(source, FACE_POINTS[:2]), target)
    mean = maps.mean(axis=1)
    mean_points = scale_points(peaks(mean, (side, side)), (side, side), target.size)
    assert_same_peaks(mean_points, expected.points, mean, expected.heatmaps, target.size)
    with pytest.raises(QueryError, match="'prompt', expected 'attention-dift'"):
        toy.layer_heatmaps(dataclasses.replace(query, method="prompt"), target)
