"""What a checkpoint takes, computed from its configuration: the true bytes of the same network."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from models.diffusion.transformer_networks import save_transformer
from semcorr.errors import ModelError
from semcorr.models.counted_bytes import most_bytes
from semcorr.models.device import DType, find_dtype
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.empty_checkpoint import Configurations, has_configuration
from semcorr.models.diffusion.load import bundled_folder
from semcorr.models.diffusion.memory_needs import (
    MemoryNeeds,
    Weights,
    fits,
    memory_needs,
    network_weights,
)
from semcorr.models.memory import stored_bytes


def test_most_bytes_are_those_that_are_alive_at_once() -> None:
    image = torch.zeros(1000)
    layer = torch.nn.Linear(1000, 2000).requires_grad_(False)

    def chain() -> None:
        value = image
        for _ in range(20):
            value = value + 1  # the one before is still there
        layer(value)[:500].clone()

    # At once: two of a chain, then its last one and the layer's output, then these and a piece of it.
    for device in ("cpu", "meta"):
        image, layer = image.to(device), layer.to(device)
        assert most_bytes(chain, layer) == 4 * (1000 + 2000 + 500)


@pytest.mark.parametrize("family", ["pixart-sigma", "hunyuan-dit", "sd3"])
def test_bytes_are_those_of_the_network_though_no_weight_is_there(tmp_path: Path, family: str) -> None:
    folder = save_transformer(tmp_path / family, family)
    dtype: DType = "float32" if family == "sd3" else "bfloat16"
    plain, offloaded = (
        DiffusionModel.from_pretrained(folder, device="cpu", dtype=dtype, offload=offload) for offload in (False, True)
    )
    text = plain.text_encoder()._pairs
    for file in folder.glob("*/*.safetensors"):
        file.unlink()
    needs = memory_needs(folder, dtype=dtype)
    weights = list(plain.network.module.parameters())
    assert needs.network.bytes(dtype) == sum(map(stored_bytes, weights))
    assert needs.network.all == sum(weight.numel() for weight in weights)
    assert needs.vae * find_dtype(dtype).itemsize == sum(map(stored_bytes, plain.vae.parameters()))
    assert list(needs.text.values()) == [sum(one.numel() for one in network.parameters()) for _, network in text]
    assert offloaded.offloaded is not None
    staying = sum(own.nbytes for own in offloaded.network.module.parameters() if own.device.type != "meta")
    largest = max(sum(map(stored_bytes, layer.weights.values())) for layer in offloaded.offloaded.layers)
    assert needs.network.bytes(dtype, offload=True) == staying + largest
    assert needs.resolution == plain.resolution
    # A pass on the processor, with data.
    side, layers = plain.network.sample_size, plain.select_layers()
    noisy = torch.zeros(1, 4, side, side, dtype=plain.dtype)
    context = torch.zeros(1, needs.tokens, plain.context_dim, dtype=plain.dtype)

    def attention() -> None:
        with torch.no_grad():
            plain.attention(noisy, 1, context, layers)

    assert needs.forward == pytest.approx(most_bytes(attention, plain.network.module), rel=0.05)
    if needs.tokens == plain.context_tokens:  # what autograd saves is there at the end of the forward pass
        saved = plain.saved_bytes_per_row(layers, latent_size=(side, side))
        assert saved < needs.gradient < saved + 2 * needs.forward


def test_weights_of_a_u_net_are_those_in_its_file() -> None:
    with safe_open(bundled_folder("toy-plain") / "unet" / "diffusion_pytorch_model.safetensors", "pt") as file:
        weights = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    assert network_weights("toy-plain").all == weights


def test_ways_to_fit_and_what_each_saves() -> None:
    weights = Weights(all=1000, linear=640, rows=10, offloaded=900, largest=300)
    shared: dict[str, Any] = {"model_id": "a", "family": "sd3", "network": weights, "vae": 50, "text": {}}
    sizes: dict[str, Any] = {"resolution": 64, "tokens": 77, "encode": 30, "forward": 20, "gradient": 90}
    needs = [
        MemoryNeeds(dtype="float32", checkpointed=70, **shared, **sizes),
        MemoryNeeds(dtype="bfloat16", checkpointed=None, **shared, **sizes),
    ]
    assert {way.options: (way.network, way.forward, way.gradient) for way in fits(needs)} == {
        "--dtype float32": (4000, 4000 + 200 + 30, 4000 + 200 + 70),
        "--dtype bfloat16": (2000, 2000 + 100 + 30, 2000 + 100 + 90),
        "--dtype bfloat16 --quantize int8": (720 + 640 + 50, 1410 + 100 + 30, 1410 + 100 + 90),
        "--dtype bfloat16 --quantize nf4": (720 + 360, 1080 + 100 + 30, 1080 + 100 + 90),
        # What stays on the device, and the largest layer.
        "--dtype float32 --offload": (4000, 1600 + 200 + 30, 1600 + 200 + 70),
        "--dtype bfloat16 --offload": (2000, 800 + 100 + 30, 800 + 100 + 90),
        "--dtype bfloat16 --quantize int8 --offload": (1410, 800 + 100 + 30, 800 + 100 + 90),
    }


def test_only_configurations_are_downloaded() -> None:
    names = [
        f"{part}/{name}"
        for part in ("transformer", "vae", "text_encoder")
        for name in ("config.json", "model.safetensors")
    ]
    chosen = Configurations().choose("owner/name", [*names, "model_index.json", "README.md"])
    assert set(chosen) == {"model_index.json", *(name for name in names if name.endswith("config.json"))}
    with pytest.raises(ModelError, match="owner/name is not a diffusion checkpoint"):
        Configurations().choose("owner/name", ["vae/config.json"])


def test_what_has_no_whole_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"no configuration in .* expected a folder"):
        memory_needs(tmp_path / "one.safetensors")
    assert not has_configuration(tmp_path / "one.safetensors")
    for part, config, message in (
        ("transformer", {"_class_name": "PixArtTransformer2DModel", "num_layers": 10**9}, "has no vae/config.json"),
        ("vae", {}, "has 1,000,000,000 layers"),
    ):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config | {"sample_size": 16, "patch_size": 2}))
        with pytest.raises(ModelError, match=message):
            memory_needs(tmp_path)
