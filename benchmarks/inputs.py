"""What benchmarks measure with: models, test images and query points."""

import numpy as np
import PIL.Image
from jaxtyping import Float

from benchmarks.random_networks import full_size_model
from semcorr.imaging.image import Image, load_image
from semcorr.models.diffusion import DiffusionModel
from semcorr.models.diffusion.model import Device, DType
from semcorr.models.names import BUNDLED_DRAWING_MODELS
from semcorr.toy.render import render_scene


def load(model: str, dtype: DType = "float32", device: Device = "auto") -> DiffusionModel:
    """Load a model as :meth:`semcorr.models.diffusion.DiffusionModel.from_pretrained` does, or make "full-size".

    Raises:
        ModelError: there is no such model.
    """
    if model == "full-size":
        return full_size_model(dtype, device)
    return DiffusionModel.from_pretrained(model, dtype=dtype, device=device)


def sample_image(model: DiffusionModel, seed: int) -> Image:
    """A drawing of the toy world for the bundled model, a photograph's stand-in for the others.

    Random weights see nothing in either; the size is what a photograph usually has.
    """
    if model.model_id in BUNDLED_DRAWING_MODELS:
        return load_image(render_scene(seed, 256, split="test").image, name=f"drawing {seed}")
    cells = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return load_image(PIL.Image.fromarray(cells).resize((640, 480), PIL.Image.Resampling.BICUBIC), name=f"blobs {seed}")


def query_points(count: int, size: tuple[int, int]) -> Float[np.ndarray, "count 2"]:
    """Points (x, y) in the middle of an image of a size (width, height), all different; more begin with fewer."""
    return np.random.default_rng(1).uniform(0.25, 0.75, size=(count, 2)) * size
