"""One .safetensors file in the original layout gives the same network as the folder it was made from."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from closeness import assert_close_to_scale
from models.diffusion.networks import FAMILIES, SMALL, inputs, make_unet, make_vae
from models.diffusion.original_layout import original_names, original_weights, unet_name, vae_name
from semcorr.errors import ModelError
from semcorr.models.diffusion import FAMILIES as PUBLISHED
from semcorr.models.diffusion import DiffusionModel, select_layers
from semcorr.models.diffusion.layers import cross_attention_layers
from semcorr.models.diffusion.load_single_file import _packaged, prediction_and_side, unet_widths, vae_widths

# Parameters of the released U-Nets and of their VAE, as published with them.
RELEASED = {"sd1": 859_520_964, "sd2": 865_910_724, "sdxl": 2_567_463_684}
RELEASED_VAE = 83_653_863


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("single")
    extra = {
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
        "model_ema.decay": torch.tensor(0.9999),
        "betas": torch.linspace(0, 1, 1000),
    }
    for family in FAMILIES:
        save_file(original_weights(make_unet(family), make_vae(family)) | extra, root / f"{family}.safetensors")
    return {family: root / f"{family}.safetensors" for family in FAMILIES}


def weights(family: str = "sd1") -> dict[str, Tensor]:
    return original_weights(make_unet(family, **SMALL[family]), make_vae(family))


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        DiffusionModel.from_pretrained(path, device="cpu")
    return str(caught.value)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_gives_the_networks_of_its_folder(
    files: dict[str, Path], models: dict[str, DiffusionModel], family: str, capfd: pytest.CaptureFixture[str]
) -> None:
    single = DiffusionModel.from_pretrained(files[family], device="cpu")
    assert capfd.readouterr() == ("", "")
    folder = models[family]
    assert single.family == family
    assert single.layers == folder.layers
    assert (single.context_tokens, single.context_dim) == (77, folder.context_dim)
    assert single.resolution == {"sd1": 512, "sd2": 768, "sdxl": 1024}[family]
    assert single.prediction_type == folder.prediction_type
    noisy, context = inputs(folder)
    layers = folder.select_layers()
    expected = folder.attention(noisy, 140, context, layers)
    for name, actual in single.attention(noisy, 140, context, layers).items():
        assert_close_to_scale(actual, expected[name])
    images = torch.rand(1, 3, 64, 64)
    assert_close_to_scale(single.encode(images), folder.encode(images))
    torch.testing.assert_close(single.add_noise(noisy, noisy, 140), folder.add_noise(noisy, noisy, 140))


def test_half_precision_on_disk_and_in_memory(tmp_path: Path) -> None:
    save_file({name: value.half() for name, value in weights().items()}, tmp_path / "half.safetensors")
    full = DiffusionModel.from_pretrained(tmp_path / "half.safetensors", device="cpu")
    half = DiffusionModel.from_pretrained(tmp_path / "half.safetensors", dtype="float16", device="cpu")
    assert (full.unet.dtype, full.vae.dtype) == (torch.float32, torch.float32)
    assert (half.unet.dtype, half.vae.dtype) == (torch.float16, torch.float16)
    assert full.fingerprint == half.fingerprint


@pytest.mark.parametrize("family", FAMILIES)
def test_the_packaged_configurations_are_the_released_networks(family: str) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(_packaged(family, "unet"))
        vae = AutoencoderKL.from_config(_packaged(family, "vae"))
    assert sum(weight.numel() for weight in unet.parameters()) == RELEASED[family]
    assert sum(weight.numel() for weight in vae.parameters()) == RELEASED_VAE
    chosen = select_layers(cross_attention_layers(unet), PUBLISHED[family].layers)
    assert len(chosen) == (31 if family == "sdxl" else 4)
    # What is read from weights of those shapes is what the configurations say.
    names = original_names(unet)
    read = unet_widths({unet_name(names, name): value.shape for name, value in unet.state_dict().items()}, family)
    assert read == {key: _packaged(family, "unet")[key] for key in read}
    read = vae_widths({vae_name(name, 4): value.shape for name, value in vae.state_dict().items()})
    assert read == {key: _packaged(family, "vae")[key] for key in read}


@pytest.mark.parametrize(
    ("family", "name", "notes", "extra", "expected"),
    [
        ("sd1", "v1-5-pruned-emaonly.safetensors", {}, (), ("epsilon", 512)),
        ("sd2", "v2-1_768-ema-pruned.safetensors", {}, (), ("v_prediction", 768)),
        ("sd2", "v2-1_512-ema-pruned.safetensors", {}, (), ("epsilon", 512)),
        ("sd2", "512-base-ema.safetensors", {}, (), ("epsilon", 512)),
        ("sd2", "mine-base.safetensors", {"modelspec.prediction_type": "v"}, (), ("v_prediction", 512)),
        ("sd2", "mine.safetensors", {"modelspec.prediction_type": "epsilon"}, (), ("epsilon", 768)),
        ("sd2", "mine.safetensors", {"modelspec.resolution": "640x768"}, (), ("v_prediction", 640)),
        ("sdxl", "sd_xl_base_1.0.safetensors", {"modelspec.resolution": "1024x1024"}, (), ("epsilon", 1024)),
        ("sdxl", "mine.safetensors", {}, ("v_pred",), ("v_prediction", 1024)),
    ],
)
def test_prediction_and_side_from_what_there_is(
    family: str, name: str, notes: dict[str, str], extra: tuple[str, ...], expected: tuple[str, int]
) -> None:
    assert prediction_and_side(family, name, notes, dict.fromkeys(extra, (0,))) == expected


def test_metadata_reach_the_model(tmp_path: Path) -> None:
    notes = {"modelspec.prediction_type": "epsilon", "modelspec.resolution": "512x512"}
    save_file(weights("sd2"), tmp_path / "mine.safetensors", metadata=notes)
    model = DiffusionModel.from_pretrained(tmp_path / "mine.safetensors", device="cpu")
    assert (model.prediction_type, model.resolution) == ("epsilon", 512)


def test_only_whole_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    whole = weights()
    save_file({name: value for name, value in whole.items() if name.startswith("model.")}, path)
    assert "it has no weights named first_stage_model.*. Adapters" in refusal(path)
    save_file({"lora_unet_down_blocks_0.lora_up.weight": torch.zeros(2, 2)}, path)
    assert "model.diffusion_model.* or first_stage_model.*" in refusal(path)
    lacking = "model.diffusion_model.output_blocks.3.1.transformer_blocks.0.attn2.to_k.weight"
    save_file({name: value for name, value in whole.items() if name != lacking}, path)
    assert f"The U-Net of {path} cannot be read: ValueError: some of its weights are missing" in refusal(path)


@pytest.mark.parametrize("length", [0, 7, 1000, -100])
def test_damaged_files(files: dict[str, Path], tmp_path: Path, length: int) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(files["sd1"].read_bytes()[:length])
    message = refusal(path)
    assert message.startswith(f"The file of {path} cannot be read: ")
    assert len(message.splitlines()) == 2


def test_a_file_cannot_encode_prompts(files: dict[str, Path]) -> None:
    model = DiffusionModel.from_pretrained(files["sd1"], device="cpu")
    with pytest.raises(ModelError, match="carries no text_encoder or tokenizer"):
        model.encode_text(["a cat"])
