"""The demonstration on the toy world: points of one drawing found in others, with the truth known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import PIL.Image

from semcorr.demo.scoring import Score
from semcorr.errors import SettingsError, suggest
from semcorr.imaging.image import load_image
from semcorr.matchers.base import Matcher
from semcorr.progress import Progress
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import Scene, render_scene
from semcorr.visualization import matches as draw

_SCENES_SEARCHED = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoTarget:
    """One drawing in which the points were looked for.

    ``seed`` draws it again; ``picture`` shows source and target side by side, true points as rings.
    """

    seed: int
    scene: Scene
    score: Score
    picture: PIL.Image.Image

    @property
    def title(self) -> str:
        """What the drawing is, and the seed that draws it again."""
        return _title(self.seed, self.scene)


def first_scenes(category: str, count: int, size: int) -> list[tuple[int, Scene]]:
    """The first ``count`` test scenes of a category with their seeds, in the order of the seeds: none is picked out.

    Raises:
        SettingsError: An unknown category.
    """
    if category not in CATEGORIES:
        known = ", ".join(CATEGORIES)
        raise SettingsError(
            f"Unknown category {category!r} of the toy world; there are: {known}.{suggest(category, CATEGORIES)}"
        )
    found: list[tuple[int, Scene]] = []
    for seed in range(_SCENES_SEARCHED):
        scene = render_scene(seed, size, split="test")
        if scene.category == category:
            found.append((seed, scene))
        if len(found) == count:
            return found
    raise SettingsError(f"The first {_SCENES_SEARCHED} test scenes hold {len(found)} of {category!r}, not {count}.")


def run_toy_demo(
    matcher: Matcher, scenes: list[tuple[int, Scene]], *, progress: Progress | None = None
) -> Iterator[DemoTarget]:
    """Learn every visible key-point of the first scene and find it in each of the others.

    Key-points that a target does not show are looked for all the same; their truth is unknown.
    """
    source_seed, source_scene = scenes[0]
    source = load_image(source_scene.image, name=_title(source_seed, source_scene))
    names = tuple(name for name in source_scene.keypoints if name in source_scene.visible)
    points = [source_scene.keypoints[name] for name in names]
    query = matcher.describe(source, points, names=names, progress=progress)
    for seed, scene in scenes[1:]:
        target = load_image(scene.image, name=_title(seed, scene))
        matches = matcher.locate(query, target, progress=progress)
        score = Score(names=names, points=matches.points, truth=_truth(names, scene), object_size=_longer_side(scene))
        picture = draw.match_figure(
            source, target, points, matches.points, heatmaps=matches.heatmaps, truth=score.truth, names=names
        )
        yield DemoTarget(seed=seed, scene=scene, score=score, picture=picture)


def _title(seed: int, scene: Scene) -> str:
    return f"{scene.kind}, test scene {seed}"


def _truth(names: tuple[str, ...], scene: Scene) -> np.ndarray:
    hidden = (np.nan, np.nan)
    return np.array([scene.keypoints[name] if name in scene.visible else hidden for name in names], dtype=np.float64)


def _longer_side(scene: Scene) -> float:
    left, top, right, bottom = scene.box
    return max(right - left, bottom - top)
