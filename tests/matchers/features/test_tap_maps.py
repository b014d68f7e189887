"""What taps read becomes features as DIFT and DiTF have it."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from closeness import assert_close_to_scale
from models.diffusion.networks import inputs, make_unet
from models.diffusion.transformer_networks import save_transformer
from semcorr.errors import LayerError, SettingsError
from semcorr.imaging.image import Image
from semcorr.matchers.features import tap_maps as module
from semcorr.matchers.features.dift import DiftMatcher, DiftSettings, published
from semcorr.matchers.features.tap_comparison import TapComparison, TapComparisonSettings
from semcorr.matchers.features.tap_maps import leave_out, massive_channels, tap_maps
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.taps import unet_taps
from semcorr.settings import override

SETTINGS = DiftSettings(prompt=None, samples=3, resolution=128)
HAND_MADE = torch.tensor([[1.0, -1.0], [2.0, -2.0], [3.0, 3.0], [20.0, 20.5], [0.0, -41.0]])[..., None]
"""Mean magnitudes of 1, 2, 3, 20.25 and 20.5: the median is 3."""


@pytest.mark.parametrize("size", [(16, 16), (11, 13)])
def test_all_taps_of_a_unet_are_what_hooks_see_in_the_whole(model: DiffusionModel, size: tuple[int, int]) -> None:
    noisy, context = inputs(model, *size)
    seen: dict[str, Tensor] = {}
    hooks = [
        model.unet.get_submodule(tap.module).register_forward_hook(
            lambda _module, _inputs, output, name=tap.name: seen.__setitem__(name, output)
        )
        for tap in model.network.taps
    ]
    model.unet(noisy, 261, context)
    for hook in hooks:
        hook.remove()
    read = model.read_taps(noisy, 261, context, model.network.taps)
    assert list(read) == [tap.name for tap in model.network.taps]
    for tap in model.network.taps:
        values = read[tap.name].values
        assert values.shape[1:] == tap.size(*size)
        expected = seen[tap.name]
        assert_close_to_scale(values if expected.ndim == 4 else values.flatten(2).transpose(1, 2), expected, rel=1e-6)


def test_taps_are_named_by_the_rules_of_layers(sd1: DiffusionModel) -> None:
    modules = {tap.name: tap.module for tap in sd1.network.taps}
    assert len(modules) == len(sd1.network.taps)
    first = "up_blocks.1.attentions.0.transformer_blocks.0"
    assert sd1.select_layers(["up/4:0"])[0].name == "up_blocks.1.attentions.0"
    assert [modules[f"up/4:0.{what}"] for what in ("query", "cross-query", "hidden", "resnet")] == [
        f"{first}.attn1.to_q",
        f"{first}.attn2.to_q",
        first,
        "up_blocks.1.resnets.0",
    ]
    assert modules["mid/8:1.resnet"] == "mid_block.resnets.1"
    assert modules["block:1"] == "up_blocks.1"
    # Where an attention module holds several transformer blocks, each has a number.
    several = {tap.name: tap.module for tap in unet_taps(make_unet("sdxl"))}
    assert several["up/4:7.hidden"] == "up_blocks.0.attentions.2.transformer_blocks.1"
    assert several["up/2:2.cross-query"] == "up_blocks.1.attentions.1.transformer_blocks.0.attn2.to_q"
    with pytest.raises(
        SettingsError, match=r"'tap': .* no tap 'up/4:0.qeury'. Did you mean 'up/4:0.query'\?.*layers MOD"
    ):
        DiftMatcher(sd1, override(SETTINGS, tap="up/4:0.qeury"))
    with pytest.raises(SettingsError, match="'adaptive_norm': Block 1 of this U-Net has no adaptive layer norm"):
        DiftMatcher(sd1, override(SETTINGS, adaptive_norm=True))
    with pytest.raises(SettingsError, match=r"'discard': expected channels of block:1, 0 to 63, got \(64,\)"):
        DiftMatcher(sd1, override(SETTINGS, discard=[64]))
    with pytest.raises(LayerError, match="at least one tap"):
        sd1.read_taps(*inputs(sd1)[:1], 1, inputs(sd1)[1], [])


def test_a_tap_is_read_instead_of_the_block_and_several_runs_give_the_same(
    sd1: DiffusionModel, source: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    taps = [sd1.network.tap(name) for name in ("up/4:0.query", "up/2:0.hidden", "block:1")]
    together = {tap.name: features for tap, features in tap_maps(sd1, source, SETTINGS, taps)}
    for name, settings in (("up/2:0.hidden", override(SETTINGS, tap="up/2:0.hidden")), ("block:1", SETTINGS)):
        assert torch.equal(DiftMatcher(sd1, settings).features(source, settings), together[name])
    monkeypatch.setattr(module, "PASS_NUMBERS", 1)
    alone = {tap.name: features for tap, features in tap_maps(sd1, source, SETTINGS, taps)}
    assert all(torch.equal(alone[name], features) for name, features in together.items())


def test_massive_channels_exceed_the_median_ten_times(monkeypatch: pytest.MonkeyPatch) -> None:
    assert massive_channels(HAND_MADE).tolist() == [False] * 5
    monkeypatch.setattr(module, "MASSIVE", 6.75)  # times 3 is 20.25, which is not above it
    assert massive_channels(HAND_MADE).tolist() == [False, False, False, False, True]
    assert leave_out(HAND_MADE, "massive")[:, :, 0].tolist() == [[1, -1], [2, -2], [3, 3], [20, 20.5], [0, 0]]
    assert leave_out(HAND_MADE, (0, 3))[:, :, 0].tolist() == [[0, 0], [2, -2], [3, 3], [0, 0], [0, -41]]
    assert leave_out(HAND_MADE, "none") is HAND_MADE


def test_the_adaptive_layer_norm_is_applied_to_the_mean_without_massive_channels(tmp_path: Path, source: Image) -> None:
    """DiTF's equation, with the shift and scale of the block's own weights, from what hooks see."""
    model = DiffusionModel.from_pretrained(save_transformer(tmp_path, "sd3"), device="cpu")
    network = model.network.module
    network.pos_embed.proj.bias[5] += 300.0
    settings = override(published("sd3"), block=1, samples=3, prompt=None)
    assert (settings.adaptive_norm, settings.discard) == (True, "massive")
    hidden, times = [], []
    hooks = [
        network.transformer_blocks[1].register_forward_pre_hook(
            lambda _module, _inputs, named: hidden.append(named["hidden_states"]), with_kwargs=True
        ),
        network.time_text_embed.register_forward_hook(lambda _module, _inputs, output: times.append(output)),
    ]
    features = DiftMatcher(model, settings).features(source, settings)
    for hook in hooks:
        hook.remove()
    mean = torch.cat(hidden).mean(dim=0)
    assert massive_channels(mean.T[..., None]).nonzero().tolist() == [[5]]
    mean[:, 5] = 0
    shift, scale = network.transformer_blocks[1].norm1.linear(F.silu(times[0][0])).chunk(6)[:2]
    spread = (mean.var(dim=1, correction=0, keepdim=True) + 1e-6).sqrt()
    expected = (mean - mean.mean(dim=1, keepdim=True)) / spread * (1 + scale) + shift
    assert_close_to_scale(features.flatten(1).T, expected, rel=1e-5)


def test_settings_that_are_not_used_leave_no_trace_in_files() -> None:
    before = DiftSettings().to_dict()
    assert before.keys().isdisjoint(DiftSettings.added)
    changed = override(DiftSettings(), tap="block:1", discard=[3, 4])
    assert changed.to_dict() == {**before, "tap": "block:1", "discard": [3, 4]}
    assert DiftSettings.from_dict(changed.to_dict()) == changed
    assert DiftSettings.from_dict(before) == DiftSettings()


def test_every_tap_alone_stands_beside_dift(sd1: DiffusionModel, source: Image, target: Image) -> None:
    settings = TapComparisonSettings(**vars(SETTINGS), compared=("up/4:0*", "block:2"))
    matcher, points = TapComparison(sd1, settings), [(20.5, 30.5), (77.5, 50.5)]
    matches = matcher.locate(matcher.describe(source, points), target)
    names = [f"up/4:0.{what}" for what in ("resnet", "query", "key", "value", "cross-query", "hidden")] + ["block:2"]
    assert list(matches.layer_names) == names
    assert matches.diagnostics is not None
    for index, name in ((1, "up/4:0.query"), (6, "block:2")):
        one = DiftMatcher(sd1, override(SETTINGS, tap=name))
        alone = one.locate(one.describe(source, points), target)
        np.testing.assert_array_equal(matches.diagnostics.layer_points[:, index], alone.points)
    own = DiftMatcher(sd1, SETTINGS)
    np.testing.assert_array_equal(matches.points, own.locate(own.describe(source, points), target).points)
    with pytest.raises(LayerError, match=r"no tap 'up/3\*'"):
        TapComparison(sd1, override(settings, compared=("up/3*",)))
