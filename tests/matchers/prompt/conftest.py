"""A tiny network and tiny images, so that the whole method runs in a second."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.imaging.image import Image, load_image
from semcorr.matchers.prompt import PromptMatcher, PromptSettings, override, paper
from semcorr.matchers.results import Query
from semcorr.models.diffusion import DiffusionModel
from semcorr.toy.render import render_scene


@pytest.fixture(scope="session")
def model(tiny_sd: Path) -> DiffusionModel:
    """Stable Diffusion's topology, a few channels wide, random weights."""
    return DiffusionModel.from_pretrained(tiny_sd, device="cpu")


@pytest.fixture(scope="session")
def settings() -> PromptSettings:
    """The paper's settings, small, with fresh crops: the maps are 4 x 4 and 8 x 8."""
    fresh = {"optimize_crops": None, "optimize_noise": "fresh"}
    return override(paper("sd1"), resolution=128, steps=3, rounds=2, locate_crops=5, **fresh)


@pytest.fixture(scope="session")
def matcher(model: DiffusionModel, settings: PromptSettings) -> PromptMatcher:
    return PromptMatcher(model, settings)


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


@pytest.fixture(scope="session")
def toy_matcher() -> PromptMatcher:
    """The bundled model, small: its peaks lead clearly (``test_locate`` says so), those of random weights do not."""
    return PromptMatcher.from_pretrained("toy", "paper", device="cpu", resolution=64, steps=4, rounds=2, locate_crops=6)


@pytest.fixture(scope="session")
def faces() -> tuple[Image, Image]:
    """Two drawings of faces."""
    first, second = (load_image(render_scene(seed, 128, split="val", category="face").image) for seed in (3, 5))
    return first, second


@pytest.fixture(scope="session")
def toy_query(toy_matcher: PromptMatcher, faces: tuple[Image, Image]) -> Query:
    """The left eye, the mouth and the nose of the first face."""
    return toy_matcher.describe(faces[0], [(54.5, 53.6), (74.1, 86.9), (72.4, 68.8)], names=["a", "b", "c"])
