"""The toy world's drawings: deterministic, split from split, and true to their annotations."""

import hashlib

import numpy as np
import pytest

from semcorr.toy.objects import BUILDERS, CATEGORIES
from semcorr.toy.render import PALETTE, Scene, render_scene, rng_for


def _digest(scene: Scene) -> str:
    return hashlib.sha256(scene.image.tobytes() + scene.labels.tobytes()).hexdigest()


def test_same_seed_same_image() -> None:
    assert _digest(render_scene(7, 64)) == _digest(render_scene(7, 64))
    assert render_scene(7, 64).keypoints == render_scene(7, 64).keypoints


def test_seeds_and_splits_give_different_images() -> None:
    scenes = [render_scene(seed, 64, split=split) for seed in range(20) for split in ("train", "val", "test")]
    assert len({_digest(scene) for scene in scenes}) == 60


@pytest.mark.parametrize("category", CATEGORIES)
def test_scene_is_the_same_at_any_size(category: str) -> None:
    small, large = render_scene(3, 64, category=category), render_scene(3, 256, category=category)
    assert small.caption == large.caption
    for name, (x, y) in small.keypoints.items():
        assert np.allclose(np.multiply((x, y), 4), large.keypoints[name])
    assert np.allclose(np.multiply(small.box, 4), large.box)
    shrunk = large.image.reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(shrunk - small.image).mean() < 8  # the same image but for its edges


@pytest.mark.parametrize("category", CATEGORIES)
def test_category_can_be_fixed(category: str) -> None:
    scenes = [render_scene(seed, 64, category=category) for seed in range(40)]
    assert {scene.category for scene in scenes} == {category}
    assert {scene.kind for scene in scenes} == set(CATEGORIES[category])


def test_visible_points_lie_inside_on_the_colour_of_their_part() -> None:
    """The wing carries no texture, eye or hub: the pixel at its key-point has the colour the caption names."""
    checked = 0
    for seed in range(60):
        scene = render_scene(seed, 256, category="bird")
        for name in scene.visible:
            x, y = scene.keypoints[name]
            assert 0 <= x <= 256
            assert 0 <= y <= 256
            assert scene.box[0] <= x <= scene.box[2]
            assert scene.box[1] <= y <= scene.box[3]
        if "wing" in scene.visible:
            x, y = scene.keypoints["wing"]
            painted = scene.image[int(y), int(x)].astype(int)
            assert np.abs(painted - PALETTE[scene.colours["wing"]]).max() <= 15  # jitter of 14, and rounding
            checked += 1
    assert checked > 40


def test_covered_points_are_not_visible() -> None:
    """Where neither the object nor any part of it is on top, no key-point counts as visible."""
    covered = 0
    for scene in (render_scene(seed, 128) for seed in range(200)):
        for name, (x, y) in scene.keypoints.items():
            inside = 0 <= x < 128 and 0 <= y < 128
            if not inside or scene.labels[int(y), int(x)] == 0:
                assert name not in scene.visible
                covered += inside and scene.occluded
    assert covered > 10


def test_box_is_that_of_the_labels_where_nothing_covers_it() -> None:
    for seed in range(40):
        scene = render_scene(seed, 256)
        if scene.occluded or scene.truncated:
            continue
        rows, columns = np.nonzero(scene.labels)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.subtract(box, scene.box)).max() <= 2.5


def test_flip_mirrors_the_way_an_animal_faces() -> None:
    """An animal that faces right has its nose to the right of its tail, whatever the rotation of up to 25 degrees."""
    facings = set()
    for seed in range(60):
        scene = render_scene(seed, 64, category="animal")
        direction = scene.keypoints["nose"][0] - scene.keypoints["tail"][0]
        assert (direction > 0) == (scene.facing == "right")
        facings.add(scene.facing)
    assert facings == {"left", "right"}


def test_faces_face_ahead_and_keep_left_and_right() -> None:
    for seed in range(30):
        scene = render_scene(seed, 64, category="face")
        assert scene.facing == "front"
        assert scene.keypoints["left eye"][0] < scene.keypoints["right eye"][0]


def test_captions_bind_colours_to_parts() -> None:
    for seed in range(100):
        scene = render_scene(seed, 64)
        start, _, listed = scene.caption.partition(" with ")
        assert start == f"a {scene.kind}"
        phrases = [p.removeprefix("a ") for p in listed.replace(" and ", ", ").split(", ")]
        assert all(phrase in {f"{c} {w}" for w, c in scene.colours.items()} for phrase in phrases)


@pytest.mark.parametrize("category", CATEGORIES)
def test_all_kinds_of_a_category_share_their_keypoints(category: str) -> None:
    names = {
        kind: {name for part in BUILDERS[category](kind, rng_for(0, "train")) for name in part.keypoints}
        for kind in CATEGORIES[category]
    }
    assert len({frozenset(one) for one in names.values()}) == 1
