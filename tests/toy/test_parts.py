"""The toy world's part masks."""

import numpy as np
import pytest

from semcorr.toy.objects import BUILDERS, CATEGORIES
from semcorr.toy.parts import part_map, part_names
from semcorr.toy.render import render_scene


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_individual_has_known_parts_and_a_part_one_label(category: str) -> None:
    names = part_names(category)
    for seed in range(20):
        for kind in CATEGORIES[category]:
            assert {part.word for part in BUILDERS[category](kind, np.random.default_rng(seed))} <= set(names)
        scene = render_scene(seed, 64, category=category)
        parts = part_map(scene)
        for index, word in enumerate(scene.words, start=1):
            assert np.array_equal(scene.labels == index, parts.labels == names.index(word) + 1)
            assert parts.names[names.index(word) + 1] == word
        assert np.array_equal(parts.labels == 0, scene.labels == 0)
