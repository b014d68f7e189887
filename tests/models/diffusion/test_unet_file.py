"""A checkpoint with the U-Net of a file: as CleanDIFT is published, with a tiny stand-in of the same layout."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from closeness import assert_close_to_scale
from models.diffusion.networks import SMALL, inputs, make_unet, save_checkpoint
from semcorr.errors import ModelError
from semcorr.imaging.image import load_image
from semcorr.matchers.features.dift import DiftMatcher
from semcorr.models.diffusion import DiffusionModel


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("base"), "sd2", **SMALL["sd2"])


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A model's name, and a whole checkpoint with the same U-Net, whose weights are others than the base's."""
    root = tmp_path_factory.mktemp("tuned")
    unet = make_unet("sd2", **SMALL["sd2"])
    with torch.no_grad():
        for weight in unet.parameters():
            weight.add_(0.05)
    save_file(unet.state_dict(), root / "clean_unet.safetensors")
    whole = Path(shutil.copytree(base, root / "whole"))
    unet.save_pretrained(whole / "unet")
    return f"{base}+{root / 'clean_unet.safetensors'}", whole


@torch.no_grad()
def test_the_files_unet_is_the_one_that_runs(tuned: tuple[str, Path], base: Path) -> None:
    model, expected, other = (DiffusionModel.from_pretrained(one, device="cpu") for one in (*tuned, base))
    noisy, context = inputs(model)
    features = model.features(noisy, 100, context, 1)
    assert_close_to_scale(features, expected.features(noisy, 100, context, 1))
    assert not torch.allclose(features, other.features(noisy, 100, context, 1), rtol=0.01)
    assert model.model_id == tuned[0]
    assert len({model.fingerprint, expected.fingerprint, other.fingerprint}) == 3
    assert model.prediction_type == other.prediction_type
    assert not any(weight.requires_grad for weight in model.unet.parameters())


def test_images_go_through_it_without_noise(tuned: tuple[str, Path]) -> None:
    matcher = DiftMatcher.from_pretrained(tuned[0], "clean", device="cpu", prompt=None, resolution=64, seed=3)
    assert (matcher.settings.noise, matcher.settings.samples) == ("none", 1)
    image = load_image(torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0)))
    other = DiftMatcher.from_pretrained(tuned[1], "clean", device="cpu", prompt=None, resolution=64, seed=4)
    # No noise, no seed.
    assert_close_to_scale(matcher.features(image, matcher.settings), other.features(image, other.settings))


def test_half_precision_stays(tuned: tuple[str, Path]) -> None:
    model = DiffusionModel.from_pretrained(tuned[0], device="cpu", dtype="bfloat16")
    assert {weight.dtype for weight in model.unet.parameters()} == {torch.bfloat16}


def test_files_that_cannot_be_used_are_refused(base: Path, tmp_path: Path) -> None:
    def refusal(file: Path) -> str:
        with pytest.raises(ModelError) as caught:
            DiffusionModel.from_pretrained(f"{base}+{file}", device="cpu")
        return str(caught.value)

    assert "There is no U-Net at" in refusal(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"x" * 100)
    assert "The U-Net of" in refusal(tmp_path / "broken.safetensors")
    save_file(make_unet("sd1", **SMALL["sd1"]).state_dict(), tmp_path / "other.safetensors")
    assert "of another kind of network" in refusal(tmp_path / "other.safetensors")
    assert "is a pickle" in refusal(tmp_path / "unet.ckpt")


def test_a_folder_with_a_plus_in_its_name_is_a_folder(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "a+b.safetensors")
    assert DiffusionModel.from_pretrained(str(folder), device="cpu").family == "sd1"
