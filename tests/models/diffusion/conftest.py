"""One tiny model of every family, shared by the tests of a run."""

from pathlib import Path

import pytest

from models.diffusion.networks import FAMILIES, save_checkpoint
from semcorr.models.diffusion import DiffusionModel


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {family: save_checkpoint(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="session")
def models(folders: dict[str, Path]) -> dict[str, DiffusionModel]:
    return {family: DiffusionModel.from_pretrained(folder, device="cpu") for family, folder in folders.items()}


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, models: dict[str, DiffusionModel]) -> DiffusionModel:
    return models[request.param]
