"""Ray on this machine: a worker a GPU or a share of the CPUs, a cluster that asks for a token, and none at all."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deadline import DEADLINE
from executors.jobs import Squares
from semcorr.errors import RunError
from semcorr.executors import run_units
from semcorr.executors.ray_driver import share


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_an_error(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^Expected a Ray cluster at '127\.0\.0\.1:1', got none"):
        list(run_units(Squares(tmp_path), [1], ray="127.0.0.1:1"))


@pytest.mark.slow
def test_a_worker_a_gpu_on_a_cluster_with_a_token(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from the shell. Ray believes in the GPUs that it is started with, and assigns one to each worker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    options = ["--num-cpus=4", "--num-gpus=2", "--include-dashboard=false", f"--port={address.rpartition(':')[2]}"]
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,  # its sockets' names have to be short
        subprocess.Popen(
            [*command, *options, f"--temp-dir={folder}", f"--object-store-memory={80 * 2**20}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as head,
    ):
        try:
            squares = _as_soon_as_it_is_there(
                address, head, lambda: run_units(Squares(tmp_path, 1.0), range(12), ray=address)
            )
        finally:
            head.terminate()
            head.wait(DEADLINE)
    assert len(squares) == 24
    started = [path.read_text().split()[1:] for path in tmp_path.glob("started-*")]
    assert sorted(started) == [["1", "0"], ["1", "1"]]


def _as_soon_as_it_is_there(
    address: str, head: subprocess.Popen[bytes], work: Callable[[], Iterator[int]]
) -> list[int]:
    end = time.monotonic() + DEADLINE
    while True:
        assert head.poll() is None
        try:
            return list(work())
        except RunError as error:
            if f"Expected a Ray cluster at {address!r}" not in str(error) or time.monotonic() > end:
                raise


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
