"""One tiny model of every kind, shared by the tests of a run."""

from pathlib import Path

import pytest

from models.dino.networks import KINDS, save_folder
from semcorr.models.dino import VisionModel


@pytest.fixture(scope="session")
def vision_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vision")
    return {kind: save_folder(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="session")
def vision_models(vision_folders: dict[str, Path]) -> dict[str, VisionModel]:
    return {kind: VisionModel.from_pretrained(folder, device="cpu") for kind, folder in vision_folders.items()}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, vision_models: dict[str, VisionModel]) -> VisionModel:
    return vision_models[request.param]
