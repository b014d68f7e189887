"""A collection whose truth is known: windows of one texture."""

from pathlib import Path

import numpy as np
import PIL.Image

from semcorr.matchers.collection.settings import CollectionSettings
from semcorr.matchers.spec import MatcherSpec

SHIFTS = ((0, 0), (8, 0), (0, 8), (8, 8))
SIDE = 96
SPEC = MatcherSpec(
    method="hypercolumn",
    model="lite0",
    options={"layers": ["4@96"], "grid": 16, "prior": "none", "enlarge": 1, "device": "cpu"},
)
SETTINGS = CollectionSettings(grid=16, dim=16, width=8, steps=40, image_pairs=2, matches=64, foreground=0.0)


def write_images(folder: Path, seed: int = 0) -> list[Path]:
    """Windows of one texture: a point of one is in another where the window's shift says."""
    side = SIDE + 16
    cells = np.random.default_rng(seed).integers(0, 255, (14, 14, 3), dtype=np.uint8)
    whole = np.asarray(PIL.Image.fromarray(cells).resize((side, side), PIL.Image.Resampling.BICUBIC))
    paths = []
    for number, (x, y) in enumerate(SHIFTS):
        paths.append(folder / f"{seed}-{number}.png")
        PIL.Image.fromarray(whole[y : y + SIDE, x : x + SIDE]).save(paths[-1])
    return paths
