"""The configuration of points: a turn, scale and shift are recovered from maps with false peaks."""

import numpy as np
import pytest
import torch

from semcorr.matchers.features.configuration import MOST_POINTS, fit_configuration, score

POINTS = torch.tensor([[0.2, 0.2], [0.4, 0.25], [0.3, 0.4], [0.25, 0.3]], dtype=torch.float64)


def positions() -> torch.Tensor:
    """The middles of 40 x 30 cells."""
    x, y = (torch.arange(count, dtype=torch.float64) + 0.5 for count in (40, 30))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) / 40


def maps(*peaks: tuple[torch.Tensor, float]) -> torch.Tensor:
    """A map for each point, with Gaussians of given heights at some positions."""
    total = torch.zeros(len(POINTS), 30, 40, dtype=torch.float64)
    for centres, height in peaks:
        squared = ((positions() - centres[:, None, None]) ** 2).sum(dim=-1)
        total = torch.maximum(total, height * torch.exp(-squared / (2 * 0.03**2)))
    return total


def moved(angle: float, factor: float, shift: tuple[float, float]) -> torch.Tensor:
    turn = torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=torch.float64)
    return POINTS @ turn * factor + torch.tensor(shift, dtype=torch.float64)


def test_a_turn_scale_and_shift_are_recovered_among_higher_false_peaks() -> None:
    right = moved(0.4, 1.2, (0.25, 0.1))
    # Each point alone is more similar to a position of its own.
    false = torch.tensor([[0.9, 0.1], [0.1, 0.6], [0.85, 0.65], [0.05, 0.05]], dtype=torch.float64)
    fitted = fit_configuration(maps((right, 0.8), (false, 1.0)), positions(), POINTS)
    assert fitted is not None
    worth, map_ = fitted
    predicted = torch.nn.functional.pad(POINTS, (0, 1), value=1.0) @ map_
    assert (predicted - right).norm(dim=1).max() < 0.03
    assert worth == pytest.approx(0.8, abs=0.1)


def test_a_half_turn_is_out_of_bounds() -> None:
    right = moved(np.pi, 1.0, (0.8, 0.8))
    fitted = fit_configuration(maps((right, 1.0)), positions(), POINTS)
    assert fitted is None or fitted[0] < 0.7


def test_the_score_is_the_mean_of_the_best_near_each_point_less_the_price_of_its_distance() -> None:
    cosines = torch.full((1, 30, 40), -1.0, dtype=torch.float64)
    cosines[0, 10, 20] = 0.9
    at = positions()[10, 19][None, None]  # a cell to the left
    assert float(score(cosines, positions(), at, 0.5)) == pytest.approx(0.9 - 3 * (1 / 40 / 0.5) ** 2)
    outside = torch.tensor([[[2.0, 2.0]]], dtype=torch.float64)
    assert float(score(cosines, positions(), outside, 0.5)) == 0


@pytest.mark.parametrize("count", [2, MOST_POINTS + 1])
def test_too_few_points_and_too_many_have_no_configuration(count: int) -> None:
    points = torch.rand(count, 2, dtype=torch.float64)
    assert fit_configuration(torch.rand(count, 30, 40, dtype=torch.float64), positions(), points) is None


def test_points_on_one_another_have_no_configuration() -> None:
    assert fit_configuration(torch.rand(3, 30, 40), positions().float(), torch.full((3, 2), 0.5)) is None
