"""A Ray cluster of several nodes on this machine, and a small evaluation to run on it."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from semcorr.evaluation.report.build import build_report
from semcorr.evaluation.report.groups import ReportOptions
from semcorr.evaluation.runs.folder import read_run
from semcorr.toy.spair_layout import write_spair

QUICK = ("--model", "toy", "--method", "prompt", "--set", "steps=2", "--set", "rounds=1", "--set", "locate_crops=4")
PAIRS = 30
MEMORY = {"object_store_memory": 80 * 2**20}
# A worker has one thread. More in the whole run's process would add numbers up in another order.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    # A node or a head node that is gone is noticed in seconds, not in minutes.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
    "PYTHONPATH": str(Path(__file__).parents[1]),  # where workers find this folder's jobs
}


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield pytest.importorskip("ray", reason="Ray is not installed")


class Nodes:
    """A head node without room for work, and nodes with room for one unit each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **MEMORY}
        )
        self.nodes: list[Any] = []

    @property
    def address(self) -> str:
        return self._cluster.address

    def fill(self, count: int) -> None:
        """Start nodes until there are so many."""
        missing = count - len(self.nodes)
        self.nodes += [self._cluster.add_node(wait=False, num_cpus=1, **MEMORY) for _ in range(missing)]
        self._cluster.wait_for_nodes()

    def kill(self, node: Any) -> None:
        """As a power cut would."""
        self._cluster.remove_node(node, allow_graceful=False)
        self.nodes.remove(node)

    def kill_head(self) -> None:
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)

    def raylet(self, node: Any) -> psutil.Process:
        """What a node's life hangs on."""
        (started,) = node.all_processes["raylet"]
        return psutil.Process(started.process.pid)

    def end(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes(ray: Any) -> Iterator[Nodes]:
    """Shared by a module's tests, each of which gets two nodes: see ``cluster``."""
    made = Nodes()
    yield made
    made.end()


@pytest.fixture
def cluster(nodes: Nodes) -> Nodes:
    nodes.fill(2)
    return nodes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 pairs of 20 drawings."""
    folder = tmp_path_factory.mktemp("spair") / "data"
    write_spair(folder, images=5, size=64)
    return folder


def evaluation(data: Path, output: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "semcorr", "eval", "spair", "--data", str(data), "-o", str(output)]
    return [*words, "--limit", str(PAIRS), *QUICK, *more]


@pytest.fixture(scope="module")
def serial(ray: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process."""
    folder = tmp_path_factory.mktemp("serial") / "run"
    subprocess.run(evaluation(data, folder), check=True, capture_output=True)
    return folder


def results(folder: Path) -> tuple[list[str], str]:
    """All that a run found, pair by pair in the data set's order, and its report in all its tables.

    A record is what its line in the run's files holds, but for the two times that the method took.
    """
    run = read_run(folder)
    assert [record.index for record in run.records] == list(range(PAIRS))
    rows = [record.__dict__ | {"describe_seconds": 0.0, "locate_seconds": 0.0} for record in run.records]
    by = ("overall", "category", "point", "layer", "crops")
    report = build_report([run], ReportOptions(by=by)).markdown()
    return [type(record)(**row).to_json() for record, row in zip(run.records, rows, strict=True)], report


def lines(folder: Path) -> int:
    """Whole lines in the files of a run, or of a transfer under way."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("records/*.jsonl"))


def ray_workers(processes: Sequence[psutil.Process] | None = None) -> list[psutil.Process]:
    """Processes that do units, of those or of this one's children."""
    workers = []
    for process in processes or psutil.Process().children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith("ray::Worker"):  # not a node's own process, which names others
                workers.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return workers
