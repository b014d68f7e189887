import numpy as np
import torch

from semcorr.matchers.prompt.crops import crop_range
from semcorr.matchers.prompt.random_streams import RandomStream, SeededStreams

POINTS = np.array([[3.0, 4.0], [50.5, 60.25]])
ALLOWED = crop_range(60.0, 60.0, resolution=128, fraction=0.5, margin=0.0)


def _first_draws(stream: RandomStream) -> torch.Tensor:
    crop = stream.crop(ALLOWED)
    return torch.cat([stream.embedding(5, 3).flatten(), stream.noise((2, 4, 4), "gaussian").flatten()]) + crop.left


def _seeded(seed: int = 0, image: str = "a", points: np.ndarray = POINTS) -> SeededStreams:
    return SeededStreams(seed, image, points)


def test_a_stream_is_the_same_each_time_it_is_asked_for():
    draws = _seeded()
    torch.testing.assert_close(
        _first_draws(draws.optimizing(0, 1)), _first_draws(draws.optimizing(0, 1)), rtol=0, atol=0
    )


def test_draws_depend_on_the_point_and_not_on_its_index():
    alone = _seeded(points=POINTS[1:])
    torch.testing.assert_close(
        _first_draws(alone.optimizing(0, 0)), _first_draws(_seeded().optimizing(1, 0)), rtol=0, atol=0
    )


def test_draws_depend_on_seed_image_point_round_and_stage():
    streams = [
        _seeded().optimizing(0, 0),
        _seeded(seed=1).optimizing(0, 0),
        _seeded(image="b").optimizing(0, 0),
        _seeded().optimizing(1, 0),
        _seeded().optimizing(0, 1),
        _seeded().locating(0, 0),
    ]
    values = [_first_draws(stream) for stream in streams]
    for index, value in enumerate(values):
        for other in values[:index]:
            assert (value - other).abs().max() > 0.1


def test_embeddings_and_gaussian_noise_are_standard_normal():
    stream = _seeded().optimizing(0, 0)
    for values in (stream.embedding(200, 200), stream.noise((4, 100, 100), "gaussian")):
        # Four standard errors of the mean and of the standard deviation of 40,000 numbers.
        assert abs(float(values.mean())) < 4 / 200
        assert abs(float(values.std()) - 1) < 4 / (200 * 2**0.5)


def test_uniform_noise_lies_between_zero_and_one():
    noise = _seeded().optimizing(0, 0).noise((4, 100, 100), "uniform")
    assert float(noise.min()) >= 0
    assert float(noise.max()) < 1
    assert abs(float(noise.mean()) - 0.5) < 4 / (12**0.5 * 200)


def test_crops_reach_every_allowed_position():
    narrow = crop_range(40.0, 2.0, resolution=64, fraction=0.9, margin=0.0)
    stream = _seeded().optimizing(0, 0)
    crops = [stream.crop(narrow) for _ in range(400)]
    assert {crop.left for crop in crops} == set(range(narrow.left_min, narrow.left_max + 1))
    assert all(narrow.contains(crop) for crop in crops)
