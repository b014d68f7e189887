"""Costs of a call and of a point: counted from short calls, they give what whole calls count."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.meters import counting
from semcorr.evaluation.runs.unit_costs import UnitCosts, flop_counter, measure
from semcorr.imaging.image import Image
from semcorr.matchers.load import load_matcher

SIZE = (96, 64)
POINTS = 2

SMALL = {"steps": 4, "locate_crops": 6, "rounds": 2, "resolution": 64, "device": "cpu"}


def _counted(matcher: object) -> list[tuple[float, int]]:
    """Operations and encoded crops of a whole description and a whole search."""
    image = Image(pixels=np.random.default_rng(5).integers(256, size=(SIZE[1], SIZE[0], 3), dtype=np.uint8))
    points = np.random.default_rng(6).uniform(0.3, 0.7, size=(POINTS, 2)) * SIZE
    costs = []
    query = None
    for half in ("describe", "locate"):
        with flop_counter() as flops, counting(matcher.model) as counts:
            query = matcher.describe(image, points) if half == "describe" else matcher.locate(query, image)
        costs.append((flops.get_total_flops(), counts.encodes))
    return costs


def _of_measured(costs: UnitCosts) -> tuple[float, float]:
    return (
        costs.describe_call + POINTS * costs.describe_point,
        costs.locate_call + POINTS * costs.locate_point,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "preset", "options", "encodes"),
    [
        # Each step and each crop but the corners is a row's own; there are 2 points and 2 embeddings.
        ("prompt", "reference", SMALL, (4 * 4, 4 + 2 * 4)),
        ("prompt", "paper", {**SMALL, "optimize_crops": 4}, (4, 4 + 2 * 4)),
        ("prompt", "fast", {**SMALL, "optimize_crops": 4, "neutral": "zeros"}, (4, 6)),
        ("dift", None, {"samples": 2, "resolution": 64, "device": "cpu", "prompt": None}, (1, 1)),
    ],
)
def test_operations_of_short_calls_give_those_of_whole_ones(
    tiny_sd: Path, method: str, preset: str | None, options: dict[str, object], encodes: tuple[int, int]
) -> None:
    """But for crops that are drawn twice by chance, and encoded once."""
    matcher = load_matcher(method, tiny_sd, preset, **options)
    with flop_counter() as encoding:
        matcher.model.encode(torch.zeros(1, 3, 64, 64))
    costs = measure(matcher, points=3, size=SIZE, count=True)
    assert costs.counted
    for measured, (whole, done), expected in zip(_of_measured(costs), _counted(matcher), encodes, strict=True):
        assert done <= expected
        assert measured == pytest.approx(whole + (expected - done) * encoding.get_total_flops(), rel=0.02)


def test_the_mirror_doubles_location_alone_and_weights_that_are_offloaded_count(tiny_sd: Path) -> None:
    options = {"samples": 1, "resolution": 64, "device": "cpu", "prompt": None}
    plain, mirrored = (
        measure(
            load_matcher("dift", tiny_sd, align_pose=align, offload=align, **options), points=3, size=SIZE, count=True
        )
        for align in (False, True)
    )
    # The second is offloaded, which changes neither operations nor the size of its weights.
    assert (mirrored.weight_bytes, mirrored.device) == (plain.weight_bytes, plain.device)
    assert _of_measured(mirrored) == pytest.approx((_of_measured(plain)[0], 2 * _of_measured(plain)[1]))


@pytest.mark.slow
def test_weights_are_those_of_the_networks(tiny_sd: Path) -> None:
    matcher = load_matcher("prompt", tiny_sd, "fast", **SMALL, neutral="zeros", dtype="float32")
    costs = measure(matcher, points=2, size=SIZE)
    networks = (matcher.model.unet, matcher.model.vae)
    assert costs.weight_bytes == sum(4 * weight.numel() for one in networks for weight in one.parameters())
    assert costs.peak_bytes is None or costs.peak_bytes > costs.weight_bytes
    # Each of 4 layers, 2 embeddings, 6 crops.
    assert costs.columns == 4 + 2 + 6
