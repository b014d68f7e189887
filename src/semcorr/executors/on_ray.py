"""A Ray cluster, or this machine as one: Ray schedules workers, watches over them, and carries units and results.

Ray silently ends a process that is connected to it when that process's own node dies. So a separate process connects
(:mod:`semcorr.executors.ray_driver`), and this one reports what became of it.
"""

import multiprocessing
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from semcorr.errors import RunError
from semcorr.executors.base import SECONDS_TO_END, Job, Result, Unit, ignoring_interrupts
from semcorr.executors.ray_driver import drive


def on_ray(
    job: Job[Unit, Result], units: Sequence[Unit], address: str, *, workers: int | None = None
) -> Generator[Result, None, None]:
    """Run units on a Ray cluster; yield results as they come, in any order, all results of a unit together.

    A worker takes a GPU where the cluster has any; else a CPU or, with ``workers``, its share of them. It starts the
    job once. A unit whose worker or node is lost is done again by another worker. Files that the job reads and writes
    must have the same path on every machine.

    Args:
        job: What to do with each unit; its code must be installed on every machine.
        units: The units.
        address: HOST:PORT of the cluster's head node, "auto" for the one that runs on this machine, or "local" to start
            one here that ends with this process.
        workers: Units that run at the same time; as many as the cluster has room for by default.

    Raises:
        SettingsError: Ray is not installed.
        RunError: The cluster cannot be reached, is lost, or loses workers over and over again.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    driver = context.Process(target=drive, args=(job, units, address, workers, sender))
    with ignoring_interrupts():
        driver.start()
    sender.close()  # Now the pipe ends with the driver.
    try:
        yield from _results(receiver, address)
        driver.join(SECONDS_TO_END)
    finally:
        driver.terminate()  # Where it has not ended yet: Ray ends its own processes then.
        driver.join(SECONDS_TO_END)
        driver.kill()
        driver.join()
        receiver.close()


def _results(receiver: Connection, address: str) -> Iterator[Any]:
    """Results from the driver, which sends those of a unit together, None at the end, or an error."""
    while True:
        try:
            results = receiver.recv()
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
