"""A network whose weights are in main memory between runs gives the same maps, features and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from closeness import assert_close_to_scale
from models.diffusion.networks import save_checkpoint
from models.diffusion.transformer_networks import DIM, NETWORKS, SIDE, inputs, save_transformer
from semcorr import load_matcher
from semcorr.models.diffusion import DiffusionModel

Pair = tuple[DiffusionModel, DiffusionModel]


@pytest.fixture(scope="module", params=["sd1", "pixart-alpha", "hunyuan-dit", "sd3", "flux-dev", "flux2-klein"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A network as it is, and offloaded."""
    save: Any = save_transformer if request.param in NETWORKS else save_checkpoint
    folder: Path = save(tmp_path_factory.mktemp("offloading") / request.param, request.param)
    one, other = (DiffusionModel.from_pretrained(folder, device="cpu", offload=offload) for offload in (False, True))
    return one, other


def of(model: DiffusionModel) -> tuple[Tensor, Tensor]:
    """A noisy latent of two images and a context."""
    if model.context_dim == DIM:
        return inputs()
    generator = torch.Generator().manual_seed(7)
    shape = 2, model.context_tokens, model.context_dim
    return torch.randn(2, 4, SIDE, SIDE, generator=generator), torch.randn(shape, generator=generator)


def forward(model: DiffusionModel, **how: Any) -> tuple[Tensor, Tensor]:
    """A sum of all maps, and the context that it depends on."""
    noisy, context = of(model)
    leaf = context.requires_grad_()
    maps = model.attention(noisy, 140, leaf, model.select_layers(), **how)
    return torch.stack([one.square().sum() for one in maps.values()]).sum(), leaf


def gradient(model: DiffusionModel, **how: Any) -> Tensor:
    score, leaf = forward(model, **how)
    return torch.autograd.grad(score, leaf)[0]


def test_maps_features_and_gradients_are_those_of_the_network(pair: Pair) -> None:
    plain, offloaded = pair
    noisy, context = of(plain)
    features = [model.features(noisy, 140, context, model.network.blocks - 1) for model in pair]
    torch.testing.assert_close(*features, rtol=0, atol=0)
    maps = [model.attention(noisy, 140, context, model.select_layers()) for model in pair]
    torch.testing.assert_close(*maps, rtol=0, atol=0)
    expected = gradient(plain)
    assert expected.abs().max() > 1e-6
    assert_close_to_scale(gradient(offloaded), expected)
    if plain.family != "hunyuan-dit":  # for which diffusers has none
        assert_close_to_scale(gradient(offloaded, gradient_checkpointing=True), expected)
    if not plain.network.keys_depend_on_image:
        keys = [model.keys(context, model.select_layers()) for model in pair]
        torch.testing.assert_close(*keys, rtol=0, atol=0)


def test_prompts_are_encoded_alike(pair: Pair) -> None:
    if pair[0].family != "sd1":  # has no large text encoder
        torch.testing.assert_close(*(model.encode_text(["a cat"]) for model in pair), rtol=0, atol=0)


def test_between_runs_no_large_weight_is_on_the_device(pair: Pair) -> None:
    plain, offloaded = pair
    weights = list(offloaded.network.module.parameters())
    staying = sum(weight.nbytes for weight in weights if weight.device.type != "meta")
    assert offloaded.offloaded is not None
    total = sum(weight.nbytes for weight in plain.network.module.parameters())
    assert offloaded.offloaded.nbytes + staying == total
    assert staying < 0.15 * total
    assert {weight.dtype for weight in weights} == {plain.dtype} == {offloaded.dtype}


def test_a_gradient_holds_no_offloaded_weight(pair: Pair) -> None:
    """What it needs of them it reads again, from wherever they are by then."""
    _, model = pair
    assert model.offloaded is not None
    score, leaf = forward(model)
    kept = [dict(layer.weights) for layer in model.offloaded.layers]
    for layer in model.offloaded.layers:
        layer.weights = {name: torch.zeros_like(weight) for name, weight in layer.weights.items()}
    (without,) = torch.autograd.grad(score, leaf)
    for layer, weights in zip(model.offloaded.layers, kept, strict=True):
        layer.weights = weights
    assert without.abs().max() == 0
    assert gradient(model).abs().max() > 0


def test_saved_bytes_are_those_of_the_network(pair: Pair) -> None:
    plain, offloaded = pair
    if plain.family.startswith(("pixart", "hunyuan")):
        layers = plain.select_layers()
        assert offloaded.saved_bytes_per_row(layers) == plain.saved_bytes_per_row(layers) > 0


def test_methods_are_loaded_on_an_offloaded_network() -> None:
    matcher = load_matcher("dift", "toy", device="cpu", offload=True)
    assert matcher.model.offloaded is not None
    assert "offload" not in matcher.identity()  # results do not depend on it


def test_a_layer_that_failed_gives_its_weights_back_when_another_runs(pair: Pair) -> None:
    _, model = pair
    assert model.offloaded is not None
    layer = next(one for one in model.offloaded.layers if isinstance(one.module, torch.nn.Linear))
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes"):
        layer.module(torch.zeros(1, 1))
    assert layer.module.weight.device.type == "cpu"
    gradient(model)
    assert layer.module.weight.device.type == "meta"
