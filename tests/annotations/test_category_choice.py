"""Which category is written where no box says it."""

import json
from pathlib import Path

import numpy as np
import pytest

from annotations.test_supports import found, support
from semcorr.annotations import AnnotatedPicture, Instance, TransferRecord, transfer
from semcorr.annotations.category_choice import Levels, evidence, exclusive_groups
from semcorr.annotations.supports import DescribedSupport, Support, Vote
from semcorr.annotations.toy_world import write_coco
from semcorr.matching import Matcher

SQUARE = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])


def of(points: np.ndarray) -> DescribedSupport:
    made = support(list(range(len(points))))
    object.__setattr__(made.query, "points", points)
    return made


def shape(source: np.ndarray, target: np.ndarray) -> float:
    result = Vote(points=target, confidence=np.ones(len(target)))
    matches = found([(1, 1)] * len(target), [1.0] * len(target))
    return float(evidence([of(source)], [matches], result)[1])


@pytest.mark.parametrize("mirror", [1, -1])
def test_a_shape_that_is_turned_scaled_moved_and_mirrored_is_the_same(mirror: int) -> None:
    turn = np.array([[np.cos(1), np.sin(1)], [-np.sin(1), np.cos(1)]])
    assert shape(SQUARE, 3 * (SQUARE * (mirror, 1)) @ turn + 7) == pytest.approx(0, abs=1e-3)


def test_a_shape_that_nothing_explains_is_minus_one() -> None:
    # The diagonals' ends of a square, moved apart and together: no rotation or scale does that, nor a mirror.
    assert shape(SQUARE, np.array([[1.0, 0], [-1, 0], [1, 0], [-1, 0]])) == pytest.approx(-1)
    # Twice as wide: of the spread of 1 + 4 the best scale, 3 / 2 of 1 and 1, explains 9 / 2.
    assert shape(SQUARE, SQUARE * (2, 1)) == pytest.approx(-((1 - 4.5 / 5) ** 0.5))


def test_fewer_than_three_points_have_no_shape() -> None:
    assert np.isnan(shape(SQUARE[:2], SQUARE[:2]))


def test_similarity_is_the_mean_of_the_maps_maxima() -> None:
    matches = found([(1, 1)] * 4, [1.0] * 4)
    object.__setattr__(matches, "heatmaps", matches.heatmaps * np.array([0.2, 0.4, 0.6, 0.8])[:, None, None])
    result = Vote(points=SQUARE, confidence=np.ones(4))
    assert evidence([of(SQUARE)], [matches], result)[0] == pytest.approx(0.5)


def levels(gap: tuple[float, float] = (0.1, 0.4)) -> Levels:
    return Levels(others={"cat": np.array([0.5, -0.8]), "dog": np.array([0.7, -0.6])}, gap=np.array(gap))


def test_the_category_that_leads_what_it_gives_on_others_is_chosen() -> None:
    groups = [("cat",), ("dog",)]
    # The dog's similarity is larger, and as on any image; the cat's is a gap above: 1 + 0.5 * 0.2 / 0.4 against 0.
    seen = {"cat": np.array([0.6, -0.6]), "dog": np.array([0.7, -0.6])}
    assert levels().score("cat", seen["cat"]) == pytest.approx(1.25)
    assert levels().choose(groups, seen) == ("cat",)
    close = {"cat": np.array([0.54, -0.8]), "dog": np.array([0.7, -0.6])}
    assert levels().choose(groups, close) is None  # 0.4 against 0
    assert levels((np.nan, np.nan)).choose(groups, seen) is None  # one support each: nothing to compare with
    assert levels((-0.1, 0.4)).score("cat", seen["cat"]) == pytest.approx(0.25)  # a measure that tells nothing


def pictured(*categories: str) -> list[tuple[str, Support]]:
    things = tuple(Instance(category=name, points=np.zeros((1, 2)), visibility=np.array([2])) for name in categories)
    picture = AnnotatedPicture(file="a.png", path=Path("a.png"), instances=things)
    return [(one.category, Support(picture=picture, instance=one, seen=np.array([0]))) for one in things]


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
    result = transfer(world.annotations, images=world.images, matcher=dift)
    assert len(result) == 4
    for record in result:
        kinds = [one.category for one in record.objects]
        assert kinds in ([], ["face"], ["car"])
        assert record.doubtful == (() if kinds else ("face", "car"))
        assert TransferRecord.from_json(record.to_json()).doubtful == record.doubtful
    # Faces and cars look so different that even one noise sample tells most apart.
    assert sum(one.category == record.file[:-9] for record in result for one in record.objects) >= 2
    assert all(one.category == record.file[:-9] for record in result for one in record.objects)
    (only,) = transfer(world.annotations, [world.images / "car-0002.png"], matcher=dift, categories=["car"])
    assert [one.category for one in only.objects] == ["car"]
    single = json.loads(world.annotations.read_text(encoding="utf-8"))
    single["annotations"] = single["annotations"][::2]  # one annotated image each: nothing to compare with
    (tmp_path / "single.json").write_text(json.dumps(single), encoding="utf-8")
    assert all(record.doubtful for record in transfer(tmp_path / "single.json", images=world.images, matcher=dift))
