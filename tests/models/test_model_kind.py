"""The kind of a network by its name and its configuration."""

import json
import shutil
from pathlib import Path

import pytest

from models.cached_repository import cache_repository
from models.cnn.networks import save_timm, timm_vgg
from models.diffusion.networks import save_checkpoint
from models.dino.networks import KINDS, save_folder
from semcorr.errors import ModelError
from semcorr.models.model_kind import model_kind
from semcorr.models.names import PHOTO_MODEL, VISION_MODEL


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("toy", "diffusion"),
        ("toy-plain", "diffusion"),
        ("lite0", "convolutional"),
        (PHOTO_MODEL, "diffusion"),
        (f"{PHOTO_MODEL}:fp16", "diffusion"),
        ("anything+unet.safetensors", "diffusion"),
        (VISION_MODEL, "vision"),
    ],
)
def test_of_known_names_without_a_file(name: str, kind: str) -> None:
    assert model_kind(name) == kind


def test_of_a_folder_and_of_a_file(tiny_sd: Path, tmp_path: Path) -> None:
    assert model_kind(tiny_sd) == model_kind(f"{tiny_sd}:fp16") == "diffusion"
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert model_kind(tmp_path / "model.safetensors") == "diffusion"
    parts = tmp_path / "parts"  # without an index, as some trainers save
    shutil.copytree(tiny_sd / "unet", parts / "unet")
    assert model_kind(parts) == "diffusion"
    for kind in KINDS:
        assert model_kind(save_folder(tmp_path / kind, kind)) == "vision"
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "collection.json").write_text("{}")
    assert model_kind(tmp_path / "grid") == "collection"
    vgg = save_timm(tmp_path / "vgg19", "vgg19.tv_in1k", timm_vgg("vgg19"))
    assert model_kind(vgg) == "convolutional"


def test_of_a_hub_id_in_the_cache(cache: Path, tmp_path: Path) -> None:
    cache_repository(cache, "tiny/sd", save_checkpoint(tmp_path / "sd", "sd1"))
    cache_repository(cache, "tiny/dino", save_folder(tmp_path / "dino", "dinov2"))
    assert model_kind("tiny/sd") == "diffusion"
    assert model_kind("tiny/dino", local_files_only=True) == "vision"


@pytest.mark.parametrize("config", [None, "{", "[1]", json.dumps({"model_type": "bert"})])
def test_a_folder_of_another_network_is_refused_with_what_to_do(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ModelError, match=r"is not known: it has no unet/.* Name the method: --method"):
        model_kind(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tyo", r"Unknown model 'tyo'. Did you mean 'toy'\?"),
        ("./none", "There is no model at './none'"),
        ("x" * 300, "Unknown model 'xxx"),
        ("tiny/absent", "HF_HUB_OFFLINE is set"),
    ],
)
def test_a_model_that_is_nowhere_is_refused(cache: Path, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model_kind(name)
