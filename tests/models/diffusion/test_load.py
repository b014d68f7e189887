"""Checkpoints in folders: what loads, what is refused, and how the refusal reads."""

import json
import logging
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from closeness import assert_close_to_scale
from models.diffusion.networks import SMALL, UNETS, inputs, make_unet, save_checkpoint
from semcorr.errors import ModelError
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.load import bundled_folder
from tools.toy_model.networks import build_text_encoder, build_tokenizer

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    """A checkpoint to damage."""
    return Path(shutil.copytree(small, tmp_path / "copy"))


def load(model: str | Path) -> DiffusionModel:
    return DiffusionModel.from_pretrained(model, device="cpu")


def refusal(model: str | Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(model)
    return str(caught.value)


def test_loading_is_quiet(copy: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(copy)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_folder_without_a_scheduler_gets_stable_diffusions(copy: Path) -> None:
    shutil.rmtree(copy / "scheduler")
    model = load(copy)
    assert model.prediction_type == "epsilon"
    kept = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    np.testing.assert_allclose(model.scheduler.alphas_cumprod.numpy(), kept, rtol=1e-4)


def test_the_toy_says_so_itself(copy: Path) -> None:
    (copy / "semcorr.json").write_text('{"family": "toy"}')
    model = load(copy)
    assert model.family == "toy"
    assert model.default_layers == ("up/2", "up/1")


@pytest.mark.parametrize(
    ("file", "content", "tokens"),
    [
        ("text_encoder/config.json", {"max_position_embeddings": 32}, 32),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 28}, 28),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 10**30}, 77),
        ("model_index.json", {}, 77),
    ],
)
def test_the_context_is_as_long_as_the_text_encoder_takes(
    copy: Path, file: str, content: dict[str, int], tokens: int
) -> None:
    (copy / file).parent.mkdir(exist_ok=True)
    (copy / file).write_text(json.dumps(content))
    assert load(copy).context_tokens == tokens


@torch.no_grad()
def test_shards_and_half_precision_variants_are_the_same_model(small: Path, tmp_path: Path) -> None:
    whole = load(small)
    unet = make_unet("sd1", **SMALL["sd1"])
    for name in ("shards", "variant"):
        shutil.copytree(small, tmp_path / name)
        (tmp_path / name / "unet" / WEIGHTS).unlink()
    unet.save_pretrained(tmp_path / "shards" / "unet", max_shard_size="2MB")
    unet.half().save_pretrained(tmp_path / "variant" / "unet", variant="fp16")
    assert len(list((tmp_path / "shards" / "unet").glob("*.safetensors"))) > 2
    sharded, variant = load(tmp_path / "shards"), load(tmp_path / "variant")
    assert sharded.fingerprint == whole.fingerprint
    assert variant.dtype == torch.float32
    noisy, context = inputs(whole)
    layers = whole.select_layers()
    maps = [model.attention(noisy, 140, context, layers) for model in (whole, sharded, variant)]
    for name, expected in maps[0].items():
        assert_close_to_scale(maps[1][name], expected)
        torch.testing.assert_close(maps[2][name], expected, rtol=0.05, atol=1e-3)


def test_fingerprints_tell_models_apart(small: Path, copy: Path) -> None:
    first = load(small).fingerprint
    assert len(first) == 64
    assert load(copy).fingerprint == first
    # Any one tensor, however small ...
    file = copy / "vae" / WEIGHTS
    weights = load_file(file)
    weights["quant_conv.bias"][0] += 1e-3
    save_file(weights, file)
    second = load(copy).fingerprint
    # ... or a setting that the weights do not tell.
    config = json.loads((copy / "unet" / "config.json").read_text())
    (copy / "unet" / "config.json").write_text(json.dumps(config | {"attention_head_dim": 4}))
    assert len({first, second, load(copy).fingerprint}) == 3


def test_unknown_names() -> None:
    assert "Unknown model 'tyo'. Did you mean 'toy'?" in refusal("tyo")
    assert "Expected a bundled model (toy, toy-plain), a folder that diffusers saved" in refusal("stable-diffusion")
    for path in ("./no/such", "no/such/folder", "sd.safetensors", Path("sd")):
        assert f"There is no model at {str(path)!r}: no such file or folder." in refusal(path)


def test_a_bundled_model_that_is_not_installed() -> None:
    with pytest.raises(ModelError, match="The bundled model 'toy-huge' is not part of this installation"):
        bundled_folder("toy-huge")


def test_a_folder_that_is_no_checkpoint(tmp_path: Path, copy: Path) -> None:
    assert "it has no unet/ folder" in refusal(tmp_path)
    (copy / "vae" / WEIGHTS).unlink()
    assert f"vae/{WEIGHTS} is missing" in refusal(copy)
    (copy / "unet" / "config.json").unlink()
    assert "unet/config.json is missing" in refusal(copy)


def test_a_revision_of_what_is_here_already(copy: Path) -> None:
    for model in (copy, "toy"):
        with pytest.raises(ModelError, match="has no revision 'v2': only hub ids take a revision"):
            DiffusionModel.from_pretrained(model, revision="v2")


@torch.no_grad()
def test_the_names_of_the_first_releases_are_understood(small: Path, copy: Path) -> None:
    """Stable Diffusion 1.4's VAE was saved when its attention's weights had other names."""
    file = copy / "vae" / WEIGHTS
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(file)
    for name in [name for name in weights if ".attentions." in name]:
        renamed = name
        for now, then in old.items():
            renamed = renamed.replace(f".{now}.", f".{then}.")
        weights[renamed] = weights.pop(name)
    assert sum(".query." in name for name in weights) == 4
    save_file(weights, file)
    # Its configuration knew little of what has been added since.
    config = json.loads((copy / "unet" / "config.json").read_text())
    kept = {key: config[key] for key in UNETS["sd1"] | SMALL["sd1"]} | {
        "_class_name": "UNet2DConditionModel",
        "sample_size": 16,
    }
    (copy / "unet" / "config.json").write_text(json.dumps(kept))
    (copy / "scheduler" / "scheduler_config.json").write_text(
        json.dumps(
            {
                "_class_name": "PNDMScheduler",
                "beta_end": 0.012,
                "beta_schedule": "scaled_linear",
                "beta_start": 0.00085,
                "num_train_timesteps": 1000,
                "set_alpha_to_one": False,
                "skip_prk_steps": True,
                "steps_offset": 1,
                "trained_betas": None,
            }
        )
    )
    images = torch.rand(1, 3, 64, 64)
    now, then = load(small), load(copy)
    assert_close_to_scale(then.encode(images), now.encode(images))
    noisy, context = inputs(now)
    layers = now.select_layers()
    expected = now.attention(noisy, 140, context, layers)
    for name, actual in then.attention(noisy, 140, context, layers).items():
        assert_close_to_scale(actual, expected[name])
    assert then.timestep(8) == 140


class _Bomb:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.flag,)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.ckpt"])
def test_pickles_are_never_read(copy: Path, tmp_path: Path, name: str) -> None:
    flag = tmp_path / "was-run"
    (copy / "unet" / WEIGHTS).unlink()
    (copy / "unet" / name).write_bytes(pickle.dumps(_Bomb(flag)))
    message = refusal(copy)
    assert f"the weights in unet/ are pickled ({name})" in message
    assert "only safetensors are" in message
    alone = tmp_path / "sd.ckpt"
    alone.write_bytes(pickle.dumps(_Bomb(flag)))
    assert "is a pickle" in refusal(alone)
    assert not flag.exists()


def test_files_of_other_kinds(tmp_path: Path) -> None:
    image = tmp_path / "cat.png"
    image.write_bytes(b"")
    assert "is not a model: expected a folder or a .safetensors file" in refusal(image)


@pytest.mark.parametrize("part", ["unet", "vae"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "header", "noise"])
def test_damaged_weights(copy: Path, part: str, damage: str) -> None:
    file = copy / part / WEIGHTS
    good = file.read_bytes()
    file.write_bytes(
        {
            "truncated": good[: len(good) // 2],
            "empty": b"",
            "header": (2**40).to_bytes(8, "little") + good[8:],
            "noise": bytes(range(256)) * 64,
        }[damage]
    )
    message = refusal(copy)
    assert message.startswith(f"The {part} of {copy} cannot be read: ")
    assert "Its files are damaged, incomplete or of another kind of network; fetch them again." in message


def test_weights_that_are_missing_do_not_become_random_numbers(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = copy / "unet" / WEIGHTS
    weights = load_file(file)
    del weights["mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"]
    save_file(weights, file)
    assert "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight" in refusal(copy)
    assert capfd.readouterr() == ("", "")


def test_damaged_configurations(copy: Path) -> None:
    for part, content in (("unet", "{"), ("unet", '{"sample_size": "x", "block_out_channels": 3}'), ("scheduler", "{")):
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        good = (copy / part / name).read_text()
        (copy / part / name).write_text(content)
        assert "cannot be read" in refusal(copy)
        (copy / part / name).write_text(good)


def test_networks_of_another_kind(copy: Path) -> None:
    shutil.rmtree(copy / "unet")
    shutil.copytree(copy / "vae", copy / "unet")
    assert "its configuration is of AutoencoderKL, expected UNet2DConditionModel" in refusal(copy)


def add_text(folder: Path, sdxl: bool = False) -> Path:
    torch.manual_seed(3)
    build_tokenizer().save_pretrained(folder / "tokenizer")
    build_text_encoder().save_pretrained(folder / "text_encoder")
    if sdxl:
        shutil.copytree(folder / "tokenizer", folder / "tokenizer_2")
        config = CLIPTextConfig.from_pretrained(folder / "text_encoder", hidden_size=64, projection_dim=64)
        CLIPTextModelWithProjection(config).save_pretrained(folder / "text_encoder_2")
    return folder


@torch.no_grad()
def test_prompts_are_encoded_by_the_checkpoints_own_encoder(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = load(add_text(copy))
    assert model.context_tokens == 32
    capfd.readouterr()
    context = model.encode_text(["a cat with a red tail", ""])
    assert capfd.readouterr() == ("", "")
    assert context.shape == (2, 32, 128)
    ids = build_tokenizer()(["a cat with a red tail", ""], padding="max_length", max_length=32, return_tensors="pt")
    encoder = CLIPTextModel.from_pretrained(copy / "text_encoder").eval()
    assert_close_to_scale(context, encoder(ids["input_ids"]).last_hidden_state)


@torch.no_grad()
def test_sdxl_puts_two_encoders_side_by_side(tmp_path: Path) -> None:
    folder = add_text(save_checkpoint(tmp_path / "sdxl", "sdxl", **SMALL["sdxl"]), sdxl=True)
    context = load(folder).encode_text(["a cat"])
    assert context.shape == (1, 32, 128 + 64)
    ids = build_tokenizer()(["a cat"], padding="max_length", max_length=32, return_tensors="pt")["input_ids"]
    second = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2").eval()
    expected = second(ids, output_hidden_states=True).hidden_states[-2]
    assert_close_to_scale(context[..., 128:], expected)


def test_a_checkpoint_without_a_text_encoder_says_so(copy: Path) -> None:
    model = load(copy)
    with pytest.raises(ModelError, match="it has no text_encoder/ folder"):
        model.encode_text(["a cat"])
