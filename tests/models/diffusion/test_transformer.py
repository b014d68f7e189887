"""Transformers of every family: the cut network gives the whole one's maps, features, queries and gradients."""

import pytest
import torch

from closeness import assert_close_to_scale
from models.diffusion.conftest import Transformers
from models.diffusion.transformer_networks import JOINT, SIBLINGS, TRANSFORMERS, inputs
from models.diffusion.whole_transformer import T, blocks_of, check_taps, context_of, seen_in, tokens_of, whole_network
from semcorr.errors import LayerError, SettingsError
from semcorr.matchers.prompt.discovery.keypoint_tokens import check_request
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.attention import attention_to

EVERY = [pytest.param(one, marks=pytest.mark.slow) if one in SIBLINGS else one for one in (*TRANSFORMERS, *JOINT)]


@pytest.fixture(params=EVERY)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def model(family: str, transformers: Transformers) -> DiffusionModel:
    return transformers[family]


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [pytest.param(16, 16, marks=pytest.mark.slow), (8, 24)])
def test_maps_and_features_are_the_whole_networks(model: DiffusionModel, height: int, width: int) -> None:
    noisy, context = inputs(height, width, tokens_of(model))
    with seen_in(model) as seen:
        maps, outputs = whole_network(model, noisy, context)
    own = context_of(model, context)
    check_taps(model, noisy, own, seen)
    assert len(maps) == len(model.layers) == len(outputs) == model.network.blocks
    positions = height * width // model.network.patch_size**2
    for number, (layer, expected, output) in enumerate(zip(model.layers, maps, outputs, strict=True)):
        size = layer.map_size(height, width)
        attention = model.attention(noisy, T, own, (layer,), tokens=(1, 5))[layer.name]
        assert_close_to_scale(attention, expected[..., [1, 5]].transpose(2, 3).unflatten(3, size), rel=1e-6)
        assert attention.std() > 1e-4  # else anything would be equal
        features = model.features(noisy, T, own, number)
        assert_close_to_scale(features, output[:, -positions:].transpose(1, 2).unflatten(2, size), rel=1e-6)
    together = model.attention(noisy, T, own, model.layers, tokens=range(own.shape[1]))
    for layer, expected in zip(model.layers, maps, strict=True):
        attention = together[layer.name].flatten(3)
        # Layers before it compute their own output, which adds rounding.
        assert_close_to_scale(attention[:, :, [1, 5]], expected[..., [1, 5]].transpose(2, 3), rel=1e-5)
        # In a joint attention image positions have the rest.
        assert (attention.sum(dim=2).max() < 0.99) == model.network.keys_depend_on_image


@torch.no_grad()
def test_frozen_queries_and_keys_without_a_pass_give_the_same_maps_or_are_refused(model: DiffusionModel) -> None:
    noisy, context = inputs(8, 8)
    if model.network.keys_depend_on_image:
        for call in (
            lambda: model.queries(noisy, T, context, model.layers),
            lambda: model.keys(context, model.layers),
            lambda: check_request(model, ["a", "b"], 2),
        ):
            with pytest.raises(SettingsError, match=r"no frozen queries: its keys depend on .*Set queries=live"):
                call()
        return
    maps = model.attention(noisy, T, context, model.layers, tokens=(3,))
    queries, keys = model.queries(noisy, T, context, model.layers), model.keys(context, model.layers)
    for name, expected in maps.items():
        both = [attention_to(3, queries[name][row], keys[name][row][None])[0] for row in range(2)]
        assert_close_to_scale(torch.stack(both), expected[:, :, 0], rel=1e-5)


@pytest.mark.slow
def test_gradients_to_the_context_by_finite_differences(transformers: Transformers, family: str) -> None:
    model = transformers.load(family)
    model.network.module.double()
    model.dtype = torch.float64
    noisy, context = inputs(8, 8, tokens_of(model), torch.float64)
    last = model.layers[-1]
    slope = torch.linspace(-1, 1, last.map_size(8, 8)[0] ** 2, dtype=torch.float64)

    def loss(one: torch.Tensor) -> float:
        maps, _ = whole_network(model, noisy, one)
        return float((maps[-1][..., 1] * slope).sum())

    leaf = context.clone().requires_grad_()
    attention = model.attention(noisy, T, context_of(model, leaf), (last,))[last.name]
    (attention.flatten(2) * slope).sum().backward()
    assert leaf.grad is not None
    generator = torch.Generator().manual_seed(5)
    # Other families' norms of queries and keys, and Sana's self-attention, are computed in float32 whatever the weights
    # are. In random directions derivatives spread by the gradient's length, which rounding is small beside.
    size, tolerance = (1e-4, 1e-5) if family.startswith("pixart") else (1e-3, 1e-3)
    for _ in range(2):
        direction = torch.randn(context.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            difference = (loss(context + size * direction) - loss(context - size * direction)) / (2 * size)
        derivative = float((leaf.grad * direction).sum())
        assert derivative == pytest.approx(difference, rel=0, abs=tolerance * float(leaf.grad.norm()))
    assert leaf.grad[:, 0].abs().max() > 1e-6  # all tokens compete, and act through the blocks before


def test_the_whole_network_is_not_touched_and_nothing_after_the_last_layer_runs(model: DiffusionModel) -> None:
    noisy, context = inputs(8, 8)
    before = {name: id(module) for name, module in model.network.module.named_modules()}
    weights = {weight.data_ptr() for weight in model.network.module.parameters()}
    view = model.network.cut(model.layers[2:3])
    kept = [weight for name, weight in view.named_parameters() if name != "text_embedding_padding"]
    assert {weight.data_ptr() for weight in kept} < weights
    blocks = [block for name in model.network.lists for block in getattr(view, name)]
    assert len(blocks) == 3 < len(blocks_of(model))
    unread = {
        name for name, _ in blocks[-1].named_parameters() if name.startswith(("ff.", "ff_context.", "feed_forward."))
    }
    assert not unread
    model.attention(noisy, T, context, model.layers)
    model.features(noisy, T, context, 0)
    assert {name: id(module) for name, module in model.network.module.named_modules()} == before
    for block in (-1, model.network.blocks):
        with pytest.raises(LayerError, match=f"a block of this transformer, from 0 to {model.network.blocks - 1}"):
            model.features(noisy, T, context, block)


def test_gradient_checkpointing_gives_the_same_gradient_for_less_memory(model: DiffusionModel) -> None:
    noisy, context = inputs(8, 8)
    if model.family == "hunyuan-dit":
        with pytest.raises(LayerError, match="no gradient checkpointing for HunyuanDiT2DModel"):
            model.attention(noisy, T, context, model.layers, gradient_checkpointing=True)
        return
    gradients = []
    for recompute in (False, True):
        leaf = context.clone().requires_grad_()
        maps = model.attention(noisy, T, leaf, model.layers, gradient_checkpointing=recompute)
        sum((one**2).sum() for one in maps.values()).backward()
        gradients.append(leaf.grad)
    assert_close_to_scale(gradients[1], gradients[0])
    plain, less = (
        model.saved_bytes_per_row(model.layers, latent_size=(8, 8), gradient_checkpointing=recompute)
        for recompute in (False, True)
    )
    assert less < plain


@pytest.mark.slow
@torch.no_grad()
def test_half_precision_gives_nearly_the_same_maps_in_float32(
    transformers: Transformers, model: DiffusionModel
) -> None:
    half = transformers.load(model.family, dtype="bfloat16")
    noisy, context = inputs()
    exact = model.attention(noisy, T, context, model.layers)
    for name, attention in half.attention(noisy, T, context, half.layers).items():
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention, exact[name], rtol=0.3, atol=0.05)
    assert half.features(noisy, T, context, 1).dtype == torch.float32


def test_layers_by_rule_and_by_depth(transformers: Transformers) -> None:
    def names(family: str, *spec: str) -> list[str]:
        return [layer.name for layer in transformers[family].select_layers(spec or None)]

    assert names("sana") == ["transformer_blocks.1", "transformer_blocks.2"]
    assert names("sd3") == ["transformer_blocks.1", "transformer_blocks.2"]
    assert names("hunyuan-dit") == ["blocks.2", "blocks.3"]
    assert names("flux-dev") == ["single_transformer_blocks.0"]
    assert names("lumina2") == ["layers.1", "layers.2"]
    assert names("flux2-dev") == ["single_transformer_blocks.0"]
    assert names("flux-dev", "block/2:1,4") == ["transformer_blocks.1", "single_transformer_blocks.2"]
    assert names("pixart-alpha", "block/2:0,3") == ["transformer_blocks.0", "transformer_blocks.3"]
    assert names("sana", "block/1:3", "transformer_blocks.0") == ["transformer_blocks.0", "transformer_blocks.3"]
    for rule, message in (
        ("depth/45-55", "there is none between"),
        ("block/1", "0 match block/1"),
        ("up/4", "0 match up/4"),
        ("transformer_blocks.9", "no cross-attention layer 'transformer_blocks.9'"),
    ):
        with pytest.raises(LayerError, match=message):
            names("pixart-alpha", rule)
