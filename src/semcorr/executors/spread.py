"""The one way into every way of running, by what was asked for."""

from collections.abc import Callable, Iterator, Sequence

from semcorr.executors.base import Job, Result, Unit, in_this_process
from semcorr.executors.on_ray import on_ray
from semcorr.executors.processes import in_processes
from semcorr.progress import Progress


def spread(
    job: Job[Unit, Result],
    units: Sequence[Unit],
    *,
    workers: int = 1,
    ray: str | None = None,
    started: Callable[[Unit, Progress | None], Iterator[Result]] | None = None,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Do units in this process, in several, or on a Ray cluster; yield results as they are finished.

    In this process they come in order, elsewhere in whatever order. See
    :func:`semcorr.executors.processes.in_processes` and :func:`semcorr.executors.on_ray.on_ray`.

    Args:
        job: what to do.
        units: to be done.
        workers: processes; on a cluster, units that run at the same time, where 1 means as many as there is room for.
        ray: address of a cluster, or None.
        started: what the job's start would give, where it is there already; only used in this process.
        progress: handed to the work, only in this process; raise from it to stop.

    Raises:
        RunError: a worker was killed, or a cluster cannot be reached or is lost.
        SettingsError: Ray is asked for and not installed.
    """
    if ray is not None:
        return on_ray(job, units, ray, workers=workers if workers > 1 else None)
    if workers > 1:
        return in_processes(job, units, workers)
    return in_this_process(started or job.start(), units, progress)
