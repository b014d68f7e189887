"""The toy benchmark as a data set."""

import inspect
import json

import numpy as np
import PIL.Image
import pytest

from semcorr.datasets import toy_world
from semcorr.errors import DatasetError
from semcorr.toy.objects import CATEGORIES
from semcorr.toy.render import render_scene


def test_pairs_are_what_the_renderer_says(tmp_path):
    """Source s of category c is seed 100000 c + 3 s, and its two targets are the seeds that follow."""
    steps = []
    dataset = toy_world.load(
        tmp_path, "val", sources=2, targets=2, size=64, progress=lambda *step, **_: steps.append(step)
    )
    assert (dataset.name, dataset.split, dataset.threshold) == ("toy", "val", "target-box")
    assert steps[-1] == ("render", 24, 24)
    expected = [
        (category, 100_000 * index + 3 * source, 100_000 * index + 3 * source + target)
        for index, category in enumerate(CATEGORIES)
        for source in (0, 1)
        for target in (1, 2)
    ]
    for pair, (category, *seeds) in zip(dataset.pairs, expected, strict=True):
        scenes = [render_scene(seed, 64, split="val", category=category) for seed in seeds]
        assert (pair.id, pair.category) == (f"val-{seeds[0]}-{seeds[1]}", category)
        assert set(pair.names) == scenes[0].visible & scenes[1].visible
        directions = {scene.facing for scene in scenes}
        assert pair.flags == {
            "facing": "front" if category == "face" else "same" if len(directions) == 1 else "opposite"
        }
        for side, scene in zip((pair.source, pair.target), scenes, strict=True):
            assert (side.box, side.size) == (scene.box, (64, 64))
            np.testing.assert_array_equal(side.points, [scene.keypoints[name] for name in pair.names])
            with PIL.Image.open(side.path) as image:
                np.testing.assert_array_equal(np.asarray(image), scene.image)


def test_the_benchmark_has_at_least_300_held_out_pairs():
    defaults = {name: p.default for name, p in inspect.signature(toy_world.load).parameters.items()}
    assert len(CATEGORIES) * defaults["sources"] * defaults["targets"] >= 300
    assert defaults["split"] == "test"


def test_no_drawing_is_used_twice(tmp_path):
    pairs = toy_world.load(tmp_path, "val", sources=3, targets=2, size=32).pairs
    targets = [(pair.category, pair.target.path) for pair in pairs]
    assert len(targets) == len(set(targets))
    assert not {(pair.category, pair.source.path) for pair in pairs} & set(targets)


def test_only_what_is_missing_or_wrong_is_written(tmp_path):
    paths = [pair.target.path for pair in toy_world.load(tmp_path, sources=1, targets=2, size=32).pairs]
    before = {path: path.stat().st_mtime_ns for path in paths}
    good = [path.read_bytes() for path in paths[:3]]
    paths[0].unlink()
    paths[1].write_bytes(good[1][:100])
    paths[2].write_bytes(good[1])
    toy_world.load(tmp_path, sources=1, targets=2, size=32)
    assert [path.read_bytes() for path in paths[:3]] == good
    assert {path: path.stat().st_mtime_ns for path in paths[3:]} == {path: before[path] for path in paths[3:]}
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("renderer", ["this one", "another"])
def test_what_is_remembered_is_what_was_drawn(tmp_path, renderer):
    drawn = toy_world.load(tmp_path, sources=1, targets=2, size=32)
    truth = tmp_path / "test-32" / "truth.json"
    if renderer == "another":  # nothing it said may be believed
        known = json.loads(truth.read_text())
        known["renderer"] = "another"
        for drawing in known["drawings"].values():
            drawing["box"] = [0, 0, 1, 1]
        truth.write_text(json.dumps(known))
    again = toy_world.load(tmp_path, sources=1, targets=2, size=32)
    for one, other in zip(drawn.pairs, again.pairs, strict=True):
        assert (one.id, one.names, one.flags) == (other.id, other.names, other.flags)
        for side, remembered in ((one.source, other.source), (one.target, other.target)):
            assert (side.path, side.box) == (remembered.path, remembered.box)
            np.testing.assert_array_equal(side.points, remembered.points)


def test_sizes_do_not_mix(tmp_path):
    small = toy_world.load(tmp_path, sources=1, targets=1, size=32).pairs[0]
    large = toy_world.load(tmp_path, sources=1, targets=1, size=48).pairs[0]
    assert (small.id, small.target.path) != (large.id, large.target.path)
    assert (small.target.size, large.target.size) == ((32, 32), (48, 48))


def test_bad_requests_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"unknown split 'tets'\. Did you mean 'test'"):
        toy_world.load(tmp_path, "tets")
    with pytest.raises(DatasetError, match="at least 1 source, 1 target and 2 pixels, got 0, 13 and 256"):
        toy_world.load(tmp_path, sources=0)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DatasetError, match="expected a folder to draw into, got the file"):
        toy_world.load(tmp_path / "file")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    # A file where the folder of drawings would be: works for root as well, whom permissions do not stop.
    (tmp_path / "test-32").write_text("x", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"cannot be written.*Name a folder that can be written"):
        toy_world.load(tmp_path, sources=1, targets=1, size=32)
