"""NaN and infinity are noticed wherever a network gives something, and the layer is named."""

import contextlib
import math
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.diffusion.networks import inputs
from models.dino.networks import save_folder
from semcorr.errors import NumericsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, override, paper
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.dino import VisionModel
from semcorr.models.finite import all_finite, check

IMAGE = load_image(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8), name="noise")


@pytest.fixture
def small() -> PromptSettings:
    return override(paper("sd1"), resolution=64, steps=2, rounds=2, locate_crops=4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_bad_number_is_noticed(bad: float, dtype: torch.dtype) -> None:
    fine = torch.linspace(-1, 1, 1001, dtype=dtype)
    broken = fine.clone()
    broken[500] = bad
    assert all_finite([fine, fine])
    assert not all_finite([fine, broken])


def _trouble(call: Callable[[], object]) -> NumericsError:
    with pytest.raises(NumericsError) as caught:
        call()
    return caught.value


def test_the_innermost_layer_is_named_and_not_those_after_it() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), nn.Linear(2, 2))
    with torch.no_grad():
        network[1][1].weight[0, 0] = math.inf
    given = torch.ones(1, 2)
    error = _trouble(lambda: check([network(given)], "It", network, lambda: network(given), {"ones": given}))
    assert (error.layer, error.precision) == ("1.1", "float32")
    assert "fetch it again" in str(error)
    assert not any(module._forward_hooks for module in network.modules())


def test_an_input_is_blamed_before_any_layer() -> None:
    network, given = nn.Linear(2, 2), torch.tensor([[1.0, math.nan]])
    error = _trouble(lambda: check([network(given)], "It", network, lambda: network(given), {"numbers": given}))
    assert (error.layer, str(error).startswith("It received numbers with NaN in it.")) == (None, True)


def test_a_failure_that_does_not_recur_is_reported() -> None:
    network = nn.Linear(2, 2)
    error = _trouble(lambda: check([torch.tensor(math.nan)], "It", network, lambda: network(torch.ones(2)), {}))
    assert "not when it was run again" in str(error)


def test_an_error_crosses_processes_whole() -> None:
    error = NumericsError("It gave NaN.", "Try float32.", "float16", "mid").at("step 3 of 9")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert (str(again), again.layer, again.precision) == ("At step 3 of 9: It gave NaN. Try float32.", "mid", "float16")


@pytest.fixture(scope="module")
def model(tiny_sd: Path) -> DiffusionModel:
    return DiffusionModel.from_pretrained(tiny_sd, device="cpu")


@contextlib.contextmanager
def broken(network: nn.Module, layer: str, number: float = math.nan) -> Iterator[None]:
    """One weight of a layer is not finite until the end of the block."""
    weight = network.get_submodule(layer).weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.view(-1)[0] = number
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(before)


@pytest.mark.parametrize(
    "layer",
    [
        "conv_in",
        "down_blocks.1.resnets.0.conv2",
        "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
        "up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_q",
    ],
)
def test_a_bad_weight_of_the_u_net_is_located_in_every_output(model: DiffusionModel, layer: str) -> None:
    noisy, context = inputs(model, batch=1)
    layers = model.select_layers()
    outputs = [lambda: model.attention(noisy, 1, context, layers), lambda: model.features(noisy, 1, context, 1)]
    other = model.keys if layer.endswith("to_k") else model.queries
    outputs.append(lambda: other(*((context,) if other == model.keys else (noisy, 1, context)), layers))
    with broken(model.unet, layer):
        for output in outputs:
            error = _trouble(output)
            assert error.layer == layer
            assert "gave NaN, first in" in str(error)
            assert "fetch it again" in str(error)


def test_a_bad_weight_of_the_vae_is_located(model: DiffusionModel, small: PromptSettings) -> None:
    with broken(model.vae, "encoder.mid_block.resnets.0.conv1"):
        error = _trouble(lambda: PromptMatcher(model, small).describe(IMAGE, [(20, 20)]))
    assert error.layer == "encoder.mid_block.resnets.0.conv1"
    assert "The VAE of" in str(error)


def test_step_points_and_rounds_are_named(model: DiffusionModel, small: PromptSettings) -> None:
    matcher = PromptMatcher(model, small)
    query = matcher.describe(IMAGE, [(20, 20)])
    with broken(model.unet, "conv_in", math.inf):
        described = _trouble(lambda: matcher.describe(IMAGE, [(20, 20), (30, 30)]))
        located = _trouble(lambda: matcher.locate(query, IMAGE))
    assert str(described).startswith("At step 1 of 2, points 1 to 2, rounds 1 to 2: The U-Net of")
    assert "crop 1 of 4, point 1, rounds 1 to 2" in str(located)
    assert (described.layer, located.layer) == ("conv_in", "conv_in")


def test_too_long_a_step_is_reported(model: DiffusionModel, small: PromptSettings) -> None:
    """The embeddings are finite after it, and what the network makes of them is not."""
    matcher = PromptMatcher(model, override(small, lr=3e37))
    error = _trouble(lambda: matcher.describe(IMAGE, [(20, 20)]))
    assert str(error).startswith("At step 2 of 2, point 1, rounds 1 to 2: ")
    assert error.layer is not None
    assert ".attn2" in error.layer


@pytest.mark.parametrize("kind", ["vit", "dinov2", "dinov3_vit"])
def test_a_bad_weight_of_a_vision_transformer_is_located(tmp_path: Path, kind: str) -> None:
    folder = save_folder(tmp_path / kind, kind)
    model = VisionModel.from_pretrained(folder, device="cpu")
    name, module = [(name, one) for name, one in model.network.named_modules() if isinstance(one, nn.Linear)][5]
    with torch.no_grad():
        module.weight[0, 0] = math.nan
    error = _trouble(lambda: model.features(IMAGE.tensor(), layer=-1))
    assert error.layer == name


def test_an_image_of_finite_numbers_passes(model: DiffusionModel, small: PromptSettings) -> None:
    black = Image(pixels=np.zeros((64, 64, 3), dtype=np.uint8))
    assert PromptMatcher(model, small).describe(black, [(20, 20)]).warnings == ()
