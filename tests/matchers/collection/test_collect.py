import dataclasses
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from semcorr.errors import ImageError, ModelError, QueryError, RunError, SettingsError
from semcorr.matchers.base import Matcher
from semcorr.matchers.collection.collect import CollectionSummary, collect
from semcorr.matchers.collection.collection import Collection
from semcorr.matchers.collection.folder import RESULT, read_result
from semcorr.matchers.load import load_matcher
from windows import SETTINGS, SHIFTS, SIDE, SPEC, write_images

Trained = tuple[list[Path], Path, CollectionSummary]


class _StoppedError(Exception):
    pass


def test_a_training_that_was_stopped_continues_to_the_same_numbers(collection: Trained, backbone: Matcher):
    paths, folder, summary = collection
    again = folder.with_name("again")

    def stop(stage: str, done: int, total: int, **info: object) -> None:
        if stage == "train" and done == 30:
            raise _StoppedError

    with pytest.raises(_StoppedError):
        collect(backbone, SPEC, paths, again, SETTINGS, progress=stop)
    with pytest.raises(ModelError, match="not finished"):
        load_matcher(model=again)
    seen: list[tuple[str, int]] = []
    continued = collect(
        backbone, SPEC, paths, again, SETTINGS, progress=lambda stage, done, *_, **__: seen.append((stage, done))
    )
    assert seen[0] == ("train", 26)  # the checkpoint after 25 steps; no feature is computed again
    assert continued.continued == 25
    assert continued.matches == summary.matches
    first, second = read_result(folder)[1], read_result(again)[1]
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert sorted(one.name for one in again.glob("[a-z]*")) == ["collection.json", "collection.safetensors"]


def test_points_are_carried_through_the_grid_as_the_windows_were_shifted(collection: Trained):
    paths, folder, _ = collection
    x, y = np.meshgrid(np.arange(24, 80, 8), np.arange(24, 80, 8))
    points = np.stack([x, y], axis=-1).reshape(-1, 2).astype(float)
    for preset in ("guided", "published"):
        matcher = load_matcher("asic", folder, preset)
        query = matcher.describe(paths[0], points)
        for path, shift in zip(paths, SHIFTS, strict=True):
            located, confidence = matcher.locate_points(query, path)
            errors = np.linalg.norm(located - (points - shift), axis=1)
            assert np.median(errors) < SIDE / 16, (preset, shift)
            assert ((confidence >= 0) & (confidence <= 1)).all()
        matches = matcher.locate(query, paths[1])
        np.testing.assert_array_equal(matches.points, matcher.locate_points(query, paths[1])[0])
        assert matches.heatmaps.shape == (len(points), SIDE, SIDE)


def test_an_image_that_is_not_of_the_collection_is_refused_by_name_or_mapped(collection: Trained, tmp_path: Path):
    paths, folder, _ = collection
    with PIL.Image.open(paths[0]) as image:
        image.crop((2, 2, SIDE, SIDE)).save(tmp_path / "new.png")
    query = load_matcher("asic", folder).describe(paths[0], [(50, 50)])
    message = r"'new.png' is not an image of the collection .* \(0-0.png, 0-1.png, 0-2.png and 1 more\)"
    with pytest.raises(ImageError, match=message):
        load_matcher("asic", folder).locate(query, tmp_path / "new.png")
    mapping = load_matcher("asic", folder, new_images="map")
    matches = mapping.locate(mapping.describe(paths[0], [(50, 50)]), tmp_path / "new.png")
    assert np.linalg.norm(matches.points[0] - (48, 48)) < SIDE / 8


def test_a_query_of_another_collection_is_refused(collection: Trained):
    paths, folder, _ = collection
    matcher = load_matcher("asic", folder)
    query = matcher.describe(paths[0], [(50, 50)])
    assert load_matcher(model=folder).locate(query, paths[1]).points.shape == (1, 2)  # "auto" is asic there
    with pytest.raises(QueryError, match="made with model"):
        matcher.locate(dataclasses.replace(query, model_fingerprint="0" * 64), paths[1])
    with pytest.raises(QueryError, match="The query's coordinates: expected shape"):
        matcher.locate(dataclasses.replace(query, tensors={}), paths[1])


def test_bad_collections_are_refused_with_what_to_do(backbone: Matcher, collection: Trained, tmp_path: Path):
    paths, folder, _ = collection
    with pytest.raises(ImageError, match=r"at least 3 images of one kind, got 2.*semcorr mutual"):
        collect(backbone, SPEC, paths[:2], tmp_path / "two")
    with pytest.raises(ImageError, match=r"are the same image. Name it once"):
        collect(backbone, SPEC, [*paths, paths[0]], tmp_path / "twice")
    with pytest.raises(RunError, match=re.escape("settings.steps: 40 there, 41 here")):
        collect(backbone, SPEC, paths, folder, dataclasses.replace(SETTINGS, steps=41))
    with pytest.raises(ModelError, match=r"no collection in .*semcorr collect IMAGES"):
        load_matcher("asic", tmp_path / "none")
    PIL.Image.new("RGB", (SIDE, SIDE), "white").save(tmp_path / "plain.png")
    with pytest.raises(ImageError, match=r"consistent mutual neighbours .* Fewer have: plain.png"):
        collect(backbone, SPEC, [*paths, tmp_path / "plain.png"], tmp_path / "alone", SETTINGS)
    few = dataclasses.replace(SETTINGS, steps=1)
    assert collect(backbone, SPEC, paths, tmp_path / "alone", few).images == 4  # nothing was begun there
    with pytest.raises(RunError, match=r"holds other files, such as .*Name a new folder"):
        collect(backbone, SPEC, paths, tmp_path, SETTINGS)


def test_masks_say_where_the_object_is_and_have_to_fit(backbone: Matcher, tmp_path: Path):
    paths, masks = write_images(tmp_path, 1), tmp_path / "masks"
    masks.mkdir()
    half = np.zeros((SIDE, SIDE), dtype=np.uint8)
    half[:, : SIDE // 2] = 255
    for path in paths[1:]:
        PIL.Image.fromarray(half).save(masks / path.name)
    few = dataclasses.replace(SETTINGS, steps=1)
    with pytest.raises(ImageError, match=r"one mask for 1-0.png .* got 0"):
        collect(backbone, SPEC, paths, tmp_path / "out", few, masks=masks)
    PIL.Image.fromarray(half[:50]).save(masks / paths[0].name)
    with pytest.raises(ImageError, match=r"is 96 x 50 pixels, and '1-0.png' 96 x 96"):
        collect(backbone, SPEC, paths, tmp_path / "out", few, masks=masks)
    PIL.Image.fromarray(0 * half).save(masks / paths[0].name)
    with pytest.raises(ImageError, match=r"mask '1-0.png' is empty"):
        collect(backbone, SPEC, paths, tmp_path / "out", few, masks=masks)
    PIL.Image.fromarray(half).save(masks / paths[0].name)
    summary = collect(backbone, SPEC, paths, tmp_path / "all", few, masks=masks)
    assert summary.foreground == 0.5
    matcher = load_matcher("asic", tmp_path / "all", "published")
    located, confidence = matcher.locate_points(matcher.describe(paths[0], [(20, 50), (90, 50)]), paths[0])
    assert located[:, 0].max() <= SIDE / 2
    assert confidence[1] == 0


def test_a_method_without_features_is_refused(tmp_path: Path, collection: Trained):
    paths, folder, _ = collection
    with pytest.raises(SettingsError, match="method 'asic' compares none"):
        collect(load_matcher("asic", folder), SPEC, paths, tmp_path / "out")


def test_a_broken_collection_is_refused(collection: Trained, tmp_path: Path):
    _, folder, _ = collection
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("collection.json", RESULT):
        (broken / name).write_bytes((folder / name).read_bytes())
    (broken / RESULT).write_bytes((folder / RESULT).read_bytes()[:-100])
    with pytest.raises(ModelError, match="broken; make it again"):
        Collection.from_pretrained(broken)
    with pytest.raises(ModelError, match="loaded in float32"):
        Collection.from_pretrained(folder, dtype="float16")
