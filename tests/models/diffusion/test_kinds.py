"""Checkpoints of other kinds are refused by their name, and variants of files are chosen by theirs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from models.diffusion.networks import SMALL, UNETS, make_unet, make_vae, save_checkpoint
from models.diffusion.original_layout import UNET_ENDS, original_weights
from models.diffusion.test_load import WEIGHTS, add_text
from models.diffusion.transformer_networks import NETWORKS, make_transformer
from semcorr import load_matcher
from semcorr.errors import ModelError
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.kinds import kind_of_class, kind_of_weights
from semcorr.models.names import split_variant, with_variant

# SDXL's refiner as published: four levels, the outer two without attention; 1280 wide; five numbers of 256.
REFINER: dict[str, Any] = UNETS["sdxl"] | {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (32, 64, 64, 64),
    "attention_head_dim": (1, 1, 1, 1),
    "transformer_layers_per_block": 1,
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
}
OTHERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "refiner": ("sdxl", REFINER, "the SDXL refiner"),
    "refiner-narrow": ("sdxl", {"projection_class_embeddings_input_dim": 1280 + 5 * 256}, "the SDXL refiner"),
    "unclip-h": ("sd2", {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 2048}, "unCLIP"),
    "unclip-l": ("sd2", {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 1536}, "unCLIP"),
    "kolors": ("sdxl", {"projection_class_embeddings_input_dim": 4096 + 6 * 256}, "conditions it has, but Kolors'"),
    "wide": ("sdxl", {"projection_class_embeddings_input_dim": 4000 + 6 * 256}, "not SDXL's"),
    "inpainting": ("sd1", {"in_channels": 9}, "9 input channels where its VAE gives 4 (inpainting)"),
    "inpainting-2": ("sd2", {"in_channels": 9}, "(inpainting)"),
    "inpainting-xl": ("sdxl", {"in_channels": 9}, "(inpainting)"),
    "depth": ("sd2", {"in_channels": 5}, "5 input channels where its VAE gives 4 (depth-to-image)"),
    "pix2pix": ("sd1", {"in_channels": 8}, "such as InstructPix2Pix"),
    "labels": ("sd1", {"num_class_embeds": 10}, "takes class labels, as upscalers do"),
}


def refusal(model: str | Path, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        DiffusionModel.from_pretrained(model, device="cpu", **options)
    return str(caught.value)


# The number of channels is compared in the same way for each family.
@pytest.mark.parametrize("name", [name for name in OTHERS if name not in ("inpainting-2", "inpainting-xl")])
def test_folders_of_other_kinds(tmp_path: Path, name: str) -> None:
    family, changes, message = OTHERS[name]
    changes = SMALL[family] | changes
    if "in_channels" in changes:  # compared with the VAE's
        save_checkpoint(tmp_path, family, **changes)
    else:
        with torch.device("meta"):
            UNet2DConditionModel(**UNETS[family] | changes).save_config(tmp_path / "unet")
    assert message in refusal(tmp_path)


# What other numbers of channels are is said in the same way for folders.
@pytest.mark.parametrize("name", [name for name in OTHERS if name not in ("depth", "pix2pix")])
def test_single_files_of_other_kinds(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family, changes, message = OTHERS[name]
    unet = make_unet(family, **SMALL[family] | changes)
    if "class" in str(changes):
        # The original code base has one name for whatever is added to the time embedding.
        monkeypatch.setitem(UNET_ENDS, "class_embedding.linear_1", "label_emb.0.0")
        monkeypatch.setitem(UNET_ENDS, "class_embedding.linear_2", "label_emb.0.2")
        monkeypatch.setitem(UNET_ENDS, "class_embedding", "label_emb")
    save_file(original_weights(unet, make_vae(family)), tmp_path / "one.safetensors")
    assert message in refusal(tmp_path / "one.safetensors")


def test_sdxl_without_its_conditions_and_widths_of_two_families(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    for family, width, message in (
        ("sd2", 2048, "lacks SDXL's size conditions"),
        ("sd2", 768, "none of Stable Diffusion 1.x or 2.x"),
        ("sd1", 1024, "none of Stable Diffusion 1.x or 2.x"),
    ):
        unet = make_unet(family, cross_attention_dim=width, **SMALL[family])
        save_file(original_weights(unet, make_vae(family)), path)
        assert message in refusal(path)


@pytest.mark.parametrize(("family", "width"), [("sd1", 768), ("sd2", 1024), ("sdxl", 2048)])
def test_the_published_widths_are_taken(tmp_path: Path, family: str, width: int) -> None:
    pooled = {"projection_class_embeddings_input_dim": 1280 + 6 * 256} if family == "sdxl" else {}
    unet = make_unet(family, cross_attention_dim=width, **SMALL[family], **pooled)
    save_file(original_weights(unet, make_vae(family)), tmp_path / "one.safetensors")
    assert DiffusionModel.from_pretrained(tmp_path / "one.safetensors", device="cpu").family == family


def test_weights_that_would_be_ignored(small: Path, tmp_path: Path) -> None:
    whole = original_weights(make_unet("sd1", **SMALL["sd1"]), make_vae("sd1"))
    whole["model.diffusion_model.position_net.linears.0.weight"] = torch.zeros(2, 2)
    save_file(whole, tmp_path / "one.safetensors")
    assert "1 of its weights have no counterpart in the network" in refusal(tmp_path / "one.safetensors")
    copy = Path(shutil.copytree(small, tmp_path / "copy"))
    weights = load_file(copy / "unet" / WEIGHTS)
    save_file(weights | {"position_net.weight": torch.zeros(2)}, copy / "unet" / WEIGHTS)
    assert "1 weights have no counterpart in the network, the first is position_net.weight" in refusal(copy)


@pytest.mark.parametrize(
    ("weight", "kind"),
    [
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"),
        ("model.diffusion_model.double_blocks.0.img_attn.proj.weight", "Flux"),
        ("double_blocks.0.img_attn.proj.weight", "Flux"),
        ("single_transformer_blocks.0.attn.to_k.weight", "Flux"),
        ("adaln_single.linear.weight", "PixArt"),
        ("attention_y_norm.weight", "Sana"),
        ("model.diffusion_model.double_layers.0.attn.w1q.weight", "AuraFlow"),
        ("clip_txt_pooled_mapper.weight", "Stable Cascade"),
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "an adapter (LoRA)"),
        ("unet.down_blocks.0.attentions.0.to_k.lora_A.weight", "an adapter (LoRA)"),
        ("lora_unet_mid_block.hada_w1_a", "an adapter (LoRA)"),
        ("controlnet_cond_embedding.conv_in.weight", "a ControlNet"),
        ("control_model.input_hint_block.0.weight", "a ControlNet"),
        ("adapter.body.0.block1.weight", "a T2I adapter"),
        ("ip_adapter.1.to_k_ip.weight", "an IP-Adapter"),
        ("down_blocks.0.motion_modules.0.norm.weight", "a video model"),
        ("emb_params", "an embedding (textual inversion)"),
        ("first_stage_model.decoder.conv_in.weight", "an autoencoder (VAE) alone"),
        ("decoder.up.0.block.0.conv1.weight", "an autoencoder (VAE) alone"),
        ("text_model.embeddings.token_embedding.weight", "a text encoder alone"),
        ("blocks.0.attn.qkv.weight", "a diffusion transformer"),
    ],
)
def test_files_of_other_architectures_are_named(tmp_path: Path, weight: str, kind: str) -> None:
    save_file({weight: torch.zeros(2, 2)}, tmp_path / "one.safetensors")
    message = refusal(tmp_path / "one.safetensors")
    assert f"it looks like {kind}" in message
    assert "Expected a text-to-image network of Stable Diffusion 1.x, 2.x or SDXL (base)" in message


@pytest.mark.parametrize("family", NETWORKS)
def test_single_files_of_transformers_are_read_from_folders(tmp_path: Path, family: str) -> None:
    save_file(make_transformer(family).state_dict(), tmp_path / "one.safetensors")
    message = refusal(tmp_path / "one.safetensors")
    named = {"sd3": "Stable Diffusion 3", "hunyuan-dit": "Hunyuan", "lumina2": "Lumina"}
    kind = named.get(family) or ("Sana" if "sana" in family else None)
    assert f"it looks like {kind or ('Flux' if 'flux' in family else 'PixArt')}" in message
    assert "Transformers are read from folders and by hub ids" in message


def test_another_architecture_beside_stable_diffusions_vae(tmp_path: Path) -> None:
    vae = original_weights(make_unet("sd1", **SMALL["sd1"]), make_vae("sd1"))
    vae = {name: value for name, value in vae.items() if name.startswith("first_stage_model.")}
    save_file({"model.diffusion_model.joint_blocks.0.weight": torch.zeros(2), **vae}, tmp_path / "one.safetensors")
    assert "it looks like Stable Diffusion 3" in refusal(tmp_path / "one.safetensors")


def test_a_unet_as_diffusers_saves_it_has_a_use(small: Path) -> None:
    message = refusal(small / "unet" / WEIGHTS)
    assert "it looks like a U-Net alone" in message
    assert "CHECKPOINT+FILE.safetensors" in message


def test_the_families_own_weights_are_of_no_other_kind() -> None:
    for family in UNETS:
        names = list(original_weights(make_unet(family, **SMALL[family]), make_vae(family)))
        assert kind_of_weights(names, parts=False) == ""


@pytest.mark.parametrize(
    ("file", "content", "kind"),
    [
        ("model_index.json", {"_class_name": "StableDiffusion3Pipeline"}, "Stable Diffusion 3"),
        ("model_index.json", {"_class_name": "FluxPipeline"}, "Flux"),
        ("model_index.json", {"_class_name": "PixArtSigmaPipeline"}, "PixArt"),
        ("model_index.json", {"_class_name": "StableCascadePriorPipeline"}, "Stable Cascade"),
        ("model_index.json", {"_class_name": "IFPipeline"}, "DeepFloyd IF"),
        ("config.json", {"_class_name": "ControlNetModel"}, "a ControlNet"),
        ("config.json", {"_class_name": "AutoencoderKL"}, "an autoencoder alone"),
        ("config.json", {"architectures": ["CLIPTextModel"]}, "a text encoder alone"),
        ("adapter_config.json", {}, "an adapter (LoRA)"),
    ],
)
def test_folders_of_other_architectures_are_named(tmp_path: Path, file: str, content: object, kind: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(json.dumps(content))
    assert f"it has no unet/ folder (in {tmp_path}). It looks like {kind}" in refusal(tmp_path)


def test_a_unet_of_another_class(small: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small, tmp_path / "copy"))
    config = json.loads((copy / "unet" / "config.json").read_text())
    (copy / "unet" / "config.json").write_text(json.dumps(config | {"_class_name": "StableCascadeUNet"}))
    message = refusal(copy)
    assert "its configuration is of StableCascadeUNet, expected UNet2DConditionModel" in message
    assert "It looks like Stable Cascade" in message
    assert kind_of_class("StableDiffusionPipeline", "StableDiffusionXLPipeline", None, 3) == ""


def test_a_folder_that_holds_a_single_file(tmp_path: Path) -> None:
    path = tmp_path / "v1-5.safetensors"
    save_file(original_weights(make_unet("sd1", **SMALL["sd1"]), make_vae("sd1")), path)
    assert f"It holds {path}: name the file itself." in refusal(tmp_path)


def variant_of(folder: Path, variant: str) -> Path:
    """Rename a checkpoint's weights to a variant's."""
    for file in [*folder.glob("*/*.safetensors")]:
        file.rename(file.with_name(file.name.replace(".safetensors", f".{variant}.safetensors")))
    return folder


@pytest.mark.parametrize("variant", ["bf16", "non_ema", "ema", "fp32"])
def test_a_variant_is_said_and_can_be_chosen(small: Path, tmp_path: Path, variant: str) -> None:
    copy = variant_of(Path(shutil.copytree(small, tmp_path / "copy")), variant)
    message = refusal(copy)
    assert f"there is only the variant {variant} in unet/ (diffusion_pytorch_model.{variant}.safetensors)" in message
    assert f"variant={variant!r} in Python" in message
    assert f"--variant {variant} on the command line" in message
    assert "unet/ has no whole variant 'int8': there is " + variant in refusal(copy, variant="int8")
    # By this name a saved query, or a run, finds it again.
    assert DiffusionModel.from_pretrained(f"{copy}:{variant}", device="cpu").model_id == f"{copy}:{variant}"


def test_all_parts_of_a_model_are_of_its_variant(small: Path, tmp_path: Path) -> None:
    copy = variant_of(add_text(Path(shutil.copytree(small, tmp_path / "copy"))), "ema")
    loaded = DiffusionModel.from_pretrained(copy, variant="ema", device="cpu")
    assert loaded.fingerprint == DiffusionModel.from_pretrained(small, device="cpu").fingerprint
    assert loaded.encode_text(["a cat"]).shape == (1, 32, 128)
    matcher = load_matcher("dift", copy, variant="ema", device="cpu")
    assert matcher.identity()["model_id"] == f"{copy}:ema"


def test_the_plain_files_come_first_and_a_named_variant_before_them(small: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small, tmp_path / "copy"))
    make_unet("sd1", seed=9, **SMALL["sd1"]).save_pretrained(copy / "unet", variant="non_ema")
    plain, other = (DiffusionModel.from_pretrained(copy, variant=name, device="cpu") for name in (None, "non_ema"))
    assert plain.fingerprint == DiffusionModel.from_pretrained(small, device="cpu").fingerprint
    assert other.fingerprint != plain.fingerprint
    # The VAE has no such variant, and is read as usual.
    assert all(torch.equal(a, b) for a, b in zip(plain.vae.parameters(), other.vae.parameters(), strict=True))


def test_variants_in_shards_and_shards_that_are_missing(small: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small, tmp_path / "copy"))
    (copy / "unet" / WEIGHTS).unlink()
    make_unet("sd1", **SMALL["sd1"]).save_pretrained(copy / "unet", variant="bf16", max_shard_size="2MB")
    assert "there is only the variant bf16" in refusal(copy)
    loaded = DiffusionModel.from_pretrained(copy, variant="bf16", device="cpu")
    assert loaded.fingerprint == DiffusionModel.from_pretrained(small, device="cpu").fingerprint
    shards = sorted((copy / "unet").glob("*-of-*.safetensors"))
    shards[0].unlink()
    message = refusal(copy)
    assert f"(an index and all shards that it names) only {len(shards) - 1} shards are there" in message
    assert "has no whole variant 'bf16'" in refusal(copy, variant="bf16")


@pytest.mark.parametrize("name", ["unet.safetensors", "flax_model.msgpack", "model.onnx"])
def test_weights_under_another_name_are_said(small: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(small, tmp_path / "copy"))
    (copy / "unet" / WEIGHTS).rename(copy / "unet" / name)
    assert f"unet/{WEIGHTS} is missing, and there is only {name}" in refusal(copy)


def test_names_with_variants() -> None:
    assert split_variant("owner/name:bf16") == ("owner/name", "bf16")
    assert split_variant("owner/name") == ("owner/name", None)
    assert split_variant("C:\\models\\sd") == ("C:\\models\\sd", None)
    assert with_variant("owner/name+clean.safetensors", "bf16") == "owner/name:bf16+clean.safetensors"
    assert with_variant(Path("a/b"), "ema") == Path("a/b:ema")
    with pytest.raises(ModelError, match="names a variant already"):
        with_variant("owner/name:bf16", "ema")
    with pytest.raises(ModelError, match="Expected the name of a variant"):
        with_variant("owner/name", "../x")
    assert "toy has no variants" in refusal("toy", variant="bf16")
