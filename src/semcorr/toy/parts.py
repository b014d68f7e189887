"""The parts of the toy world's objects as regions: exact truth for what finds regions."""

from functools import cache

import numpy as np

from semcorr.imaging.label_map import LabelMap
from semcorr.toy.objects import BUILDERS, CATEGORIES
from semcorr.toy.render import Scene


@cache
def part_names(category: str) -> tuple[str, ...]:
    """The names of the parts that any kind of a category has, in drawing order; a part's label is its number from 1."""
    words = [part.word for kind in CATEGORIES[category] for part in BUILDERS[category](kind, np.random.default_rng(0))]
    return tuple(dict.fromkeys(words))


def part_map(scene: Scene) -> LabelMap:
    """The parts that are on top at each pixel of a scene, with the same label for the same part of its category."""
    names = part_names(scene.category)
    labels = np.array([0, *(names.index(word) + 1 for word in scene.words)], dtype=np.uint8)
    return LabelMap(labels=labels[scene.labels], names=dict(enumerate(names, start=1)))
