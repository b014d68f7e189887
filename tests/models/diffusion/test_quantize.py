"""Quantised networks: what is refused by its name, and, where torchao is installed, that maps and gradients hold."""

import dataclasses
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from keypoints.other_python import NEEDED, PYTHON, run
from models.diffusion.networks import save_checkpoint
from models.diffusion.transformer_networks import inputs, save_transformer
from semcorr import load_matcher
from semcorr.errors import ModelError, SettingsError
from semcorr.matchers.base import ModelIdentity
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.load import load_checkpoint
from semcorr.models.diffusion.memory_needs import memory_needs
from semcorr.models.diffusion.quantization import KINDS, check_quantization
from semcorr.models.memory import stored_bytes

CPU = torch.device("cpu")
with_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason='torchao is not installed: pip install "semcorr[quantize]"'
)


@pytest.mark.parametrize(
    ("name", "device", "offload", "message"),
    [
        ("int9", "cpu", False, "Unknown quantization 'int9'. Did you mean 'int8'"),
        ("nf4", "cpu", False, "on a GPU alone, and the device is the cpu. Quantize to int8"),
        ("nf4", "cuda", True, "nf4 cannot be offloaded. .* quantize to int8"),
        ("nf4", "cuda", False, r'needs bitsandbytes: pip install "semcorr\[quantize\]"'),
        ("int8", "cpu", False, r'needs torchao: pip install "semcorr\[quantize\]"'),
    ],
)
def test_what_cannot_be_done_here_is_refused(name: str, device: str, offload: bool, message: str) -> None:
    if "pip install" in message and importlib.util.find_spec(KINDS[name].package) is not None:
        pytest.skip(f"{KINDS[name].package} is installed")
    with pytest.raises(ModelError, match=message):
        check_quantization(name, torch.device(device), offload=offload)


def test_weights_in_a_file_of_their_own_are_not_quantised(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    for name in (str(file), f"toy+{file}"):
        with pytest.raises(ModelError, match="only folders and hub ids are quantised"):
            load_checkpoint(name, quantize="int8")


@pytest.mark.parametrize("option", [{"offload": True}, {"quantize": "int8"}])
def test_methods_on_other_networks_refuse_both(option: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"'hypercolumn' takes no '{next(iter(option))}'"):
        load_matcher("hypercolumn", device="cpu", **option)


def test_a_run_says_what_its_network_is_quantised_to() -> None:
    plain = ModelIdentity(model_id="a", model_revision=None, model_fingerprint="b")
    assert "quantize" not in plain.to_dict()  # so that runs from before there was a choice are continued
    quantised = dataclasses.replace(plain, quantize="int8")
    assert quantised.to_dict() == {**plain.to_dict(), "quantize": "int8"}
    assert ModelIdentity(**quantised.to_dict()) == quantised


def gradient(model: DiffusionModel, noisy: Tensor, context: Tensor, **how: Any) -> tuple[Tensor, Tensor]:
    leaf = context.clone().requires_grad_()
    maps = model.attention(noisy, 140, leaf, model.select_layers(), **how)
    score = torch.stack([one.square().mean() for one in maps.values()]).sum()
    return score.detach(), torch.autograd.grad(score, leaf)[0]


@with_torchao
@pytest.mark.parametrize("family", ["sd1", "hunyuan-dit", "sd3"])
def test_maps_and_gradients_of_int8_are_close(tmp_path: Path, family: str) -> None:
    save: Any = save_checkpoint if family == "sd1" else save_transformer
    folder: Path = save(tmp_path / "model", family)
    kinds: list[dict[str, Any]] = [{}, {"quantize": "int8"}, {"quantize": "int8", "offload": True}]
    plain, quantised, offloaded = (DiffusionModel.from_pretrained(folder, device="cpu", **kind) for kind in kinds)
    assert ModelIdentity.of(quantised).to_dict()["quantize"] == "int8"
    assert quantised.fingerprint == plain.fingerprint  # the checkpoint is the same
    generator = torch.Generator().manual_seed(0)
    noisy = inputs()[0]
    context = torch.randn(2, 8, plain.context_dim, generator=generator)
    for layer, expected in plain.attention(noisy, 140, context, plain.select_layers()).items():
        got = quantised.attention(noisy, 140, context, plain.select_layers())[layer]
        assert (got - expected).norm() < 0.05 * expected.norm()
        assert not torch.equal(got, expected)
    # The gradient is that of the quantised network: of its own values along a direction.
    _, slope = gradient(quantised, noisy, context)
    step = 1e-2 * torch.randn(context.shape, generator=generator)
    around = [gradient(quantised, noisy, context + sign * step)[0] for sign in (1, -1)]
    along = (around[0] - around[1]) / 2
    torch.testing.assert_close((slope * step).sum(), along, rtol=0.02, atol=1e-2 * float((slope * step).norm()))
    assert slope.abs().max() > 0
    torch.testing.assert_close(gradient(offloaded, noisy, context)[1], slope)
    if family != "hunyuan-dit":
        torch.testing.assert_close(gradient(quantised, noisy, context, gradient_checkpointing=True)[1], slope)
    linear = [one for one in quantised.network.module.modules() if isinstance(one, torch.nn.Linear)]
    stored = [one for one in linear if stored_bytes(one.weight) < one.weight.numel() * 2]
    assert len(stored) > 0.9 * len(linear)
    for one in stored:
        expected_bytes = one.weight.numel() * KINDS["int8"].weight_bytes + one.out_features * KINDS["int8"].row_bytes
        assert stored_bytes(one.weight) == expected_bytes
    true = sum(map(stored_bytes, quantised.network.module.parameters()))
    assert memory_needs(folder, dtype="float32").network.bytes("float32", "int8") == true


@pytest.mark.slow
@NEEDED
def test_int8_with_torchao_which_every_start_of_diffusers_would_import(tmp_path: Path) -> None:
    """It takes seconds to import, and so is not in the tests' own environment: the tests above run with it here."""
    find = "import importlib.metadata as m; print(m.distribution('torchao').locate_file(''))"
    packages = Path(run(PYTHON, "-c", find).strip())
    for one in packages.glob("torchao*"):
        (tmp_path / one.name).symlink_to(one)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-k", "gradients_of_int8", __file__]
    printed = run(*command, PYTHONPATH=path)
    assert "3 passed" in printed, printed
