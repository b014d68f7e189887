"""Settings that follow from a transfer's supports: objects that face any way, and small ones."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from semcorr.keypoints.base import VISIBLE, AnnotatedImage, Annotations, Category, Instance
from semcorr.matchers.features.hypercolumn import HypercolumnMatcher
from semcorr.settings import override
from semcorr.transfer.plan import TransferSettings
from semcorr.transfer.suited import are_turned, share_turned
from semcorr.transfer.supports import Support
from semcorr.transfer.targets import Region, Target
from semcorr.transfer.transferrer import Transferrer

HORSE = np.array([(0.0, 0.0), (80.0, 5.0), (20.0, 50.0), (75.0, 55.0)])
"""Longer than it is high; no mirror image of itself."""


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * 1.3 + 17


@pytest.mark.parametrize(("degrees", "expected"), [(0, False), (40, False), (50, True), (-90, True), (180, True)])
def test_objects_are_turned_from_45_degrees_on(degrees: float, expected: bool) -> None:
    assert are_turned(HORSE, turned(HORSE, degrees)) == expected


def test_an_animal_that_faces_the_other_way_is_not_turned() -> None:
    mirrored = HORSE * np.array([-1, 1])
    assert not are_turned(HORSE, mirrored)
    assert are_turned(HORSE, turned(mirrored, 90))
    assert not are_turned(HORSE[[0, 1]], mirrored[[0, 1]])  # points on a line fit both ways


def support(points: np.ndarray, keypoints: tuple[int, ...] = (0, 1, 2, 3)) -> Support:
    visibility = np.zeros(4, dtype=np.int64)
    visibility[list(keypoints)] = VISIBLE
    instance = Instance(category="horse", points=points, visibility=visibility)
    image = AnnotatedImage(file="a.png", path=Path("a.png"), instances=(instance,))
    return Support(image=image, instance=instance, keypoints=np.array(keypoints))


def test_the_share_is_of_the_pairs_with_three_points_in_common() -> None:
    upright, lying = support(HORSE), support(turned(HORSE, 90))
    assert share_turned([upright, upright, lying]) == pytest.approx(2 / 3)
    assert share_turned([upright, support(turned(HORSE, 90), (0, 1))]) == 0
    assert share_turned([upright]) == 0


@pytest.fixture(scope="module")
def matcher() -> HypercolumnMatcher:
    return HypercolumnMatcher.from_pretrained(device="cpu")


def annotations(folder: Path, *points: np.ndarray) -> Annotations:
    random = np.random.default_rng(0)
    images = []
    for number, some in enumerate(points):
        file = folder / f"{number}.png"
        coarse = PillowImage.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        coarse.resize((320, 240)).save(file)
        instance = Instance(category="horse", points=some, visibility=np.full(len(some), VISIBLE))
        images.append(AnnotatedImage(file=file.name, path=file, size=(320, 240), instances=(instance,)))
    horse = Category(name="horse", id=1, keypoints=("a", "b", "c", "d"))
    return Annotations(path=folder, images=tuple(images), categories={"horse": horse}, files=(images[0].path,))


def test_a_transfer_of_objects_that_face_any_way_turns_them_and_says_so(
    matcher: HypercolumnMatcher, tmp_path: Path
) -> None:
    lying = turned(HORSE, 90) + np.array([100, 20])
    known = annotations(tmp_path, HORSE + 90, lying)
    transferrer = Transferrer(matcher, known)
    assert transferrer.identity()["matcher"]["settings"]["turns"] == 8
    assert "'horse'" in transferrer.notes[0]
    upright = Transferrer(matcher, dataclasses.replace(known, images=known.images[:1]))
    assert upright.identity()["matcher"]["settings"]["turns"] == 1
    assert upright.notes == ()
    own = Transferrer(matcher.with_settings(override(matcher.settings, turns=2)), known)
    assert own.identity()["matcher"]["settings"]["turns"] == 2
    assert own.notes == ()


def test_supports_are_described_at_the_resolution_of_the_smallest(matcher: HypercolumnMatcher, tmp_path: Path) -> None:
    known = annotations(tmp_path, HORSE + 90, HORSE / 2 + 90)
    coarse = matcher.with_settings(override(matcher.settings, layers=("10@160", "14@160")))
    transferrer = Transferrer(coarse, known, TransferSettings(support=2))
    described = transferrer._queries.described("horse", cut=False)
    # The larger one is 93 of 320 pixels long, which alone would need half as much again.
    assert [tuple(one.query.settings["layers"]) for one in described] == [("10@360", "14@360")] * 2
    assert [one.query.settings["grid"] for one in described] == [80] * 2
    record = transferrer.predict(Target(file="0.png", path=known.images[0].path, regions=(Region(category="horse"),)))
    assert record.error is None
    assert np.linalg.norm(record.objects[0].points - (HORSE + 90), axis=1).max() < 15
