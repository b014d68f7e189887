import math

import pytest
import torch

from semcorr.matchers.collection import losses
from semcorr.matchers.collection.network import CanonicalNetwork, cell_positions


def test_the_keypoint_loss_is_the_cross_entropy_written_out():
    source = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    target = torch.tensor([[0.1, 0.0], [1.0, 0.5], [0.0, 1.0]])
    temperature = 0.5
    expected = 0.0
    for k in range(3):
        forward = [math.exp(-math.dist(source[k].tolist(), one.tolist()) / temperature) for one in target]
        backward = [math.exp(-math.dist(one.tolist(), target[k].tolist()) / temperature) for one in source]
        expected -= (math.log(forward[k] / sum(forward)) + math.log(backward[k] / sum(backward))) / 3
    assert float(losses.keypoint_loss(source, target, temperature)) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_the_keypoint_loss_is_finite_where_coordinates_coincide():
    source = torch.zeros(4, 2, requires_grad=True)
    losses.keypoint_loss(source, torch.zeros(4, 2), 0.1).backward()
    assert source.grad is not None
    assert torch.isfinite(source.grad).all()


def test_the_equivariance_loss_counts_both_directions_and_visible_cells_alone():
    first = torch.zeros(1, 2, 2, 2)
    second = torch.full((1, 2, 2, 2), 0.5)
    visible = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    # Twice 0.5 in each of 2 coordinates of 1 cell, over 8 numbers.
    assert float(losses.equivariance_loss(first, second, visible)) == pytest.approx(2 * 0.5 * 2 / 8)


def test_a_translation_has_no_total_variation_and_a_slope_has_the_hubers():
    grid = 6
    assert float(losses.total_variation(torch.full((1, 2, grid, grid), 0.3))) == 0
    for slope, expected in ((0.4, 0.5 * 0.4**2), (3.0, 3.0 - 0.5)):  # offsets in cells a cell; along one axis of two
        offsets = torch.zeros(1, 2, grid, grid)
        offsets[:, 0] = slope * torch.arange(grid) * 2 / grid
        assert float(losses.total_variation(offsets)) == pytest.approx(expected / 2, rel=1e-5)


def test_features_read_from_a_grid_that_holds_them_are_reconstructed():
    features = torch.randn(1, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    inside = torch.ones(1, 8, 8, dtype=torch.bool)
    identity = cell_positions(8)[None]
    assert float(losses.reconstruction_loss(features[0], identity, features, inside)) == pytest.approx(0, abs=1e-5)
    assert float(losses.reconstruction_loss(-features[0], identity, features, inside)) == pytest.approx(2, abs=1e-5)


def test_an_untrained_network_is_the_identity():
    network = CanonicalNetwork(3, 8)
    coordinates = network.coordinates(torch.randn(2, 3, 8, 8))
    torch.testing.assert_close(coordinates, cell_positions(8).expand(2, -1, -1, -1))
    assert cell_positions(8)[:, 0, 7].tolist() == [0.875, -0.875]
