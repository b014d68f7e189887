"""Damaged checkpoints: a layer that overflows in half precision, or a weight that is NaN."""

import math
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

HUGE = 1e6
"""A factor that makes a layer's output exceed float16's 65504, harmless in float32 if a normalisation follows."""


def spoiled(folder: Path, to: Path, file: str, weight: str, factor: float | None = None) -> Path:
    """Copy a checkpoint; multiply a weight by ``factor``, or set its first value to NaN."""
    shutil.copytree(folder, to)
    weights = load_file(to / file)
    if factor is None:
        weights[weight].view(-1)[0] = math.nan
    else:
        weights[weight] *= factor
    save_file(weights, to / file, metadata={"format": "pt"})
    return to
