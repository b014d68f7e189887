"""Tiny models for the benchmarks' tests."""

from pathlib import Path

import pytest

from semcorr.models.diffusion import DiffusionModel


@pytest.fixture(scope="session")
def tiny_model(tiny_sd: Path) -> DiffusionModel:
    """Stable Diffusion's topology, a few channels wide, random weights."""
    return DiffusionModel.from_pretrained(tiny_sd, device="cpu")


@pytest.fixture(scope="session")
def tiny_model_bf16(tiny_sd: Path) -> DiffusionModel:
    return DiffusionModel.from_pretrained(tiny_sd, device="cpu", dtype="bfloat16")


@pytest.fixture(scope="session")
def toy_model() -> DiffusionModel:
    return DiffusionModel.from_pretrained("toy", device="cpu")
