"""One tiny model of each Stable Diffusion, and images whose sides differ."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from models.diffusion.networks import save_checkpoint
from semcorr.imaging.image import Image, load_image
from semcorr.models.diffusion import DiffusionModel


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DiffusionModel]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        family: DiffusionModel.from_pretrained(save_checkpoint(root / family, family), device="cpu")
        for family in ("sd1", "sd2")
    }


@pytest.fixture(params=("sd1", "sd2"))
def model(request: pytest.FixtureRequest, models: dict[str, DiffusionModel]) -> DiffusionModel:
    return models[request.param]


@pytest.fixture(scope="session")
def sd1(models: dict[str, DiffusionModel]) -> DiffusionModel:
    return models["sd1"]


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("sd1"), "sd1")


def blobs(seed: int, size: tuple[int, int]) -> Image:
    """A smooth random image of a size (width, height)."""
    cells = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return load_image(PIL.Image.fromarray(cells).resize(size, PIL.Image.Resampling.BICUBIC), name=f"blobs {seed}")


@pytest.fixture(scope="session")
def source() -> Image:
    return blobs(0, (150, 100))


@pytest.fixture(scope="session")
def target() -> Image:
    return blobs(1, (90, 120))
