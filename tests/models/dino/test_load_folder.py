"""Checkpoints in folders: what loads, what is refused, and how the refusal reads."""

import json
import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ResNetConfig, ResNetModel, ViTModel

from closeness import assert_close_to_scale
from models.dino.networks import KINDS, make_network, random_image, save_folder
from semcorr.errors import ModelError
from semcorr.models.dino import VisionModel

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@pytest.fixture
def copy(vision_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A checkpoint to damage."""
    return Path(shutil.copytree(vision_folders["dinov2"], tmp_path / "copy"))


def load(model: str | Path, **options: Any) -> VisionModel:
    return VisionModel.from_pretrained(model, device="cpu", **options)


def refusal(model: str | Path, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load(model, **options)
    return str(caught.value)


def change(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


@pytest.mark.parametrize("kind", KINDS)
def test_loading_is_quiet(
    vision_folders: dict[str, Path], kind: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert load(vision_folders[kind]).family == kind
        assert load(str(vision_folders[kind])).family == kind
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_refusal_is_quiet_too(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weights = load_file(copy / WEIGHTS)
    del weights["embeddings.cls_token"]
    save_file(weights, copy / WEIGHTS, metadata={"format": "pt"})
    refusal(copy)
    assert capfd.readouterr() == ("", "")


@torch.no_grad()
def test_shards_half_precision_and_a_head_are_the_same_network(tmp_path: Path) -> None:
    network = make_network("vit")
    expected = load(save_folder(tmp_path / "one", "vit")).features(random_image(32, 32), resolution=32)
    network.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    assert_close_to_scale(load(tmp_path / "shards").features(random_image(32, 32), resolution=32), expected)
    assert load(tmp_path / "shards").fingerprint == load(tmp_path / "one").fingerprint

    network.half().save_pretrained(tmp_path / "half", variant="fp16")
    assert not (tmp_path / "half" / WEIGHTS).exists()
    near = load(tmp_path / "half").features(random_image(32, 32), resolution=32)
    assert 0 < (near - expected).abs().max() < 0.05

    # A pooler or a head on top is nobody's business here.
    pooled = ViTModel(network.config, add_pooling_layer=True)
    pooled.load_state_dict(make_network("vit").state_dict(), strict=False)
    pooled.save_pretrained(tmp_path / "pooled")
    assert any("pooler" in name for name in load_file(tmp_path / "pooled" / WEIGHTS))
    assert_close_to_scale(load(tmp_path / "pooled").features(random_image(32, 32), resolution=32), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoints_wishes_for_what_is_returned_do_not_matter(
    vision_folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    folder = Path(shutil.copytree(vision_folders[kind], tmp_path / kind))
    change(folder / CONFIG, output_hidden_states=True, output_attentions=True, return_dict=False)
    expected = load(vision_folders[kind]).features(random_image(32, 32), layer=1, resolution=32)
    assert_close_to_scale(load(folder).features(random_image(32, 32), layer=1, resolution=32), expected)


def test_the_fingerprint_tells_networks_apart(copy: Path) -> None:
    prints = {load(copy).fingerprint}
    change(copy / CONFIG, transformers_version="4.0.0")
    assert load(copy).fingerprint in prints
    weights = load_file(copy / WEIGHTS)
    weights["encoder.layer.3.norm2.bias"][5] += 1e-3
    save_file(weights, copy / WEIGHTS, metadata={"format": "pt"})
    prints.add(load(copy).fingerprint)
    change(copy / CONFIG, layer_norm_eps=1e-4)
    prints.add(load(copy).fingerprint)
    (copy / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    prints.add(load(copy).fingerprint)
    assert len(prints) == 4


def test_pickles_are_refused_unread(copy: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (copy / "sprung",)

    (copy / WEIGHTS).unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    message = refusal(copy)
    assert "the weights are pickled (pytorch_model.bin)" in message
    assert "ask for a revision that has them" in message
    assert "save_pretrained writes safetensors" in message
    assert "pytorch_model.bin is a pickle" in refusal(copy / "pytorch_model.bin")
    assert not (copy / "sprung").exists()


@pytest.mark.parametrize("name", ["encoder.layer.2.norm1.weight", "embeddings.position_embeddings"])
def test_missing_weights_are_refused(copy: Path, name: str) -> None:
    weights = load_file(copy / WEIGHTS)
    del weights[name]
    save_file(weights, copy / WEIGHTS, metadata={"format": "pt"})
    assert f"1 weights are missing or of the wrong shape, the first is {name}" in refusal(copy)


def test_weights_of_another_shape_are_refused(copy: Path) -> None:
    change(copy / CONFIG, patch_size=8)
    assert "The network of" in refusal(copy)


def test_files_that_are_missing_or_broken(copy: Path, tmp_path: Path) -> None:
    for name in (CONFIG, WEIGHTS):
        folder = Path(shutil.copytree(copy, tmp_path / name))
        (folder / name).unlink()
        assert f"{name} is missing (in {folder}). Expected a folder that transformers saved" in refusal(folder)
    (copy / WEIGHTS).write_bytes((copy / WEIGHTS).read_bytes()[:1000])
    assert "cannot be read" in refusal(copy)
    (copy / CONFIG).write_text("{")
    assert "The configuration of" in refusal(copy)


def test_another_type_of_network_is_refused(copy: Path, tmp_path: Path) -> None:
    known = "Expected one of vit, dinov2, dinov2_with_registers, dinov3_vit"
    ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])).save_pretrained(tmp_path / "other")
    message = refusal(tmp_path / "other")
    assert "is a network of type 'resnet'." in message
    assert known in message
    change(copy / CONFIG, model_type="dinov3-vit")
    assert "Did you mean 'dinov3_vit'?" in refusal(copy)
    config = json.loads((copy / CONFIG).read_text())
    del config["model_type"]
    (copy / CONFIG).write_text(json.dumps(config))
    assert known in refusal(copy)


@pytest.mark.parametrize(
    ("file", "entries", "reason"),
    [
        ("preprocessor_config.json", {"image_mean": [0.5]}, "ValueError"),
        ("preprocessor_config.json", {"image_std": [0.2, 0.0, 0.2]}, "expected numbers above 0"),
    ],
)
def test_colours_that_make_no_sense(copy: Path, file: str, entries: dict[str, Any], reason: str) -> None:
    (copy / file).write_text(json.dumps(entries))
    message = refusal(copy)
    assert "The configuration of" in message
    assert reason in message


def test_networks_for_other_images_are_refused(tmp_path: Path) -> None:
    assert "takes 4 channels, expected the 3 of RGB" in refusal(save_folder(tmp_path / "a", "dinov2", num_channels=4))
    oblong = save_folder(tmp_path / "b", "dinov2", patch_size=[4, 8])
    assert "patch_size is" in refusal(oblong)
    assert load(save_folder(tmp_path / "c", "dinov2", patch_size=[4, 4])).patch == 4


def test_names_that_mean_nothing(copy: Path, tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nothing")
    assert "no such folder" in refusal("./nothing")
    assert "Unknown vision model 'dino'" in refusal("dino")
    assert "Pass the folder that holds config.json" in refusal(copy / WEIGHTS)
    assert "only hub ids take a revision" in refusal(copy, revision="main")
    assert "HF_HUB_OFFLINE is set" in refusal("tiny/absent")
    assert "or pass a folder that you have." in refusal("tiny/absent")
