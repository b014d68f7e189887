"""Regions of a workspace: every change and what is refused, undo, results, and the files that are exported."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from app.test_workspace import grey
from semcorr.app import changes
from semcorr.app.export import export
from semcorr.app.find_regions import check_regions_ready
from semcorr.app.history import History
from semcorr.app.images import HeldImage
from semcorr.app.limits import Limits
from semcorr.app.painting import DescribedRegions, Labels, TargetRegions
from semcorr.app.region_changes import clear_regions, delete_region, merge_regions, name_region, paint
from semcorr.app.view import left_to_find
from semcorr.app.workspace import RegionResult, Workspace, contents
from semcorr.errors import ImageError, PointError
from semcorr.imaging.label_map import LabelMap
from semcorr.imaging.masks import decode_rle
from semcorr.matchers.regions.results import RegionQuery

LIMITS = Limits(regions=2)
QUERY = RegionQuery(
    method="dift",
    model_id="toy",
    model_revision=None,
    model_fingerprint="0",
    settings={},
    region_settings={},
    names={1: "ear"},
    image_sha256=("0",),
    tensors={"features": np.ones(4, dtype=np.float32)},
)


def stroke(work: Workspace, region: int, *corners: tuple[float, float], radius: float = 3.0) -> Workspace:
    return paint(work, region, np.array(corners, dtype=float), radius, LIMITS)


def labels_of(work: Workspace) -> np.ndarray:
    assert work.painting is not None
    return work.painting.labels.array()


@pytest.fixture
def work() -> Workspace:
    """An ear that is painted in an image of 40 x 30, and a target of 20 x 20."""
    return name_region(stroke(changes.new_workspace(grey(), {}, [grey(20, 20)]), 1, (10, 10), (20, 10)), 1, " ear ")


def result(work: Workspace, label: str = "dift") -> RegionResult:
    """What a run might predict in every target: label 1 in the upper half of it, 2 in the leftmost column."""
    assert work.painting is not None
    painted = work.painting.labels.sha256
    regions = {}
    for target, image in zip(work.target_ids, work.targets, strict=True):
        labels = np.zeros(image.size[::-1], dtype=np.uint8)
        labels[: len(labels) // 2] = 1
        if 2 in work.painting.names:
            labels[:, 0] = 2
        confidence = {label: 0.25 * label for label in np.unique(labels).tolist() if label}
        regions[target] = TargetRegions(
            labels=Labels.of(labels), confidence=confidence, made_with=label, painted=painted
        )
    described = DescribedRegions(query=QUERY, made_with=label, painted=painted)
    return RegionResult(start=work, label=label, described=described, regions=regions)


def merged(work: Workspace) -> Workspace:
    after, dropped = merge_regions(work, result(work))
    assert dropped == 0
    return after


def test_regions_are_painted_over_each_other_erased_and_named(work: Workspace) -> None:
    ear = labels_of(work) == 1
    assert ear[10, 10:20].all()
    assert ear.sum() == pytest.approx(10 * 6 + np.pi * 9, abs=6)
    two = stroke(work, 2, (15, 10))
    assert (labels_of(two)[9:11, 14:16] == 2).all()
    assert (labels_of(two) > 0).sum() == ear.sum()
    assert np.array_equal(labels_of(work) == 1, ear)  # it is another workspace
    assert two.painting is not None
    assert two.painting.titles == {1: "ear", 2: "region 2"}
    assert contents(two) == "2 painted regions"
    # A stroke that changes nothing is no step, and an eraser leaves the name.
    assert stroke(two, 2, (15, 10)) is two
    erased = stroke(two, 0, (15, 10), radius=40)
    assert erased.painting is not None
    assert (erased.painting.painted, list(erased.painting.names)) == ((), [1, 2])
    assert clear_regions(two).painting is None
    assert delete_region(work, 1).painting is None
    # The label of a region that was deleted is free again.
    one = delete_region(two, 1)
    assert set(np.unique(labels_of(one))) == {0, 2}
    assert stroke(one, 1, (35, 25)).painting.names == {1: "", 2: ""}  # type: ignore[union-attr]


def test_what_does_not_fit_is_refused(work: Workspace) -> None:
    two = stroke(work, 2, (30, 20))
    with pytest.raises(PointError, match="one of the 1 regions"):
        stroke(work, 3, (1, 1))
    with pytest.raises(PointError, match="at most 2 regions"):
        stroke(two, 3, (1, 1))
    with pytest.raises(PointError, match="'ear' twice"):
        name_region(two, 2, "ear")
    with pytest.raises(PointError, match="'region 2' twice"):
        name_region(two, 1, "region 2")
    with pytest.raises(PointError, match="one of the 0 regions"):
        delete_region(Workspace(), 1)
    with pytest.raises(ImageError, match="no source image"):
        stroke(Workspace(), 1, (1, 1))
    for bad, message in (
        (Workspace(), "send a source"),
        (clear_regions(work), "paint a region"),
        (stroke(work, 0, (15, 10), radius=40), "paint a region"),
        (stroke(work, 1, (15, 10), radius=60), "covers all of the source"),
        (changes.remove_targets(work), "at least one target"),
        (merged(work), "Nothing is left to find with dift"),
    ):
        with pytest.raises((ImageError, PointError), match=message):
            check_regions_ready(bad, "dift")
    check_regions_ready(stroke(two, 1, (15, 10), radius=9), "dift")
    check_regions_ready(merged(work), "another method")


def test_results_stay_outdated_until_the_next_run(work: Workspace) -> None:
    (target,) = work.target_ids
    after = merged(stroke(work, 2, (30, 20)))
    assert not after.regions_outdated(target)
    assert not name_region(after, 2, "tail").regions_outdated(target)
    again = stroke(after, 1, (5, 25))
    assert again.regions_outdated(target)
    assert again.targets_without_regions("dift") == [target]
    assert again.described_regions is after.described_regions
    deleted = delete_region(after, 2).regions[target]
    assert (set(np.unique(deleted.labels.array())), deleted.confidence) == ({0, 1}, {1: 0.25})
    assert changes.remove_target(after, 0).regions == changes.remove_targets(after).regions == {}
    # A source that is replaced takes its regions with it; points that are cleared do not.
    assert changes.replace_source(after, grey()).painting is None
    assert changes.clear_points(changes.add_point(after, 1, 1, LIMITS)).regions == after.regions
    assert left_to_find(after) == ""


def test_a_late_result_is_kept_for_what_has_not_changed(work: Workspace) -> None:
    work = changes.add_targets(work, [grey(10, 10)], LIMITS)
    late = result(work)
    first, second = work.target_ids
    after, dropped = merge_regions(changes.remove_target(work, 0), late)
    assert (list(after.regions), dropped) == ([second], 1)
    for changed in (
        stroke(work, 1, (5, 25)),
        clear_regions(work),
        dataclasses.replace(work, source=grey(name="other.png")),
    ):
        after, dropped = merge_regions(changed, late)
        assert (dict(after.regions), dropped) == ({}, 2)
    after, dropped = merge_regions(name_region(work, 1, "left ear"), late)
    assert (list(after.regions), dropped) == ([first, second], 0)


def test_undo_holds_label_maps_packed_and_counts_them(work: Workspace) -> None:
    large = changes.new_workspace(grey(2000, 1000), {}, [])
    history = History(now=large)
    for number in range(5):
        history.do("stroke painted", stroke(history.now, 1, (100.0 * number + 50, 500.0), radius=30))
    packed = [state.painting.labels.packed for state in history.states if state.painting is not None]
    assert len(packed) == 5
    assert history.bytes == 2000 * 1000 * 3 + sum(map(len, packed))
    assert sum(map(len, packed)) < 200_000
    assert history.undo() == "stroke painted"
    assert set(np.flatnonzero(labels_of(history.now)[500]) // 100) == {0, 1, 2, 3}
    assert merged(work).regions
    assert History(now=merged(work)).bytes > History(now=work).bytes


def test_exported_label_maps_and_coco_are_in_the_original_s_pixels(work: Workspace, tmp_path: Path) -> None:
    held = HeldImage(pixels=work.targets[0].pixels, name="grey.jpg", original=(60, 40))
    after = merged(stroke(dataclasses.replace(work, targets=(held,)), 2, (30, 20)))
    files = export(after)
    # Both images are called grey; one's suffix is another.
    names = ["grey-regions.png", "grey-regions-2.png"]
    assert set(files) == {"semcorr-matches.zip", "regions.coco.json", "regions.png", *names}
    maps = []
    for name in names:
        (tmp_path / name).write_bytes(files[name])
        maps.append(LabelMap.load(tmp_path / name))
    assert np.array_equal(maps[0].labels, labels_of(after))
    assert maps[0].names == maps[1].names == {1: "ear", 2: "region 2"}
    expected = np.zeros((40, 60), dtype=np.uint8)
    expected[:20], expected[:, :3] = 1, 2
    assert np.array_equal(maps[1].labels, expected)
    (tmp_path / "figure.png").write_bytes(files["regions.png"])
    PIL.Image.open(tmp_path / "figure.png").verify()
    document = json.loads(files["regions.coco.json"])
    assert [(one["file_name"], one["width"], one["height"]) for one in document["images"]] == [
        ("grey.png", 40, 30),
        ("grey.jpg", 60, 40),
    ]
    assert [(one["image_id"], one["category_id"], one["score"]) for one in document["annotations"]] == [
        (1, 1, 1.0),
        (1, 2, 1.0),
        (2, 1, 0.25),
        (2, 2, 0.5),
    ]
    for one in document["annotations"]:
        mask = decode_rle(one["segmentation"])
        assert np.array_equal(mask, maps[one["image_id"] - 1].labels == one["category_id"])
    # What is outdated is left out, as it is of points.
    with pytest.raises(PointError, match="nothing to export"):
        export(stroke(after, 1, (5, 25)))
