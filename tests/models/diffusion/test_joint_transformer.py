"""Joint-attention transformers: the cut network gives the whole one's maps, features and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from closeness import assert_close_to_scale
from models.diffusion.transformer_networks import DIM, JOINT, inputs, save_transformer
from semcorr.errors import LayerError, ModelError, SettingsError
from semcorr.matchers.prompt.discovery.keypoint_tokens import check_request
from semcorr.models.diffusion import DiffusionModel

T, TOKENS = 140, 7


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("joint")
    return {family: save_transformer(root / family, family) for family in JOINT}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, DiffusionModel]:
    return {family: DiffusionModel.from_pretrained(folder, device="cpu") for family, folder in folders.items()}


# FLUX.1 schnell takes no guidance scale, and is else as dev.
@pytest.fixture(params=["sd3", "flux-dev", pytest.param("flux-schnell", marks=pytest.mark.slow)])
def model(request: pytest.FixtureRequest, models: dict[str, DiffusionModel]) -> DiffusionModel:
    return models[request.param]


def blocks_of(model: DiffusionModel) -> list[Any]:
    module = model.network.module
    return [*module.transformer_blocks, *getattr(module, "single_transformer_blocks", ())]


def conditions(model: DiffusionModel, noisy: Tensor, context: Tensor) -> dict[str, Any]:
    """What each pipeline of diffusers passes, with pooled text of zeros."""
    rows, channels, height, width = noisy.shape
    if model.family.startswith("flux"):
        return {
            "hidden_states": FluxPipeline._pack_latents(noisy, rows, channels, height, width),
            "timestep": torch.full((rows,), T) / 1000,
            "encoder_hidden_states": context,
            "pooled_projections": torch.zeros(rows, 8).to(noisy),
            "txt_ids": torch.zeros(context.shape[1], 3),
            "img_ids": FluxPipeline._prepare_latent_image_ids(rows, height // 2, width // 2, "cpu", noisy.dtype),
            "guidance": torch.full((rows,), 3.5).to(noisy) if model.family == "flux-dev" else None,
        }
    return {
        "hidden_states": noisy,
        "timestep": torch.full((rows,), T),
        "encoder_hidden_states": context,
        "pooled_projections": torch.zeros(rows, 8).to(noisy),
    }


def whole_network(model: DiffusionModel, noisy: Tensor, context: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Each block's attention of image to text (batch, heads, queries, tokens), and its output, from one whole pass.

    An independent computation: a stand-in for the softmax and product of torch sees what every processor passes to it.
    """
    maps: list[Tensor] = []
    outputs: list[Tensor] = []
    plain = torch.nn.functional.scaled_dot_product_attention
    inside: list[bool] = []
    positions = noisy.shape[2] * noisy.shape[3] // 4

    def seen(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any) -> Tensor:
        if inside:
            logits = torch.einsum("bhqd,bhtd->bhqt", query, key) / query.shape[-1] ** 0.5
            both = torch.exp(logits - torch.logsumexp(logits, dim=-1, keepdim=True))
            text = both.shape[3] - positions
            first = model.family.startswith("flux")  # the text before the image
            maps.append(both[:, :, text:, :text] if first else both[:, :, :positions, positions:])
        return plain(query, key, value, *rest, **options)

    hooks = []
    for block in blocks_of(model):
        hooks.append(block.attn.register_forward_pre_hook(lambda *_: inside.append(True)))
        hooks.append(block.attn.register_forward_hook(lambda *_: inside.clear()))
        hooks.append(block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output[1])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", seen)
        try:
            model.network.module(**conditions(model, noisy, context))
        finally:
            for hook in hooks:
                hook.remove()
    return maps, outputs


@torch.no_grad()
def test_maps_and_features_are_the_whole_networks(model: DiffusionModel) -> None:
    noisy, context = inputs(8, 24, TOKENS)
    maps, outputs = whole_network(model, noisy, context)
    assert len(maps) == len(model.layers) == len(outputs) == model.network.blocks
    for number, (layer, expected, output) in enumerate(zip(model.layers, maps, outputs, strict=True)):
        size = layer.map_size(8, 24)
        assert size == (4, 12)
        attention = model.attention(noisy, T, context, (layer,), tokens=(1, 5))[layer.name]
        assert_close_to_scale(attention, expected[..., [1, 5]].transpose(2, 3).unflatten(3, size), rel=1e-6)
        assert attention.std() > 1e-4  # else anything would be equal
        features = model.features(noisy, T, context, number)
        assert_close_to_scale(features, output.transpose(1, 2).unflatten(2, size), rel=1e-6)
    together = model.attention(noisy, T, context, model.layers, tokens=range(TOKENS))
    for layer, expected in zip(model.layers, maps, strict=True):
        assert_close_to_scale(together[layer.name].flatten(3), expected.transpose(2, 3), rel=1e-6)
        assert together[layer.name].sum(dim=2).max() < 1  # image positions have the rest


@pytest.mark.slow
def test_gradients_to_the_context_by_finite_differences(folders: dict[str, Path], model: DiffusionModel) -> None:
    exact = DiffusionModel.from_pretrained(folders[model.family], device="cpu")
    exact.network.module.double()
    exact.dtype = torch.float64
    noisy, context = inputs(8, 8, TOKENS, torch.float64)
    last = exact.layers[-1]
    slope = torch.linspace(-1, 1, 16, dtype=torch.float64)

    def loss(one: Tensor) -> float:
        maps, _ = whole_network(exact, noisy, one)
        return float((maps[-1][..., 1] * slope).sum())

    leaf = context.clone().requires_grad_()
    attention = exact.attention(noisy, T, leaf, (last,))[last.name]
    (attention.flatten(2) * slope).sum().backward()
    assert leaf.grad is not None
    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        direction = torch.randn(context.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            size = 1e-3  # diffusers' norms of queries and keys are computed in float32
            difference = (loss(context + size * direction) - loss(context - size * direction)) / (2 * size)
        assert float((leaf.grad * direction).sum()) == pytest.approx(difference, rel=1e-3, abs=1e-5)
    assert leaf.grad[:, 0].abs().max() > 1e-6  # all tokens compete, and act through the blocks before


def test_the_whole_network_is_not_touched_and_nothing_after_the_last_layer_runs(model: DiffusionModel) -> None:
    noisy, context = inputs()
    before = {name: id(module) for name, module in model.network.module.named_modules()}
    weights = {weight.data_ptr() for weight in model.network.module.parameters()}
    view = model.network.cut(model.layers[2:3])
    assert {weight.data_ptr() for weight in view.parameters()} < weights
    assert len(blocks_of(model)) > len(view.transformer_blocks) > 0
    model.attention(noisy, T, context, model.layers)
    model.features(noisy, T, context, 0)
    assert {name: id(module) for name, module in model.network.module.named_modules()} == before
    with pytest.raises(LayerError, match=f"from 0 to {model.network.blocks - 1}"):
        model.features(noisy, T, context, model.network.blocks)


def test_gradient_checkpointing_gives_the_same_gradient_for_less_memory(model: DiffusionModel) -> None:
    noisy, context = inputs(8, 8)
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
def test_half_precision_gives_nearly_the_same_maps_in_float32(folders: dict[str, Path], model: DiffusionModel) -> None:
    half = DiffusionModel.from_pretrained(folders[model.family], dtype="bfloat16", device="cpu")
    noisy, context = inputs()
    exact = model.attention(noisy, T, context, model.layers)
    for name, attention in half.attention(noisy, T, context, half.layers).items():
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention, exact[name], rtol=0.3, atol=0.05)
    assert half.features(noisy, T, context, 1).dtype == torch.float32


def test_keys_that_depend_on_the_image_have_no_frozen_queries(model: DiffusionModel) -> None:
    noisy, context = inputs()
    for call in (
        lambda: model.queries(noisy, T, context, model.layers),
        lambda: model.keys(context, model.layers),
        lambda: check_request(model, ["a", "b"], 2),
    ):
        with pytest.raises(SettingsError, match=r"no frozen queries: its keys depend on the image.*Set queries=live"):
            call()


def test_encoding_shifts_and_scales(model: DiffusionModel) -> None:
    images = torch.rand(1, 3, 32, 24)
    moments = model.vae.quant_conv(model.vae.encoder(2 * images - 1))
    assert_close_to_scale(model.encode(images), 0.18215 * (moments[:, :4] - 0.0609))


def test_flux_what_its_checkpoints_say(models: dict[str, DiffusionModel]) -> None:
    dev, schnell = models["flux-dev"], models["flux-schnell"]
    assert (dev.context_tokens, schnell.context_tokens, dev.side_factor, dev.resolution) == (512, 256, 8, 4 * 128)
    assert [layer.name for layer in dev.select_layers()] == ["single_transformer_blocks.0"]
    assert [layer.name for layer in dev.select_layers(["block/2:1,4"])] == [
        "transformer_blocks.1",
        "single_transformer_blocks.2",
    ]
    context = dev.encode_text(["a cat", "dog"])
    ((words, network),) = dev.text_encoder()._pairs
    ids = words(["a cat", "dog"], padding="max_length", max_length=512, return_tensors="pt")["input_ids"]
    assert_close_to_scale(context, network(ids).last_hidden_state, rel=1e-6)


@pytest.mark.parametrize("resolution", [64, 128, 512])
def test_time_is_shifted_by_the_number_of_positions(models: dict[str, DiffusionModel], resolution: int) -> None:
    scheduler = models["flux-dev"].scheduler
    scheduler.set_timesteps(sigmas=[0.14, 0.98], mu=calculate_shift((resolution // 8) ** 2))
    own = [models["flux-dev"].timestep(step, resolution=resolution) for step in (1, 8, 50)]
    assert own == [0, *scheduler.timesteps.round().int().tolist()]
    assert models["flux-schnell"].timestep(8, resolution=resolution) == 140


def test_stable_diffusion_3_what_its_checkpoint_says(models: dict[str, DiffusionModel]) -> None:
    model = models["sd3"]
    assert (model.context_tokens, model.resolution, model.side_factor) == (333, 64, 8)
    assert model.prediction_type == "flow_prediction"
    assert [model.timestep(step) for step in (1, 8, 50)] == [0, 328, 993]
    assert [layer.name for layer in model.select_layers()] == ["transformer_blocks.1", "transformer_blocks.2"]


def test_contexts_of_stable_diffusion_3_are_clip_beside_clip_and_then_t5(models: dict[str, DiffusionModel]) -> None:
    model = models["sd3"]
    context = model.encode_text(["a cat", ""])
    assert context.shape == (2, 333, DIM)
    states = []
    for (words, network), length in zip(model.text_encoder()._pairs, (77, 77, 256), strict=True):
        ids = words(["a cat", ""], padding="max_length", max_length=length, return_tensors="pt")["input_ids"]
        output = network(ids, output_hidden_states=True)
        states.append(output.hidden_states[-2] if length == 77 else output.last_hidden_state)
    expected = torch.zeros(2, 333, DIM)
    expected[:, :77, :8], expected[:, :77, 8:16], expected[:, 77:] = states
    assert_close_to_scale(context, expected, rel=1e-6)


def test_an_image_that_the_table_of_positions_has_no_room_for_is_refused(models: dict[str, DiffusionModel]) -> None:
    model = models["sd3"]  # 16 x 16 positions of 2 x 2 latents of 4 x 4 pixels
    model.check_side(128)
    with pytest.raises(SettingsError, match=r"at most 128 x 128 pixels \(pos_embed_max_size\), got 136. Set a smaller"):
        model.check_side(136)
    noisy, context = inputs(height=32, width=34)
    with pytest.raises(ModelError, match=r"latents of at most 32 x 32 \(pos_embed_max_size\), got 34 x 32"):
        model.attention(noisy, T, context, model.layers)
    models["flux-dev"].check_side(136)
