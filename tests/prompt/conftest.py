"""A tiny network and tiny pictures, so that the whole method runs in a second."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.diffusion import DiffusionModel
from semcorr.images import Image, load_image
from semcorr.prompt import PromptMatcher, PromptSettings, override, paper


@pytest.fixture(scope="session")
def model(tiny_sd: Path) -> DiffusionModel:
    """Stable Diffusion's topology, a few channels wide, random weights."""
    return DiffusionModel.from_pretrained(tiny_sd, device="cpu")


@pytest.fixture(scope="session")
def settings() -> PromptSettings:
    """The paper's settings, small, with fresh crops: the maps are 4 x 4 and 8 x 8."""
    fresh = {"learn_crops": None, "learn_noise": "fresh"}
    return override(paper("sd1"), resolution=128, steps=3, rounds=2, locate_crops=5, **fresh)


@pytest.fixture(scope="session")
def matcher(model: DiffusionModel, settings: PromptSettings) -> PromptMatcher:
    return PromptMatcher(model, settings)


def blobs(seed: int, size: tuple[int, int]) -> Image:
    """A smooth random picture of a size (width, height)."""
    cells = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return load_image(PIL.Image.fromarray(cells).resize(size, PIL.Image.Resampling.BICUBIC), name=f"blobs {seed}")


@pytest.fixture(scope="session")
def source() -> Image:
    return blobs(0, (150, 100))


@pytest.fixture(scope="session")
def target() -> Image:
    return blobs(1, (90, 120))
