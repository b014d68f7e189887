"""The first scenes of a category, for demonstrations and examples."""

from semcorr.errors import SettingsError, suggest
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import Scene, render_scene

_SCENES_SEARCHED = 1000


def first_scenes(category: str, count: int, size: int) -> list[tuple[int, Scene]]:
    """Return the first ``count`` test scenes of a category with their seeds, in the order of the seeds.

    None is selected for how well a method does on it.

    Raises:
        SettingsError: The category is unknown.
    """
    if category not in CATEGORIES:
        known = ", ".join(CATEGORIES)
        raise SettingsError(
            f"Unknown category {category!r} of the toy world; there are: {known}.{suggest(category, CATEGORIES)}"
        )
    scenes: list[tuple[int, Scene]] = []
    for seed in range(_SCENES_SEARCHED):
        scene = render_scene(seed, size, split="test")
        if scene.category == category:
            scenes.append((seed, scene))
        if len(scenes) == count:
            return scenes
    raise SettingsError(f"The first {_SCENES_SEARCHED} test scenes hold {len(scenes)} of {category!r}, not {count}.")
