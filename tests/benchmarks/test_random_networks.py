import json
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler

from benchmarks import random_networks
from benchmarks.command import main
from models.diffusion.networks import make_unet, make_vae
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.memory_needs import network_weights


def test_the_networks_are_stable_diffusions_to_the_last_weight():
    with torch.device("meta"):  # shapes without memory
        unet, vae, scheduler = random_networks.networks()
    assert sum(weight.numel() for weight in unet.parameters()) == 859_520_964
    assert sum(weight.numel() for weight in vae.parameters()) == 83_653_863
    assert unet.config.block_out_channels == [320, 640, 1280, 1280]
    assert (unet.config.sample_size, unet.config.cross_attention_dim, unet.config.attention_head_dim) == (64, 768, 8)
    assert (vae.config.scaling_factor, vae.config.latent_channels) == (0.18215, 4)
    assert (scheduler.config.beta_schedule, scheduler.config.num_train_timesteps) == ("scaled_linear", 1000)
    assert (scheduler.config.beta_start, scheduler.config.beta_end) == (0.00085, 0.012)


def test_the_configuration_of_flux_has_no_weights(tmp_path: Path):
    assert main(random_networks.app, ["flux", str(tmp_path)]) == 0
    assert sorted(file.name for file in tmp_path.glob("*/*")) == ["config.json", "config.json"]
    width, context, hidden = 3072, 4096, 4 * 3072
    square, norms = (width + 1) * width, 2 * 128  # of queries and keys of a head
    # Both streams: query, key, value and output, two layers of the MLP, modulation by six vectors.
    double = 2 * (10 * square + (width + 1) * hidden + (hidden + 1) * width + norms)
    single = 6 * square + (width + 1) * hidden + (width + hidden + 1) * width + norms
    # Of time, guidance and pooled text; then image and context, and the last layer and its norm.
    embeddings = 257 * 2 * width + 769 * width + 3 * square
    ends = 65 * width + (context + 1) * width + (width + 1) * 64 + 2 * square
    assert network_weights(tmp_path).all == 19 * double + 38 * single + embeddings + ends


def test_another_topology_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(random_networks, "UNET_PARAMETERS", 1)
    with torch.device("meta"), pytest.raises(Exception, match=r"859,520,964 weights, Stable Diffusion 1\.4 1"):
        random_networks.networks()


def test_the_folder_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    small = make_unet("sd1"), make_vae("sd1"), DDIMScheduler(beta_schedule="scaled_linear")
    monkeypatch.setattr(random_networks, "networks", lambda: small)
    folder = tmp_path / "model"
    assert main(random_networks.app, ["full-size", str(folder)]) == 0
    model = DiffusionModel.from_pretrained(folder, device="cpu")
    assert (model.family, model.context_tokens) == ("sd1", 77)
    assert json.loads((folder / "scheduler" / "scheduler_config.json").read_text())["beta_schedule"] == "scaled_linear"
    assert main(random_networks.app, ["full-size", str(folder)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_in_memory_it_is_a_model(monkeypatch: pytest.MonkeyPatch):
    small = make_unet("sd1"), make_vae("sd1"), DDIMScheduler()
    monkeypatch.setattr(random_networks, "networks", lambda: small)
    model = random_networks.full_size_model("bfloat16", "cpu")
    assert (model.model_id, model.dtype, model.family) == ("full-size", torch.bfloat16, "sd1")
    with pytest.raises(Exception, match="has no text_encoder or tokenizer"):
        model.encode_text(["a cat"])
