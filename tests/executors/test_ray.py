"""A real Ray cluster on this machine: every unit once, a worker a GPU or a share of the CPUs, errors told."""

from pathlib import Path
from typing import Any

import pytest

from executors.conftest import MEMORY, Nodes
from executors.jobs import Deadly, Squares, Unloadable
from semcorr.errors import RunError
from semcorr.executors import spread
from semcorr.executors.ray_driver import share

SLOW = [pytest.mark.slow, pytest.mark.timeout(300)]


def slow(test: Any) -> Any:
    for mark in SLOW:
        test = mark(test)
    return test


@slow
def test_every_unit_once_and_every_worker_starts_once(cluster: Nodes, tmp_path: Path) -> None:
    found = list(spread(Squares(tmp_path, 0.1), range(30), ray=cluster.address))
    assert sorted(found) == sorted([n**2 for n in range(30)] + [-(n**2) for n in range(30)])
    assert 1 <= len(list(tmp_path.glob("started-*"))) <= 3


@slow
def test_errors_come_back_as_they_are(cluster: Nodes, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^-5 is bad\.$"):
        list(spread(Squares(tmp_path), [1, 2, -5], ray=cluster.address))
    with pytest.raises(RunError, match=r"^There is no such model\.$"):
        list(spread(Unloadable(), [1], ray=cluster.address))


@slow
def test_a_unit_that_kills_its_workers_ends_the_work(cluster: Nodes) -> None:
    with pytest.raises(RunError, match=r"^5 workers of the Ray cluster were lost .* as they were to do a unit"):
        list(spread(Deadly(), range(4), ray=cluster.address))


@slow
def test_a_cluster_that_is_not_there_is_told(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^Expected a Ray cluster at '127\.0\.0\.1:1', got none"):
        list(spread(Squares(tmp_path), [1], ray="127.0.0.1:1"))


@slow
def test_a_worker_a_gpu(ray: Any, tmp_path: Path) -> None:
    """GPUs that Ray believes in: it numbers them and says to each worker which one is its own."""
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 2, "include_dashboard": False, **MEMORY}
    )
    try:
        assert len(list(spread(Squares(tmp_path, 1.0), range(12), ray=made.address))) == 24
    finally:
        made.shutdown()
    started = [path.read_text().split()[1:] for path in tmp_path.glob("started-*")]
    assert sorted(started) == [["1", "0"], ["1", "1"]]


@pytest.mark.parametrize(
    ("cpus", "workers", "expected"),
    [
        ([8], 2, 4),
        ([8], 3, 2),
        ([8], 20, 1),
        ([0, 16, 16], 4, 8),
        ([16, 4], 2, 4),  # what is done on the large node can be done on the small one when the large one is lost
        ([0], 2, 1),
        ([], 2, 1),
    ],
)
def test_the_share_of_a_worker(cpus: list[int], workers: int, expected: int) -> None:
    assert share(cpus, workers) == expected
