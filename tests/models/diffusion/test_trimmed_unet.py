"""The cut U-Net gives the whole one's maps, for less work, and leaves the whole one as it was."""

import weakref

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from torch.utils.flop_counter import FlopCounterMode

from closeness import assert_close_to_scale
from models.diffusion.networks import UNETS, inputs, whole_unet_maps
from semcorr.errors import LayerError
from semcorr.models.diffusion import DiffusionModel, trimmed_unet
from semcorr.models.diffusion.attention import MapRecorder, SelfAttentionRecorder, recording
from semcorr.models.diffusion.layers import CrossAttentionLayer, cross_attention_layers, select_layers

# Stable Diffusion 1.x, real widths.
SD1 = {
    **UNETS["sd1"],
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}


def view_maps(view: UNet2DConditionModel, noisy: torch.Tensor, context: torch.Tensor) -> dict[str, torch.Tensor]:
    with recording((1,), tuple(noisy.shape[2:])) as maps:
        view(noisy, 140, context)
    return maps


def assert_same_maps(model: DiffusionModel, layers: tuple[CrossAttentionLayer, ...], height: int, width: int) -> None:
    noisy, context = inputs(model, height, width)
    whole = whole_unet_maps(model, noisy, 140, context)
    cut = model.attention(noisy, 140, context, layers, tokens=(1, 5))
    assert list(cut) == [layer.name for layer in layers]
    for layer in layers:
        size = layer.map_size(height, width)
        expected = whole[layer.name][..., [1, 5]].transpose(2, 3).unflatten(3, size)
        assert_close_to_scale(cut[layer.name], expected)


@torch.no_grad()
def test_every_layer_alone_equals_the_whole_network(model: DiffusionModel) -> None:
    noisy, context = inputs(model)
    whole = whole_unet_maps(model, noisy, 140, context)
    for layer in model.layers:
        attention = model.attention(noisy, 140, context, (layer,))[layer.name]
        assert attention.shape == (2, layer.heads, 1, 16 // layer.scale, 16 // layer.scale)
        assert_close_to_scale(attention.flatten(2), whole[layer.name][..., 1])
        assert attention.std() > 1e-4  # else anything would be equal


@torch.no_grad()
@pytest.mark.parametrize("rule", [["any/2", "any/4"], ["down/2"], ["down/4"], ["mid"], ["up/4", "up/2:0"], ["up/2"]])
def test_choices_of_several_layers_equal_the_whole_network(model: DiffusionModel, rule: list[str]) -> None:
    if rule == ["mid"]:
        layers = tuple(layer for layer in model.layers if layer.section == "mid")
    else:
        layers = model.select_layers(rule)
    assert_same_maps(model, layers, 16, 16)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(16, 24), (13, 10), (9, 21)])
def test_latents_that_are_not_square(model: DiffusionModel, height: int, width: int) -> None:
    assert_same_maps(model, model.layers, height, width)


@torch.no_grad()
def test_self_attention_equals_the_whole_networks(model: DiffusionModel) -> None:
    noisy, context = inputs(model, 16, 24)
    whole = whole_unet_maps(model, noisy, 140, context, "attn1")
    recorded = model.self_attention(noisy, 140, context, model.layers)
    assert list(recorded) == [layer.name for layer in model.layers]
    for layer in model.layers:
        height, width = layer.map_size(16, 24)
        assert recorded[layer.name].shape == (2, height * width, height * width)
        assert_close_to_scale(recorded[layer.name], whole[layer.name].mean(dim=1))


def test_gradients_to_the_context_equal_the_whole_networks(model: DiffusionModel) -> None:
    layers = model.select_layers()
    noisy, context = inputs(model)
    weights = {
        layer.name: torch.linspace(-1, 1, 16**2 // layer.scale**2)  # a sum of all would hardly depend on anything
        for layer in layers
    }
    gradients = []
    for cut in (False, True):
        leaf = context.clone().requires_grad_()
        if cut:
            maps = model.attention(noisy, 140, leaf, layers)
            read = {name: map_[:, :, 0].flatten(2) for name, map_ in maps.items()}
        else:
            read = {name: map_[..., 1] for name, map_ in whole_unet_maps(model, noisy, 140, leaf).items()}
        sum((read[layer.name] * weights[layer.name]).sum() for layer in layers).backward()
        gradients.append(leaf.grad)
    assert gradients[0].abs().max() > 1e-3
    assert_close_to_scale(gradients[1], gradients[0])
    assert all(weight.grad is None for weight in model.unet.parameters())


def test_at_most_62_percent_of_the_work_of_stable_diffusion_1() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD1).eval().requires_grad_(False)
        arguments = (torch.zeros(1, 4, 64, 64), 140, torch.zeros(1, 77, 768))
    layers = select_layers(cross_attention_layers(unet), ["up/4", "up/2:0"])
    counts = []
    for network in (unet, trimmed_unet(unet, layers)):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(*arguments)
        counts.append(counter.get_total_flops() / 1e12)
    whole, cut = counts
    assert whole == pytest.approx(0.803, abs=0.001)
    assert cut <= 0.62 * whole  # 0.601


@torch.no_grad()
def test_the_whole_network_is_not_touched(model: DiffusionModel) -> None:
    noisy, context = inputs(model)
    whole_unet_maps(model, noisy, 140, context)
    before = {name: value.data_ptr() for name, value in model.unet.state_dict().items()}
    modules = dict(model.unet.named_modules())
    processors = {name: id(value) for name, value in model.unet.attn_processors.items()}
    model.attention(noisy, 140, context, model.layers)
    model.attention(noisy, 140, context, model.layers[:1])
    assert {name: value.data_ptr() for name, value in model.unet.state_dict().items()} == before
    assert dict(model.unet.named_modules()) == modules
    assert {name: id(value) for name, value in model.unet.attn_processors.items()} == processors


def test_the_cut_network_shares_weights_and_records_only_the_requested_layers(model: DiffusionModel) -> None:
    layers = model.select_layers()
    view = trimmed_unet(model.unet, layers)
    own = {weight.data_ptr() for weight in model.unet.parameters()}
    assert {weight.data_ptr() for weight in view.parameters()} < own
    processors = view.attn_processors
    recorders = [value for value in processors.values() if isinstance(value, MapRecorder)]
    assert {recorder.layer.name for recorder in recorders} == {layer.name for layer in layers}
    assert [recorder.layer for recorder in recorders if recorder.last] == [layers[-1]]
    assert all(
        isinstance(value, MapRecorder | SelfAttentionRecorder | AttnProcessor2_0) for value in processors.values()
    )
    # Nothing after the last requested layer is left.
    assert len(view.up_blocks) == {"sd1": 3, "sd2": 3, "sdxl": 2}[model.family]
    assert (len(view.up_blocks[-1].attentions), view.up_blocks[-1].upsamplers) == (1, None)


def test_layers_of_another_network_are_refused(models: dict[str, DiffusionModel]) -> None:
    with pytest.raises(LayerError, match="Expected cross-attention layers of this U-Net"):
        trimmed_unet(models["sd1"].unet, models["sdxl"].layers[:1])
    with pytest.raises(LayerError, match="got none"):
        trimmed_unet(models["sd1"].unet, ())


@torch.no_grad()
def test_a_failed_call_leaves_nothing_behind(models: dict[str, DiffusionModel]) -> None:
    model = models["sd1"]
    layers = model.select_layers()
    noisy, context = inputs(model)
    expected = model.attention(noisy, 140, context, layers)

    class StopError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StopError

    # Fails in the middle, after three of the four maps were recorded.
    hook = model.unet.up_blocks[2].resnets[0].register_forward_pre_hook(stop)
    try:
        with pytest.raises(StopError):
            model.attention(noisy, 140, context, layers)
    finally:
        hook.remove()
    again = model.attention(noisy, 140, context, layers)
    assert all(torch.equal(again[name], expected[name]) for name in expected)
    assert not any(isinstance(value, MapRecorder) for value in model.unet.attn_processors.values())


@torch.no_grad()
def test_a_hook_of_the_network_runs_once_in_its_view_until_it_is_removed(models: dict[str, DiffusionModel]) -> None:
    unet, layers = models["sd1"].unet, models["sd1"].select_layers()
    noisy, context = inputs(models["sd1"])
    calls: list[str] = []
    # The four kinds of module that a view has: clones, and those of the prefix cache, in a block; those that it shares.
    hooked = {
        "network": unet,
        "first residual block": unet.down_blocks[0].resnets[0],
        "self-attention": unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1,
        "block with layers": unet.up_blocks[2],
        "block without": unet.up_blocks[0],
    }
    before = trimmed_unet(unet, layers)
    handles = [
        register(lambda *_, name=name: calls.append(name))
        for name, module in hooked.items()
        for register in (module.register_forward_hook, module.register_forward_pre_hook)
    ]
    try:
        for view in (before, trimmed_unet(unet, layers)):
            calls.clear()
            view_maps(view, noisy, context)
            assert sorted(calls) == sorted(2 * list(hooked))
            later = view
    finally:
        for handle in handles:
            handle.remove()
    calls.clear()
    view_maps(later, noisy, context)
    assert calls == []


@torch.no_grad()
def test_recordings_do_not_see_each_other(models: dict[str, DiffusionModel]) -> None:
    model = models["sd1"]
    noisy, context = inputs(model)
    with recording((1,), (16, 16)) as outer:
        inner = model.attention(noisy, 140, context, model.layers[:2])
        assert len(inner) == 2
        assert outer == {}


def test_maps_are_freed_with_their_last_reader(models: dict[str, DiffusionModel]) -> None:
    model = models["sd1"]
    noisy, context = inputs(model)
    maps = model.attention(noisy, 140, context.requires_grad_(), model.layers)
    watched = [weakref.ref(value) for value in maps.values()]
    del maps
    assert not any(reference() is not None for reference in watched)
