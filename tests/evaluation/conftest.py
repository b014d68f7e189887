"""A small data set to run on: three birds and all their ordered pairs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from semcorr.datasets.base import Dataset, Pair, PairImage
from semcorr.toy.render import Scene, render_scene


def side_of(scene: Scene, path: Path, names: list[str]) -> PairImage:
    points = np.array([scene.keypoints[name] for name in names], dtype=np.float64).reshape(-1, 2)
    return PairImage(path=path, size=(64, 64), points=points, box=scene.box)


@pytest.fixture(scope="session")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six pairs of up to three points; the last has none in common."""
    folder = tmp_path_factory.mktemp("birds")
    scenes = [render_scene(seed, 64, split="val", category="bird") for seed in range(3)]
    paths = [folder / f"{seed}.png" for seed in range(3)]
    for scene, path in zip(scenes, paths, strict=True):
        PILImage.fromarray(scene.image).save(path)
    pairs = []
    for a, b in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        names = sorted(scenes[a].visible & scenes[b].visible)[:3] if (a, b) != (2, 1) else []
        source, target = (side_of(scenes[i], paths[i], names) for i in (a, b))
        pairs.append(Pair(id=f"{a}-{b}", category="bird", source=source, target=target, names=tuple(names)))
    return Dataset(name="birds", split="val", pairs=tuple(pairs), threshold="target-box", root=folder)
