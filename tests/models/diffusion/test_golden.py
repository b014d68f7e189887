"""Against the record of the authors' own code: the same latent, the same noise, the same attention."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semcorr.models.diffusion import DiffusionModel

# The record numbers the cross-attentions with at most 32x32 queries within each part of the U-Net.
NAMES = {
    "down_0": "down_blocks.1.attentions.0",
    "down_1": "down_blocks.1.attentions.1",
    "down_2": "down_blocks.2.attentions.0",
    "down_3": "down_blocks.2.attentions.1",
    "mid_0": "mid_block.attentions.0",
    "up_0": "up_blocks.1.attentions.0",
    "up_1": "up_blocks.1.attentions.1",
    "up_2": "up_blocks.1.attentions.2",
    "up_3": "up_blocks.2.attentions.0",
    "up_4": "up_blocks.2.attentions.1",
    "up_5": "up_blocks.2.attentions.2",
}


@pytest.fixture(scope="module")
def record(golden: Path) -> dict[str, torch.Tensor]:
    return load_file(golden / "point.safetensors")


@pytest.fixture(scope="module")
def model(tiny_sd: Path) -> DiffusionModel:
    return DiffusionModel.from_pretrained(tiny_sd, device="cpu")


def test_the_model_is_what_the_folder_says(model: DiffusionModel) -> None:
    assert (model.family, model.resolution, model.vae_factor) == ("sd1", 512, 8)
    assert (model.context_tokens, model.context_dim) == (77, 64)
    assert len(model.layers) == 16
    # Steps 8 and 3 of 50, the two the authors' code uses.
    assert (model.timestep(8), model.timestep(3)) == (140, 40)


def test_the_default_layers_are_the_papers_seven_to_ten(model: DiffusionModel) -> None:
    chosen = model.select_layers()
    assert chosen == model.layers[7:11]
    assert [layer.name for layer in chosen] == [NAMES[f"up_{i}"] for i in range(4)]


def test_encoding_gives_the_recorded_latent(model: DiffusionModel, record: dict[str, torch.Tensor]) -> None:
    image = record["target_128"].repeat_interleave(4, 0).repeat_interleave(4, 1).permute(2, 0, 1) / 255
    torch.testing.assert_close(model.encode(image[None]), record["latent"], rtol=0, atol=2e-6)


def test_adding_noise_gives_the_recorded_mixture(model: DiffusionModel, record: dict[str, torch.Tensor]) -> None:
    noisy = model.add_noise(record["latent"], record["capture_noise"], 140)
    torch.testing.assert_close(noisy, record["noisy"], rtol=0, atol=1e-6)


@torch.no_grad()
def test_every_recorded_map_is_reproduced(model: DiffusionModel, record: dict[str, torch.Tensor]) -> None:
    layers = model.select_layers(list(NAMES.values()))
    maps = model.attention(record["noisy"], 140, record["contexts"][0, 0], layers)
    assert list(maps) == list(NAMES.values())
    for key, name in NAMES.items():
        # Only heads 4 to 7 were recorded.
        torch.testing.assert_close(maps[name][0, 4:, 0].flatten(1), record[f"attention/{key}"], rtol=0, atol=2e-5)
