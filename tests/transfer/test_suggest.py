"""Which images to annotate next, where the answer is known: points on a line, clusters, drawings of several kinds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semcorr.errors import TransferError
from semcorr.imaging.image import load_image
from semcorr.keypoints import read_annotations
from semcorr.matchers.base import Matcher
from semcorr.toy.coco import ToyWorld
from semcorr.transfer.suggest import (
    Candidate,
    candidates_of,
    choose_representative,
    describe,
    distances,
    suggest_images,
)


def line(*positions: float) -> np.ndarray:
    """The distances of points on a line."""
    return np.abs(np.subtract.outer(positions, positions)).astype(np.float64)


CLUSTERS = line(0, 1, 2, 50, 51, 52, 53, 54, 100)


def test_the_middle_comes_first_then_what_is_nearest_to_most_of_the_others() -> None:
    # What is left of the distances after 2 and 100: 4; then 2, with either of the first two.
    assert choose_representative(line(0, 1, 2, 3, 100), 3) == [2, 4, 0]


def test_the_middle_of_each_cluster_is_chosen() -> None:
    assert choose_representative(CLUSTERS, 3) == [4, 1, 8]


def test_a_cluster_comes_before_an_image_that_nothing_resembles() -> None:
    assert choose_representative(line(0, 1, 2, 40, 41, 42, 43, 44, 120), 2)[1] == 1


def test_an_annotated_image_covers_its_cluster() -> None:
    assert choose_representative(CLUSTERS, 2, CLUSTERS[5]) == [1, 8]
    assert choose_representative(CLUSTERS, 1, CLUSTERS[8]) == [3]


def test_images_that_are_predicted_with_certainty_count_less() -> None:
    doubt = np.array([0.1, 0.1, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    assert choose_representative(CLUSTERS, 2, CLUSTERS[0], doubt) == [5, 3]


def test_images_that_are_no_candidates_are_covered_too() -> None:
    """Of the images at 50 and at 100 one may be chosen: most of those that cannot be are near 50."""
    assert choose_representative(CLUSTERS[:, [8, 3]], 1) == [1]


def test_no_more_are_chosen_than_there_are() -> None:
    assert sorted(choose_representative(line(0, 1, 5), 9)) == [0, 1, 2]


def test_distances_are_squared() -> None:
    descriptors = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    np.testing.assert_allclose(distances(descriptors, descriptors[:2]), [[0, 25], [25, 0], [1, 18]], atol=1e-12)


def test_an_image_is_described_by_its_quarters(world: ToyWorld, dift: Matcher) -> None:
    image = load_image(min(world.images.iterdir()))
    (features,) = dift.feature_maps([image])
    rows, columns = features.shape[1] // 2, features.shape[2] // 2
    corners = [(top, left) for top in (0, rows) for left in (0, columns)]
    quarters = [features[:, top : top + rows, left : left + columns].mean(dim=(1, 2)) for top, left in corners]
    expected = np.stack([one.double().numpy() for one in quarters], axis=1).ravel()
    np.testing.assert_allclose(describe(dift, image), expected, rtol=1e-4, atol=1e-6)


def test_copies_of_two_drawings_stand_for_each_other(world: ToyWorld, dift: Matcher, tmp_path: Path) -> None:
    """Three copies of one drawing and two of another, without any annotations; one file is broken."""
    first, second = sorted(world.images.iterdir())[:2]
    for number, source in enumerate([first, second, first, second, first]):
        shutil.copy(source, tmp_path / f"{number}.png")
    (tmp_path / "5.png").write_bytes(b"no image")
    candidates = candidates_of(None, images=tmp_path)
    result = suggest_images(dift, candidates, 2)
    assert [(one.image.file, one.stands_for) for one in result.images] == [("0.png", 3), ("1.png", 2)]
    assert (result.considered, result.annotated, list(result.unreadable)) == (5, 0, ["5.png"])


def test_all_images_without_annotations_are_candidates(world: ToyWorld, tmp_path: Path) -> None:
    known = read_annotations(world.annotations, world.images)
    names = [one.file for one in known.images]
    every = candidates_of(replace(known, images=known.images[:3]), images=world.images)
    assert sorted(one.file for one in every) == sorted(names)
    assert [one.file for one in every if one.annotated] == names[:2]
    named = candidates_of(known, images=world.images, paths=[known.images[4].path])
    assert [one.file for one in named] == [*names[:2], names[4]]
    with pytest.raises(TransferError, match="Expected images without annotations, got none"):
        candidates_of(replace(known, images=known.images[:2]), images=None)
    with pytest.raises(TransferError, match="There are: face"):
        candidates_of(known, images=None, categories=["fase"])


def test_boxes_and_scores_are_read(world: ToyWorld, tmp_path: Path) -> None:
    document = json.loads(world.annotations.read_text(encoding="utf-8"))
    image = document["images"][-1]["id"]
    boxes = [[10, 20, 30, 40], [20, 10, 50, 10]]
    document["annotations"] += [
        {"id": 90 + n, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": 0} for n, box in enumerate(boxes)
    ]
    points = [30.0, 30.0, 2] * len(document["categories"][0]["keypoints"])
    document["annotations"].append(
        {"id": 99, "image_id": document["images"][-2]["id"], "category_id": 1, "keypoints": points, "score": 0.25}
    )
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    *_, predicted, boxed = candidates_of(read_annotations(tmp_path / "a.json", world.images), images=None)
    assert (boxed.box, boxed.annotated, boxed.score) == ((10, 10, 70, 60), False, None)
    assert (predicted.box, predicted.annotated, predicted.score) == (None, False, 0.25)


def test_an_annotated_image_is_described_as_the_others_are(world: ToyWorld, dift: Matcher) -> None:
    """Its box says nothing where no other image has one: a copy of it resembles it."""
    first, second = sorted(world.images.iterdir())[:2]
    annotated = Candidate(file="annotated", path=first, annotated=True, box=(0, 0, 12, 12))
    others = [Candidate(file="copy", path=first), Candidate(file="another", path=second)]
    result = suggest_images(dift, [annotated, *others], 1)
    assert [(one.image.file, one.stands_for) for one in result.images] == [("another", 1)]
