import numpy as np
import pytest
import torch

from semcorr.imaging.geometry import Crop
from semcorr.matchers.prompt.crops import crop_range
from semcorr.matchers.prompt.random_streams import RandomStream, RecordedStreams, SeededStreams

POINTS = np.array([[3.0, 4.0], [50.5, 60.25]])
ALLOWED = crop_range(60.0, 60.0, resolution=128, fraction=0.5, margin=0.0)


def _first_draws(stream: RandomStream) -> torch.Tensor:
    crop = stream.crop(ALLOWED)
    return torch.cat([stream.embedding(5, 3).flatten(), stream.noise((2, 4, 4), "gaussian").flatten()]) + crop.left


def _seeded(seed: int = 0, image: str = "a", points: np.ndarray = POINTS) -> SeededStreams:
    return SeededStreams(seed, image, points)


def test_a_stream_is_the_same_each_time_it_is_asked_for():
    draws = _seeded()
    torch.testing.assert_close(_first_draws(draws.learning(0, 1)), _first_draws(draws.learning(0, 1)), rtol=0, atol=0)


def test_draws_follow_the_point_and_not_its_place_in_the_list():
    alone = _seeded(points=POINTS[1:])
    torch.testing.assert_close(
        _first_draws(alone.learning(0, 0)), _first_draws(_seeded().learning(1, 0)), rtol=0, atol=0
    )


def test_draws_depend_on_seed_image_point_round_and_stage():
    streams = [
        _seeded().learning(0, 0),
        _seeded(seed=1).learning(0, 0),
        _seeded(image="b").learning(0, 0),
        _seeded().learning(1, 0),
        _seeded().learning(0, 1),
        _seeded().locating(0, 0),
    ]
    values = [_first_draws(stream) for stream in streams]
    for index, value in enumerate(values):
        for other in values[:index]:
            assert (value - other).abs().max() > 0.1


def test_embeddings_and_gaussian_noise_are_standard_normal():
    stream = _seeded().learning(0, 0)
    for values in (stream.embedding(200, 200), stream.noise((4, 100, 100), "gaussian")):
        # Four standard errors of the mean and of the standard deviation of 40,000 numbers.
        assert abs(float(values.mean())) < 4 / 200
        assert abs(float(values.std()) - 1) < 4 / (200 * 2**0.5)


def test_uniform_noise_lies_between_zero_and_one():
    noise = _seeded().learning(0, 0).noise((4, 100, 100), "uniform")
    assert float(noise.min()) >= 0
    assert float(noise.max()) < 1
    assert abs(float(noise.mean()) - 0.5) < 4 / (12**0.5 * 200)


def test_crops_reach_every_allowed_position():
    narrow = crop_range(40.0, 2.0, resolution=64, fraction=0.9, margin=0.0)
    stream = _seeded().learning(0, 0)
    crops = [stream.crop(narrow) for _ in range(400)]
    assert {crop.left for crop in crops} == set(range(narrow.left_min, narrow.left_max + 1))
    assert all(narrow.contains(crop) for crop in crops)


def _recorded() -> RecordedStreams:
    # Two points, two rounds, three learning draws and one locating draw each: the noise of draw k is k.
    draws = 2 * (2 * 3 + 2 * 1)
    return RecordedStreams(
        embeddings=torch.arange(4.0)[:, None, None].expand(4, 2, 3).clone(),
        crops=np.array([[number, 0, 8, 8] for number in range(draws)]),
        noise=torch.arange(float(draws))[:, None, None, None].expand(draws, 1, 2, 2).clone(),
        rounds=2,
        steps=3,
        locate_crops=1,
    )


def test_recorded_draws_come_in_the_order_in_which_they_were_made():
    record = _recorded()
    order = []
    for point in range(2):
        for stage, count in (("learning", 3), ("locating", 1)):
            for round_ in range(2):
                stream = getattr(record, stage)(point, round_)
                assert float(stream.embedding(2, 3)[0, 0]) == point * 2 + round_
                for _ in range(count):
                    crop = stream.crop(ALLOWED)
                    noise = stream.noise((1, 2, 2), "uniform")
                    assert crop.left == float(noise[0, 0, 0])
                    order.append(crop.left)
    assert order == list(range(16))


def test_recorded_crops_that_the_rule_does_not_allow_are_counted_once():
    record = _recorded()
    fits = crop_range(1.0, 1.0, resolution=9, fraction=0.9, margin=0.0)
    for _ in range(2):
        stream = record.learning(0, 0)
        for expected in (0, 1, 2):
            assert stream.crop(fits) == Crop(expected, 0, 8, 8)
            stream.noise((1, 2, 2), "uniform")
    assert record.outside == {2}


def test_recorded_draws_of_another_shape_are_refused():
    stream = _recorded().learning(0, 0)
    with pytest.raises(ValueError, match=r"\(2, 3\), not \(77, 64\)"):
        stream.embedding(77, 64)
    with pytest.raises(ValueError, match=r"\(1, 2, 2\), not \(4, 8, 8\)"):
        stream.noise((4, 8, 8), "uniform")
