"""Folders with a transformer: what is read, and what is refused by its name before weights are read."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

from models.diffusion.networks import make_vae as make_other_vae
from models.diffusion.transformer_networks import NETWORKS, PIPELINES, make_transformer, make_vae
from semcorr.errors import ModelError
from semcorr.models.diffusion import FAMILIES, DiffusionModel
from semcorr.models.diffusion.checkpoint import make_schedule
from semcorr.models.diffusion.families import TRANSFORMERS, family_of
from semcorr.models.diffusion.hub_files import CheckpointFiles
from semcorr.models.diffusion.latents import timestep
from semcorr.models.diffusion.load_folder import check_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """PixArt-Sigma without a scheduler, a text encoder and an index."""
    make_transformer("pixart-sigma").save_pretrained(tmp_path / "transformer")
    make_vae("pixart-sigma").save_pretrained(tmp_path / "vae")
    return tmp_path


def change(folder: Path, **changes: Any) -> None:
    file = folder / "transformer" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def load(folder: Path) -> DiffusionModel:
    return DiffusionModel.from_pretrained(folder, device="cpu")


def test_a_folder_of_two_parts_is_enough(folder: Path) -> None:
    model = load(folder)
    assert (model.family, model.context_tokens, model.prediction_type) == ("pixart-sigma", 300, "epsilon")
    # The family's own noise schedule, not Stable Diffusion's.
    assert model.scheduler.config.beta_schedule == "linear"
    with pytest.raises(ModelError, match="it has no text_encoder/ folder"):
        model.encode_text(["a cat"])
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "PixArtAlphaPipeline"}))
    assert load(folder).family == "pixart-alpha"
    make_transformer("pixart-sigma", seed=1).save_pretrained(folder / "transformer")
    assert load(folder).fingerprint != model.fingerprint


def test_a_network_that_was_trained_here_says_so_in_its_folder(folder: Path) -> None:
    """Of the same class as PixArt's; what another class of network says of itself is nothing."""
    for mark, family in (("toy-transformer", "toy-transformer"), ("toy", "pixart-sigma"), ("sd1", "pixart-sigma")):
        (folder / "semcorr.json").write_text(json.dumps({"family": mark}))
        assert check_folder(folder, "mine").name == family
    assert family_of({"_class_name": "UNet2DConditionModel"}, mark="toy") is FAMILIES["toy"]
    assert family_of({"_class_name": "UNet2DConditionModel"}, mark="toy-transformer") is FAMILIES["sd1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": "AuraFlowTransformer2DModel"}, "It looks like AuraFlow"),
        (
            {"_class_name": "NewTransformer2DModel"},
            "of NewTransformer2DModel, .* like a diffusion transformer",
        ),
        ({"_class_name": "ChromaTransformer2DModel"}, "It looks like Flux"),
        ({"sample_size": None}, "latents of None positions"),
        ({"_class_name": "LuminaNextDiT2DModel"}, "It looks like Lumina"),
        ({"_class_name": "UNet2DConditionModel"}, "The transformer of .* is not supported"),
        ({"guidance_embeds": True}, "takes a guidance scale"),
        ({"patch_size": 3}, "latents of 16 positions in patches of 3"),
        ({"sample_size": 10**9}, "latents of 1000000000 positions"),
        ({"num_attention_heads": 10**9}, "8,000,000,000 wide"),
        ({"num_layers": 10**9}, "1,000,000,000 layers, and its files"),
        ({"in_channels": 9}, "expected shape"),
    ],
)
def test_other_transformers_and_sizes_are_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    change(folder, **changes)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_another_vae_is_refused(folder: Path) -> None:
    make_vae("sana").save_pretrained(folder / "vae")
    with pytest.raises(ModelError, match="of AutoencoderDC, expected AutoencoderKL"):
        load(folder)


def test_an_unsupported_transformer_is_named_whatever_its_folder_lacks(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps({"_class_name": "AuraFlowTransformer2DModel"}))
    with pytest.raises(ModelError, match="It looks like AuraFlow"):
        load(tmp_path)


def test_the_files_of_a_repository_are_those_of_its_transformer(folder: Path) -> None:
    names = [f"{part}/{name}" for part in ("transformer", "vae") for name in ("config.json", "other.bin")]
    weights = [f"{part}/diffusion_pytorch_model.safetensors" for part in ("transformer", "vae")]
    chosen = CheckpointFiles().choose("owner/name", [*names, *weights, "text_encoder/config.json"])
    assert chosen == ["text_encoder/config.json", "transformer/config.json", "vae/config.json", *weights]
    assert CheckpointFiles().missing(folder) == ""
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    assert "transformer/" in CheckpointFiles().missing(folder)


def test_every_transformer_has_a_family_and_every_family_its_configuration() -> None:
    assert {kind.__name__ for kind, _ in NETWORKS.values()} == TRANSFORMERS
    for name, (kind, config) in NETWORKS.items():
        assert family_of({**config, "_class_name": kind.__name__}, PIPELINES[name]) is FAMILIES[name]
    assert family_of({"_class_name": "AuraFlowTransformer2DModel"}) is None
    # Their files do not say what was the class's own before there was a choice.
    for kind, name in (("FluxTransformer2DModel", "flux-schnell"), ("Flux2Transformer2DModel", "flux2-dev")):
        assert family_of({"_class_name": kind}) is FAMILIES[name]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("pixart-alpha", "pixart-sigma"),  # by the name of the pipeline alone
        *((name, name) for name in NETWORKS if name != "pixart-alpha"),
    ],
)
def test_distilled_networks_are_of_their_family_whatever_their_pipeline_and_sampler(
    tmp_path: Path, name: str, family: str
) -> None:
    kind, config = NETWORKS[name]
    with torch.device("meta"):
        kind(**config).save_config(tmp_path / "transformer")
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "TurboPipeline"}))
    assert check_folder(tmp_path, "turbo") is FAMILIES[family]
    lcm = {"_class_name": "LCMScheduler", "original_inference_steps": 50, "timestep_scaling": 10.0}
    made = make_schedule({**lcm, "beta_end": 0.03, "prediction_type": "v_prediction"}, FAMILIES[family].schedule)
    assert isinstance(made, DDIMScheduler)
    assert (made.config.beta_end, made.config.prediction_type) == (0.03, "v_prediction")


def test_schedules_of_flow_matching() -> None:
    solver = {"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction", "flow_shift": 3.0}
    for config in (solver, {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}):
        assert make_schedule(config).shift == 3.0
    by_size = {"use_dynamic_shifting": True, "base_shift": 0.4, "max_image_seq_len": 1024, "time_shift_type": "linear"}
    made = make_schedule({"_class_name": "FlowMatchEulerDiscreteScheduler", **by_size})
    assert {key: made.config[key] for key in by_size} == by_size
    # mu is 0.4 + (1.15 - 0.4) / 2 halfway between 256 and 1024 positions.
    assert timestep(made, 8, positions=640) == round(1000 * 0.775 * 0.14 / (1 - 0.225 * 0.14))


def test_a_vae_with_other_channels_is_refused(folder: Path) -> None:
    make_transformer("pixart-sigma", in_channels=8).save_pretrained(folder / "transformer")
    make_other_vae("sd1").save_pretrained(folder / "vae")
    with pytest.raises(ModelError, match=r"The transformer of .* takes 8 input channels where its VAE gives 4"):
        load(folder)
