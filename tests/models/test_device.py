"""The precision that "auto" stands for."""

import pytest
import torch

from semcorr.models.cnn import ConvolutionalModel
from semcorr.models.device import device_traits, fastest_dtype, resolve_dtype
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.dino import VisionModel


@pytest.mark.parametrize(
    ("kind", "native", "dtype"),
    [
        ("cuda", True, "bfloat16"),
        ("cuda", False, "float16"),
        ("mps", False, "float16"),
        ("cpu", True, "bfloat16"),
        ("cpu", False, "float32"),
    ],
)
def test_the_fastest_precision_of_each_device(kind: str, native: bool, dtype: str) -> None:
    assert fastest_dtype(kind, native) == dtype


def test_a_processor_has_what_it_says_it_has() -> None:
    kind, native = device_traits("cpu")
    capabilities = torch.cpu.get_capabilities()
    assert kind == "cpu"
    # Every x86 processor with AMX or AVX-512 for bfloat16 has AVX-512.
    assert not native or capabilities.get("avx512_f", True)
    if not capabilities.get("avx512_bf16") and not capabilities.get("bf16"):
        assert not native


def test_auto_is_half_precision_only_for_networks_that_are_faster_in_it() -> None:
    fastest = fastest_dtype(*device_traits("cpu"))
    assert resolve_dtype("auto", DiffusionModel, "a/folder", "cpu") == fastest
    assert resolve_dtype("auto", VisionModel, "a/folder", "cpu") == fastest
    assert resolve_dtype("auto", ConvolutionalModel, "a/folder", "cpu") == fastest
    for network, model in ((DiffusionModel, "toy"), (DiffusionModel, "toy-plain"), (ConvolutionalModel, "lite0")):
        assert resolve_dtype("auto", network, model, "cpu") == "float32"
    assert resolve_dtype("auto", object, "another/network", "cpu") == "float32"  # of another package


def test_a_precision_by_name_is_itself() -> None:
    for dtype in ("float32", "float16", "bfloat16"):
        assert resolve_dtype(dtype, ConvolutionalModel, "lite0", "cpu") == dtype
