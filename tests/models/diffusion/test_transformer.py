"""Cross-attention transformers: the cut network gives the whole one's maps, features, queries and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.embeddings import get_2d_rotary_pos_embed
from torch import Tensor

from closeness import assert_close_to_scale
from models.diffusion.transformer_networks import DIM, TRANSFORMERS, inputs, save_transformer
from semcorr.errors import LayerError, ModelError, SettingsError
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.attention import attention_to

T = 140


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("transformers")
    return {family: save_transformer(root / family, family) for family in TRANSFORMERS}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, DiffusionModel]:
    return {family: DiffusionModel.from_pretrained(folder, device="cpu") for family, folder in folders.items()}


# PixArt-alpha takes sizes besides, and is else as PixArt-Sigma.
@pytest.fixture(params=["pixart-alpha", pytest.param("pixart-sigma", marks=pytest.mark.slow), "sana", "hunyuan-dit"])
def model(request: pytest.FixtureRequest, models: dict[str, DiffusionModel]) -> DiffusionModel:
    return models[request.param]


def blocks_of(model: DiffusionModel) -> Any:
    return model.network.module.blocks if model.family == "hunyuan-dit" else model.network.module.transformer_blocks


def conditions(model: DiffusionModel, noisy: Tensor, context: Tensor) -> dict[str, Any]:
    """What each pipeline of diffusers passes for an image that is not cropped, and a prompt without padding."""
    rows, height, width = len(noisy), 4 * noisy.shape[2], 4 * noisy.shape[3]
    if model.family != "hunyuan-dit":
        time = torch.full((rows,), T)
        own: dict[str, Any] = {"timestep": time, "encoder_hidden_states": context}
        own["encoder_attention_mask"] = torch.ones(context.shape[:2]).to(context)
        if model.family.startswith("pixart"):
            sizes = {
                "resolution": torch.tensor([[height, width]] * rows).to(noisy),
                "aspect_ratio": torch.tensor([[height / width]] * rows).to(noisy),
            }
            own["added_cond_kwargs"] = sizes if model.family == "pixart-alpha" else {}
        return own
    # The context as the first encoder's 77 tokens and then a text whose projection is replaced.
    grid = (noisy.shape[2] // 2, noisy.shape[3] // 2)
    # What the pipeline computes: the whole base of 64 patches for squares; of it the middle for 1 to 3.
    region = {(4, 12): ((22, 0), (43, 64))}.get(grid, ((0, 0), (64, 64)))
    return {
        "timestep": torch.full((rows,), T).to(noisy),
        "encoder_hidden_states": context[:, :77],
        "text_embedding_mask": torch.ones(rows, 77),
        "encoder_hidden_states_t5": torch.zeros(rows, 256, 16).to(noisy),
        "text_embedding_mask_t5": torch.zeros(rows, 256),
        "image_meta_size": torch.tensor([[height, width, height, width, 0, 0]] * rows).to(noisy),
        "style": torch.zeros(rows, dtype=torch.int64),
        "image_rotary_emb": get_2d_rotary_pos_embed(8, region, grid, output_type="pt"),
    }


def whole_network(model: DiffusionModel, noisy: Tensor, context: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Each block's attention probabilities (batch, heads, queries, tokens), and its output, from one whole pass.

    An independent computation: a stand-in for the softmax and product of torch sees what every processor passes to it.
    """
    maps: list[Tensor] = []
    outputs: list[Tensor] = []
    plain = torch.nn.functional.scaled_dot_product_attention
    inside: list[bool] = []

    def seen(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any) -> Tensor:
        if inside:
            logits = torch.einsum("bhqd,bhtd->bhqt", query, key) / query.shape[-1] ** 0.5
            maps.append(torch.exp(logits - torch.logsumexp(logits, dim=-1, keepdim=True)))
        return plain(query, key, value, *rest, **options)

    hooks = []
    for block in blocks_of(model):
        hooks.append(block.attn2.register_forward_pre_hook(lambda *_: inside.append(True)))
        hooks.append(block.attn2.register_forward_hook(lambda *_: inside.clear()))
        hooks.append(block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", seen)
        try:
            model.network.module(noisy, **conditions(model, noisy, context))
        finally:
            for hook in hooks:
                hook.remove()
    return maps, outputs


def context_of(model: DiffusionModel, context: Tensor) -> Tensor:
    """The context that the whole network is then given: Hunyuan-DiT's is padded with vectors of its own."""
    if model.family != "hunyuan-dit":
        return context
    padding = model.network.module.text_embedding_padding[77:]
    return torch.cat([context, padding.expand(len(context), -1, -1).to(context)], dim=1)


def tokens_of(model: DiffusionModel) -> int:
    return 77 if model.family == "hunyuan-dit" else 7


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [pytest.param(16, 16, marks=pytest.mark.slow), (8, 24)])
def test_maps_and_features_are_the_whole_networks(model: DiffusionModel, height: int, width: int) -> None:
    noisy, context = inputs(height, width, tokens_of(model))
    maps, outputs = whole_network(model, noisy, context)
    own = context_of(model, context)
    assert len(maps) == len(model.layers) == len(outputs) == model.network.blocks
    for number, (layer, expected, output) in enumerate(zip(model.layers, maps, outputs, strict=True)):
        size = layer.map_size(height, width)
        attention = model.attention(noisy, T, own, (layer,), tokens=(1, 5))[layer.name]
        assert_close_to_scale(attention, expected[..., [1, 5]].transpose(2, 3).unflatten(3, size), rel=1e-6)
        assert attention.std() > 1e-4  # else anything would be equal
        features = model.features(noisy, T, own, number)
        assert_close_to_scale(features, output.transpose(1, 2).unflatten(2, size), rel=1e-6)
    together = model.attention(noisy, T, own, model.layers, tokens=(1, 5))
    for layer, expected in zip(model.layers, maps, strict=True):
        assert_close_to_scale(together[layer.name].flatten(3), expected[..., [1, 5]].transpose(2, 3), rel=1e-6)


@torch.no_grad()
def test_frozen_queries_and_keys_without_a_pass_give_the_same_maps(model: DiffusionModel) -> None:
    noisy, context = inputs()
    maps = model.attention(noisy, T, context, model.layers, tokens=(3,))
    queries, keys = model.queries(noisy, T, context, model.layers), model.keys(context, model.layers)
    for name, expected in maps.items():
        both = [attention_to(3, queries[name][row], keys[name][row][None])[0] for row in range(2)]
        assert_close_to_scale(torch.stack(both), expected[:, :, 0], rel=1e-5)


@pytest.mark.slow
def test_gradients_to_the_context_by_finite_differences(folders: dict[str, Path], model: DiffusionModel) -> None:
    exact = DiffusionModel.from_pretrained(folders[model.family], device="cpu")
    exact.network.module.double()
    exact.dtype = torch.float64
    noisy, context = inputs(8, 8, tokens_of(model), torch.float64)
    last = exact.layers[-1]
    slope = torch.linspace(-1, 1, last.map_size(8, 8)[0] ** 2, dtype=torch.float64)

    def loss(one: Tensor) -> float:
        maps, _ = whole_network(exact, noisy, one)
        return float((maps[-1][..., 1] * slope).sum())

    leaf = context.clone().requires_grad_()
    attention = exact.attention(noisy, T, context_of(exact, leaf), (last,))[last.name]
    (attention.flatten(2) * slope).sum().backward()
    assert leaf.grad is not None
    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        direction = torch.randn(context.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            # Sana's self-attention is computed in float32 whatever the weights are.
            size = 1e-3 if model.family == "sana" else 1e-4
            difference = (loss(context + size * direction) - loss(context - size * direction)) / (2 * size)
        assert float((leaf.grad * direction).sum()) == pytest.approx(difference, rel=1e-3, abs=1e-5)
    assert leaf.grad[:, 0].abs().max() > 1e-6  # all tokens compete, and act through the blocks before


def test_the_whole_network_is_not_touched_and_nothing_after_the_last_layer_runs(model: DiffusionModel) -> None:
    noisy, context = inputs()
    before = {name: id(module) for name, module in model.network.module.named_modules()}
    weights = {weight.data_ptr() for weight in model.network.module.parameters()}
    view = model.network.cut(model.layers[1:2])
    kept = [weight for name, weight in view.named_parameters() if name != "text_embedding_padding"]
    assert {weight.data_ptr() for weight in kept} < weights
    last = getattr(view, model.network.lists[0])
    assert len(last) == 2
    assert not list(last[1].ff.parameters())
    model.attention(noisy, T, context, model.layers)
    model.features(noisy, T, context, 0)
    assert {name: id(module) for name, module in model.network.module.named_modules()} == before


def test_gradient_checkpointing_gives_the_same_gradient_for_less_memory(model: DiffusionModel) -> None:
    noisy, context = inputs()
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
        model.saved_bytes_per_row(model.layers, gradient_checkpointing=recompute) for recompute in (False, True)
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


def test_what_the_checkpoints_say_of_themselves(models: dict[str, DiffusionModel]) -> None:
    assert {model.family: model.context_tokens for model in models.values()} == {
        "pixart-alpha": 120,
        "pixart-sigma": 300,
        "sana": 300,
        "hunyuan-dit": 333,
    }
    assert {model.resolution for model in models.values()} == {64}
    assert {name: model.side_factor for name, model in models.items()} == dict(
        zip(TRANSFORMERS, (8, 8, 4, 8), strict=True)
    )
    predictions = [models[family].prediction_type for family in TRANSFORMERS]
    assert predictions == ["epsilon", "epsilon", "flow_prediction", "v_prediction"]
    with pytest.raises(ModelError, match="has a transformer and no U-Net"):
        _ = models["sana"].unet


def test_noise_by_the_closed_forms(models: dict[str, DiffusionModel]) -> None:
    z, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    kept = torch.cumprod(1 - torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64), dim=0)
    linear = kept[T].sqrt() * z + (1 - kept[T]).sqrt() * noise
    torch.testing.assert_close(models["pixart-alpha"].add_noise(z, noise, T), linear.float(), rtol=0, atol=1e-5)
    flow = models["sana"]
    torch.testing.assert_close(flow.add_noise(z, noise, 328), 0.672 * z + 0.328 * noise)
    # As diffusers' own schedule has it: shifted by 3, the fraction 0.14 is 0.42 / 1.28.
    scheduler = flow.scheduler
    nearest = scheduler.timesteps[(scheduler.timesteps - 328).abs().argmin()][None]
    torch.testing.assert_close(
        flow.add_noise(z, noise, 328), scheduler.scale_noise(z, nearest, noise), rtol=0, atol=0.02
    )
    assert [flow.timestep(step) for step in (1, 8, 50)] == [0, 328, 993]
    assert models["pixart-sigma"].timestep(8) == T
    with pytest.raises(SettingsError, match="from 0 to 999, got 1000"):
        flow.add_noise(z, noise, 1000)


def test_encoding_is_the_scaled_mean_or_the_scaled_latent(models: dict[str, DiffusionModel]) -> None:
    images = torch.rand(1, 3, 32, 24)
    sigma, sana = models["pixart-sigma"], models["sana"]
    moments = sigma.vae.quant_conv(sigma.vae.encoder(2 * images - 1))
    assert_close_to_scale(sigma.encode(images), 0.13025 * moments[:, :4])
    assert_close_to_scale(sana.encode(images), 0.41407 * sana.vae.encoder(2 * images - 1))
    assert sana.encode(images).shape == (1, 4, 8, 6)


def test_contexts_are_the_prompts_own_tokens(models: dict[str, DiffusionModel]) -> None:
    for family in ("pixart-alpha", "sana"):
        model = models[family]
        context = model.encode_text(["a red cat"])
        assert context.shape == (1, 4, DIM)
        words, network = model.text_encoder()._pairs[0]
        ids = words(["a red cat"], padding="max_length", max_length=9, return_tensors="pt")
        padded = network(ids["input_ids"], attention_mask=ids["attention_mask"]).last_hidden_state
        # What a pipeline of diffusers passes, without what it masks.
        assert_close_to_scale(context, padded[ids["attention_mask"].bool()][None], rel=1e-5)
        assert [(piece.position, piece.known) for piece in model.text_encoder().pieces("a blue cat", 120)] == [
            (position + (family == "sana"), known) for position, known in enumerate((True, False, True))
        ]
        with pytest.raises(ModelError, match=r"no padding, and the prompts have \[\d, 4\] tokens"):
            model.encode_text(["a red cat", "cat"])


def test_contexts_of_hunyuan_dit_are_what_its_blocks_see(models: dict[str, DiffusionModel]) -> None:
    model = models["hunyuan-dit"]
    context = model.encode_text(["a cat", ""])
    assert context.shape == (2, 333, DIM)
    seen: list[Tensor] = []
    module = model.network.module
    hook = module.blocks[0].attn2.register_forward_pre_hook(
        lambda _module, _args, named: seen.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    (bert, bert_network), (t5, t5_network) = model.text_encoder()._pairs
    noisy, _ = inputs()
    given = conditions(model, noisy, torch.zeros(2, 77, DIM))
    for suffix, words, network, length in (("", bert, bert_network, 77), ("_t5", t5, t5_network, 256)):
        ids = words(["a cat", ""], padding="max_length", max_length=length, return_tensors="pt")
        mask = ids["attention_mask"]
        given[f"encoder_hidden_states{suffix}"] = network(ids["input_ids"], attention_mask=mask)[0]
        given[f"text_embedding_mask{suffix}"] = mask
    with torch.no_grad():
        module(noisy, **given)
    hook.remove()
    assert_close_to_scale(context, seen[0], rel=1e-5)


def test_layers_by_rule_and_by_depth(models: dict[str, DiffusionModel]) -> None:
    def names(family: str, *spec: str) -> list[str]:
        return [layer.name for layer in models[family].select_layers(spec or None)]

    assert names("sana") == ["transformer_blocks.1", "transformer_blocks.2"]
    assert names("hunyuan-dit") == ["blocks.2", "blocks.3"]
    assert names("pixart-alpha", "block/2:0,3") == ["transformer_blocks.0", "transformer_blocks.3"]
    assert names("sana", "block/1:3", "transformer_blocks.0") == ["transformer_blocks.0", "transformer_blocks.3"]
    for rule, message in (
        ("depth/45-55", "there is none between"),
        ("block/1", "0 match block/1"),
        ("up/4", "0 match up/4"),
        ("transformer_blocks.9", "no cross-attention layer 'transformer_blocks.9'"),
    ):
        with pytest.raises(LayerError, match=message):
            names("pixart-sigma", rule)


@pytest.mark.parametrize("block", [-1, 4])
def test_blocks_that_are_not_there(models: dict[str, DiffusionModel], block: int) -> None:
    noisy, context = inputs()
    with pytest.raises(LayerError, match="Expected a block of this transformer, from 0 to 3"):
        models["sana"].features(noisy, T, context, block)
