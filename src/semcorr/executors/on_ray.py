"""A Ray cluster, or this machine as one: Ray places the work, does it again when it is lost, and carries results.

A unit is a Ray task, which Ray retries for ever. A worker process keeps what the job started, so that a model is loaded
once in each. No more units are handed over at a time than keep the cluster busy.
"""

import os
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch

from semcorr.errors import RunError, SettingsError
from semcorr.executors.base import Job, Result, Unit
from semcorr.progress import Progress

LOCAL = "local"
_SECONDS_TO_ANSWER = 10.0
_AHEAD = 2
"""Units handed over for every slot of the cluster: one that runs and one that waits."""


def on_ray(
    job: Job[Unit, Result], units: Sequence[Unit], address: str, *, workers: int | None = None
) -> Iterator[Result]:
    """Do units on a Ray cluster; yield results as they come, in whatever order, a unit's all together.

    A unit takes a GPU where the cluster has any, else a CPU. Files that the job reads and writes must lie where every
    machine finds them under the same path.

    Args:
        job: what to do; its code must be installed on every machine.
        units: to be done.
        address: HOST:PORT of the cluster's head node, "auto" for the one that runs on this machine, or "local" to start
            one here that ends with this process.
        workers: units that run at the same time; as many as the cluster has room for by default.

    Raises:
        SettingsError: Ray is not installed.
        RunError: the cluster cannot be reached, or is lost.
    """
    ray = _ray()
    mine = not ray.is_initialized()
    if mine:
        _connect(ray, address)
    try:
        yield from _tasks(ray, job, units, workers)
    except (ray.exceptions.RaySystemError, ConnectionError) as error:
        raise RunError(
            f"The Ray cluster {address!r} is lost: {error}. What is finished is kept; the same command goes on."
        ) from error
    finally:
        if mine:
            ray.shutdown()


def _tasks(ray: Any, job: Job[Unit, Result], units: Sequence[Unit], workers: int | None) -> Iterator[Result]:
    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    task = ray.remote(num_gpus=int(gpus > 0), num_cpus=1, max_retries=-1, scheduling_strategy="SPREAD")(_do)
    run, shared = uuid.uuid4().hex, ray.put(job)
    ahead = (workers or max(1, gpus or cpus)) * (1 if workers else _AHEAD)
    left = iter(units)
    running = [task.remote(run, shared, unit) for unit in islice(left, ahead)]
    try:
        while running:
            ready, running = ray.wait(running, num_returns=1, timeout=1.0)
            for reference in ready:
                running += [task.remote(run, shared, unit) for unit in islice(left, 1)]
                try:
                    yield from ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, Exception) else error from None
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


_STARTED: dict[str, Callable[[Any, Progress | None], Iterator[Any]]] = {}
"""In a worker process: what the job of a run started. One that did another run before lets go of that one's."""


def _do(run: str, job: Job[Any, Any], unit: Any) -> list[Any]:
    """In a worker process."""
    if run not in _STARTED:
        torch.set_num_threads(1)
        _STARTED.clear()
        _STARTED[run] = job.start()
    return list(_STARTED[run](unit, None))


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        host, colon, port = address.rpartition(":")
        if colon and port.isdecimal():
            # Ray itself would try for minutes.
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except (ValueError, RuntimeError, OSError) as error:
        raise RunError(
            f"Expected a Ray cluster at {address!r}, got none: {error}. Start one with `ray start --head` and name its "
            "HOST:PORT, or use --ray local."
        ) from error


def _ray() -> Any:
    # Ray reports to its makers and changes its mind about GPUs unless it is told otherwise before it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise SettingsError('Working on a cluster needs Ray: pip install "semcorr[ray]"') from error
    return ray
