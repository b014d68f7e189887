"""DIFT's features are the whole U-Net's own, averaged over noise; the rest of a match follows from them."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from closeness import assert_close_to_scale, assert_same_peaks
from models.diffusion.networks import inputs
from semcorr.errors import LayerError, PointError, QueryError, SettingsError
from semcorr.imaging.image import Image
from semcorr.matchers.base import Matcher
from semcorr.matchers.features.dift import DiftMatcher, DiftSettings
from semcorr.matchers.results import Query
from semcorr.models.diffusion import DiffusionModel
from semcorr.settings import override

SETTINGS = DiftSettings(prompt=None, samples=3, resolution=128)


def whole_unet_output(model: DiffusionModel, block: int, noisy: torch.Tensor, t: int, context: torch.Tensor) -> Any:
    """What a decoder block gives, caught by a hook in a pass of the whole U-Net."""
    outputs: list[torch.Tensor] = []
    hook = model.unet.up_blocks[block].register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        model.unet(noisy, t, context)
    finally:
        hook.remove()
    return outputs[0]


@pytest.mark.parametrize("block", range(4))
def test_features_are_those_of_the_whole_unet(model: DiffusionModel, block: int):
    noisy, context = inputs(model, 8, 24)
    expected = whole_unet_output(model, block, noisy, 261, context)
    features = model.features(noisy, 261, context, block)
    assert features.shape == expected.shape
    assert_close_to_scale(features, expected)


def test_nothing_after_the_block_is_run(sd1: DiffusionModel):
    ran: list[int] = []
    hooks = [
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
        for number, block in enumerate(sd1.unet.up_blocks)
    ]
    noisy, context = inputs(sd1)
    try:
        sd1.features(noisy, 1, context, 1)
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == [0, 1]


def test_a_block_that_is_not_there_is_an_error(sd1: DiffusionModel):
    noisy, context = inputs(sd1)
    with pytest.raises(LayerError, match="from 0 to 3, got 4"):
        sd1.features(noisy, 1, context, 4)
    with pytest.raises(SettingsError, match=r"'block'.*0 to 3, got 4"):
        DiftMatcher(sd1, override(SETTINGS, block=4))


def test_samples_are_averaged_and_their_noise_is_standard(sd1: DiffusionModel, source: Image):
    """Caught at the U-Net's door: z_t = sqrt(abar) z + sqrt(1 - abar) eps, one eps a sample."""
    settings = override(SETTINGS, samples=32, t=700)
    caught: list[tuple[torch.Tensor, torch.Tensor]] = []
    matcher = DiftMatcher(sd1, settings)
    block = sd1.unet.up_blocks[1]
    entry = sd1.unet.conv_in.register_forward_pre_hook(lambda module, args: caught.append((args[0], args[0])))
    outputs: list[torch.Tensor] = []
    leave = block.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        features = matcher.features(source, settings)
    finally:
        entry.remove()
        leave.remove()
    assert_close_to_scale(features, torch.cat(outputs).mean(dim=0))
    abar = float(sd1.scheduler.alphas_cumprod[700])
    frame = F.interpolate(source.tensor()[None], (128, 128), mode="bilinear", antialias=True)
    noise = (torch.cat([one for one, _ in caught]) - abar**0.5 * sd1.encode(frame)) / (1 - abar) ** 0.5
    assert noise.shape == (32, 4, 16, 16)
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02
    assert len({tuple(one.flatten()[:3].tolist()) for one in noise}) == 32


def test_without_noise_the_latent_goes_in_as_it_is(sd1: DiffusionModel, source: Image):
    settings = override(SETTINGS, noise="none", samples=1)
    frame = F.interpolate(source.tensor()[None], (128, 128), mode="bilinear", antialias=True)
    context = torch.zeros(1, 77, sd1.context_dim)
    expected = whole_unet_output(sd1, 1, sd1.encode(frame), 261, context)[0]
    assert_close_to_scale(DiftMatcher(sd1, settings).features(source, settings), expected)
    with pytest.raises(SettingsError, match=r"'samples'.*expected 1, got 8"):
        DiftSettings(noise="none")


def test_an_images_points_are_located_in_itself(model: DiffusionModel, source: Image):
    matcher = DiftMatcher(model, SETTINGS)
    points = [(20.5, 30.5), (77.5, 50.5), (130.5, 80.5)]
    matches = matcher.locate(matcher.describe(source, points, names=["a", "b", "c"]), source)
    assert matches.points.tolist() == [list(point) for point in points]
    np.testing.assert_allclose(matches.confidence, 1, atol=1e-5)
    assert matches.names == ("a", "b", "c")
    assert matches.heatmaps.shape == (3, 100, 150)
    assert isinstance(matcher, Matcher)


@pytest.mark.parametrize("peak", ["parabola", "soft"])
def test_other_peaks_are_near(sd1: DiffusionModel, source: Image, peak: str):
    matcher = DiftMatcher(sd1, override(SETTINGS, peak=peak, temperature=1e-4))
    matches = matcher.locate(matcher.describe(source, [(77.5, 50.5)]), source)
    # A cell is 150 / 8 pixels wide and 100 / 8 high.
    assert (np.abs(matches.points - [77.5, 50.5]) < [150 / 8, 100 / 8]).all()


def test_what_an_earlier_version_wrote_is_read(sd1: DiffusionModel, source: Image, target: Image):
    matcher = DiftMatcher(sd1, SETTINGS)
    query = matcher.describe(source, [(20.5, 30.5)])
    before = dataclasses.replace(query, settings={**query.settings, "peak": "pixel"})
    assert query.settings["peak"] == "cell"
    assert np.array_equal(matcher.locate(before, target).points, matcher.locate(query, target).points)
    assert override(SETTINGS, peak="pixel") == SETTINGS
    with pytest.raises(
        SettingsError, match=r"'peak': expected 'cell', 'parabola', 'soft' or 'gaussian', got 'parable'. Did you"
    ):
        override(SETTINGS, peak="parable")


def test_a_result_depends_on_the_point_alone(sd1: DiffusionModel, source: Image, target: Image):
    matcher = DiftMatcher(sd1, SETTINGS)
    points = [(20.5, 30.5), (77.5, 50.5), (130.5, 80.5)]
    together = matcher.locate(matcher.describe(source, points), target)
    for index, point in enumerate(points):
        alone = matcher.locate(matcher.describe(source, [point]), target)
        one = together.heatmaps[[index]]
        assert_same_peaks(alone.points, together.points[[index]], alone.heatmaps, one, target.size)
    part = matcher.locate(matcher.describe(source, points).take([2, 0]), target)
    assert_same_peaks(part.points, together.points[[2, 0]], part.heatmaps, together.heatmaps[[2, 0]], target.size)


def test_the_seed_changes_the_noise(sd1: DiffusionModel, source: Image):
    one, two = (DiftMatcher(sd1, override(SETTINGS, seed=seed)) for seed in (0, 1))
    assert not torch.equal(one.features(source, one.settings), two.features(source, two.settings))
    assert torch.equal(one.features(source, one.settings), one.features(source, one.settings))


def test_a_query_survives_a_file_and_keeps_its_settings(
    sd1: DiffusionModel, source: Image, target: Image, tmp_path: Path
):
    matcher, other = DiftMatcher(sd1, SETTINGS), DiftMatcher(sd1, override(SETTINGS, block=2, t=10))
    query = matcher.describe(source, [(20, 30)])
    again = Query.load(query.save(tmp_path / "query.safetensors"))
    assert np.array_equal(other.locate(again, target).points, matcher.locate(query, target).points)


def test_a_query_of_another_kind_is_refused(models: dict[str, DiffusionModel], source: Image):
    query = DiftMatcher(models["sd1"], SETTINGS).describe(source, [(20, 30)])
    with pytest.raises(QueryError, match="this is model"):
        DiftMatcher(models["sd2"], SETTINGS).locate(query, source)
    with pytest.raises(QueryError, match="made by method 'prompt', expected 'dift'"):
        DiftMatcher(models["sd1"], SETTINGS).locate(dataclasses.replace(query, method="prompt"), source)
    broken = dataclasses.replace(query, tensors={"vectors": np.zeros((1, 3), dtype=np.float32)})
    with pytest.raises(QueryError, match=r"vectors: expected shape \(1, 64\), got \(1, 3\)"):
        DiftMatcher(models["sd1"], SETTINGS).locate(broken, source)


def test_what_does_not_fit_is_an_error(sd1: DiffusionModel, source: Image):
    with pytest.raises(SettingsError, match=r"'resolution'.*multiple of 8"):
        DiftMatcher(sd1, override(SETTINGS, resolution=100))
    with pytest.raises(SettingsError, match=r"'t'.*less than the model's 1000"):
        DiftMatcher(sd1, override(SETTINGS, t=1000))
    with pytest.raises(SettingsError, match=r"'prompt'.*text encoder.*prompt=null"):
        DiftMatcher(sd1, override(SETTINGS, prompt="a cat")).describe(source, [(1, 1)])
    with pytest.raises(PointError, match="one name for each of the 1 points, got 2"):
        DiftMatcher(sd1, SETTINGS).describe(source, [(1, 1)], names=["a", "b"])
    with pytest.raises(SettingsError, match=r"Unknown preset 'publishd'. Did you mean 'published'\?"):
        DiftMatcher.from_pretrained("toy", "publishd")
    with pytest.raises(SettingsError, match=r"Unknown setting 'blok'. Did you mean 'block'\?"):
        DiftMatcher.from_pretrained("toy", blok=1)


def test_progress_is_reported_and_can_stop(sd1: DiffusionModel, source: Image):
    calls: list[tuple[str, int, int]] = []
    matcher = DiftMatcher(sd1, override(SETTINGS, samples=6))
    matcher.describe(source, [(1, 1)], progress=lambda stage, done, total, **_: calls.append((stage, done, total)))
    assert calls == [("features", 4, 6), ("features", 6, 6)]

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matcher.describe(source, [(1, 1)], progress=stop)


def test_the_bundled_model_works_as_it_is(source: Image):
    matcher = DiftMatcher.from_pretrained("toy", device="cpu")
    assert matcher.settings.resolution is None
    matches = matcher.locate(matcher.describe(source, [(20.5, 30.5)]), source)
    assert matches.points.tolist() == [[20.5, 30.5]]


def test_every_setting_is_documented():
    text = "".join(inspect.getdoc(kind) or "" for kind in DiftSettings.__mro__[:2])
    for field in dataclasses.fields(DiftSettings):
        assert f"\n    {field.name}: " in text, field.name
