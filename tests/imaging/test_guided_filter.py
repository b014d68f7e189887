"""The guided filter, against the definition pixel by pixel."""

import numpy as np
import pytest
import torch

from semcorr.imaging.guided_filter import guided_maps

SMOOTHNESS = 0.01


def defined(image: np.ndarray, one: np.ndarray, radius: int) -> np.ndarray:
    """He et al., 2013, equations 19 to 21: a least squares fit in each window, and the mean over a pixel's windows."""
    height, width = one.shape
    fits = np.zeros((height, width, 4))
    windows = {
        (y, x): (slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1))
        for y in range(height)
        for x in range(width)
    }
    for at, window in windows.items():
        colours, values = image[:, *window].reshape(3, -1), one[window].ravel()
        covariance = np.cov(colours, bias=True) + SMOOTHNESS * np.eye(3)
        slope = np.linalg.solve(covariance, (colours * values).mean(axis=1) - colours.mean(axis=1) * values.mean())
        fits[at] = [*slope, values.mean() - slope @ colours.mean(axis=1)]
    mean = np.array([[fits[windows[y, x]].mean(axis=(0, 1)) for x in range(width)] for y in range(height)])
    return (mean[..., :3] * np.moveaxis(image, 0, -1)).sum(axis=-1) + mean[..., 3]


def test_it_is_what_the_paper_defines() -> None:
    generator = np.random.default_rng(0)
    image, maps = generator.random((3, 12, 20)), generator.random((2, 12, 20))
    results = guided_maps(torch.from_numpy(image), torch.from_numpy(maps), radius=2 / 20, smoothness=SMOOTHNESS)
    for result, one in zip(results, maps, strict=True):
        np.testing.assert_allclose(result.numpy(), defined(image, one, 2), atol=1e-9)


@pytest.mark.parametrize("size", [(40, 60), (60, 520)])
def test_a_coarse_map_takes_over_the_edges_of_its_image(size: tuple[int, int]) -> None:
    height, width = size
    image = torch.zeros(3, height, width)
    image[0, :, int(width * 0.48) :] = 1  # the map's own edge is at a half
    coarse = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(3, 4)[None]
    (fine,) = guided_maps(image, coarse, radius=1 / 12, smoothness=1e-4)
    assert fine.shape == size
    assert (fine[:, : int(width * 0.48) - 2] < 0.5).all()
    assert (fine[:, int(width * 0.48) + 2 :] > 0.5).all()
