import torch

from semcorr.matchers.collection.prepared import Reduction
from semcorr.matchers.collection.pseudo_matches import PseudoMatches, consistency, foreground, pseudo_matches, shares


def test_cells_of_a_shifted_map_are_matched_with_the_shift():
    whole = torch.randn(32, 10, 12, generator=torch.Generator().manual_seed(0))
    features = torch.stack([whole[:, :, :10], whole[:, :, 2:]])
    matches = pseudo_matches(0, 1, features, consistent=1)
    assert matches.images == (0, 1)
    assert len(matches.source) >= 80  # ten rows of the eight columns that both have
    pairs = set(zip(matches.source.tolist(), matches.target.tolist(), strict=True))
    assert {(10 * row + column + 2, 10 * row + column) for row in range(10) for column in range(8)} <= pairs


def test_a_match_is_consistent_with_those_around_it_that_are_matched_alike():
    source = torch.tensor([[0, 0], [1, 0], [2, 0], [9, 9]])
    target = torch.tensor([[5, 5], [6, 5], [0, 9], [1, 1]])
    assert consistency(source, target).tolist() == [1, 1, 0, 0]


def test_the_share_of_a_cell_is_over_the_other_images():
    cells = torch.arange(64)  # of 8 x 8: all of image 0 has a match in image 1, and none in image 2
    share = shares([PseudoMatches(images=(0, 1), source=cells, target=cells)], 3, 8)
    torch.testing.assert_close(share[:2], torch.full((2, 8, 8), 0.5))
    assert not share[2].any()
    share[0, 0, 0] = 0.1
    inside = foreground(share[:1], 0.3)
    assert int((~inside).sum()) == 1


def test_the_reduction_keeps_distances_where_it_keeps_all_components():
    features = torch.randn(3, 6, 8, 8, generator=torch.Generator().manual_seed(1))
    reduced = Reduction.of(features, 6)(features)
    first, second = (torch.pdist(one.movedim(1, -1).flatten(0, -2)[:50]) for one in (features, reduced))
    ratio = first / second
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)
    assert float(reduced.std()) == 1 or abs(float(reduced.std()) - 1) < 1e-2
