"""Finding regions: the nearest labelled cells, what is kept, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from semcorr.errors import ImageError, QueryError, SettingsError
from semcorr.imaging.image import load_image
from semcorr.imaging.label_map import LabelMap
from semcorr.matchers.attention_dift import AttentionDiftMatcher, settings_of
from semcorr.matchers.base import Matcher
from semcorr.matchers.features.regions import label_shares, region_scores
from semcorr.matchers.load import load_matcher
from semcorr.matchers.regions.examples import named, one_hot, read_examples
from semcorr.matchers.regions.refine import regions_of
from semcorr.matchers.regions.results import RegionQuery, Regions
from semcorr.matchers.regions.settings import RegionSettings
from semcorr.matchers.wrappers.mirror import MirrorMatcher

PLAIN = RegionSettings(grid=2, neighbours=1, refine="none")


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return load_matcher("dift", "toy", samples=1, device="cpu", calibration="none").unwrapped


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Four blocks of different colours and patterns."""
    pixels = np.zeros((64, 96, 3), dtype=np.uint8)
    pixels[:32, :48], pixels[:32, 48:], pixels[32:, :48], pixels[32:, 48:] = (220, 40, 40), 30, (40, 90, 220), 235
    pixels[::8, :48] = 250
    pixels[:, 48::6] = (60, 180, 60)
    return pixels


@pytest.fixture(scope="module")
def mask() -> LabelMap:
    labels = np.zeros((64, 96), dtype=np.uint8)
    labels[:32, :48], labels[32:, 48:] = 4, 9
    return LabelMap(labels=labels, names={4: "left end", 9: "right end"})


def test_shares_are_areas(mask: LabelMap) -> None:
    shares = label_shares(mask, (4, 9), torch.zeros(1, 2, 3), grid=3)
    # Columns of 32 pixels: the middle one is half of either side's.
    expected = [[0, 1, 0], [0.5, 0.5, 0], [1, 0, 0], [1, 0, 0], [0.5, 0, 0.5], [0, 0, 1]]
    assert shares.tolist() == expected


def test_scores_are_the_softmax_over_neighbours_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    sources = [torch.randn(5, 3, 4, generator=generator) for _ in range(2)]
    shares = [torch.rand(12, 3, generator=generator) for _ in range(2)]
    target = torch.randn(5, 4, 3, generator=generator)
    settings = RegionSettings(grid=4, neighbours=3, temperature=0.1)
    scores = region_scores(sources, shares, target, settings)
    known = np.concatenate([one.reshape(5, -1).T.numpy() for one in sources])
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    labels = np.concatenate([one.numpy() for one in shares])
    for row, column in np.ndindex(4, 3):
        cell = target[:, row, column].numpy()
        cosines = known @ cell / np.linalg.norm(cell)
        nearest = np.argsort(-cosines)[:6]  # 3 for each example
        weights = np.exp(cosines[nearest] / 0.1)
        np.testing.assert_allclose(
            scores[:, row, column].numpy(), weights @ labels[nearest] / weights.sum(), rtol=1e-4, atol=1e-6
        )


def test_the_highest_score_is_the_label_and_its_share_the_confidence(image: np.ndarray) -> None:
    scores = torch.tensor([[[0.2, 0.5]], [[0.6, 0.1]], [[0.0, 0.15]]])
    regions = regions_of(scores, load_image(image), {4: "a", 9: "b"}, PLAIN)
    assert (regions.labels[:, 0] == 4).all()
    assert (regions.labels[:, -1] == 0).all()
    np.testing.assert_allclose(regions.pixel_confidence[0, [0, -1]], [0.6 / 0.8, 0.5 / 0.75], rtol=1e-5)
    assert regions.confidence == {4: pytest.approx(float(regions.pixel_confidence[regions.labels == 4].mean()))}
    assert regions.mask("b").sum() == 0
    assert np.array_equal(regions.mask("a"), regions.mask(4))
    with pytest.raises(KeyError):
        regions.mask("c")


def test_an_image_has_its_own_regions_where_they_are(
    matcher: Matcher, image: np.ndarray, mask: LabelMap, tmp_path: Path
) -> None:
    assert matcher.capabilities.regions
    query = matcher.describe_regions(image, mask)
    regions = matcher.locate_regions(query, image)
    for label in (4, 9):
        own, predicted = mask.labels == label, regions.labels == label
        assert (own & predicted).sum() / (own | predicted).sum() > 0.8
    assert regions.names == {4: "left end", 9: "right end"}
    assert "left end" in repr(regions)
    again = RegionQuery.load(query.save(tmp_path / "query.safetensors"))
    kept = Regions.load(matcher.locate_regions(again, image).save(tmp_path / "regions.safetensors"))
    assert np.array_equal(kept.labels, regions.labels)
    assert np.array_equal(kept.pixel_confidence, regions.pixel_confidence)
    assert (kept.names, kept.to_dict()) == (regions.names, regions.to_dict())
    with pytest.raises(QueryError, match="is not a regions file but a region query file"):
        Regions.load(tmp_path / "query.safetensors")
    with pytest.raises(ValueError, match="read-only"):
        regions.labels[0] = 1


def test_a_query_with_other_tensors_is_refused(matcher: Matcher, image: np.ndarray, mask: LabelMap) -> None:
    query = matcher.describe_regions(image, mask)
    features, shares = query.tensors["features.0"], query.tensors["shares.0"]
    for tensors in (
        {"shares.0": shares},
        {"features.0": features[:-1], "shares.0": shares},
        {"features.0": features, "shares.0": shares[:, :-1]},
        {"features.0": features, "shares.0": shares.astype(np.float64)},
    ):
        with pytest.raises(QueryError, match=r"example 1: expected features of length \d+, and the shares of 3 labels"):
            matcher.locate_regions(dataclasses.replace(query, tensors=tensors), image)


def test_in_the_mirror_left_is_right(matcher: Matcher, image: np.ndarray, mask: LabelMap) -> None:
    query = matcher.describe_regions(image, mask)
    turned = np.ascontiguousarray(image[:, ::-1])
    straight, regions = matcher.locate_regions(query, image), MirrorMatcher(matcher).locate_regions(query, turned)
    expected = np.array([0, 9, 4], dtype=np.uint8)[np.searchsorted([0, 4, 9], straight.labels[:, ::-1])]
    assert np.array_equal(regions.labels, expected)
    assert regions.image_sha256 == load_image(turned).sha256


def test_examples_that_do_not_fit_are_refused(image: np.ndarray, mask: LabelMap, tmp_path: Path) -> None:
    other = LabelMap(labels=mask.labels, names={4: "head", 9: "tail"})
    for images, masks, message in (
        (image, mask.labels[:10], "is 96 x 10 pixels, but its image 'image' is 96 x 64 pixels"),
        (image, mask.labels * 0, "is empty"),
        ([image, image], [mask], "got 2 images and 1 masks"),
        ([], [], "at least one image"),
        ([image, image], [mask, other], "Label 4 is 'left end' in one mask and 'head' in"),
        (image, mask.labels / 2, "got float"),
        (image, tmp_path / "none.png", "There is no file"),
    ):
        with pytest.raises(ImageError, match=message):
            read_examples(images, masks)


def test_ignored_pixels_count_neither_as_a_region_nor_as_background(image: np.ndarray, mask: LabelMap) -> None:
    void = np.array(mask.labels)
    void[:, 32:] = 255
    ((_, read),), names = read_examples(image, void, ignore=[255])
    assert (read.present, names) == ((4,), {4: "4"})
    # Columns of 24 pixels: the second is ignored but for its first third, the others wholly or not at all.
    shares = label_shares(read, (4,), torch.zeros(1, 2, 4), grid=4)
    assert shares.tolist() == [[0, 1], [0, 1], [0, 0], [0, 0], [1, 0], [1, 0], [0, 0], [0, 0]]
    features = torch.nn.functional.one_hot(torch.arange(8)).float().T.reshape(8, 2, 4)
    scores = region_scores([features], [shares], features, RegionSettings(grid=4, neighbours=1))
    assert scores.sum(dim=0).tolist() == [[1] * 4] * 2
    assert scores[:, 0, 0].tolist() == [0, 1]
    assert scores[:, 1, 0].tolist() == [1, 0]


def test_what_is_ignored_is_known_to_a_mask_and_leaves_a_region(image: np.ndarray, mask: LabelMap) -> None:
    with pytest.raises(ImageError, match=r"to ignore that a mask has, 0, 4, 9, got 255\. Leave it out"):
        read_examples(image, mask, ignore=[255])
    with pytest.raises(ImageError, match=r"is empty: every pixel is 0, the background, or 4, which is ignored, or 9"):
        read_examples(image, mask, ignore=[4, 9])
    # A label that one mask ignores may be another's region.
    examples, names = read_examples([image, image], [mask.ignoring([9]), mask])
    assert list(names) == [4, 9]
    assert one_hot(examples[0][1], tuple(names))[2].sum() == 0
    assert one_hot(examples[1][1], tuple(names))[2].sum() == 32 * 48


def test_names_are_of_all_labels(image: np.ndarray, mask: LabelMap) -> None:
    read = read_examples(image, mask.labels)
    assert read[1] == {4: "4", 9: "9"}
    examples, names = named(*read, {9: "tail", 4: "head"})
    assert names == examples[0][1].names == {4: "head", 9: "tail"}
    with pytest.raises(ImageError, match="have labels without a name: 9"):
        named(*read, {4: "head"})
    with pytest.raises(ImageError, match="No mask has a label 5"):
        named(*read, {4: "head", 9: "tail", 5: "leg"})


def test_a_mask_may_be_a_file(image: np.ndarray, mask: LabelMap, tmp_path: Path) -> None:
    PIL.Image.fromarray(image).save(tmp_path / "a.png")
    mask.save(tmp_path / "mask.png")
    ((_, read),), names = read_examples(str(tmp_path / "a.png"), tmp_path / "mask.png")
    assert np.array_equal(read.labels, mask.labels)
    assert names == mask.names


def test_methods_without_regions_say_so(matcher: Matcher, image: np.ndarray, mask: LabelMap) -> None:
    prompt = AttentionDiftMatcher(matcher.model, settings_of("fast", "toy"))
    assert not prompt.capabilities.regions
    with pytest.raises(SettingsError, match=r"finds no regions\. Use prompt, or a method on features"):
        prompt.segment(image, mask, image)
