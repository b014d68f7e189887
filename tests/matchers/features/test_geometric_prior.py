"""The geometric prior: affine maps are recovered, support says what they are worth, and similarities are raised."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from semcorr.errors import QueryError, SettingsError
from semcorr.imaging.image import Image, load_image
from semcorr.matchers.features import geometric_prior
from semcorr.matchers.features.hypercolumn import HypercolumnMatcher
from semcorr.matchers.features.source_views import turned
from semcorr.settings import override

SIZE = (320, 240)
GRID = (32, 24)


def field(positions: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Smooth features of positions (..., 2), no two alike: sines of random frequencies, (64, ...)."""
    random = torch.Generator().manual_seed(seed)
    frequencies = torch.randn(64, 2, generator=random, dtype=torch.float64) * 12
    phases = torch.rand(64, generator=random, dtype=torch.float64) * 6.28
    return torch.sin(positions @ frequencies.T + phases).movedim(-1, 0)


def positions() -> torch.Tensor:
    """The middles of a grid's cells in units of the longer side."""
    x = (torch.arange(GRID[0], dtype=torch.float64) + 0.5) / 32
    y = (torch.arange(GRID[1], dtype=torch.float64) + 0.5) / 32
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


LINEAR = torch.tensor([[0.9, 0.15], [-0.1, 1.1]], dtype=torch.float64)
SHIFT = torch.tensor([0.08, -0.05], dtype=torch.float64)
POINTS = torch.tensor([[0.4, 0.3], [0.6, 0.45], [0.5, 0.4]], dtype=torch.float64)


def mapped(points: torch.Tensor) -> torch.Tensor:
    return points @ LINEAR.T + SHIFT


def source_of_target(points: torch.Tensor) -> torch.Tensor:
    return (points - SHIFT) @ torch.linalg.inv(LINEAR).T


def source_of(features: torch.Tensor, points: torch.Tensor) -> geometric_prior.Source:
    there = positions()
    reach = geometric_prior.reach_of(points)
    return geometric_prior.Source(
        features=normalize(features, dim=0),
        positions=there,
        near=geometric_prior.nearness(there, points, reach),
        reach=reach,
    )


def test_an_affine_map_between_two_images_is_recovered() -> None:
    source = source_of(field(positions()), POINTS)
    fitted = geometric_prior.fit(source, normalize(field(source_of_target(positions())), dim=0), positions())
    assert fitted is not None
    assert (fitted.expected(POINTS) - mapped(POINTS)).abs().max() < 0.01  # a third of a cell
    assert fitted.share > 0.6  # some cells near the points have no mutual neighbour


def test_an_object_that_moves_before_a_background_is_followed() -> None:
    # The object around the points moves far and leaves something else behind; everything else stays.
    there, shift = positions(), torch.tensor([0.35, -0.05])
    points = torch.tensor([[0.2, 0.35], [0.35, 0.3], [0.3, 0.45]], dtype=torch.float64)
    middle = points.mean(dim=0)
    on_object = (there - (middle + shift)).norm(dim=-1, keepdim=True) < 0.22
    left_behind = (there - middle).norm(dim=-1, keepdim=True) < 0.25
    shown = torch.where(on_object, there - shift, torch.where(left_behind, there + 5, there))
    fitted = geometric_prior.fit(source_of(field(there), points), normalize(field(shown), dim=0), there)
    assert fitted is not None
    assert (fitted.expected(points) - (points + shift)).norm(dim=1).max() < 0.02


def test_images_with_nothing_in_common_share_little() -> None:
    source = source_of(field(positions()), POINTS)
    fitted = geometric_prior.fit(source, normalize(field(positions(), seed=1), dim=0), positions())
    assert fitted is None or fitted.share < 0.2


def test_images_of_one_colour_have_no_map() -> None:
    flat = normalize(torch.ones(8, *GRID[::-1], dtype=torch.float64), dim=0)
    assert geometric_prior.fit(source_of(flat, POINTS), flat, positions()) is None


def test_cells_count_by_their_distance_from_the_nearest_point() -> None:
    points = torch.tensor([[4.5 / 32, 2.5 / 32], [20.5 / 32, 2.5 / 32]], dtype=torch.float64)
    near = geometric_prior.nearness(positions(), points, 0.1)
    assert near.shape == (24, 32)
    assert near[2, 4] == near[2, 20] == 1
    assert float(near[2, 7]) == pytest.approx(np.exp(-((3 / 32) ** 2) / 0.02), rel=1e-5)
    assert float(near[5, 18]) == pytest.approx(np.exp(-(13 / 32**2) / 0.02), rel=1e-5)
    assert near[20, 4] == 0  # 18 / 32 away, more than three times 0.1


def test_what_is_near_follows_from_the_extent_of_three_points_and_more() -> None:
    assert geometric_prior.reach_of(torch.tensor([[0.1, 0.1], [0.4, 0.5], [0.2, 0.2]])) == pytest.approx(0.075)
    assert geometric_prior.reach_of(torch.tensor([[0.1, 0.1], [0.4, 0.5]])) == pytest.approx(0.15)
    assert geometric_prior.reach_of(torch.full((3, 2), 0.5)) > 0


def test_similarities_are_raised_by_a_gaussian_around_the_expected_position() -> None:
    raised = geometric_prior.raise_near(
        torch.zeros(1, 24, 32), positions().float(), torch.tensor([[10.5 / 32, 7.5 / 32]]), 0.1, 0.4
    )
    assert float(raised[0, 7, 10]) == pytest.approx(0.4)
    assert float(raised[0, 11, 13]) == pytest.approx(0.4 * np.exp(-((5 / 32) ** 2) / 0.02), rel=1e-5)


@pytest.fixture(scope="module")
def matcher() -> HypercolumnMatcher:
    return HypercolumnMatcher.from_pretrained(device="cpu", enlarge=1)


@pytest.fixture(scope="module")
def images() -> tuple[Image, Image]:
    random = np.random.default_rng(3)
    noise = torch.from_numpy(random.random((1, 3, 12, 16)))
    large = torch.nn.functional.interpolate(noise, size=SIZE[::-1], mode="bicubic").clamp(0, 1)[0]
    pixels = (large.movedim(0, -1).numpy() * 255).astype(np.uint8)
    return load_image(pixels), load_image(np.roll(pixels, (20, 30), axis=(0, 1)))


def test_several_queries_in_one_image_are_located_as_each_alone(
    matcher: HypercolumnMatcher, images: tuple[Image, Image]
) -> None:
    source, target = images
    queries = [
        matcher.describe(source, [(100, 100), (150, 120)]),
        matcher.describe(target, [(80, 90)]),
        matcher.with_settings(override(matcher.settings, prior="none")).describe(source, [(100, 100)]),
    ]
    together = matcher.locate_each(queries, target)
    for query, matches in zip(queries, together, strict=True):
        alone = matcher.locate(query, target)
        assert np.array_equal(matches.points, alone.points)
        assert np.array_equal(matches.confidence, alone.confidence)
        assert np.array_equal(matches.heatmaps, alone.heatmaps)


def test_a_query_with_a_prior_can_be_divided_and_saved(
    matcher: HypercolumnMatcher, images: tuple[Image, Image], tmp_path
) -> None:
    from semcorr.matchers.results import Query

    source, target = images
    query = matcher.describe(source, [(100, 100), (150, 120), (60, 200)])
    whole = matcher.locate(query, target)
    part = matcher.locate(Query.load(query.take([2, 0]).save(tmp_path / "query.safetensors")), target)
    assert np.allclose(part.points, whole.points[[2, 0]], atol=1e-3)
    assert np.abs(whole.points - (query.points + np.array([30, 20]))).max() < 12


def test_an_object_that_is_turned_is_located_by_a_turned_view(
    matcher: HypercolumnMatcher, images: tuple[Image, Image]
) -> None:
    source, _ = images
    points = np.array([(120.0, 100.0), (180.0, 110.0), (150.0, 150.0)])
    target, turned_points = turned(source, points, np.pi / 2)
    errors = {}
    for turns in (1, 4):
        one = matcher.with_settings(override(matcher.settings, turns=turns))
        matches = one.locate(one.describe(source, points), target)
        errors[turns] = np.linalg.norm(matches.points - turned_points, axis=1).max()
    assert errors[4] < 12
    assert errors[1] > 2 * errors[4]


def test_a_turned_view_turns_clockwise_about_the_middle_of_the_points() -> None:
    pixels = np.zeros((21, 31, 3), dtype=np.uint8)
    pixels[5, 20] = 255  # two pixels to the right of the middle of the points
    image, points = load_image(pixels), np.array([(18.5, 4.5), (18.5, 6.5)])
    view, moved = turned(image, points, np.pi / 2)
    assert view.size == image.size
    near = view.pixels[5:16, 10:21, 0]  # beyond it is the reflection at the edge
    assert np.argwhere(near > 200).tolist() == [[7, 5]]  # two below the middle of the view
    assert np.allclose(moved, [(16.5, 10.5), (14.5, 10.5)])


def test_views_without_a_prior_are_refused(matcher: HypercolumnMatcher) -> None:
    with pytest.raises(SettingsError, match="need a prior"):
        override(matcher.settings, prior="none", turns=4)


def test_a_query_without_what_the_prior_needs_is_refused(
    matcher: HypercolumnMatcher, images: tuple[Image, Image]
) -> None:
    source, target = images
    query = dataclasses.replace(matcher.describe(source, [(100, 100)]), shared={})
    with pytest.raises(QueryError, match="Describe the points again"):
        matcher.locate(query, target)
