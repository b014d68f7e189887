"""A real Ray cluster on this machine: the same results, also when workers and the driver are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from executors.jobs import Squares
from semcorr.errors import RunError
from semcorr.executors import elsewhere
from semcorr.executors.on_ray import on_ray
from semcorr.toy.spair import write_spair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

QUICK = ("--model", "toy", "--set", "steps=2", "--set", "rounds=1", "--set", "locate_crops=4")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@pytest.fixture(scope="module")
def ray() -> Any:
    os.environ.update(RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0", RAY_USAGE_STATS_ENABLED="0", OMP_NUM_THREADS="1")
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # where workers find this folder's job
    return pytest.importorskip("ray", reason="Ray is not installed")


@pytest.fixture
def cluster(ray: Any) -> Iterator[Any]:
    """A head node without room for work, and three nodes with room for one unit each."""
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **memory})
    for _ in range(3):
        made.add_node(num_cpus=1, **memory)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.mark.parametrize("ray_address", ["cluster", None])
def test_every_unit_once_and_a_model_a_process(cluster: Any, tmp_path: Path, ray_address: str | None) -> None:
    address = cluster.address if ray_address else None
    found = elsewhere(Squares(tmp_path), range(40), workers=1 if address else 2, ray=address)
    assert found is not None
    assert sorted(found) == sorted([n**2 for n in range(40)] + [-(n**2) for n in range(40)])
    assert 1 <= len(list(tmp_path.glob("started-*"))) <= 4


def test_errors_of_units_come_back_as_they_are(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="-5 is bad"):
        list(on_ray(Squares(tmp_path), [1, 2, -5], cluster.address))


def test_a_cluster_that_is_not_there_is_told(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"Expected a Ray cluster at '127\.0\.0\.1:1'"):
        list(on_ray(Squares(tmp_path), [1], "127.0.0.1:1"))


def command(data: Path, output: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "semcorr", "eval", "spair", "--data", str(data), "-o", str(output), "--limit", "30"]
    return [*words, *QUICK, *more]


def report(folder: Path) -> str:
    by = [word for name in ("overall", "category", "point", "layer", "crops") for word in ("--by", name)]
    words = [sys.executable, "-m", "semcorr", "report", str(folder), "--format", "markdown", *by]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("records/*.jsonl"))


def ray_workers() -> list[psutil.Process]:
    """Processes that do units."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith("ray::_do"):  # not a node's own process, which names others
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def kill_at_random(folder: Path, stop: threading.Event, killed: list[int]) -> None:
    """Two workers, at moments that a seed chooses."""
    chance = random.Random(3)  # noqa: S311  # moments, not secrets
    for number in range(2):
        while lines(folder) < 4 + 8 * number and not stop.is_set():
            time.sleep(0.02)
        time.sleep(chance.random())
        if not stop.is_set() and (workers := ray_workers()):
            worker = chance.choice(workers)
            worker.send_signal(signal.SIGKILL)
            killed.append(worker.pid)


def test_evaluation_on_a_cluster_that_loses_workers_and_its_driver(cluster: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_spair(data, images=5, size=64)
    whole, folder = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    subprocess.run(command(data, whole), check=True, capture_output=True, env=ONE_THREAD)
    words = command(data, folder, "--ray", cluster.address)

    driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ONE_THREAD)
    while lines(folder) < 2:
        assert driver.poll() is None
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert lines(folder) < 30

    stop, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=kill_at_random, args=(folder, stop, killed))
    killer.start()
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True, env=ONE_THREAD, timeout=240)
    finally:
        stop.set()
        killer.join()
    assert done.returncode == 0, done.stderr
    assert killed
    assert report(folder) == report(whole)


def test_transfer_on_a_cluster_is_the_same(cluster: Any, tmp_path: Path) -> None:
    from semcorr.annotations.toy_world import write_coco

    world = write_coco(tmp_path / "toy", categories=("face",), support=2, targets=12, size=64)

    def run(output: Path, more: Sequence[str]) -> bytes:
        dift = ("--method", "dift", "--model", "toy", "--set", "samples=1", "--device", "cpu")
        words = ["transfer", str(world.annotations), "--images", str(world.images), "-o", str(output), *dift, *more]
        subprocess.run([sys.executable, "-m", "semcorr", *words], check=True, capture_output=True, env=ONE_THREAD)
        return output.read_bytes()

    serial = run(tmp_path / "serial.json", [])
    assert run(tmp_path / "ray.json", ["--ray", cluster.address]) == serial
    assert len(json.loads(serial)["annotations"]) == 14
