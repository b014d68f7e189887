"""The plain procedure and the package compute the same numbers: an independent check of both."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.inputs import query_points, sample_image
from benchmarks.plain_method import PlainMatcher
from closeness import assert_close_to_scale, assert_same_peaks
from matchers.prompt.conftest import blobs
from matchers.prompt.leading import crops_lead
from semcorr.errors import ModelError, SettingsError
from semcorr.imaging.image import Image
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, override, preset
from semcorr.models.diffusion import DiffusionModel

FRESH: dict[str, object] = {"optimize_crops": None, "optimize_noise": "fresh"}
POINTS = [(41.3, 62.9), (110.0, 20.5)]


@pytest.fixture(scope="module")
def source() -> Image:
    return blobs(0, (150, 100))


@pytest.fixture(scope="module")
def target() -> Image:
    return blobs(1, (90, 120))


def _agree(
    model: DiffusionModel, settings: PromptSettings, source: Image, target: Image, points: object, *, clear: float = 0.0
) -> None:
    """``clear`` is the share of peaks that must lead: of random weights, few do.

    There only the four corners are read, which do not follow a peak that rounding moves.
    """
    plain, matcher = PlainMatcher(model, settings), PromptMatcher(model, settings)
    described, query = plain.describe(source, points), matcher.describe(source, points)
    embeddings, losses = query.tensors["embeddings"], query.tensors["losses"]
    assert_close_to_scale(described.embeddings, embeddings)
    np.testing.assert_allclose(described.losses.numpy(), losses, rtol=1e-4)
    # The same embeddings, to the last bit: what rounding made of them is not located once more.
    described = dataclasses.replace(described, embeddings=torch.from_numpy(np.array(embeddings)))
    located, matches = plain.locate(described, target), matcher.locate(query, target)
    assert_close_to_scale(located.heatmaps, matches.heatmaps)
    assert_same_peaks(located.points, matches.points, located.heatmaps, matches.heatmaps, target.size, clear=clear)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "reference"])
def test_the_package_computes_what_the_plain_procedure_does(
    tiny_model: DiffusionModel, source: Image, target: Image, name: str
):
    settings = override(preset(name, "sd1"), resolution=128, steps=3, rounds=2, locate_crops=4, **FRESH)
    _agree(tiny_model, settings, source, target, POINTS)


@pytest.mark.slow
def test_it_does_on_the_bundled_model_too(toy_model: DiffusionModel):
    """Crops that follow the running peak as well, which leads every other location by half its height and more."""
    settings = override(preset("paper", "toy"), steps=6, rounds=2)
    source, target = (sample_image(toy_model, seed) for seed in (3, 4))
    points = query_points(2, source.size)
    _agree(toy_model, settings, source, target, points, clear=1.0)
    matcher = PromptMatcher(toy_model, settings)
    assert crops_lead(matcher, matcher.describe(source, points), target) > 0.1


def test_the_network_is_left_as_it_was(tiny_model: DiffusionModel, source: Image):
    before = dict(tiny_model.unet.attn_processors), dict(tiny_model.vae.attn_processors)
    settings = override(preset("paper", "sd1"), resolution=64, steps=1, rounds=1)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PlainMatcher(tiny_model, settings).describe(source, POINTS, progress=stop)
    assert dict(tiny_model.unet.attn_processors) == before[0]
    assert dict(tiny_model.vae.attn_processors) == before[1]


def test_progress_is_reported_by_step_and_by_crop(tiny_model: DiffusionModel, source: Image, target: Image):
    calls = []
    plain = PlainMatcher(tiny_model, override(preset("paper", "sd1"), resolution=64, steps=1, rounds=2, locate_crops=4))
    described = plain.describe(source, POINTS[:1], progress=lambda *step, **_: calls.append(step))
    plain.locate(described, target, progress=lambda *step, **_: calls.append(step))
    assert calls[:2] == [("optimize", done, 2) for done in (1, 2)]
    assert calls[2:] == [("locate", done, 8) for done in range(1, 9)]


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["fresh", "shared"])
def test_shared_crops_are_the_same_with_fresh_noise_and_with_their_own(
    tiny_model: DiffusionModel, source: Image, target: Image, noise: str
):
    """Two crops are seen again within twelve steps, and the second point is near an edge: its crops are others."""
    settings = override(
        preset("paper", "sd1"), resolution=64, steps=6, rounds=2, locate_crops=4, optimize_crops=2, optimize_noise=noise
    )
    _agree(tiny_model, settings, source, target, [POINTS[0], (147.0, 3.0)])


def test_frozen_queries_are_not_the_plain_procedure(tiny_model: DiffusionModel):
    with pytest.raises(SettingsError, match="live queries, got 'frozen'"):
        PlainMatcher(tiny_model, preset("fast", "sd1"))


@pytest.mark.slow
def test_a_short_context_is_optimized_as_it_is(tiny_model: DiffusionModel, source: Image, target: Image):
    settings = override(
        preset("paper", "sd1"), resolution=64, steps=2, rounds=1, locate_crops=4, context_length=5, optimize_crops=2
    )
    _agree(tiny_model, settings, source, target, POINTS)


def test_half_precision_is_not_the_plain_procedure(tiny_model_bf16: DiffusionModel):
    with pytest.raises(ModelError, match=r"float32.*got .* in torch\.bfloat16"):
        PlainMatcher(tiny_model_bf16, preset("paper", "sd1"))


@pytest.mark.slow
def test_chosen_heads_are_read(tiny_model: DiffusionModel, source: Image, target: Image):
    settings = override(preset("paper", "sd1"), resolution=64, steps=1, rounds=1, locate_crops=4, heads=(0, 3), **FRESH)
    _agree(tiny_model, settings, source, target, POINTS[:1])
    assert torch.get_default_dtype() == torch.float32
