"""The one entry point: units run where the caller requests it."""

from collections.abc import Callable, Generator, Iterable, Iterator

from semcorr.executors.base import Job, Result, Unit, in_this_process
from semcorr.executors.on_ray import on_ray
from semcorr.executors.processes import in_processes
from semcorr.progress import Progress


def run_units(
    job: Job[Unit, Result],
    units: Iterable[Unit],
    *,
    workers: int = 1,
    ray: str | None = None,
    started: Callable[[Unit, Progress | None], Iterator[Result]] | None = None,
    progress: Progress | None = None,
) -> Generator[Result, None, None]:
    """Run units in this process, in several, or on a Ray cluster; yield results as they are finished.

    In this process they come in order, elsewhere in any order. Closing the iterator ends the work. See
    :func:`semcorr.executors.processes.in_processes` and :func:`semcorr.executors.on_ray.on_ray`.

    Args:
        job: What to do with each unit.
        units: The units.
        workers: Processes; on a cluster, units that run at the same time, where 1 means as many as there is room for.
        ray: Address of a cluster, or None.
        started: The result of the job's ``start``, if the caller has it already; only used in this process.
        progress: Passed to the job, only in this process; raise from it to stop.

    Raises:
        RunError: A worker was killed, or a cluster cannot be reached or is lost.
        SettingsError: Ray is requested and not installed.
    """
    if ray is not None:
        return on_ray(job, list(units), ray, workers=workers if workers > 1 else None)
    if workers > 1:
        return in_processes(job, units, workers)
    return in_this_process(started or job.start(), units, progress)
