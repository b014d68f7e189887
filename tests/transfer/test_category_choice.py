"""Which category is written where no box says it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from semcorr.keypoints import AnnotatedImage, Instance, TransferRecord
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Matches
from semcorr.toy.coco import write_coco
from semcorr.transfer import transfer_annotations
from semcorr.transfer.category_choice import ReferenceLevels, exclusive_groups, resemblance
from semcorr.transfer.supports import Support
from transfer.test_fusion import matches_at


def matches_with(*, maxima: list[float], similarity: list[float] | None = None) -> Matches:
    matches = matches_at([(1, 1)] * len(maxima), [1.0] * len(maxima))
    peaks = np.array(maxima)[:, None, None] / matches.heatmaps.max(axis=(1, 2), keepdims=True)
    own = None if similarity is None else np.array(similarity)
    return dataclasses.replace(matches, heatmaps=matches.heatmaps * peaks, similarity=own)


def test_an_image_resembles_supports_as_much_as_the_mean_of_all_their_points_says() -> None:
    two, one = matches_with(maxima=[0.2, 0.4]), matches_with(maxima=[0.9])
    assert resemblance([two, one]) == pytest.approx(0.5)
    with_similarity = matches_with(maxima=[0.2, 0.4], similarity=[0.6, 0.9])
    assert resemblance([with_similarity, one]) == pytest.approx(0.8)


# On cats 0.1 more like cats than like dogs, on dogs 0.1 less: the middle is 0. Cows resemble everything, on all images.
MEANS = {
    ("cat", "cat"): 0.6,
    ("dog", "cat"): 0.5,
    ("cow", "cat"): 0.8,
    ("cat", "dog"): 0.5,
    ("dog", "dog"): 0.6,
    ("cow", "dog"): 0.8,
    ("cat", "cow"): 0.4,
    ("dog", "cow"): 0.4,
    ("cow", "cow"): 0.9,
}


def test_the_category_that_leads_each_other_one_is_chosen() -> None:
    groups, levels = [("cat",), ("dog",), ("cow",)], ReferenceLevels(means=MEANS)
    # As on an image of a cat, but all of it less similar.
    seen = {"cat": 0.4, "dog": 0.3, "cow": 0.6}
    assert levels.lead("cat", "dog", seen) == pytest.approx(1)
    assert levels.lead("dog", "cat", seen) == pytest.approx(-1)
    # Between -0.2 on cats and -0.5 on cows the middle is -0.35.
    assert levels.lead("cat", "cow", seen) == pytest.approx((-0.2 + 0.35) / 0.15)
    assert levels.choose(groups, seen) == ("cat",)
    assert levels.choose(groups, {"cat": 0.4, "dog": 0.4, "cow": 0.9}) == ("cow",)
    assert levels.choose(groups, {"cat": 0.4, "dog": 0.36, "cow": 0.6}) is None  # the cat leads the dog by 0.4


def test_categories_that_do_not_differ_are_doubtful() -> None:
    single = ReferenceLevels(means={kind: value for kind, value in MEANS.items() if kind != ("dog", "dog")})
    seen = {"cat": 0.9, "dog": 0.1, "cow": 0.1}
    assert single.choose([("cat",), ("dog",)], seen) is None
    assert single.choose([("cat",), ("cow",)], seen) == ("cat",)
    same = ReferenceLevels(means={**MEANS, ("cat", "cat"): 0.5, ("dog", "dog"): 0.5})
    assert same.choose([("cat",), ("dog",)], seen) is None


def test_of_categories_that_are_shown_together_the_mean_counts() -> None:
    seen = {"cat": 0.6, "dog": 1.0, "cow": 0.8}
    dog = ReferenceLevels(means=MEANS).lead("dog", "cow", seen)
    assert dog == pytest.approx((0.2 + 0.35) / 0.15)
    assert ReferenceLevels(means=MEANS).choose([("cat", "dog"), ("cow",)], seen) == ("cat", "dog")


def pictured(*categories: str) -> list[tuple[str, Support]]:
    instances = tuple(Instance(category=name, points=np.zeros((1, 2)), visibility=np.array([2])) for name in categories)
    image = AnnotatedImage(file="a.png", path=Path("a.png"), instances=instances)
    return [(one.category, Support(image=image, instance=one, keypoints=np.array([0]))) for one in instances]


def test_categories_that_images_show_together_are_not_chosen_between() -> None:
    def groups(*images: tuple[str, ...]) -> list[tuple[str, ...]]:
        supports: dict[str, list[Support]] = {}
        for categories in images:
            for name, one in pictured(*categories):
                supports.setdefault(name, []).append(one)
        return exclusive_groups(supports)

    assert groups(("cat",), ("dog",)) == [("cat",), ("dog",)]
    assert groups(("cat", "dog"), ("cow",), ("dog", "hen")) == [("cat", "dog", "hen"), ("cow",)]


def test_an_image_gets_objects_of_one_category_or_is_doubtful(dift: Matcher, tmp_path: Path) -> None:
    world = write_coco(tmp_path / "toy", categories=("face", "car"), support=2, targets=2, size=96)
    result = transfer_annotations(world.annotations, images=world.images, matcher=dift)
    assert len(result) == 4
    for record in result:
        kinds = [one.category for one in record.objects]
        assert kinds in ([], ["face"], ["car"])
        assert record.doubtful == (() if kinds else ("face", "car"))
        assert TransferRecord.from_json(record.to_json()).doubtful == record.doubtful
    # Faces and cars look so different that even one noise sample distinguishes most.
    assert sum(one.category == record.file[:-9] for record in result for one in record.objects) >= 2
    assert all(one.category == record.file[:-9] for record in result for one in record.objects)
    (only,) = transfer_annotations(world.annotations, [world.images / "car-0002.png"], matcher=dift, categories=["car"])
    assert [one.category for one in only.objects] == ["car"]
    single = json.loads(world.annotations.read_text(encoding="utf-8"))
    single["annotations"] = single["annotations"][::2]  # one annotated image each: nothing to compare with
    (tmp_path / "single.json").write_text(json.dumps(single), encoding="utf-8")
    assert all(
        record.doubtful for record in transfer_annotations(tmp_path / "single.json", images=world.images, matcher=dift)
    )
