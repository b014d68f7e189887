import numpy as np
import pytest
import torch
import torch.nn.functional as F

from semcorr.errors import SettingsError
from semcorr.imaging.image import Image
from semcorr.matchers.features import mutual_neighbours
from semcorr.matchers.features.dift import DiftMatcher, DiftSettings
from semcorr.matchers.features.mutual_matches import mutual_matches
from semcorr.matchers.features.mutual_neighbours import Buddies, best_buddies
from semcorr.matchers.prompt import PromptMatcher, paper
from semcorr.models.diffusion import DiffusionModel


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pairs(buddies: Buddies) -> set[tuple[int, ...]]:
    return {(*a, *b) for a, b in zip(buddies.source.tolist(), buddies.target.tolist(), strict=True)}


def by_hand(source: torch.Tensor, target: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Every cell against every other, one at a time."""
    cells = [
        {(x, y): features[:, y, x] for y in range(features.shape[1]) for x in range(features.shape[2])}
        for features in (source, target)
    ]
    similar = {
        (a, b): float(F.cosine_similarity(u, v, dim=0)) for a, u in cells[0].items() for b, v in cells[1].items()
    }
    similarities = {}
    for a in cells[0]:
        b = max(cells[1], key=lambda b: similar[a, b])
        if max(cells[0], key=lambda c: similar[c, b]) == a:
            similarities[*a, *b] = similar[a, b]
    return similarities


def test_one_level_is_mutual_nearest_neighbours(monkeypatch: pytest.MonkeyPatch):
    source, target = drawn(0, 6, 4, 5), drawn(1, 6, 3, 7)
    expected = by_hand(source, target)
    for numbers in (2**24, 50):  # all at once, and two rows at a time
        monkeypatch.setattr(mutual_neighbours, "_CHUNK_NUMBERS", numbers)
        buddies = best_buddies(source, target)
        assert pairs(buddies) == set(expected)
        np.testing.assert_allclose(buddies.similarity, list(expected.values()), atol=1e-5)


def test_a_map_matches_itself_cell_by_cell_on_every_level():
    features = drawn(2, 16, 8, 6)
    for levels in (1, 2, 3):
        buddies = best_buddies(features, features, levels=levels)
        assert pairs(buddies) == {(x, y, x, y) for x in range(6) for y in range(8)}
        np.testing.assert_allclose(buddies.similarity, 1, atol=1e-5)


def test_coarse_matches_rule_out_fine_ones_far_away():
    """Two cells have each other's fine feature, but their surroundings belong elsewhere."""
    fine = drawn(3, 16, 8, 8)
    target = fine.clone()
    target[:, 0, 0], target[:, 7, 7] = fine[:, 7, 7], fine[:, 0, 0]
    assert {(0, 0, 7, 7), (7, 7, 0, 0)} <= pairs(best_buddies(fine, target))
    guided = pairs(best_buddies(fine, target, levels=2, radius=0))
    assert not {(0, 0, 7, 7), (7, 7, 0, 0)} & guided
    assert all(abs(x - u) <= 1 and abs(y - v) <= 1 for x, y, u, v in guided)
    assert {(x, y, x, y) for x in range(2, 6) for y in range(2, 6)} <= guided


def test_a_shift_is_recovered_between_maps_of_other_sizes():
    whole = drawn(4, 16, 9, 11)
    part = whole[:, 2:8, 4:10]
    assert pairs(best_buddies(part, whole)) == {(x, y, x + 4, y + 2) for x in range(6) for y in range(6)}


SETTINGS = DiftSettings(prompt=None, samples=2, resolution=128)


def test_mutual_matches_of_an_image_with_itself_are_its_cells(sd1: DiffusionModel, source: Image):
    matches = mutual_matches(DiftMatcher(sd1, SETTINGS), source, source)
    assert np.array_equal(matches.source, matches.target)
    assert matches.source_size == source.size == (150, 100)
    # Block 1 of four has maps of half the latent's 16 cells, so of 8 x 8: 18.75 x 12.5 pixels each.
    expected = {((x + 0.5) * 18.75, (y + 0.5) * 12.5) for x in range(8) for y in range(8)}
    assert {tuple(point) for point in matches.source.tolist()} == expected
    best = matches.most_similar(5)
    assert len(best.source) == 5
    assert best.similarity.min() >= np.sort(matches.similarity)[-5]
    assert set(best.to_dict()) == {"source", "target", "similarity", "source_size", "target_size"}


def test_a_method_without_features_is_refused(sd1: DiffusionModel, source: Image):
    with pytest.raises(SettingsError, match=r"Mutual matches need a method on features.*--method dift"):
        mutual_matches(PromptMatcher(sd1, paper()), source, source)
    with pytest.raises(SettingsError, match="at least 1 level"):
        mutual_matches(DiftMatcher(sd1, SETTINGS), source, source, levels=0)
