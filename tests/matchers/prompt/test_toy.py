"""The same promises on the bundled model with its own preset, whose learning rate is forty times the paper's."""

import numpy as np
import pytest

from closeness import assert_close_to_scale, assert_same_peaks
from semcorr.errors import ModelError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.prompt import PromptMatcher
from semcorr.toy.render import render_scene

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def matcher() -> PromptMatcher:
    try:
        return PromptMatcher.from_pretrained("toy", device="cpu", rounds=1)
    except ModelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def scene() -> Image:
    return load_image(render_scene(3, 64, split="val").image)


def test_a_point_alone_and_among_twenty_others_is_the_same(matcher: PromptMatcher, scene: Image):
    points = np.random.default_rng(0).uniform(8, 56, (21, 2))
    among, alone = matcher.describe(scene, points), matcher.describe(scene, points[7:8])
    assert_close_to_scale(among.tensors["embeddings"][7], alone.tensors["embeddings"][0], rel=1e-3)
    among_all, alone = matcher.locate(among, scene), matcher.locate(among.take([7]), scene)
    one, many = alone.heatmaps, among_all.heatmaps[[7]]
    assert_close_to_scale(one, many)
    assert_same_peaks(alone.points, among_all.points[[7]], one, many, scene.size)
    # In the image of the query, points are located where they are: within a cell of the finest map, 4 px wide.
    assert np.median(np.linalg.norm(among_all.points - points, axis=1)) < 4
