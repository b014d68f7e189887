"""Latents, noise, time steps, precisions, prompts: all that a method asks of the model besides maps."""

import inspect
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from closeness import assert_close_to_scale
from models.diffusion.networks import inputs, make_scheduler, whole_unet_maps
from semcorr.errors import ModelError, SettingsError
from semcorr.models.device import find_device, find_dtype
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.checkpoint import make_schedule


def test_what_the_checkpoints_say_of_themselves(models: dict[str, DiffusionModel]) -> None:
    assert {name: model.family for name, model in models.items()} == {name: name for name in models}
    assert {model.resolution for model in models.values()} == {128}
    assert [models[name].context_dim for name in ("sd1", "sd2", "sdxl")] == [24, 40, 56]
    assert [models[name].prediction_type for name in ("sd1", "sd2", "sdxl")] == ["epsilon", "v_prediction", "epsilon"]
    assert not any(weight.requires_grad for model in models.values() for weight in model.unet.parameters())
    assert not any(model.unet.training or model.vae.training for model in models.values())


def test_timesteps_count_from_the_clean_end(models: dict[str, DiffusionModel]) -> None:
    model = models["sd1"]
    # diffusers' own list, without the offset that Stable Diffusion's configuration adds.
    scheduler = make_scheduler("sd1")
    scheduler.set_timesteps(50)
    assert [model.timestep(step) for step in range(1, 51)] == scheduler.timesteps.flip(0).tolist()
    assert model.timestep(8, 50) == 140
    assert model.timestep(1000, 1000) == 999


@pytest.mark.parametrize(("step", "of"), [(0, 50), (51, 50), (1, 0), (1, 1001)])
def test_timesteps_that_are_not_there(models: dict[str, DiffusionModel], step: int, of: int) -> None:
    with pytest.raises(SettingsError, match="Expected a s"):
        models["sd1"].timestep(step, of)


def test_noise_by_the_closed_form(model: DiffusionModel) -> None:
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = np.cumprod(1 - betas)
    z, noise = torch.randn(2, 4, 8, 6), torch.rand(2, 4, 8, 6)
    for t in (0, 140, 999):
        expected = kept[t] ** 0.5 * z + (1 - kept[t]) ** 0.5 * noise
        torch.testing.assert_close(model.add_noise(z, noise, t), expected, rtol=0, atol=1e-5)
    with pytest.raises(SettingsError, match="from 0 to 999, got 1000"):
        model.add_noise(z, noise, 1000)


def test_a_schedule_of_its_own_is_kept() -> None:
    linear = make_schedule({"_class_name": "EulerDiscreteScheduler", "beta_schedule": "linear", "beta_end": 0.02})
    expected = np.cumprod(1 - np.linspace(0.00085, 0.02, 1000))
    np.testing.assert_allclose(linear.alphas_cumprod.numpy(), expected, rtol=1e-4)


def test_encoding_is_the_scaled_mean(model: DiffusionModel) -> None:
    images = torch.rand(2, 3, 64, 96)
    latents = model.encode(images)
    assert latents.shape == (2, 4, 8, 12)
    assert latents.dtype == torch.float32
    moments = model.vae.quant_conv(model.vae.encoder(2 * images - 1))
    expected = moments[:, :4] * {"sd1": 0.18215, "sd2": 0.18215, "sdxl": 0.13025}[model.family]
    assert_close_to_scale(latents, expected)
    assert torch.equal(latents, model.encode(images))
    assert not model.encode(images.requires_grad_()).requires_grad


def test_a_shift_is_taken_off_before_scaling(small: Path) -> None:
    model = DiffusionModel.from_pretrained(small, device="cpu")
    images = torch.rand(1, 3, 32, 32)
    plain = model.encode(images)
    model.vae.register_to_config(shift_factor=0.5)
    assert_close_to_scale(model.encode(images), plain - 0.5 * 0.18215)


@torch.no_grad()
@pytest.mark.parametrize(
    ("family", "dtype", "of_the_vae"),
    # SDXL's VAE would overflow in float16.
    [("sd1", "float16", "float16"), ("sdxl", "float16", "float32"), ("sdxl", "bfloat16", "bfloat16")],
)
def test_half_precision_gives_nearly_the_same_maps_in_float32(
    models: dict[str, DiffusionModel], folders: dict[str, Path], family: str, dtype: str, of_the_vae: str
) -> None:
    half = DiffusionModel.from_pretrained(folders[family], dtype=dtype, device="cpu")
    assert half.dtype == getattr(torch, dtype)
    assert half.vae.dtype == getattr(torch, of_the_vae)
    assert half.fingerprint == models[family].fingerprint
    noisy, context = inputs(half)
    layers = half.select_layers()
    exact = models[family].attention(noisy, 140, context, layers)
    for name, attention in half.attention(noisy, 140, context, layers).items():
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention, exact[name], rtol=0.1, atol=2e-3 if dtype == "float16" else 2e-2)
    images = torch.rand(1, 3, 64, 64)
    latents = half.encode(images)
    assert latents.dtype == torch.float32
    torch.testing.assert_close(latents, models[family].encode(images), rtol=0.05, atol=5e-3)


def test_half_precision_has_gradients_in_float32(small: Path) -> None:
    half = DiffusionModel.from_pretrained(small, dtype="bfloat16", device="cpu")
    noisy, context = inputs(half)
    context.requires_grad_()
    maps = half.attention(noisy, 140, context, half.select_layers())
    sum((map_**2).sum() for map_ in maps.values()).backward()
    assert context.grad is not None
    assert context.grad.dtype == torch.float32
    assert context.grad.abs().max() > 0


@torch.no_grad()
def test_maps_do_not_depend_on_what_the_network_predicts(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "v")
    make_scheduler("sd2").save_pretrained(tmp_path / "v" / "scheduler")
    v, epsilon = (DiffusionModel.from_pretrained(path, device="cpu") for path in (tmp_path / "v", small))
    assert (v.prediction_type, epsilon.prediction_type) == ("v_prediction", "epsilon")
    latents, context = inputs(v)
    noise = torch.randn(latents.shape)
    both = [m.attention(m.add_noise(latents, noise, 140), 140, context, m.select_layers()) for m in (v, epsilon)]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])


@torch.no_grad()
def test_tokens_sum_to_one(model: DiffusionModel) -> None:
    noisy, context = inputs(model)
    maps = model.attention(noisy, 140, context, model.select_layers(), tokens=range(77))
    for attention in maps.values():
        torch.testing.assert_close(attention.sum(dim=2), torch.ones_like(attention[:, :, 0]))


@torch.no_grad()
def test_autocast_does_not_reach_the_scores(models: dict[str, DiffusionModel]) -> None:
    model = models["sd1"]
    noisy, context = inputs(model)
    layer = model.select_layers(["down/1:0"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attention = model.attention(noisy, 140, context, layer)[layer[0].name]
    assert attention.dtype == torch.float32
    # Rounded queries and keys, but sums over all tokens that are exact in float32.
    expected = whole_unet_maps(model, noisy, 140, context)[layer[0].name][..., 1]
    torch.testing.assert_close(attention.flatten(2), expected, rtol=0.1, atol=1e-2)


def test_rows_with_different_contexts_share_a_pass(model: DiffusionModel) -> None:
    noisy, context = inputs(model, batch=3)
    layers = model.select_layers()
    with torch.no_grad():
        together = model.attention(noisy, 140, context, layers)
        for row in range(3):
            alone = model.attention(noisy[[row]], 140, context[[row]], layers)
            for name, attention in alone.items():
                assert_close_to_scale(attention[0], together[name][row])


def test_contexts_and_tokens_that_do_not_fit(models: dict[str, DiffusionModel]) -> None:
    model = models["sd1"]
    noisy, context = inputs(model)
    with pytest.raises(ModelError, match="takes contexts 24 wide, got 25"):
        model.attention(noisy, 140, torch.zeros(2, 77, 25), model.layers[:1])
    for tokens in ((77,), (-1,), ()):
        with pytest.raises(ModelError, match="Expected tokens from 0 to 76"):
            model.attention(noisy, 140, context, model.layers[:1], tokens=tokens)


def test_saved_bytes_grow_with_the_size_and_the_layers(models: dict[str, DiffusionModel]) -> None:
    model = models["sd1"]
    down, default = model.select_layers(["down/4"]), model.select_layers()
    small = model.saved_bytes_per_row(default)
    assert small == model.saved_bytes_per_row(default, latent_size=(16, 16))
    # At the very least the probabilities of the four layers.
    assert small > sum(8 * 77 * (16 // layer.scale) ** 2 * 4 for layer in default)
    assert model.saved_bytes_per_row(down) < small
    assert 3 * small < model.saved_bytes_per_row(default, latent_size=(32, 32)) < 20 * small


def test_devices_and_precisions_that_are_not_there(folders: dict[str, Path]) -> None:
    # Below the check of types that the tests add, and that a caller does not have.
    device, dtype = (inspect.unwrap(function) for function in (find_device, find_dtype))
    with pytest.raises(ModelError, match=r"Unknown device 'tpu'. Expected auto, cpu, cuda or mps"):
        device("tpu")
    with pytest.raises(ModelError, match=r"Unknown precision 'int8'. Expected one of float32, float16, bfloat16"):
        dtype("int8")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match=r"Device 'cuda' was requested, but torch finds only .*cpu here"):
            DiffusionModel.from_pretrained(folders["sd1"], device="cuda")
