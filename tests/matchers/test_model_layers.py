"""What is listed of a network's layers: sizes are those of what the network puts out, and settings select them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.diffusion.networks import save_checkpoint
from models.diffusion.transformer_networks import JOINT, SIBLINGS, TRANSFORMERS, save_transformer
from models.dino.networks import DIM, save_folder
from semcorr.errors import ModelError
from semcorr.matchers.features import dino
from semcorr.matchers.features.dift import published
from semcorr.matchers.model_layers import ReadableLayer, layers_of, layers_of_model
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.dino import VisionModel

# The topology of Stable Diffusion 1.x is that of the recorded network, below, and the transformers' blocks are alike.
QUICK = ("toy", "sana", "sd3")
OTHERS = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("sd1", *TRANSFORMERS, *JOINT)
    if name not in (*QUICK, *SIBLINGS)
]


def load(family: str, folder: Path) -> DiffusionModel:
    save = save_checkpoint if family == "sd1" else save_transformer
    return DiffusionModel.from_pretrained("toy" if family == "toy" else save(folder, family), device="cpu")


@pytest.mark.parametrize("family", [*QUICK, *OTHERS])
def test_sizes_and_rules_are_the_networks_own(family: str, tmp_path: Path) -> None:
    model = load(family, tmp_path)
    listed = layers_of(model)
    for file in tmp_path.glob("*/*.safetensors"):
        file.unlink()
    assert layers_of_model(model.model_id) == listed  # without a weight
    side = model.network.sample_size
    assert (listed.family, listed.resolution) == (family, side * model.vae_factor)
    attention = [layer for layer in listed.layers if layer.method == "prompt"]
    blocks, taps = ([one for one in listed.layers if one.setting == setting] for setting in ("block", "tap"))
    assert len(attention) + len(blocks) + len(taps) == len(listed.layers)

    context = torch.zeros(1, model.context_tokens, model.context_dim)
    noisy = torch.zeros(1, model.vae.config.latent_channels, side, side)
    with torch.no_grad():
        maps = model.attention(noisy, 1, context, model.layers)
        read = model.read_taps(noisy, 1, context, model.network.taps)
    assert {layer.value: (layer.dim, layer.height, layer.width) for layer in taps} == {
        name: tuple(one.values.shape[1:]) for name, one in read.items()
    }
    assert len({layer.value for layer in taps}) == len(taps)
    assert {layer.name: (1, layer.heads, 1, layer.height, layer.width) for layer in attention} == {
        name: tuple(value.shape) for name, value in maps.items()
    }
    for layer in attention:
        assert layer.setting == "layers"
        assert [selected.name for selected in model.select_layers([str(layer.value)])] == [layer.name]
    assert [layer.name for layer in attention if layer.default] == [layer.name for layer in model.select_layers()]

    sizes = [tuple(model.features(noisy, 1, context, block).shape[1:]) for block in range(model.network.blocks)]
    assert [(layer.dim, layer.height, layer.width) for layer in blocks] == sizes
    assert [(layer.setting, layer.value) for layer in blocks] == [("block", number) for number in range(len(sizes))]
    defaults = [layer.value for layer in blocks if layer.default]
    assert defaults == [number for number in range(len(sizes)) if number == published(family).block]


def test_blocks_of_a_vision_transformer(tmp_path: Path) -> None:
    model = VisionModel.from_pretrained(save_folder(tmp_path, "dinov2"), device="cpu")
    listed = layers_of(model)
    assert listed.resolution == 32
    one = ReadableLayer(method="dino", name="block 0", setting="layer", value=0, height=8, width=8, dim=DIM)
    assert tuple(model.features(torch.zeros(3, 32, 32), layer=0).shape) == (one.dim, one.height, one.width)
    others = [replace(one, name=f"block {number}", value=number, default=number == 3) for number in range(1, 4)]
    assert listed.layers == (one, *others)
    assert "token, key, query, value; by default token" in listed.note


def test_a_default_that_a_network_is_too_small_for_is_none(tmp_path: Path) -> None:
    listed = layers_of_model(save_folder(tmp_path, "vit"))
    assert dino.published("vit").layer == 9
    assert [layer.default for layer in listed.layers] == [False] * 4


def test_blocks_of_a_convolutional_network_at_the_finest_of_its_sides() -> None:
    listed = layers_of_model("lite0")
    assert listed.resolution == 512
    assert [layer.value for layer in listed.layers] == [f"{number}@512" for number in range(16)]
    assert [layer.name for layer in listed.layers if layer.default] == ["block 10", "block 14"]
    sizes = {(layer.value, layer.dim, layer.height, layer.width) for layer in listed.layers}
    # EfficientNet-Lite0's published widths, at strides of 16 and 32.
    assert {("10@512", 112, 32, 32), ("15@512", 320, 16, 16)} <= sizes


def test_a_collection_has_nothing_to_choose(tmp_path: Path) -> None:
    (tmp_path / "collection.json").write_text("{}")
    with pytest.raises(ModelError, match="has no layers to choose from"):
        layers_of_model(tmp_path)
