"""Features are those of the whole network, of any block, facet and size, and no more of the network is run."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from closeness import assert_close_to_scale
from models.dino.networks import (
    DEPTH,
    DIM,
    IMAGE,
    KINDS,
    PATCH,
    as_map,
    make_network,
    random_image,
    save_folder,
    whole_network,
)
from semcorr.errors import LayerError, SettingsError
from semcorr.models.dino import VisionModel

# Names that transformers gives to: the list of blocks, a block's first norm, the final norm.
MODULES = {
    "vit": ("layers", "layernorm_before", "layernorm"),
    "dinov2": ("encoder.layer", "norm1", "layernorm"),
    "dinov2_with_registers": ("encoder.layer", "norm1", "layernorm"),
    "dinov3_vit": ("model.layer", "norm1", "norm"),
}


def blocks(model: VisionModel) -> Any:
    return model.network.get_submodule(MODULES[model.family][0])


def test_what_a_model_says_of_itself(model: VisionModel) -> None:
    assert (model.depth, model.dim, model.heads, model.resolution) == (DEPTH, DIM, 4, IMAGE)
    assert model.patch == PATCH[model.family]
    assert (model.dtype, model.device, model.revision) == (torch.float32, torch.device("cpu"), None)
    assert Path(model.model_id).name == model.family
    assert len(model.fingerprint) == 64


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40), (48, 16)])
def test_tokens_of_every_block_are_the_whole_networks(model: VisionModel, height: int, width: int) -> None:
    image = random_image(height, width)
    whole = whole_network(model.network, model.family, image)
    assert len(whole.hidden_states) == DEPTH + 1
    for layer in range(DEPTH):
        expected = as_map(whole.hidden_states[layer + 1], model.family, image)
        features = model.features(image, layer=layer, resolution=max(height, width), norm=False)
        assert_close_to_scale(features, expected)
        from_end = model.features(image, layer=layer - DEPTH, resolution=max(height, width), norm=False)
        assert torch.equal(from_end, features)
    assert not torch.allclose(features, as_map(whole.hidden_states[DEPTH - 1], model.family, image), atol=0.1)
    assert not features.requires_grad


@torch.no_grad()
def test_the_final_norm_is_the_last_blocks_alone(model: VisionModel) -> None:
    image = random_image(24, 40)
    whole = whole_network(model.network, model.family, image)
    last = as_map(whole.last_hidden_state, model.family, image)
    assert_close_to_scale(model.features(image, resolution=40), last)
    assert not torch.allclose(last, model.features(image, resolution=40, norm=False), atol=0.1)
    before = as_map(whole.hidden_states[DEPTH - 1], model.family, image)
    assert_close_to_scale(model.features(image, layer=-2, resolution=40, norm=True), before)


def by_hand(model: VisionModel, hidden: Tensor, layer: int, facet: str) -> Tensor:
    """A projection of a block's input, from the weights alone."""
    block = blocks(model)[layer]
    norm = getattr(block, MODULES[model.family][1])
    centred = hidden - hidden.mean(dim=-1, keepdim=True)
    normal = centred / torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + model.network.config.layer_norm_eps)
    linear = getattr(block.attention, f"{facet[0]}_proj")
    projected = (normal * norm.weight + norm.bias) @ linear.weight.T
    return projected if linear.bias is None else projected + linear.bias


@torch.no_grad()
@pytest.mark.parametrize("facet", ["key", "query", "value"])
def test_facets_are_the_projections_of_the_blocks_input(model: VisionModel, facet: Any) -> None:
    image = random_image(24, 40)
    whole = whole_network(model.network, model.family, image)
    for layer in range(DEPTH):
        expected = as_map(by_hand(model, whole.hidden_states[layer], layer, facet), model.family, image)
        assert expected.std() > 0.1
        features = model.features(image, layer=layer, facet=facet, resolution=40)
        assert_close_to_scale(features, expected)


def test_only_dinov3s_keys_have_no_bias(vision_models: dict[str, VisionModel]) -> None:
    # Else the test above would not try both.
    biases = {kind: blocks(model)[0].attention.k_proj.bias is not None for kind, model in vision_models.items()}
    assert biases == {"vit": True, "dinov2": True, "dinov2_with_registers": True, "dinov3_vit": False}


@torch.no_grad()
def test_keys_are_not_yet_rotated_by_their_position(vision_models: dict[str, VisionModel]) -> None:
    # Every patch of a plain image is alike until a rotation distinguishes them.
    keys = vision_models["dinov3_vit"].features(torch.full((3, 32, 32), 0.3), layer=0, facet="key", resolution=32)
    assert_close_to_scale(keys, keys[:, :1, :1].expand_as(keys))


@pytest.mark.parametrize("kind", ["dinov2_with_registers", "dinov3_vit"])
@torch.no_grad()
def test_registers_and_the_class_token_are_left_out(vision_models: dict[str, VisionModel], kind: str) -> None:
    # A patch's first key depends on nothing but the patch; those of the others do not depend on the image.
    model, dark = vision_models[kind], torch.zeros(3, 32, 32)
    keys = model.features(dark, layer=0, facet="key", resolution=32)
    for row, column in ((0, 0), (1, 2)):
        image = dark.clone()
        image[:, row * model.patch, column * model.patch] = 1.0
        changed = (model.features(image, layer=0, facet="key", resolution=32) - keys).abs().amax(dim=0) > 1e-3
        assert changed.nonzero().tolist() == [[row, column]]


@torch.no_grad()
@pytest.mark.parametrize("facet", ["token", "key"])
@pytest.mark.parametrize("layer", [0, 2, 3])
def test_nothing_after_what_is_read_is_run(model: VisionModel, layer: int, facet: Any) -> None:
    calls: list[int] = []
    hooks = [
        block.register_forward_hook(lambda *_, number=number: calls.append(number))
        for number, block in enumerate(blocks(model))
    ]
    try:
        model.features(random_image(32, 32), layer=layer, facet=facet, resolution=32)
    finally:
        for hook in hooks:
            hook.remove()
    # A block of which only a projection is read is not run as a block.
    assert calls == list(range(layer + 1 if facet == "token" else layer))


@torch.no_grad()
def test_the_network_is_not_touched(model: VisionModel) -> None:
    modules = dict(model.network.named_modules())
    weights = {name: (value.data_ptr(), value.clone()) for name, value in model.network.state_dict().items()}
    before = whole_network(model.network, model.family, random_image(32, 32)).last_hidden_state
    for facet in ("token", "value"):
        model.features(random_image(32, 40), layer=1, facet=facet, resolution=32)
    assert dict(model.network.named_modules()) == modules
    for name, value in model.network.state_dict().items():
        assert value.data_ptr() == weights[name][0]
        assert torch.equal(value, weights[name][1])
    assert torch.equal(whole_network(model.network, model.family, random_image(32, 32)).last_hidden_state, before)
    assert not any(value.requires_grad for value in model.network.parameters())


@torch.no_grad()
def test_either_way_of_attention_gives_the_same(model: VisionModel) -> None:
    assert model.network.config._attn_implementation == "sdpa"
    fast = model.features(random_image(24, 40), resolution=40)
    model.network.set_attn_implementation("eager")
    try:
        plain = model.features(random_image(24, 40), resolution=40)
    finally:
        model.network.set_attn_implementation("sdpa")
    assert_close_to_scale(plain, fast)


@torch.no_grad()
def test_an_image_is_resized_to_whole_patches(vision_models: dict[str, VisionModel]) -> None:
    model = vision_models["vit"]
    image = random_image(50, 90)
    # 96 x 53.3 pixels are 12 x 6.7 patches of 8.
    features = model.features(image, resolution=96)
    assert features.shape == (DIM, 7, 12)
    planes = [Image.fromarray(plane).resize((96, 56), Image.Resampling.BILINEAR) for plane in image.numpy()]
    resized = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))
    expected = as_map(whole_network(model.network, "vit", resized).last_hidden_state, "vit", resized)
    assert_close_to_scale(features, expected, rel=1e-3)


@torch.no_grad()
@pytest.mark.parametrize(
    ("height", "width", "resolution", "rows", "columns"),
    [
        (30, 30, None, 4, 4),  # the checkpoint's own 32 pixels
        (100, 50, 32, 4, 2),
        (32, 32, 36, 5, 5),  # half a patch goes up
        (32, 32, 35, 4, 4),
        (5, 300, 64, 1, 8),  # at least one patch
        (300, 5, 8, 1, 1),
    ],
)
def test_the_number_of_patches(
    vision_models: dict[str, VisionModel], height: int, width: int, resolution: int | None, rows: int, columns: int
) -> None:
    features = vision_models["vit"].features(random_image(height, width), layer=0, facet="key", resolution=resolution)
    assert features.shape == (DIM, rows, columns)


@torch.no_grad()
def test_position_embeddings_are_resized_to_the_image(vision_models: dict[str, VisionModel]) -> None:
    # The first block's input on a plain image is the position embeddings plus one vector. Bicubic interpolation is
    # transformers' own; at double the size the values show that they cover the image along both axes.
    model = vision_models["vit"]
    block = blocks(model)[0]
    positions = model.network.embeddings.position_embeddings[0, 1:].T.reshape(1, DIM, 4, 4)
    inputs = []
    hook = block.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    try:
        model.features(torch.zeros(3, 40, 80), layer=0, resolution=64)
    finally:
        hook.remove()
    embedded = inputs[0][0, 1:].T.reshape(DIM, 4, 8)
    spread = F.interpolate(positions, size=(4, 8), mode="bicubic", align_corners=False)[0]
    rest = embedded - spread
    assert_close_to_scale(rest, rest[:, :1, :1].expand_as(rest))


@torch.no_grad()
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near(
    vision_folders: dict[str, Path], vision_models: dict[str, VisionModel], dtype: Any
) -> None:
    for kind in KINDS:
        half = VisionModel.from_pretrained(vision_folders[kind], device="cpu", dtype=dtype)
        assert half.dtype == getattr(torch, dtype)
        assert half.fingerprint == vision_models[kind].fingerprint
        features = half.features(random_image(24, 40), layer=1, resolution=40)
        exact = vision_models[kind].features(random_image(24, 40), layer=1, resolution=40)
        assert features.dtype == torch.float32
        assert 0 < (features - exact).norm() / exact.norm() < 0.05


@torch.no_grad()
def test_colours_are_normalised_as_the_checkpoint_says(tmp_path: Path) -> None:
    colours = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]}
    model = VisionModel.from_pretrained(save_folder(tmp_path, "dinov2", preprocessor=colours), device="cpu")
    image = random_image(32, 32)
    pixels = torch.stack([(image[0] - 0.5) / 0.5, (image[1] - 0.4) / 0.25, (image[2] - 0.3) / 0.2])[None]
    expected = as_map(make_network("dinov2")(pixels).last_hidden_state, "dinov2", image)
    assert_close_to_scale(model.features(image, resolution=32), expected)


@pytest.mark.parametrize("layer", [DEPTH, -DEPTH - 1])
def test_a_block_that_is_not_there(model: VisionModel, layer: int) -> None:
    with pytest.raises(LayerError, match=f"has 4 blocks: expected a layer from 0 to 3, or from -4 to -1.*got {layer}"):
        model.features(random_image(32, 32), layer=layer, resolution=32)


def test_a_facet_that_is_not_there_and_a_resolution_below_a_patch(model: VisionModel) -> None:
    # Below the check of types that the tests add, and that a caller does not have.
    features = inspect.unwrap(VisionModel.features)
    with pytest.raises(SettingsError, match=r"Unknown facet 'keys'. Did you mean 'key'\? Expected one of token, key,"):
        features(model, random_image(32, 32), facet="keys", resolution=32)
    with pytest.raises(SettingsError, match=f"{model.patch - 1} pixels is too small.*Expected at least {model.patch}"):
        model.features(random_image(32, 32), resolution=model.patch - 1)


def test_a_gradient_is_never_kept(model: VisionModel) -> None:
    image = random_image(32, 32).requires_grad_()
    assert not model.features(image, resolution=32).requires_grad


def test_blocks_have_other_names_in_each_version() -> None:
    # The names of transformers 5.0, around the same parts.
    from semcorr.models.dino.layers import _Projection

    block, attention = nn.Module(), nn.Module()
    attention.query, attention.key, attention.value = (nn.Linear(DIM, DIM) for _ in range(3))
    block.attention = nn.Module()
    block.attention.attention = attention
    block.layernorm_before = nn.LayerNorm(DIM)
    hidden = torch.randn(1, 5, DIM, generator=torch.Generator().manual_seed(1))
    for facet, linear in (("key", attention.key), ("query", attention.query), ("value", attention.value)):
        assert_close_to_scale(_Projection(block, facet)(hidden), linear(block.layernorm_before(hidden)))
