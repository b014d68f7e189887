import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from closeness import leads
from semcorr.matchers.features import cosine as similarity
from semcorr.matchers.features.cosine import Similarity, unit, vectors_at


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_enlarging(features: torch.Tensor, vectors: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The definition: enlarge the features themselves, then take the cosine at every pixel."""
    large = F.interpolate(features[None].double(), size=(size[1], size[0]), mode="bilinear", align_corners=False)[0]
    return F.cosine_similarity(vectors.double()[:, :, None, None], large[None], dim=1)


@given(
    seed=st.integers(0, 10**6),
    cells=st.tuples(st.integers(1, 6), st.integers(1, 7)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 33)),
)
def test_it_is_the_cosine_with_the_enlarged_features(seed: int, cells: tuple[int, int], size: tuple[int, int]):
    features, vectors = drawn(seed, 5, *cells), unit(drawn(seed + 1, 3, 5))
    expected = by_enlarging(features, vectors, size)
    cosines = Similarity(features, vectors).enlarged(size)
    # Where neighbours nearly cancel, a cosine is a quotient of two small numbers.
    large = F.interpolate(features[None], size=(size[1], size[0]), mode="bilinear", align_corners=False)[0]
    sound = large.norm(dim=0) > 0.05
    np.testing.assert_allclose(cosines[:, sound], expected[:, sound], atol=2e-4)


def test_the_peak_is_that_of_all_pixels_however_many_are_in_a_stripe(monkeypatch: pytest.MonkeyPatch):
    features, vectors, size = drawn(0, 8, 6, 9), unit(drawn(1, 4, 8)), (71, 50)
    expected = by_enlarging(features, vectors, size)
    assert leads(expected).min() > 1e-4
    index = expected.flatten(1).argmax(1)
    centres = torch.stack((index % 71, index // 71), dim=1) + 0.5
    for numbers in (1, 10_000, 2**24):
        monkeypatch.setattr(similarity, "_CHUNK_NUMBERS", numbers)
        points, height = Similarity(features, vectors).peaks(size)
        assert torch.equal(points, centres.float())
        np.testing.assert_allclose(height, expected.flatten(1).amax(1), atol=1e-5)


def test_of_equal_pixels_the_first_is_taken():
    points, height = Similarity(torch.ones(2, 3, 3), unit(torch.ones(1, 2))).peaks((6, 6))
    assert points.tolist() == [[0.5, 0.5]]
    np.testing.assert_allclose(height, [1.0], atol=1e-5)


def test_a_vector_at_a_cells_centre_is_that_cells():
    features = drawn(2, 4, 3, 5)
    # An image of 50 x 60 pixels: cells are 10 wide and 20 high.
    vectors = vectors_at(features, torch.tensor([[25.0, 30.0], [45.0, 50.0], [0.0, 0.0]]), (50, 60))
    for row, (y, x) in zip(vectors, [(1, 2), (2, 4), (0, 0)], strict=True):
        np.testing.assert_allclose(row, features[:, y, x] / features[:, y, x].norm(), atol=1e-5)


def test_a_vector_between_cells_is_their_mean():
    features = drawn(3, 4, 2, 2)
    vector = vectors_at(features, torch.tensor([[10.0, 10.0]]), (20, 20))[0]
    mean = features.mean(dim=(1, 2))
    np.testing.assert_allclose(vector, mean / mean.norm(), atol=1e-5)


def test_a_point_finds_itself_to_the_pixel():
    features, size = drawn(4, 16, 8, 8), (64, 48)
    pixels = torch.tensor([[20.5, 11.5], [12.5, 40.5], [63.5, 47.5]])
    vectors = vectors_at(features, pixels, size)
    assert leads(by_enlarging(features, vectors, size))[:2].min() > 1e-4
    points, height = Similarity(features, vectors).peaks(size)
    np.testing.assert_allclose(height, 1.0, atol=1e-5)
    # At the very edge all pixels beyond the last cells' centres have the same features.
    assert torch.equal(points[:2], pixels[:2])
    assert (points[2] >= torch.tensor([60.0, 45.0])).all()
