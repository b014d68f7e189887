"""Attention times features: the blend in closed form, and the whole against its two parts run apart."""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import semcorr
from closeness import assert_close_to_scale, assert_same_peaks, leads
from semcorr.errors import LayerError, QueryError, SettingsError
from semcorr.imaging.heatmaps import Peak, find_peak
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.attention_dift import AttentionDiftMatcher, AttentionDiftSettings, blend, settings_of
from semcorr.matchers.base import Matcher
from semcorr.matchers.prompt import paper
from semcorr.matchers.results import Matches, Query
from semcorr.settings import override

SMALL = {"device": "cpu", "steps": 4, "dift_samples": 2, "peak": "cell"}
POINTS = [(20.5, 30.5), (77.5, 50.5)]


def blobs(seed: int) -> Image:
    cells = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return load_image(PIL.Image.fromarray(cells).resize((150, 100), PIL.Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def matcher() -> AttentionDiftMatcher:
    return AttentionDiftMatcher.from_pretrained("toy", **SMALL)


def test_the_blend_is_the_product_it_says():
    attention = torch.tensor([[[0.2, 0.4], [0.0, 0.1]]])
    similarity = torch.tensor([[[0.9, 0.5], [0.9, -0.1]]])
    expected = [[0.5, np.exp(-0.4 / 0.2)], [1e-6, 0.25 * np.exp(-1.0 / 0.2)]]
    np.testing.assert_allclose(blend(attention, similarity, 0.2)[0], expected, rtol=1e-5)


def test_where_attention_does_not_decide_features_do_and_the_other_way_round():
    flat, peaked = torch.full((1, 3, 3), 0.3), torch.zeros(1, 3, 3)
    peaked[0, 1, 2] = 0.5
    assert blend(flat, peaked, 0.2).argmax() == blend(peaked, flat, 0.2).argmax() == 5


@pytest.mark.parametrize(("temperature", "alone"), [(1e6, "prompt"), (1e-5, "dift")])
def test_at_either_end_one_part_is_alone(matcher: AttentionDiftMatcher, temperature: float, alone: str):
    source, target = blobs(0), blobs(1)
    query = matcher.describe(source, POINTS)
    settings = override(matcher.settings, temperature=temperature)
    located = matcher.locate(dataclasses.replace(query, settings=settings.to_dict()), target)
    one = semcorr.load_matcher("prompt", "toy", preset="fast", device="cpu", steps=4, peak="cell")
    other = semcorr.load_matcher("dift", "toy", device="cpu", samples=2)
    part: Matcher = {"prompt": one, "dift": other}[alone]
    expected = part.locate(part.describe(source, POINTS), target)
    # The heat map's pixels are 150 / 64 by 100 / 64 of the target's, and bilinear features are flat near the edges.
    if alone == "prompt":
        assert leads(expected.heatmaps).min() > 1e-4 * expected.heatmaps.max()
        assert np.array_equal(located.points, expected.points)
    else:
        columns, rows = located.points.astype(int).T
        heights = expected.heatmaps[range(2), rows, columns]
        np.testing.assert_allclose(heights, expected.heatmaps.max(axis=(1, 2)), atol=0.01)


@pytest.mark.parametrize("kind", ["parabola", "soft"])
def test_a_peak_is_refined_in_the_finest_cells_of_the_attention(matcher: AttentionDiftMatcher, kind: Peak):
    target = load_image(PIL.Image.fromarray(blobs(1).pixels).resize((2048, 512)))
    query = matcher.describe(blobs(0), POINTS)

    def located(peak: Peak) -> Matches:
        return matcher.locate(dataclasses.replace(query, settings={**query.settings, "peak": peak}), target)

    cell, finer = located("cell"), located(kind)
    # The bundled model's layers have maps of 8 x 8 and 16 x 16 cells in a frame of 64 pixels.
    at = find_peak(torch.from_numpy(np.array(cell.heatmaps)), kind, grid=(16, 16)).double().numpy()
    assert_close_to_scale(finer.points, at * (2048 / 64, 512 / 64), rel=1e-5)
    np.testing.assert_array_equal(finer.confidence, cell.confidence)
    assert np.abs((cell.points / (32, 8)) % 1 - 0.5).max() < 1e-6
    assert np.abs((finer.points / (32, 8)) % 1 - 0.5).max() > 1e-3


def test_a_query_survives_a_file(matcher: AttentionDiftMatcher, tmp_path: Path):
    query = matcher.describe(blobs(0), POINTS, names=["a", "b"])
    assert set(query.tensors) == {"embeddings", "losses", "vectors"}
    again = Query.load(query.save(tmp_path / "query.safetensors"))
    expected, located = matcher.locate(query, blobs(1)), matcher.locate(again.take([1]), blobs(1))
    assert_same_peaks(located.points, expected.points[[1]], located.heatmaps, expected.heatmaps[[1]], (150, 100))
    assert located.names == ("b",)
    assert ((located.confidence >= 0) & (located.confidence <= 1)).all()


def test_the_presets_are_the_prompts_with_difts_numbers():
    settings = settings_of("paper", "sd2")
    assert settings.prompt() == paper("sd2")
    assert (settings.dift_block, settings.dift_t, settings.dift_samples, settings.dift_resolution) == (1, 261, 8, 768)
    assert settings.dift().seed == settings.seed


def test_what_does_not_fit_is_an_error(matcher: AttentionDiftMatcher):
    with pytest.raises(SettingsError, match=r"Unknown setting 'dift_blok'. Did you mean 'dift_block'\?"):
        AttentionDiftMatcher.from_pretrained("toy", dift_blok=1)
    with pytest.raises(SettingsError, match="without noise all samples are the same"):
        override(matcher.settings, dift_noise="none")
    with pytest.raises(SettingsError, match="Unknown preset 'publishd'"):
        AttentionDiftMatcher.from_pretrained("toy", preset="publishd")
    with pytest.raises(LayerError, match="up/8"):
        AttentionDiftMatcher.from_pretrained("toy", device="cpu", layers="up/8")
    query = semcorr.load_matcher("dift", "toy", device="cpu", samples=1).describe(blobs(0), POINTS)
    with pytest.raises(QueryError, match="made by method 'dift', expected 'attention-dift'"):
        matcher.locate(query, blobs(1))


def test_every_setting_is_documented():
    own = {field.name for field in dataclasses.fields(AttentionDiftSettings)} - set(vars(paper("sd1")))
    for name in own:
        assert f"\n    {name}: " in str(inspect.getdoc(AttentionDiftSettings)), name
