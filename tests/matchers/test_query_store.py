"""Queries kept as files: each is described once, and again where the file is not of the same image and points."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semcorr.imaging.image import Image, load_image
from semcorr.matchers.base import Matcher
from semcorr.matchers.load import load_matcher
from semcorr.matchers.query_store import QueryStore
from semcorr.matchers.results import Query
from semcorr.matchers.wrappers.base import MatcherWrapper

POINTS = np.array([[10.0, 20.0], [30.0, 12.0]])


class Counting(MatcherWrapper):
    """A matcher that counts descriptions."""

    count = 0

    def describe(self, *arguments: Any, **options: Any) -> Query:
        self.count += 1
        return self.matcher.describe(*arguments, **options)


@pytest.fixture(scope="module")
def dift() -> Matcher:
    return load_matcher("dift", "toy", samples=1, device="cpu", calibration="none")


@pytest.fixture(scope="module")
def image() -> Image:
    return load_image(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))


def test_a_query_is_described_once(dift: Matcher, image: Image, tmp_path: Path) -> None:
    store, matcher = QueryStore(tmp_path / "queries"), Counting(dift)
    first, second = (store.describe("cat-0", matcher, image, POINTS) for _ in range(2))
    assert matcher.count == 1
    np.testing.assert_array_equal(first.tensors["vectors"], second.tensors["vectors"])
    store.remove("cat-0")
    store.remove("cat-0")
    store.describe("cat-0", matcher, image, POINTS)
    assert matcher.count == 2


def test_a_query_of_another_image_or_other_points_or_damaged_is_none(
    dift: Matcher, image: Image, tmp_path: Path
) -> None:
    store = QueryStore(tmp_path)
    assert store.load("cat-0", image, POINTS) is None
    store.save("cat-0", dift.describe(image, POINTS))
    assert store.load("cat-0", image, POINTS) is not None
    assert store.load("cat-0", image, POINTS + 1) is None
    assert store.load("cat-0", image, POINTS[:1]) is None
    other = Image(pixels=np.ascontiguousarray(image.pixels[::-1]), name="other")
    assert store.load("cat-0", other, POINTS) is None
    (tmp_path / "cat-0.safetensors").write_bytes(b"broken")  # by a crash
    assert store.load("cat-0", image, POINTS) is None


def test_a_query_of_several_images_is_described_once(image: Image, tmp_path: Path) -> None:
    options = {"steps": 1, "resolution": 64, "device": "cpu", "calibration": "none"}
    store, matcher = QueryStore(tmp_path / "queries"), Counting(load_matcher("prompt", "toy", "fast", **options))
    other = Image(pixels=image.pixels[::-1].copy(), name="other")
    both = [POINTS, np.array([[np.nan, np.nan], [5.0, 6.0]])]
    for _ in range(2):
        store.describe("cat-all", matcher, [image, other], both)
    assert matcher.count == 1
    assert store.load("cat-all", [other, image], both) is None
    assert store.load("cat-all", [image, other], both[::-1]) is None
    assert store.load("cat-all", image, POINTS) is None
