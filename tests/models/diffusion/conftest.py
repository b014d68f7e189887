"""One tiny model of every family, shared by the tests of a run."""

from pathlib import Path
from typing import Any

import pytest

from models.diffusion.networks import FAMILIES, SMALL, save_checkpoint
from models.diffusion.transformer_networks import save_transformer
from semcorr.models.diffusion import DiffusionModel


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {family: save_checkpoint(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller Stable Diffusion 1.x, for tests of files."""
    return save_checkpoint(tmp_path_factory.mktemp("small"), "sd1", **SMALL["sd1"])


@pytest.fixture(scope="session")
def models(folders: dict[str, Path]) -> dict[str, DiffusionModel]:
    return {family: DiffusionModel.from_pretrained(folder, device="cpu") for family, folder in folders.items()}


# What Stable Diffusion 2.x has of its own, lists of heads and linear projections, SDXL has as well.
@pytest.fixture(params=["sd1", pytest.param("sd2", marks=pytest.mark.slow), "sdxl"])
def model(request: pytest.FixtureRequest, models: dict[str, DiffusionModel]) -> DiffusionModel:
    return models[request.param]


class Transformers(dict[str, DiffusionModel]):
    """A tiny model of each family of transformers, made when it is first asked for; no test changes it."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, family: str) -> DiffusionModel:
        folder = save_transformer(self._root / family, family)
        self[family] = DiffusionModel.from_pretrained(folder, device="cpu")
        return self[family]

    def load(self, family: str, **options: Any) -> DiffusionModel:
        """Load one of them again."""
        _ = self[family]
        return DiffusionModel.from_pretrained(self._root / family, device="cpu", **options)


@pytest.fixture(scope="session")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Transformers:
    return Transformers(tmp_path_factory.mktemp("transformers"))
