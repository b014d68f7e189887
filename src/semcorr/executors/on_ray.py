"""A Ray cluster, or this machine as one: Ray places workers, watches over them, and carries units and results.

Ray ends a process that talks to it, without a word, when that process's own node dies. So a process of its own does the
talking (:mod:`semcorr.executors.ray_driver`), and this one says what became of it.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from semcorr.errors import RunError
from semcorr.executors.base import SECONDS_TO_END, Job, Result, Unit, deaf_children
from semcorr.executors.ray_driver import drive


def on_ray(
    job: Job[Unit, Result], units: Sequence[Unit], address: str, *, workers: int | None = None
) -> Iterator[Result]:
    """Do units on a Ray cluster; yield results as they come, in whatever order, a unit's all together.

    A worker takes a GPU where the cluster has any; else a CPU or, with ``workers``, its share of them. It loads what
    the job needs once. A unit whose worker or node is lost is done again by another. Files that the job reads and
    writes must lie where every machine finds them under the same path.

    Args:
        job: what to do; its code must be installed on every machine.
        units: to be done.
        address: HOST:PORT of the cluster's head node, "auto" for the one that runs on this machine, or "local" to start
            one here that ends with this process.
        workers: units that run at the same time; as many as the cluster has room for by default.

    Raises:
        SettingsError: Ray is not installed.
        RunError: the cluster cannot be reached, is lost, or loses workers over and over again.
    """
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    driver = context.Process(target=drive, args=(job, units, address, workers, tell))
    with deaf_children():
        driver.start()
    tell.close()  # Now it ends with the driver.
    try:
        yield from _results(told, address)
        driver.join(SECONDS_TO_END)
    finally:
        driver.terminate()  # Where it has not ended yet: Ray ends its own processes then.
        driver.join(SECONDS_TO_END)
        driver.kill()
        driver.join()
        told.close()


def _results(told: Connection, address: str) -> Iterator[Any]:
    """What the driver tells: the results of a unit, at the end None, or an error."""
    while True:
        try:
            results = told.recv()
        except (EOFError, ConnectionError):
            raise RunError(
                f"The Ray cluster {address!r} is lost: its head node, or Ray on this machine, has ended or cannot be "
                "reached any more. What is finished is kept; when the cluster is back, the same command continues."
            ) from None
        if results is None:
            return
        if isinstance(results, Exception):
            raise results
        yield from results
