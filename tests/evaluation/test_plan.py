"""Plans: counts times costs, and a plan against a run."""

import dataclasses
from pathlib import Path

import pytest
import torch

from benchmarks.plan_accuracy import compare
from semcorr.datasets import registry
from semcorr.datasets.registry import BENCHMARKS
from semcorr.errors import SettingsError
from semcorr.evaluation.runs.plan import Plan, fewest_images, of_dataset, of_known, of_targets
from semcorr.evaluation.runs.unit_costs import UnitCosts

COSTS = UnitCosts(
    counted=False,
    describe_call=10.0,
    describe_point=2.0,
    locate_call=3.0,
    locate_point=0.5,
    points=8,
    device="cpu",
    weight_bytes=4_000,
    peak_bytes=None,
    query_point_bytes=100,
    columns=3,
)


@pytest.mark.parametrize(("pairs", "images"), [(2, 2), (3, 3), (6, 3), (7, 4), (600, 25), (690, 27), (702, 27)])
def test_fewest_images_of_so_many_ordered_pairs(pairs: int, images: int) -> None:
    assert fewest_images({"cat": pairs, "dog": 2}) == images + 2


def test_seconds_of_calls_and_points_become_hours_of_several_devices() -> None:
    """90 descriptions of 10 s with 450 points of 2 s; 600 searches of 3 s with 3,600 points of half a second."""
    work = dataclasses.replace(
        of_targets(600, 2, 3), describes=90, describe_points=450, locates=600, locate_points=3600
    )
    plan = Plan(work=work, costs=COSTS, devices=2)
    assert plan.hours(plan.describe) == pytest.approx((900 + 900) / 2 / 3600)
    assert plan.hours(plan.locate) == pytest.approx((1800 + 1800) / 2 / 3600)
    assert plan.to_dict()["device_hours"] == pytest.approx(5400 / 3600)


def test_operations_become_hours_at_a_rate() -> None:
    counted = dataclasses.replace(COSTS, counted=True, describe_call=0.0, describe_point=0.0, locate_call=36e12)
    work = of_targets(1000, 1, 1)
    plan = Plan(work=work, costs=dataclasses.replace(counted, locate_point=0.0), devices=5, rate=2e12)
    assert plan.hours(plan.locate) == pytest.approx(36_000 / 2 / 5 / 3600)
    with pytest.raises(SettingsError, match="a rate above 0 for operations"):
        Plan(work=work, costs=counted)
    with pytest.raises(SettingsError, match="at least 1 of --gpus"):
        Plan(work=work, costs=COSTS, devices=0)


def test_bytes_on_the_disk() -> None:
    """5 described images of 2 points each; every target's 10 points are in a record, in the journal and the output."""
    plan = Plan(work=of_targets(40, 2, 5), costs=COSTS, keep_queries=True)
    disk = plan.disk()
    assert disk["weights, as they are loaded"] == 4_000
    assert disk["queries"] == 10 * 100
    assert "queries" not in Plan(work=plan.work, costs=COSTS).disk()
    more = Plan(work=of_targets(80, 2, 5), costs=COSTS).disk()
    assert more["records"] == 2 * disk["records"]


def test_what_is_known_of_a_benchmark_that_is_not_here() -> None:
    spair = of_known(BENCHMARKS["spair"], points=7)
    assert (spair.locates, spair.describes) == (12_234, 480)
    assert (spair.locate_points, spair.describe_points) == (7 * 12_234, 7 * 480)
    assert any("7 points" in line for line in spair.assumed)
    willow = of_known(BENCHMARKS["pf-willow"])
    assert (willow.describes, willow.locate_points) == (100, 9_000)  # 10 images of each of 10, 10 points
    assert not any("10 points" in line for line in willow.assumed)
    with pytest.raises(SettingsError, match="name its folder with --data"):
        of_known(BENCHMARKS["spair-u"])


@pytest.mark.slow
def test_a_plan_is_what_a_run_takes(tmp_path: Path) -> None:
    """A plan of one source and its 13 targets, from noise, against the run, both in seconds of the processor.

    By the clock a busy machine takes any time for either. The run also reads images and writes records.
    """
    pairs = registry.load("toy", tmp_path / "toy", limit=13)
    assert (of_dataset(pairs).describes, of_dataset(pairs).locates) == (1, 13)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        planned, took, _, size, written, _ = compare(pairs, "prompt/fast", tmp_path / "run")
    finally:
        torch.set_num_threads(threads)
    assert planned / took == pytest.approx(1, abs=0.4)
    assert size / written == pytest.approx(1, abs=0.3)


def test_records_grow_with_their_points_and_alternative_predictions() -> None:
    def size(points: int, columns: int, *, transfer: bool) -> int:
        work = dataclasses.replace(of_targets(10, points, 1), transfer=transfer)
        return Plan(work=work, costs=dataclasses.replace(COSTS, columns=columns)).disk()["records"]

    assert size(8, 0, transfer=False) < size(8, 5, transfer=False) < size(16, 5, transfer=False)
    assert size(8, 0, transfer=True) < size(16, 0, transfer=True)
