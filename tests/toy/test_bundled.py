"""The models that come along: they load, fit their size, and know what their card says."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.load import bundled_folder
from semcorr.toy.render import render_scene
from tools.toy_model.recipe import Recipe, psnr

RECIPES = {
    "toy": Recipe(),
    "toy-plain": Recipe(grounding=0, colourless=0, final_steps=3300, again_steps=0, bottom=160),
}
NAMES = tuple(RECIPES)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name: str) -> DiffusionModel:
    return DiffusionModel.from_pretrained(name, device="cpu")


def test_all_weights_together_are_at_most_40_mb() -> None:
    files = list(bundled_folder("toy").parent.rglob("*.safetensors"))
    assert {f.parent.parent.name for f in files} == set(NAMES)
    assert sum(f.stat().st_size for f in files) <= 40e6


def test_recipes(name: str) -> None:
    """What ships is what the default recipe makes, and the plain twin had as many steps of the U-Net."""
    facts = json.loads((bundled_folder(name) / "semcorr.json").read_text(encoding="utf-8"))
    # Settings that came later have the values that they had before there were any.
    assert asdict(Recipe()) | facts["recipe"] == asdict(RECIPES[name])
    assert facts["recipe"].keys() >= {"unet_steps", "final_steps", "again_steps", "grounding", "colourless", "bottom"}
    steps = [r.unet_steps + r.final_steps + r.again_steps for r in RECIPES.values()]
    assert steps[0] == steps[1]


def test_a_card_comes_along(name: str) -> None:
    card = (bundled_folder(name) / "README.md").read_text(encoding="utf-8")
    assert "photograph" in card


def test_shape(model: DiffusionModel) -> None:
    assert (model.family, model.resolution, model.vae_factor) == ("toy", 64, 4)
    assert (model.context_tokens, model.context_dim, model.prediction_type) == (32, 128, "v_prediction")
    assert [(layer.section, layer.scale) for layer in model.layers] == [
        ("down", 1), ("down", 2), ("mid", 4), ("up", 2), ("up", 2), ("up", 1), ("up", 1),
    ]  # fmt: skip


def test_autoencoder_keeps_held_out_drawings(model: DiffusionModel) -> None:
    images = np.stack([render_scene(seed, 64, split="test").image for seed in range(32)])
    assert psnr(model.vae, images) >= 27


def _latents(model: DiffusionModel, seeds: range) -> torch.Tensor:
    images = np.stack([render_scene(seed, 64, split="test").image for seed in seeds])
    return model.encode(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)


@pytest.mark.slow
def test_unet_denoises_better_with_the_caption(model: DiffusionModel) -> None:
    """Velocity v = sqrt(abar) eps - sqrt(1 - abar) z, computed here from the noise schedule's definition."""
    seeds = range(32)
    clean = _latents(model, seeds)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = torch.cumprod(1 - betas, 0)[600]
    noisy, velocity = kept**0.5 * clean + (1 - kept) ** 0.5 * noise, kept**0.5 * noise - (1 - kept) ** 0.5 * clean
    captions = [render_scene(seed, 64, split="test").caption for seed in seeds]
    with torch.no_grad():
        errors = {
            kind: float((model.unet(noisy, 600, model.encode_text(text)).sample - velocity).square().mean())
            for kind, text in (("own", captions), ("other", captions[1:] + captions[:1]), ("none", [""] * 32))
        }
    assert errors["own"] < errors["none"] < errors["other"]
    assert errors["own"] < 0.6 * float(velocity.square().mean())
