"""The geometric prior: affine maps are recovered, support says what they are worth, and similarities are raised."""

import numpy as np
import pytest
import torch

from semcorr.imaging.image import Image, load_image
from semcorr.matchers.features import geometric_prior
from semcorr.matchers.features.hypercolumn import HypercolumnMatcher
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


def test_an_affine_map_between_two_images_is_recovered() -> None:
    source, target = field(positions()), field(source_of_target(positions()))
    near = torch.ones(GRID[1], GRID[0], dtype=torch.float64)
    expected = geometric_prior.expected_points(source, target, near, POINTS, (SIZE, SIZE))
    assert expected is not None
    assert (expected.points - mapped(POINTS)).abs().max() < 0.01  # a third of a cell
    assert expected.support > 0.9


def test_matches_near_the_points_decide_before_a_background() -> None:
    # The object around the point moves far and leaves something else behind; everything else stays.
    there, point, shift = positions(), torch.tensor([[0.3, 0.4]], dtype=torch.float64), torch.tensor([0.35, -0.05])
    on_object = (there - (point + shift)).norm(dim=-1, keepdim=True) < 0.2
    left_behind = (there - point).norm(dim=-1, keepdim=True) < 0.25
    shown = torch.where(on_object, there - shift, torch.where(left_behind, there + 5, there))
    source, target = field(there), field(shown)
    near = geometric_prior.nearness(point, GRID, SIZE)
    by_object, by_all = (
        geometric_prior.expected_points(source, target, counts, point, (SIZE, SIZE))
        for counts in (near, torch.ones_like(near))
    )
    assert by_object is not None
    assert by_all is not None
    assert (by_object.points - (point + shift)).norm() < 0.02
    assert (by_all.points - point).norm() < 0.05


def test_images_with_nothing_in_common_support_no_map() -> None:
    source, target = field(positions()), field(positions(), seed=1)
    near = torch.ones(GRID[1], GRID[0], dtype=torch.float64)
    expected = geometric_prior.expected_points(source, target, near, POINTS, (SIZE, SIZE))
    assert expected is None or expected.support < 0.35


def test_images_of_one_colour_have_no_map() -> None:
    flat = torch.ones(8, *GRID[::-1])
    near = torch.ones(GRID[1], GRID[0])
    assert geometric_prior.expected_points(flat, flat, near, POINTS.float(), (SIZE, SIZE)) is None


def test_cells_count_by_their_distance_from_the_nearest_point() -> None:
    near = geometric_prior.nearness(torch.tensor([[4.5 / 32, 2.5 / 32], [20.5 / 32, 2.5 / 32]]), GRID, SIZE)
    assert near.shape == (24, 32)
    assert near[2, 4] == near[2, 20] == 1
    assert float(near[2, 7]) == pytest.approx(np.exp(-((3 / 32) ** 2) / 0.02), rel=1e-5)
    assert float(near[5, 18]) == pytest.approx(np.exp(-(13 / 32**2) / 0.02), rel=1e-5)


def test_similarities_are_raised_by_a_gaussian_around_the_expected_position() -> None:
    raised = geometric_prior.raise_near(
        torch.zeros(1, 24, 32), torch.tensor([[10.5 / 32, 7.5 / 32]]), SIZE, weight=0.4, width=0.1
    )
    assert float(raised[0, 7, 10]) == pytest.approx(0.4)
    assert float(raised[0, 11, 13]) == pytest.approx(0.4 * np.exp(-((5 / 32) ** 2) / 0.02), rel=1e-5)


def test_coarse_features_are_of_length_one_and_in_proportion() -> None:
    coarse = geometric_prior.coarse(torch.randn(5, 48, 64, generator=torch.Generator().manual_seed(0)))
    assert coarse.shape == (5, 24, 32)
    assert torch.allclose(coarse.norm(dim=0), torch.ones(24, 32))
    small = geometric_prior.coarse(torch.randn(5, 6, 8))
    assert small.shape == (5, 6, 8)  # nothing is enlarged


@pytest.fixture(scope="module")
def matcher() -> HypercolumnMatcher:
    return HypercolumnMatcher.from_pretrained(device="cpu")


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
