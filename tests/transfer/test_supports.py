"""Which pictures are supports, and what several of them say together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from closeness import assert_close_to_scale, assert_same_peaks
from semcorr.errors import TransferError
from semcorr.imaging.image import load_image
from semcorr.keypoints import AnnotatedImage, Annotations, Category, Instance, read_annotations
from semcorr.matchers.base import Matcher
from semcorr.matchers.results import Matches, Query
from semcorr.toy.coco import ToyWorld
from semcorr.transfer.supports import (
    DescribedSupport,
    Supports,
    choose_supports,
    covered_note,
    join,
    locate_all,
    vote,
)

CAT = Category(id=1, name="cat", keypoints=("ear", "tail", "paw"))


def annotations(*marks: list[int]) -> Annotations:
    """A picture with one cat for each list of marks."""
    pictures = [
        AnnotatedImage(
            file=f"{number}.png",
            path=Path(f"{number}.png"),
            instances=(Instance(category="cat", points=np.zeros((3, 2)), visibility=np.array(seen)),),
        )
        for number, seen in enumerate(marks)
    ]
    return Annotations(path=Path("cats.json"), categories={"cat": CAT}, images=pictures)


def chosen(known: Annotations, most: int) -> list[str]:
    return [support.picture.file for support in choose_supports(known, CAT, most)]


def test_supports_show_most_and_then_what_the_others_lack() -> None:
    known = annotations([2, 0, 0], [2, 2, 0], [2, 2, 0], [0, 0, 2], [0, 0, 0], [1, 1, 1])
    # The second shows two; then the only paw counts 1, as much as ear and tail that are seen already, and comes later;
    assert chosen(known, 3) == ["1.png", "2.png", "3.png"]
    assert chosen(annotations([2, 0, 0], [2, 2, 0], [0, 0, 2]), 2) == ["1.png", "2.png"]
    assert chosen(known, 9) == ["1.png", "2.png", "3.png", "0.png"]  # nothing is seen in the others


def seen(known: Annotations) -> list[list[int]]:
    return [support.seen.tolist() for support in choose_supports(known, CAT, 9)]


def test_covered_points_serve_where_nobody_shows_the_key_point() -> None:
    # The tail is visible in the first; ear and paw are covered wherever they are marked.
    assert seen(annotations([1, 2, 0], [1, 1, 1])) == [[0, 1], [0, 2]]
    assert seen(annotations([1, 1, 0], [0, 1, 1])) == [[0, 1], [1, 2]]  # a file of 0 and 1 alone
    assert seen(annotations([2, 2, 2], [1, 1, 1])) == [[0, 1, 2]]  # an object that is covered all over is no support


def test_covered_points_that_do_not_serve_are_counted() -> None:
    note = covered_note(annotations([1, 2, 0], [1, 1, 1], [0, 1, 1]), CAT)
    assert note is not None
    assert note.startswith("2 covered points (v = 1) of 'cat' are not used")  # the tails
    one = covered_note(annotations([2, 0, 0], [1, 1, 0]), CAT)
    assert one is not None
    assert one.startswith("1 covered point (v = 1) of 'cat' is not used")
    assert covered_note(annotations([1, 1, 0], [0, 1, 1]), CAT) is None
    assert covered_note(annotations(), CAT) is None


def found(points: list[tuple[float, float]], confidence: list[float], side: int = 20) -> Matches:
    """Heat maps with a single bright pixel of 1 at each point, in a target of twice the map's size."""
    maps = np.zeros((len(points), side, side))
    for one, (x, y) in zip(maps, points, strict=True):
        one[int(y / 2), int(x / 2)] = 1
    array = np.array(points, dtype=float)
    return Matches(
        points=array,
        confidence=np.array(confidence),
        heatmaps=maps,
        image_size=(2 * side, 2 * side),
        image_sha256="",
        query_points=array,
        round_points=array[:, None],
        layer_points=np.zeros((len(points), 0, 2)),
        layer_names=(),
    )


def support(keypoints: list[int]) -> DescribedSupport:
    query = Query(
        method="m",
        model_id="",
        model_revision=None,
        model_fingerprint="",
        settings={},
        points=np.zeros((len(keypoints), 2)),
        image_size=(1, 1),
        image_sha256="",
        tensors={},
    )
    return DescribedSupport(query=query, keypoints=np.array(keypoints))


def test_one_support_has_its_own_answer() -> None:
    result = vote([support([0, 2])], [found([(5, 7), (31, 9)], [0.25, 0.5])], 3, (40, 40))
    np.testing.assert_allclose(result.points[[0, 2]], [(5, 7), (31, 9)], atol=0.05)
    assert result.confidence.tolist() == [0.25, 0, 0.5]
    assert np.isnan(result.points[1]).all()


def test_the_majority_wins_and_the_dissenter_costs_confidence() -> None:
    groups = [support([0])] * 3
    result = vote(groups, [found([p], [0.81]) for p in [(5, 7), (5, 7), (35, 35)]], 1, (40, 40))
    np.testing.assert_allclose(result.points[0], (5, 7), atol=0.05)
    # Two of three agree: the third is 41 pixels away, and counts as nothing.
    assert result.confidence[0] == pytest.approx((0.81 * 2 / 3) ** 0.5, abs=0.01)


def test_a_surer_support_outweighs_an_unsure_one() -> None:
    result = vote([support([0])] * 2, [found([(5, 7)], [0.2]), found([(35, 35)], [0.6])], 1, (40, 40))
    np.testing.assert_allclose(result.points[0], (35, 35), atol=0.05)


def test_nearness_falls_as_a_gaussian() -> None:
    # Both say (11, 11) together, since only the first one's map counts there; the second's own place is 4 pixels off.
    first, second = found([(11, 11)], [1.0]), found([(11, 11)], [1.0])
    object.__setattr__(second, "points", np.array([[15.0, 11.0]]))
    result = vote([support([0])] * 2, [first, second], 1, (40, 40))
    near = np.exp(-(4**2) / (2 * 2**2))  # 0.05 of 40 pixels
    assert result.confidence[0] == pytest.approx(((1 + near) / 2) ** 0.5, abs=0.005)


def test_no_confidence_at_all_is_no_error() -> None:
    result = vote([support([0])] * 2, [found([(5, 7)], [0.0])] * 2, 1, (40, 40))
    np.testing.assert_allclose(result.points[0], (5, 7), atol=0.05)
    assert result.confidence[0] == 0


def test_points_of_several_pictures_in_one_call(dift: Matcher, world: ToyWorld) -> None:
    known = read_annotations(world.annotations, world.images)
    supports = Supports(dift, {"face": choose_supports(known, known.categories["face"], 2)}, margin=0.2)
    described = supports.described("face", cut=False)
    target = load_image(world.images / "face-0003.png")
    together = locate_all(dift, described, target, together=True)
    apart = locate_all(dift, described, target, together=False)
    assert len(together) == len(apart) == 2
    for one, other in zip(together, apart, strict=True):
        assert_close_to_scale(one.confidence, other.confidence)
        assert_close_to_scale(one.heatmaps, other.heatmaps)
        assert_same_peaks(one.points, other.points, one.heatmaps, other.heatmaps, target.size)
    joined = join([part.query for part in described])
    assert len(joined.points) == sum(len(part.keypoints) for part in described)


def test_descriptions_are_kept_for_another_start(dift: Matcher, world: ToyWorld, tmp_path: Path) -> None:
    known = read_annotations(world.annotations, world.images)
    picked = {"face": choose_supports(known, known.categories["face"], 2)}
    first = Supports(dift, picked, margin=0.2, folder=tmp_path).described("face", cut=True)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == 2
    files[0].write_bytes(b"broken")  # by a crash
    again = Supports(dift, picked, margin=0.2, folder=tmp_path).described("face", cut=True)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.query.tensors["vectors"], other.query.tensors["vectors"])


def test_a_support_that_cannot_be_read_is_told(dift: Matcher, world: ToyWorld, tmp_path: Path) -> None:
    known = read_annotations(world.annotations, tmp_path)  # an empty folder of pictures
    moved = Annotations(
        path=known.path,
        categories=known.categories,
        images=[
            AnnotatedImage(file=one.file, path=tmp_path / one.file, instances=one.instances) for one in known.images
        ],
    )
    supports = Supports(dift, {"face": choose_supports(moved, moved.categories["face"], 1)}, margin=0.2)
    with pytest.raises(TransferError, match=r"face-000\d\.png.* cannot be used"):
        supports.described("face", cut=False)


def test_a_point_outside_its_box_widens_the_part_that_is_described(dift: Matcher, world: ToyWorld) -> None:
    known = read_annotations(world.annotations, world.images)
    (one,) = choose_supports(known, known.categories["face"], 1)
    box = (40.0, 40.0, 50.0, 50.0)  # all points of the face lie outside it
    narrow = replace(one, instance=replace(one.instance, box=box))
    (described,) = Supports(dift, {"face": [narrow]}, margin=0.0).described("face", cut=True)
    moved = one.instance.points[one.seen] - described.query.points
    np.testing.assert_allclose(moved, moved[:1].repeat(len(moved), axis=0), atol=1e-9)  # none was cut off
