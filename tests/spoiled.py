"""Checkpoints whose numbers give way: a layer too large for half precision, a weight that is NaN."""

import math
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

HUGE = 1e6
"""What makes a layer's output more than float16's 65504, and in float32 no problem where a normalisation follows."""


def spoiled(folder: Path, to: Path, file: str, weight: str, factor: float | None = None) -> Path:
    """Copy a checkpoint; multiply a weight by ``factor``, or make its first number NaN."""
    shutil.copytree(folder, to)
    weights = load_file(to / file)
    if factor is None:
        weights[weight].view(-1)[0] = math.nan
    else:
        weights[weight] *= factor
    save_file(weights, to / file, metadata={"format": "pt"})
    return to
