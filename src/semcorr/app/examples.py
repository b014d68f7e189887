"""The examples: drawings of the toy world, which the bundled model knows."""

import dataclasses
from collections.abc import Mapping

from semcorr.app.changes import new_workspace
from semcorr.app.workspace import Workspace
from semcorr.imaging.image import Image, load_image
from semcorr.toy.scenes import first_scenes

_SIDE = 256
_TARGETS = 3

# A few key-points of each category that lie well apart, so that a first run is short.
_POINTS: Mapping[str, tuple[str, ...]] = {
    "animal": ("nose", "tail", "front leg", "ear"),
    "bird": ("beak", "tail", "eye", "leg"),
    "car": ("front wheel", "rear wheel", "headlight", "window"),
    "face": ("left eye", "right eye", "nose", "mouth"),
}
CATEGORIES = tuple(_POINTS)


def example(category: str) -> Workspace:
    """A drawing with a few named points, and three others of its category, none of which the model was trained on.

    Raises:
        SettingsError: There is no such category.
    """
    scenes = first_scenes(category, 1 + _TARGETS, size=_SIDE)
    source = scenes[0][1]
    chosen = [name for name in _POINTS.get(category, ()) if name in source.visible]
    names = chosen if len(chosen) > 1 else sorted(source.visible)[:4]
    made = new_workspace(
        load_image(source.image, name=f"{category}-source.png"),
        {name: (float(source.keypoints[name][0]), float(source.keypoints[name][1])) for name in names},
        [
            load_image(scene.image, name=f"{category}-{number}.png")
            for number, (_, scene) in enumerate(scenes[1:], start=1)
        ],
    )
    return dataclasses.replace(made, example=True)


def words_example(category: str) -> tuple[Image, str]:
    """A drawing, and the caption that describes it.

    Raises:
        SettingsError: There is no such category.
    """
    _, scene = first_scenes(category, 1, size=_SIDE)[0]
    return load_image(scene.image, name=f"{category}.png"), scene.caption
